/**
 * The steps of every stage under a budget of work: of the whole N that fill it, the one whose best shifts and Z come
 * closest to the model's own schedule (nt-matching.ts). Pure.
 */
import { requireLength, requireNumber, requirePositive } from './bounds.ts';
import {
  type MatchingCandidate,
  type MatchingProblem,
  stageStarts,
  targetDensity,
  truncatedDensity,
} from './densities.ts';
import { contrast } from './divergence.ts';
import type { Range } from './minimize.ts';
import { fitSchedule, type MatchingFit } from './nt-matching.ts';
import { gaussLegendre } from './quadrature.ts';

/** What a number of steps costs, and how much there is to spend. */
export interface Budget {
  /** [K] work of a step of each stage, none below the first; in any unit */
  readonly costs: readonly number[];
  /** work of the run that is compared with, in the same unit */
  readonly plain: number;
  /** how many times less work than that is wanted, at least */
  readonly speed: number;
}

/** A matching problem whose steps are sought. `zRanges` [K - 1] as for fitSchedule. */
export interface StepsProblem extends Budget, Omit<MatchingProblem, 'steps'> {
  readonly zRanges: readonly Range[];
}

export interface StepsFit extends MatchingFit {
  /** [K] steps of each stage, at least 1 */
  readonly steps: readonly number[];
}

/**
 * Most N that are looked at, and most of these that are fitted: 20 ms for two stages and 50 ms for three, where one fit
 * takes 1 to 3 ms.
 */
const MAX_LISTED = 1000;
const MAX_FITS = 12;
/** Most steps of the first stage that a budget may pay for. */
const MAX_STEPS = 1e6;
/** Points between two breakpoints, for estimates that only rank. */
const NODES = gaussLegendre(8);

/** The largest speed that leaves each stage a step. */
export const mostSpeed = ({ costs, plain }: Omit<Budget, 'speed'>): number => plain / workOf(costs, costs.map(one));

/**
 * The whole N of least divergence with plain / Σ N_k cost_k >= speed, among those that leave no room for one more step
 * of the first stage, the cheapest; with its fit. The counts of the later stages are listed and the first is filled up.
 *
 * Up to 12 such N are all fitted. Of more, 12 are, each time the one of the lowest bound: its divergence under shifts
 * and Z that were fitted to another N, which its own can only lower. Of more than 1000, only every second count of each
 * later stage is listed, or every fourth, and so on. Deterministic; of two with one divergence it is the one of fewer
 * steps.
 *
 * Laws: where there are at most 12 it is the best of them all; at the speed of any N it is then no worse than that N.
 * Throws RangeError naming field, value and rule: `speed` is at most mostSpeed.
 */
export function fitSteps(problem: StepsProblem): StepsFit {
  check(problem);
  let stride = 1;
  let listed = listSteps(problem, stride);
  while (listed.length > MAX_LISTED) {
    stride *= 2;
    listed = listSteps(problem, stride);
  }

  const { ends, modelShift, zRanges } = problem;
  const left = listed.map((steps) => ({ steps, bound: Infinity }));
  let from: MatchingCandidate = { shifts: ends.map(() => modelShift), z: zRanges.map(({ least }) => least) };
  let best: StepsFit | undefined;
  for (let fits = 0; left.length > 0 && fits < MAX_FITS; fits++) {
    const divergenceOf = divergenceBySteps(from, problem);
    for (const candidate of left) candidate.bound = Math.min(candidate.bound, divergenceOf(candidate.steps));
    const next = left.reduce((least, candidate, i) => (candidate.bound < left[least]!.bound ? i : least), 0);
    const [{ steps }] = left.splice(next, 1) as [(typeof left)[number]];
    const fit = { steps, ...fitSchedule({ steps, ends, modelShift, zRanges }) };
    if (best === undefined || isBetter(fit, best)) best = fit;
    from = fit;
  }
  return best as StepsFit;
}

