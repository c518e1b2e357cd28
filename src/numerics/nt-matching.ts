/**
 * NT-Matching: the shifts h_k and the Z under which the stages visit timesteps as the model's own schedule would.
 *
 *   target(t) = (f_H + Σ w_k f_H|[s_k, e_(k-1)]) / (1 + Σ w_k),  w_k = e_(k-1) - s_k      what an overlap is visited twice for
 *   actual(t) = Σ N_k f_(h_k)|[s_k, e_k] / Σ N_k                                          |[s, e] is truncation: divided by F(e) - F(s)
 *
 * The divergence is the square root of the Jensen-Shannon divergence, natural logarithm. Every start s_k follows from e_(k-1) and Z, so the target moves with Z.
 * Source: RALU, arXiv 2507.08422, section on timestep matching. Pure.
 */
import { requireLength, requireNumber, requirePositive } from './bounds.ts';
import { timestepCdf, timestepDensity } from './flow.ts';
import { minimize, type Objective } from './minimize.ts';
import { gaussLegendre } from './quadrature.ts';
import { checkStages, renoiseCoefficients } from './schedule.ts';

/** What is given: steps N and ends e of K >= 2 stages, and the shift H of the model's own schedule. */
export interface MatchingProblem {
  readonly steps: readonly number[];
  readonly ends: readonly number[];
  readonly modelShift: number;
}

/** What is sought: a shift for each stage, and Z. */
export interface MatchingCandidate {
  readonly shifts: readonly number[];
  readonly z: number;
}

export interface MatchingFit {
  readonly shifts: number[];
  readonly z: number;
  /** [K] where each stage starts; the first is 0 */
  readonly starts: number[];
  /** exact divergence reached */
  readonly divergence: number;
  /** times the objective was computed */
  readonly evaluations: number;
}

export const MIN_SHIFT = 0.5;
export const MAX_SHIFT = 10;
export const MIN_Z = 2;

/** Points of the reference's grid, and the least density it takes logarithms of. */
const GRID = 1000;
const LEAST_DENSITY = 1e-10;
/** 16 points between breakpoints hold the divergence to better than 1e-9 for every shift in [0.5, 10]. */
const RULE = gaussLegendre(16);

/** t at which each stage starts: 0, then where the renoise of the stage before leads. */
function stageStarts(ends: readonly number[], z: number): number[] {
  return [0, ...ends.slice(0, -1).map((end) => renoiseCoefficients(end, z).start)];
}

function checkProblem({ steps, ends, modelShift }: MatchingProblem): void {
  checkStages(steps, ends);
  if (steps.length < 2) throw new RangeError(`steps has ${steps.length} entries; expected at least 2, one stage has nothing to match`);
  requirePositive('modelShift', modelShift);
}

function checkCandidate({ shifts, z }: MatchingCandidate, numStages: number): void {
  requireLength('shifts', shifts.length, numStages);
  for (const [k, shift] of shifts.entries()) requirePositive(`shifts[${k}]`, shift);
  requireNumber('z', z, MIN_Z, Number.MAX_VALUE);
}

/** Density at t of timesteps under `shift`, truncated to the closed interval [start, end]. */
export function truncatedDensity(t: number, shift: number, start: number, end: number): number {
  return t < start || t > end ? 0 : timestepDensity(t, shift) / (timestepCdf(end, shift) - timestepCdf(start, shift));
}

/** Density at t of the timesteps that the stages should visit: the model's own, and each overlap once more. */
export function targetDensity(t: number, { z }: Pick<MatchingCandidate, 'z'>, { ends, modelShift }: MatchingProblem): number {
  let density = timestepDensity(t, modelShift);
  let mass = 1;
  for (const [k, start] of stageStarts(ends, z).entries()) {
    if (k === 0) continue;
    const end = ends[k - 1]!;
    density += (end - start) * truncatedDensity(t, modelShift, start, end);
    mass += end - start;
  }
  return density / mass;
}

/** Density at t of the timesteps that the stages do visit. */
export function actualDensity(t: number, { shifts, z }: MatchingCandidate, { steps, ends }: MatchingProblem): number {
  const starts = stageStarts(ends, z);
  let density = 0;
  let total = 0;
  for (const [k, count] of steps.entries()) {
    density += count * truncatedDensity(t, shifts[k]!, starts[k]!, ends[k]!);
    total += count;
  }
  return density / total;
}

/**
 * The reference's divergence: both densities at i / 999, clipped at 1e-10 and normalised to sum 1.
 * It jumps whenever a stage's edge crosses a grid point, so it is for comparing with the reference, not for minimising. Throws RangeError.
 */
export function gridDivergence(candidate: MatchingCandidate, problem: MatchingProblem): number {
  checkProblem(problem);
  checkCandidate(candidate, problem.steps.length);
  const onGrid = (density: (t: number) => number) => {
    const values = Float64Array.from({ length: GRID }, (_, i) => Math.max(LEAST_DENSITY, density(i / (GRID - 1))));
    const sum = values.reduce((total, value) => total + value);
    return values.map((value) => value / sum);
  };
  const target = onGrid((t) => targetDensity(t, candidate, problem));
  const actual = onGrid((t) => actualDensity(t, candidate, problem));
  let divergence = 0;
  for (let i = 0; i < GRID; i++) divergence += contrast(target[i]!, actual[i]!);
  return Math.sqrt(divergence);
}

