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
import { contrast, divergenceObjective, shiftRange } from './divergence.ts';
import { type Minimum, minimize, type Range } from './minimize.ts';
import { checkStages } from './schedule.ts';

const MIN_Z = 2;
const MAX_Z = 10;

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
  const x = Float64Array.of(...candidate.shifts, ...candidate.z).map(Math.log);
  return Math.sqrt(Math.max(0, divergenceObjective(problem)(x, new Float64Array(x.length))));
}

/**
 * The shifts in shiftRange and Z in `zRanges` [K - 1] of least exact divergence, for K = steps.length >= 2 stages; Z in
 * [2, 10] at every boundary when `zRanges` is left out: above 10 the divergence barely falls while the restart nears
 * pure noise. Deterministic: the minimiser runs from the reference's start and from a few others, and the best end is
 * kept. Law: no worse than the best with one Z for all boundaries. Throws RangeError naming field, value and rule.
 */
export function fitSchedule({
  zRanges,
  ...problem
}: MatchingProblem & { readonly zRanges?: readonly Range[] }): MatchingFit {
  checkProblem(problem);
  const numStages = problem.steps.length;
  const ranges = zRanges ?? new Array<Range>(numStages - 1).fill({ least: MIN_Z, most: MAX_Z });
  requireLength('zRanges', ranges.length, numStages - 1);
  for (const [k, { least, most }] of ranges.entries()) {
    requireNumber(`zRanges[${k}].least`, least, MIN_Z, Number.MAX_VALUE);
    requireNumber(`zRanges[${k}].most`, most, least, Number.MAX_VALUE);
  }
  const objective = divergenceObjective(problem);
  const all = [...new Array<Range>(numStages).fill(shiftRange(problem.modelShift)), ...ranges];
  const box = { lower: all.map(({ least }) => Math.log(least)), upper: all.map(({ most }) => Math.log(most)) };

  // every start roughly, then the best end to the last digit: along the kinks where breakpoints meet a search is slow
  let best: Minimum | undefined;
  let evaluations = 0;
  for (const start of searchStarts(problem, ranges)) {
    const end = minimize(objective, { ...box, start: start.map(Math.log), tolerance: 1e-8 });
    evaluations += end.evaluations;
    if (best === undefined || end.value < best.value) best = end;
  }
  const polished = minimize(objective, { ...box, start: Array.from(best!.x), tolerance: 1e-12 });
  evaluations += polished.evaluations;

  // exp(log(bound)) may lie a hair beside the bound
  const found = all.map(({ least, most }, i) => {
    const x = polished.x[i]!;
    return x === box.lower[i] ? least : x === box.upper[i] ? most : Math.exp(x);
  });
  const z = found.slice(numStages);
  return {
    shifts: found.slice(0, numStages),
    z,
    starts: stageStarts(problem.ends, z),
    divergence: Math.sqrt(Math.max(0, polished.value)),
    evaluations,
  };
}

/**
 * The reference's start, then profiles of the shifts (even, falling, steep then low) at a few Z, moved into the ranges.
 * Nearly every start leads to the same end; these lead to the best one in every golden case.
 */
function searchStarts({ steps, modelShift }: MatchingProblem, ranges: readonly Range[]): number[][] {
  const at = (z: number) => ranges.map(({ least, most }) => Math.min(most, Math.max(least, z)));
  const profile = (first: number, rest: number) => steps.map((_, k) => modelShift * (k === 0 ? first : rest));
  return [
    [...steps.map(() => 3), ...at(MIN_Z)],
    [...profile(1, 1), ...at(2.5)],
    [...profile(1.5, 0.8), ...at(2.5)],
    [...profile(1.5, 0.8), ...at(6)],
    [...profile(2, 0.4), ...at(4)],
  ];
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
  requireLength('z', z.length, problem.steps.length - 1);
  for (const [k, strength] of z.entries()) requireNumber(`z[${k}]`, strength, MIN_Z, Number.MAX_VALUE);
}