const isBetter = (a: StepsFit, b: StepsFit): boolean =>
  a.divergence < b.divergence || (a.divergence === b.divergence && sum(a.steps) < sum(b.steps));

/**
 * The N within the budget, its first stage filled up, whose later counts are 1, 1 + stride, 1 + 2 stride and so on;
 * at most one more than MAX_LISTED.
 */
function listSteps(problem: StepsProblem, stride: number): number[][] {
  const listed: number[][] = [];
  const extend = (later: readonly number[]): void => {
    const missing = problem.costs.length - later.length;
    if (missing === 1) {
      listed.push(filled(problem, later));
      return;
    }
    const least = new Array<number>(missing - 1).fill(1);
    for (let count = 1; listed.length <= MAX_LISTED; count += stride) {
      if (!isWithin(problem, [...least, count, ...later])) return;
      extend([count, ...later]);
    }
  };
  extend([]);
  return listed;
}

/** N with `later` [K - 1] steps after the first stage and as many in it as the budget has, where it has one. */
function filled(problem: Budget, later: readonly number[]): number[] {
  const { costs, plain, speed } = problem;
  let first = Math.max(1, Math.floor((plain / speed - workOf(costs.slice(1), later)) / costs[0]!));
  // the quotient may be a digit off at a whole number
  while (isWithin(problem, [first + 1, ...later])) first++;
  while (first > 1 && !isWithin(problem, [first, ...later])) first--;
  return [first, ...later];
}

/** Written as a plan's ratio is, so that the two agree to the last digit. */
const isWithin = ({ costs, plain, speed }: Budget, steps: readonly number[]): boolean =>
  plain / workOf(costs, steps) >= speed;

const workOf = (costs: readonly number[], steps: readonly number[]): number =>
  sum(costs.map((cost, k) => cost * steps[k]!));

/**
 * N ↦ divergence, squared and roughly, under shifts and Z that stay. The densities are taken once, at the nodes of a
 * quadrature between the breakpoints; only the shares of the stages change with N.
 */
function divergenceBySteps(
  candidate: MatchingCandidate,
  { ends, modelShift }: Pick<StepsProblem, 'ends' | 'modelShift'>,
): (steps: readonly number[]) => number {
  const starts = stageStarts(ends, candidate.z);
  const edges = Float64Array.of(...starts, ...ends).sort();
  const points = Array.from(edges.subarray(1)).flatMap((right, b) =>
    Array.from(NODES.nodes, (node) => edges[b]! + (right - edges[b]!) * node),
  );
  const weights = Float64Array.from(points, (_, i) => {
    const b = Math.floor(i / NODES.nodes.length);
    return (edges[b + 1]! - edges[b]!) * NODES.weights[i % NODES.nodes.length]!;
  });
  const targets = Float64Array.from(points, targetDensity(candidate, { steps: [], ends, modelShift }));
  const densities = ends.map((end, k) =>
    Float64Array.from(points, (t) => truncatedDensity(t, candidate.shifts[k]!, starts[k]!, end)),
  );
  return (steps) => {
    const total = sum(steps);
    let divergence = 0;
    for (let i = 0; i < weights.length; i++) {
      let actual = 0;
      for (let k = 0; k < steps.length; k++) actual += (steps[k]! / total) * densities[k]![i]!;
      divergence += weights[i]! * contrast(targets[i]!, actual);
    }
    return divergence;
  };
}

function check({ costs, plain, speed, ends, zRanges }: StepsProblem): void {
  requireLength('costs', costs.length, ends.length);
  requirePositive('costs[0]', costs[0]!);
  for (const [k, cost] of costs.entries()) requireNumber(`costs[${k}]`, cost, costs[0]!, Number.MAX_VALUE);
  requirePositive('plain', plain);
  requireNumber('speed', speed, plain / (costs[0]! * MAX_STEPS), mostSpeed({ costs, plain }));
  requireLength('zRanges', zRanges.length, ends.length - 1);
}

const one = (): number => 1;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
