/** Several pictures of one prompt: which seed each has. Pure. */
import { philox } from '../../src/numerics/philox.ts';
import type { Prompt } from './run.ts';

/** A prompt under one of its seeds. */
export type Seeded<P extends Prompt> = P & {
  /** 0: the prompt's own seed; n: the n-th one derived from it */
  readonly nth: number;
};

/** the most pictures of one prompt under one row */
export const MOST_SEEDS = 64;

/** stream of the generator that seeds come from */
const KEY = [0x73_65_65_64, 1] as const;

/**
 * Seed `nth` of a prompt whose own is `seed`: its own for 0, else the first word of Philox at counter (seed, nth, 0, 0)
 * without its lowest bit, 0 to 2^31 - 1. The same on every machine, whatever other seeds are asked for.
 */
export function seedOf(seed: number, nth: number): number {
  return nth === 0 ? seed : philox(new Uint32Array(4), seed, nth, 0, 0, ...KEY)[0]! >>> 1;
}

/**
 * Every prompt under its first `count` seeds: all prompts under their own first, so that a run that is stopped has seen
 * all prompts as often, but for one.
 */
export function withSeeds<P extends Prompt>(prompts: readonly P[], count: number): Seeded<P>[] {
  return Array.from({ length: count }, (_, nth) =>
    prompts.map((prompt) => ({ ...prompt, seed: seedOf(prompt.seed, nth), nth })),
  ).flat();
}
