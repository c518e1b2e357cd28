/** How far a figure over prompts could have come out otherwise with other prompts of the same kinds. Pure. */
import { philox } from '../../src/numerics/philox.ts';

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** stream of the generator; the seed is fixed, so a document made twice says the same */
const KEY = [0x62_6f_6f_74, 1] as const;
const RESAMPLES = 2000;

/**
 * [resamples] `statistic` of draws, in rising order: each draws every group anew from its own members, with
 * replacement, as many as it has. The same groups give the same values. Groups must not be empty. Source: Efron,
 * "Bootstrap methods: another look at the jackknife", 1979; stratified.
 */
export function bootstrap<T>(
  groups: readonly (readonly T[])[],
  statistic: (groups: readonly (readonly T[])[]) => number,
  resamples = RESAMPLES,
): Float64Array {
  const words = new Uint32Array(4);
  let drawn = 0;
  const draw = (below: number): number => {
    if (drawn % 4 === 0) philox(words, drawn / 4, 0, 0, 0, ...KEY);
    return Math.floor((words[drawn++ % 4]! / 2 ** 32) * below);
  };
  const values = new Float64Array(resamples);
  for (let i = 0; i < resamples; i++)
    values[i] = statistic(groups.map((group) => group.map(() => group[draw(group.length)]!)));
  return values.sort();
}

/**
 * The central 95 % of `bootstrap`: the percentile interval. Laws: a statistic that is the same for all members has an
 * interval of no width; `low` <= `high`.
 */
export function bootstrapInterval<T>(
  groups: readonly (readonly T[])[],
  statistic: (groups: readonly (readonly T[])[]) => number,
  resamples = RESAMPLES,
): Interval {
  const values = bootstrap(groups, statistic, resamples);
  return { low: values[Math.floor(0.025 * (resamples - 1))]!, high: values[Math.ceil(0.975 * (resamples - 1))]! };
}
