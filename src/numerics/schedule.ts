/**
 * From (N, e, h, Z) to the noise levels of every stage and the coefficients of every boundary. Float64 throughout.
 * Pure.
 */
import { requireInteger, requireLength, requireNumber, requirePositive } from './bounds.ts';
import { shiftSigma, unshiftSigma } from './flow.ts';

/** What happens to the latents between two stages: x ← signal * Up(x) + noise * z. */
export interface Renoise {
  /** t at which the next stage starts, below the end of the one before */
  readonly start: number;
  /** a = 1 / (d + e), d = Z (1 - e) */
  readonly signal: number;
  /** b = d / (d + e) = 1 - start */
  readonly noise: number;
  /** c = 1 / Z², in (0, 1/4] */
  readonly correlation: number;
}

/** One stage: t from `start` to `end` in `steps` Euler steps. */
export interface ScheduleStage {
  readonly start: number;
  readonly end: number;
  readonly steps: number;
  readonly shift: number;
  /** [steps + 1] strictly decreasing from 1 - start to 1 - end, both exact */
  readonly sigmas: Float64Array;
}

export interface Schedule {
  readonly stages: readonly ScheduleStage[];
  /** [K - 1] renoise[k] comes before stages[k + 1] */
  readonly renoise: readonly Renoise[];
}

/**
 * Where the next stage restarts, s = e / (Z (1 - e) + e), and the coefficients that take a stage's end `end` = e there.
 * Written in exactly this form: other algebra moves the grid objective of NT-Matching across its jumps.
 * Laws: signal * e = start; signal² (1-e)² J + noise² (I - cJ) = noise² I over a group of four equal values.
 * Source: RALU, arXiv 2507.08422, eq. 4-7. Throws RangeError unless 0 < end <= 1 and z >= 2.
 */
export function renoiseCoefficients(end: number, z: number): Renoise {
  requirePositive('end', requireNumber('end', end, 0, 1));
  requireNumber('z', z, 2, Number.MAX_VALUE);
  const d = z * (1 - end);
  return { start: end / (z * (1 - end) + end), signal: 1 / (d + end), noise: d / (d + end), correlation: 1 / (z * z) };
}

/**
 * Noise levels of one stage: [steps + 1], linear in the unshifted level between those of 1 - start and 1 - end, shifted
 * back by `shift`. Both ends are exact, so the last stage (end = 1) ends at exactly 0. Throws RangeError unless 0 <=
 * start < end <= 1, steps is a positive whole number and shift > 0.
 */
export function stageSigmas({
  start,
  end,
  steps,
  shift,
}: {
  start: number;
  end: number;
  steps: number;
  shift: number;
}): Float64Array {
  requireNumber('start', start, 0, 1);
  requireNumber('end', end, 0, 1);
  if (!(start < end)) throw new RangeError(`start is ${start}; expected less than end, ${end}`);
  requireInteger('steps', steps, 1, Number.MAX_SAFE_INTEGER);
  requirePositive('shift', shift);
  const from = unshiftSigma(1 - start, shift);
  const to = unshiftSigma(1 - end, shift);
  const sigmas = Float64Array.from({ length: steps + 1 }, (_, i) =>
    shiftSigma(from + ((to - from) * i) / steps, shift),
  );
  sigmas[0] = 1 - start;
  sigmas[steps] = 1 - end;
  return sigmas;
}

/**
 * Throws RangeError unless `steps` are positive whole numbers and `ends`, as many, rise strictly in (0, 1] to exactly
 * 1.
 */
export function checkStages(steps: readonly number[], ends: readonly number[]): void {
  if (steps.length === 0) throw new RangeError('steps has 0 entries; expected one for each stage');
  requireLength('ends', ends.length, steps.length);
  for (const [k, count] of steps.entries()) requireInteger(`steps[${k}]`, count, 1, Number.MAX_SAFE_INTEGER);
  for (const [k, end] of ends.entries()) {
    const before = ends[k - 1] ?? 0;
    if (!(end > before && end <= 1))
      throw new RangeError(`ends[${k}] is ${end}; expected above ${before} and at most 1`);
  }
  if (ends.at(-1) !== 1)
    throw new RangeError(`ends[${ends.length - 1}] is ${ends.at(-1)}; expected the last end to be exactly 1`);
}

/**
 * The whole schedule of K = steps.length stages. `z` [K - 1] is the renoise strength of each boundary, at least 2; K =
 * 1 is the plain model, which has none. Throws RangeError naming field, value and rule.
 */
export function buildSchedule({
  steps,
  ends,
  shifts,
  z,
}: {
  steps: readonly number[];
  ends: readonly number[];
  shifts: readonly number[];
  z: readonly number[];
}): Schedule {
  checkStages(steps, ends);
  requireLength('shifts', shifts.length, steps.length);
  requireLength('z', z.length, steps.length - 1);
  for (const [k, strength] of z.entries()) requireNumber(`z[${k}]`, strength, 2, Number.MAX_VALUE);
  for (const [k, shift] of shifts.entries()) requirePositive(`shifts[${k}]`, shift);
  const renoise = z.map((strength, k) => renoiseCoefficients(ends[k]!, strength));
  const stages = steps.map((count, k) => {
    const stage = { start: renoise[k - 1]?.start ?? 0, end: ends[k]!, steps: count, shift: shifts[k]! };
    return { ...stage, sigmas: stageSigmas(stage) };
  });
  return { stages, renoise };
}
