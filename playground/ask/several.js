/**
 * Several pictures of one request: with other seeds, or with every preset. Pure.
 *
 * @import { Preset } from '../wire/service.js'
 */

/** @typedef {'one' | 'seeds' | 'presets'} Many */

/** Pictures with other seeds. */
const SEEDS = 4;
/** Most presets that are made side by side. */
export const MOST_PRESETS = 8;
const ALL_SEEDS = 2 ** 32;

/**
 * What the work of each picture depends on, in the order in which they are made. A share belongs to one preset.
 *
 * @param {Many} many
 * @param {Record<string, unknown>} body of one
 * @param {readonly Preset[]} presets the plain run first, the default last
 * @returns {Record<string, unknown>[]}
 */
export function worksOf(many, body, presets) {
  if (many === 'one') return [body];
  if (many === 'seeds') return Array.from({ length: SEEDS }, () => body);
  const { r: _share, ...rest } = body;
  return presets
    .slice(-MOST_PRESETS)
    .toReversed()
    .map(({ name }) => ({ ...rest, preset: name }));
}

/**
 * The seed of each picture: those that follow a written one, any where none is written; one for all presets, since they
 * are compared. Null: the service draws it. `random` is in [0, 1).
 *
 * @param {Many} many
 * @param {number} count
 * @param {number | null} written
 * @param {() => number} random
 * @returns {(number | null)[]}
 */
export function seedsOf(many, count, written, random) {
  const first = written ?? (many === 'presets' ? Math.floor(random() * ALL_SEEDS) : null);
  return Array.from({ length: count }, (_, i) =>
    first === null ? null : many === 'seeds' ? (first + i) % ALL_SEEDS : first,
  );
}
