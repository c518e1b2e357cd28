/**
 * Schedules by name: the published ones, each for the models of a family whose plain run has that many steps, and those
 * of a model's own. Source of the published: RALU, arXiv 2507.08422 v3, supplement.
 */
import type { TemporalCache } from '../numerics/taylor.ts';
import type { ModelFacts } from '../stage/contract.ts';

export interface Preset {
  readonly name: string;
  /** steps of the plain run it is compared with */
  readonly plainSteps: number;
  readonly steps: readonly number[];
  readonly ends: readonly number[];
  readonly ratios: readonly number[];
  /** h and Z as published; null where the paper fits them and does not print them */
  readonly published: { readonly shifts: readonly number[]; readonly z: number } | null;
  /** its steps that are forecast, in every stage; null where all are evaluated */
  readonly cache: TemporalCache | null;
}

/** A published schedule: for whom it is, and a cache of whatever kind the model can be run with. */
export interface PublishedPreset extends Omit<Preset, 'cache'> {
  readonly families: readonly string[];
  readonly cache: Omit<TemporalCache, 'kind'> | null;
}

const FIVE = {
  families: ['flux.1'],
  plainSteps: 50,
  steps: [4, 5, 6],
  ends: [0.3, 0.45, 1],
  ratios: [0.2],
  published: { shifts: [5.12, 2.64, 2.25], z: 7.516 },
} as const;

/**
 * The paper's TaylorSeer inside every stage of 5x, told apart by its W. The paper does not define W: here it is the
 * warm-up. Interval and order are TaylorSeer's own for FLUX.
 */
const taylor = (warmup: number): PublishedPreset['cache'] => ({ interval: 2, order: 2, warmup });

export const PRESETS: readonly PublishedPreset[] = [
  // FLUX.1-dev
  {
    name: '4x',
    families: ['flux.1'],
    plainSteps: 50,
    steps: [5, 6, 7],
    ends: [0.3, 0.45, 1],
    ratios: [0.3],
    published: { shifts: [5.019, 2.589, 2.226], z: 6.317 },
    cache: null,
  },
  { ...FIVE, name: '5x', cache: null },
  { ...FIVE, name: '5x-taylor-3', cache: taylor(3) },
  { ...FIVE, name: '5x-taylor-2', cache: taylor(2) },
  // the paper's text says r = .2 for 7x; its TFLOPs fit only .1
  {
    name: '7x',
    families: ['flux.1'],
    plainSteps: 50,
    steps: [2, 3, 5],
    ends: [0.2, 0.3, 1],
    ratios: [0.1],
    published: { shifts: [8.141, 2.856, 2.193], z: 6.261 },
    cache: null,
  },
  // Stable Diffusion 3 Medium
  {
    name: '2x',
    families: ['sd3'],
    plainSteps: 28,
    steps: [5, 6, 9],
    ends: [0.2, 0.3, 1],
    ratios: [0.3],
    published: { shifts: [6.21, 2.23, 1.97], z: 4.131 },
    cache: null,
  },
  {
    name: '3x',
    families: ['sd3'],
    plainSteps: 28,
    steps: [3, 3, 6],
    ends: [0.25, 0.3, 1],
    ratios: [0.2],
    published: { shifts: [6.4, 2.6, 2.23], z: 6.262 },
    cache: null,
  },
  // FLUX.1-schnell and SD3.5 Large Turbo
  {
    name: 'few',
    families: ['flux.1', 'sd3'],
    plainSteps: 4,
    steps: [1, 1, 2],
    ends: [0.3, 0.45, 1],
    ratios: [0.3],
    published: null,
    cache: null,
  },
];

/** The name of the plain full-resolution run, which every model has. */
export const PLAIN = 'plain';

/** What decides the presets of a model. */
export type PresetFacts = Pick<ModelFacts, 'family' | 'steps' | 'caches' | 'presets'>;

/**
 * Those published for a model's family and plain steps. A cache is of the first kind that the model can be run with; a
 * model with no such kind has no presets with a cache.
 */
function publishedFor({ family, steps: plainSteps, caches: [kind] }: PresetFacts): readonly Preset[] {
  return PRESETS.filter(
    (preset) =>
      family !== null &&
      preset.families.includes(family) &&
      preset.plainSteps === plainSteps &&
      (kind || !preset.cache),
  ).map(({ families: _, cache, ...preset }) => ({ ...preset, cache: cache && kind ? { kind, ...cache } : null }));
}

/**
 * The presets of a model: its own, then those published for its family and plain steps. A name that is taken by one of
 * these is the published schedule's.
 */
export function presetsFor(facts: PresetFacts): readonly Preset[] {
  const published = publishedFor(facts);
  const own = (facts.presets ?? [])
    .filter(({ name }) => name !== PLAIN && !published.some((preset) => preset.name === name))
    .map(({ name, N, e, r }) => ({
      name,
      plainSteps: facts.steps,
      steps: N,
      ends: e,
      ratios: r,
      published: null,
      cache: null,
    }));
  return [...own, ...published];
}

/**
 * Those that are chosen from where none is named, the most careful first: the published ones that evaluate every step,
 * or the model's own where nothing is published for it.
 */
export function usualPresetsFor(facts: PresetFacts): readonly Preset[] {
  const published = publishedFor(facts).filter(({ cache }) => cache === null);
  return published.length > 0 ? published : presetsFor(facts);
}

/**
 * What a request without a preset gets: the last of the usual ones, which is the fastest; `plain` where a model has
 * none. Law: it is the last of presetsFor.
 */
export const defaultPreset = (facts: PresetFacts): string => usualPresetsFor(facts).at(-1)?.name ?? PLAIN;