/** The Jensen-Shannon integrand ½ p log(p / m) + ½ q log(q / m), m = (p + q) / 2. Its derivative by p is ½ log(p / m), by q ½ log(q / m). */
function contrast(p: number, q: number): number {
  const middle = (p + q) / 2;
  return (p * Math.log(p / middle) + q * Math.log(q / middle)) / 2;
}

/** The divergence without a grid: Gauss-Legendre between the breakpoints 0, every start, every end, 1. Smooth in the shifts and in Z. Throws RangeError. */
export function exactDivergence(candidate: MatchingCandidate, problem: MatchingProblem): number {
  checkProblem(problem);
  checkCandidate(candidate, problem.steps.length);
  const x = Float64Array.of(...candidate.shifts, candidate.z).map(Math.log);
  return Math.sqrt(Math.max(0, divergenceObjective(problem)(x, new Float64Array(x.length))));
}

/**
 * The squared exact divergence and its gradient, as a function of x = (log h_1 … log h_K, log Z): in logarithms the valley is rounder and the bounds are of one size.
 *
 * Between two breakpoints the target is the model's density times a constant, and the actual density a sum over the stages that cover the interval, so one pass over the nodes
 * gathers every integral that the gradient needs. A start moves with Z: the truncations that begin there change, and so does where the integrand jumps.
 */
function divergenceObjective({ steps, ends, modelShift }: MatchingProblem): Objective {
  const numStages = steps.length;
  const totalSteps = steps.reduce((sum, count) => sum + count);
  const share = steps.map((count) => count / totalSteps);

  // one entry a stage: its shift, start, truncation mass; weight and truncation mass of the overlap before it
  const shift = new Float64Array(numStages);
  const start = new Float64Array(numStages);
  const mass = new Float64Array(numStages);
  const weight = new Float64Array(numStages);
  const overlapMass = new Float64Array(numStages);
  // integrals of ½ log(actual / middle) over the stage, times its density and times that density's derivative by the shift;
  // and of ½ log(target / middle) over the overlap before it, times the model's density
  const byDensity = new Float64Array(numStages);
  const byShift = new Float64Array(numStages);
  const byOverlap = new Float64Array(numStages);
  const breakpoints = new Float64Array(2 * numStages);
  const inverse = new Float64Array(numStages);

  return (x, gradient) => {
    const z = Math.exp(x[numStages]!);
    let targetMass = 1;
    for (let k = 0; k < numStages; k++) {
      const before = k === 0 ? 0 : ends[k - 1]!;
      shift[k] = Math.exp(x[k]!);
      start[k] = restart(before, z);
      mass[k] = timestepCdf(ends[k]!, shift[k]!) - timestepCdf(start[k]!, shift[k]!);
      weight[k] = before - start[k]!;
      overlapMass[k] = timestepCdf(before, modelShift) - timestepCdf(start[k]!, modelShift);
      targetMass += weight[k]!;
      breakpoints[2 * k] = start[k]!;
      breakpoints[2 * k + 1] = ends[k]!;
    }
    breakpoints.sort();
    byDensity.fill(0);
    byShift.fill(0);
    byOverlap.fill(0);

    let divergence = 0;
    let byTarget = 0;
    for (let b = 1; b < breakpoints.length; b++) {
      const left = breakpoints[b - 1]!;
      const width = breakpoints[b]! - left;
      if (width === 0) continue;
      const inside = left + width / 2;
      const covers = (k: number) => start[k]! < inside && inside < ends[k]!;
      const overlaps = (k: number) => k > 0 && start[k]! < inside && inside < ends[k - 1]!;
      let targetScale = 1 / targetMass;
      for (let k = 1; k < numStages; k++) if (overlaps(k)) targetScale += weight[k]! / overlapMass[k]! / targetMass;
      let byIntervalTarget = 0;
      for (let i = 0; i < RULE.nodes.length; i++) {
        const t = left + width * RULE.nodes[i]!;
        const target = targetScale * timestepDensity(t, modelShift);
        let actual = 0;
        for (let k = 0; k < numStages; k++) {
          if (!covers(k)) continue;
          inverse[k] = 1 / (1 + (shift[k]! - 1) * t);
          actual += (share[k]! / mass[k]!) * shift[k]! * inverse[k]! * inverse[k]!;
        }
        const middle = (target + actual) / 2;
        const halfWeight = (width * RULE.weights[i]!) / 2;
        const targetSlope = halfWeight * Math.log(target / middle);
        const actualSlope = halfWeight * Math.log(actual / middle);
        divergence += target * targetSlope + actual * actualSlope;
        byIntervalTarget += target * targetSlope;
        for (let k = 0; k < numStages; k++) {
          if (!covers(k)) continue;
          const squared = actualSlope * inverse[k]! * inverse[k]!;
          byDensity[k]! += squared * shift[k]!;
          byShift[k]! += squared * inverse[k]! * (1 - t - shift[k]! * t);
        }
      }
      byTarget += byIntervalTarget;
      for (let k = 1; k < numStages; k++) if (overlaps(k)) byOverlap[k]! += byIntervalTarget / targetScale;
    }
    return divergence;
  };
}
