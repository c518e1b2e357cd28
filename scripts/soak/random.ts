/** Chance that can be had again: everything random in a history comes from its seed. */

export interface Random {
  /** at least 0, below 1 */
  next(): number;
  /** 0 … n - 1 */
  below(n: number): number;
  /** from `least` to `most`, both included */
  between(least: number, most: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
}

/** The mulberry32 generator from a seed of 32 bits. Law: the same seed gives the same numbers. */
export function makeRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return {
    next,
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (probability) => next() < probability,
    pick<T>(list: readonly T[]): T {
      if (list.length === 0) throw new RangeError('list has 0 entries; expected at least one');
      return list[below(list.length)] as T;
    },
  };
}
