/** Golden vectors: numbers and pictures made by independent programs (test/golden). */
import { readFileSync } from 'node:fs';
import { decode } from 'fast-png';

const folder = new URL('../golden/', import.meta.url);

export interface MatchingPoint {
  h: number[];
  z: number;
  divergence: number;
  exact: number;
}
export interface MatchingCase {
  name: string;
  N: number[];
  e: number[];
  h: number;
  start: MatchingPoint;
  local: MatchingPoint;
  best_on_grid: MatchingPoint;
  best_exact_z10: MatchingPoint;
  best_exact_z100: MatchingPoint;
}
export interface Matching {
  cases: MatchingCase[];
  densities: {
    t: number[];
    h: number[];
    z: number;
    N: number[];
    e: number[];
    base_h: number;
    target: number[];
    actual: number[];
  };
}
export type Schedules = Record<
  string,
  {
    N: number[];
    e: number[];
    h: number[];
    z: number;
    r: number;
    starts: number[];
    sigmas: number[][];
    renoise: { start: number; signal: number; noise: number }[];
  }
>;
export interface CannyCase {
  image: string;
  edges: string;
  low: number;
  high: number;
  edge_pixels: number;
  block: number;
  grid: number[];
  block_scores: number[];
}
export interface Trajectory {
  gh: number;
  gw: number;
  D: number;
  N: number[];
  e: number[];
  h: number[];
  z: number;
  selected: number[];
  mode: 'latent' | 'token';
  x_init: number[];
  clean_estimate_1: number[];
  [field: `ids_${number}` | `x_${number}` | `white_noise_${number}`]: number[];
}

/** The parsed JSON file `name` of test/golden. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as T;
}

/** Grey bytes of the one-channel picture `name` of test/golden. */
export function goldenGrey(name: string): { grey: Uint8Array; width: number; height: number } {
  const { data, width, height, channels } = decode(readFileSync(new URL(name, folder)));
  if (channels !== 1) throw new Error(`${name} has ${channels} channels; expected 1`);
  return { grey: Uint8Array.from(data), width, height };
}

/** The largest |a - b|; NaN or lengths that differ give Infinity. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    worst = difference >= 0 ? Math.max(worst, difference) : Infinity;
  }
  return worst;
}
