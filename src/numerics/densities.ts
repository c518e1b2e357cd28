/**
 * The two densities over t in [0, 1] that NT-Matching compares. Pure.
 *
 *   target(t) = (f_H + Σ w_k f_H|[s_k, e_(k-1)]) / (1 + Σ w_k),  w_k = e_(k-1) - s_k
 *               an overlap is visited twice, so it counts twice
 *   actual(t) = Σ N_k f_(h_k)|[s_k, e_k] / Σ N_k
 *
 * f_h|[s, e] is the density of shift h truncated to the closed interval: f_h / (F_h(e) - F_h(s)). Source: RALU, arXiv
 * 2507.08422, timestep distribution matching.
 */
import { timestepCdf, timestepDensity } from './flow.ts';
import { renoiseCoefficients } from './schedule.ts';

/** What is given: steps N and ends e of K >= 2 stages, and the shift H of the model's own schedule. */
export interface MatchingProblem {
  readonly steps: readonly number[];
  readonly ends: readonly number[];
  readonly modelShift: number;
}

/** What is sought: a shift for each of K stages, and Z for each of K - 1 boundaries. */
export interface MatchingCandidate {
  readonly shifts: readonly number[];
  readonly z: readonly number[];
}

/** [K] where each stage starts: 0, then where the renoise of the stage before leads, at its z [K - 1]. */
export function stageStarts(ends: readonly number[], z: readonly number[]): number[] {
  return [0, ...z.map((strength, k) => renoiseCoefficients(ends[k]!, strength).start)];
}

/** Density at t of timesteps under `shift`, truncated to the closed interval [start, end]. */
export function truncatedDensity(t: number, shift: number, start: number, end: number): number {
  return t < start || t > end ? 0 : timestepDensity(t, shift) / (timestepCdf(end, shift) - timestepCdf(start, shift));
}

/** t ↦ density of the timesteps the stages should visit: the model's own, and each overlap once more. */
export function targetDensity({ z }: MatchingCandidate, { ends, modelShift }: MatchingProblem): (t: number) => number {
  const overlaps = stageStarts(ends, z)
    .slice(1)
    .map((start, k) => ({ start, end: ends[k]!, weight: ends[k]! - start }));
  const mass = overlaps.reduce((sum, { weight }) => sum + weight, 1);
  return (t) =>
    overlaps.reduce(
      (sum, { start, end, weight }) => sum + weight * truncatedDensity(t, modelShift, start, end),
      timestepDensity(t, modelShift),
    ) / mass;
}

/** t ↦ density of the timesteps the stages do visit. */
export function actualDensity(
  { shifts, z }: MatchingCandidate,
  { steps, ends }: MatchingProblem,
): (t: number) => number {
  const starts = stageStarts(ends, z);
  const total = steps.reduce((sum, count) => sum + count);
  return (t) =>
    steps.reduce((sum, count, k) => sum + count * truncatedDensity(t, shifts[k]!, starts[k]!, ends[k]!), 0) / total;
}
