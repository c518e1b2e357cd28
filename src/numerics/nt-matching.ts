/**
 * NT-Matching: the shifts h_k and the Z under which the stages visit timesteps as the model's own schedule would
 * (densities.ts). The divergence is the square root of the Jensen-Shannon divergence, natural logarithm. Source: RALU,
 * arXiv 2507.08422, where "JSD 0.026" is this root. Pure.
 */
import { requireLength, requireNumber, requirePositive } from './bounds.ts';
import {
  actualDensity,
  type MatchingCandidate,
  type MatchingProblem,
  stageStarts,
  targetDensity,
} from './densities.ts';
import { contrast, divergenceObjective } from './divergence.ts';
import { type Minimum, minimize } from './minimize.ts';
import { checkStages } from './schedule.ts';

const MIN_SHIFT = 0.5;
const MAX_SHIFT = 10;
const MIN_Z = 2;

export interface MatchingFit extends MatchingCandidate {
  /** [K] t at which each stage starts; the first is 0 */
  readonly starts: readonly number[];
  /** exact divergence reached */
  readonly divergence: number;
  /** times the objective was computed, over all starts */
  readonly evaluations: number;
}

/** Points of the reference's grid, and the density it clips at. */
const GRID = 1000;
const LEAST_DENSITY = 1e-10;

/**
 * The reference's divergence: both densities at i / 999, clipped at 1e-10 and normalised to sum 1. It jumps whenever a
 * stage's edge crosses a grid point, so it serves comparison with the reference, not the search. Throws RangeError.
 */
export function gridDivergence(candidate: MatchingCandidate, problem: MatchingProblem): number {
  check(candidate, problem);
  const onGrid = (density: (t: number) => number) => {
    const values = Float64Array.from({ length: GRID }, (_, i) => Math.max(LEAST_DENSITY, density(i / (GRID - 1))));
    const sum = values.reduce((total, value) => total + value);
    return values.map((value) => value / sum);
  };
  const target = onGrid(targetDensity(candidate, problem));
  const actual = onGrid(actualDensity(candidate, problem));
  return Math.sqrt(target.reduce((sum, value, i) => sum + contrast(value, actual[i]!), 0));
}

/**
 * The divergence without a grid, by quadrature between the breakpoints, to 1e-9; smooth in the shifts and in Z but
 * where two breakpoints meet. Throws RangeError.
 */
export function exactDivergence(candidate: MatchingCandidate, problem: MatchingProblem): number {
  check(candidate, problem);
  const x = Float64Array.of(...candidate.shifts, candidate.z).map(Math.log);
  return Math.sqrt(Math.max(0, divergenceObjective(problem)(x, new Float64Array(x.length))));
}

/**
 * The shifts in [0.5, 10] and Z in [2, zMax] of least exact divergence, for K = steps.length >= 2 stages.
 * Deterministic: the minimiser runs from the reference's start and from others spread over Z, and the best end is kept.
 * Above Z = 10 the divergence barely falls while the restart nears pure noise, hence the default. Throws RangeError
 * naming field, value and rule.
 */
export function fitSchedule({ zMax = 10, ...problem }: MatchingProblem & { readonly zMax?: number }): MatchingFit {
  checkProblem(problem);
  requireNumber('zMax', zMax, MIN_Z, Number.MAX_VALUE);
  const numStages = problem.steps.length;
  const objective = divergenceObjective(problem);
  const box = {
    lower: [...new Array<number>(numStages).fill(Math.log(MIN_SHIFT)), Math.log(MIN_Z)],
    upper: [...new Array<number>(numStages).fill(Math.log(MAX_SHIFT)), Math.log(zMax)],
    tolerance: 1e-12,
  };
  let best: Minimum | undefined;
  let evaluations = 0;
  for (const start of searchStarts(problem, zMax)) {
    const end = minimize(objective, { ...box, start: start.map(Math.log) });
    evaluations += end.evaluations;
    if (best === undefined || end.value < best.value) best = end;
  }
  const found = Array.from(best!.x, Math.exp);
  const shifts = found.slice(0, numStages).map((shift) => Math.min(MAX_SHIFT, Math.max(MIN_SHIFT, shift)));
  const z = Math.min(zMax, Math.max(MIN_Z, found[numStages]!));
  return {
    shifts,
    z,
    starts: stageStarts(problem.ends, z),
    divergence: Math.sqrt(Math.max(0, best!.value)),
    evaluations,
  };
}

/**
 * The reference's start, then three profiles of the shifts (even, falling, steep then low) at each of a few Z up to
 * zMax.
 */
function searchStarts({ steps, modelShift }: MatchingProblem, zMax: number): number[][] {
  const profile = (first: number, rest: number) => steps.map((_, k) => modelShift * (k === 0 ? first : rest));
  const profiles = [profile(1, 1), profile(1.5, 0.8), profile(2, 0.4)];
  const zs = [2.5, 4, 6, 9, 15, 40].filter((z) => z <= zMax);
  return [[...steps.map(() => 3), MIN_Z], ...zs.flatMap((z) => profiles.map((shifts) => [...shifts, z]))];
}

function checkProblem({ steps, ends, modelShift }: MatchingProblem): void {
  checkStages(steps, ends);
  if (steps.length < 2)
    throw new RangeError(`steps has ${steps.length} entry; expected at least 2, one stage has nothing to match`);
  requirePositive('modelShift', modelShift);
}

function check({ shifts, z }: MatchingCandidate, problem: MatchingProblem): void {
  checkProblem(problem);
  requireLength('shifts', shifts.length, problem.steps.length);
  for (const [k, shift] of shifts.entries()) requirePositive(`shifts[${k}]`, shift);
  requireNumber('z', z, MIN_Z, Number.MAX_VALUE);
}
