/**
 * TaylorSeer: steps between evaluations take features that are forecast from those before.
 *
 *   F(k + j) ≈ Σ_{i ≤ order} D_i · j^i / i!
 *   D_0 = F(k),  D_i = (D_{i-1} - the same one evaluation ago) / distance
 *
 * Here k is the last evaluated step, and `distance` counts the steps from the evaluation before it to k, so evaluations
 * may be spaced unevenly, as they are after a warm-up. The paper forecasts the features of every block inside the
 * model, which only a server that runs its blocks one by one can do; the functions here do it to the velocity, all that
 * a tokens-in, velocity-out model shows. Source: TaylorSeer, arXiv 2503.06923, eq. 5-7. Pure.
 */
import { requireInteger, requireLength } from './bounds.ts';

/** Which steps of a stage are evaluated: the first `warmup`, at least 1, and after them every `interval`-th. */
export interface EvaluatedSteps {
  readonly warmup: number;
  readonly interval: number;
}

/** What is forecast: the velocity, or inside the model the features of each of its blocks, as the paper has it. */
export const CACHE_KINDS = ['taylor_velocity', 'taylor_blocks'] as const;
export type CacheKind = (typeof CACHE_KINDS)[number];

/** How a stage saves evaluations: what is not evaluated is forecast from differences up to `order`. */
export interface TemporalCache extends EvaluatedSteps {
  readonly kind: CacheKind;
  readonly order: number;
}

/** Whether step `index` of a stage, counted from 0, is evaluated; without a cache every step is. */
export const isEvaluated = (index: number, cache: EvaluatedSteps | null): boolean =>
  cache === null || index < cache.warmup || (index - cache.warmup + 1) % cache.interval === 0;

/** The evaluated ones of `steps` steps, ascending, counted from 0. Laws: the first is 0; without a cache all are. */
export const evaluatedSteps = (steps: number, cache: EvaluatedSteps | null): number[] =>
  Array.from({ length: steps }, (_, index) => index).filter((index) => isEvaluated(index, cache));

/** Where the last evaluation stood, and D_0, D_1, … there. */
export interface Differences {
  readonly step: number;
  readonly differences: readonly Float32Array[];
}

/**
 * What is remembered after the evaluation at `step`: as many differences as there were evaluations, D_0 to D_order at
 * most. `before` is what was remembered so far, null at the start of a stage. The velocity is kept, not copied. Throws
 * RangeError for another length than before, or a step that is not after the last.
 */
export function rememberVelocity(
  before: Differences | null,
  velocity: Float32Array,
  step: number,
  order: number,
): Differences {
  requireInteger('order', order, 0, Number.MAX_SAFE_INTEGER);
  if (!before) return { step, differences: [velocity] };
  requireLength('velocity', velocity.length, before.differences[0]!.length);
  const distance = step - before.step;
  if (!(distance > 0)) throw new RangeError(`step is ${step}; expected more than ${before.step}`);
  const differences = [velocity];
  for (const [i, former] of before.differences.slice(0, order).entries())
    differences.push(differences[i]!.map((value, n) => (value - former[n]!) / distance));
  return { step, differences };
}

/**
 * The velocity forecast for `step`, a new array. Laws: at order 0 it is the last one evaluated; exact, to rounding, for
 * velocities that are linear in the step once two are remembered. Of k² with evenly spaced evaluations, `distance`
 * apart, it is short by distance · j at order 2, as the paper's sum is.
 */
export function forecastVelocity({ step: last, differences }: Differences, step: number): Float32Array {
  const [velocity, ...higher] = differences as [Float32Array, ...Float32Array[]];
  const total = velocity.slice();
  let weight = 1;
  for (const [i, difference] of higher.entries()) {
    weight *= (step - last) / (i + 1);
    for (let n = 0; n < total.length; n++) total[n] = total[n]! + weight * difference[n]!;
  }
  return total;
}
