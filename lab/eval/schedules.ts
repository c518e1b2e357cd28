/**
 * Schedules of the evaluation: the presets as a request would get them, and variations that the ablations need. Pure.
 */
import type { ScheduleRequest } from '../../src/job/job.ts';
import { modelShift } from '../../src/job/plan.ts';
import { chooseSchedule, type ScheduleInput } from '../../src/job/schedule-request.ts';
import type { MatchingProblem } from '../../src/numerics/densities.ts';
import { divergenceObjective } from '../../src/numerics/divergence.ts';
import { minimize } from '../../src/numerics/minimize.ts';
import { exactDivergence, fitSchedule } from '../../src/numerics/nt-matching.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';

/** The schedule a request for this preset gets. Throws RangeError where the product refuses it. */
export function presetSchedule(
  facts: ModelFacts,
  preset: string,
  more: Omit<ScheduleInput, 'preset'> = {},
): ScheduleRequest {
  // the size decides only what a request without a preset gets
  const chosen = chooseSchedule({ preset, ...more }, facts, facts.sizes[0]!);
  if (!chosen.ok) throw new RangeError(`${chosen.refusal.field} is ${chosen.refusal.value}; ${chosen.refusal.rule}`);
  return chosen.value;
}

/** h and Z, and the divergence they have. */
export interface Matched {
  readonly shifts: readonly number[];
  readonly z: number;
  readonly divergence: number;
}

const SHIFTS = { least: 0.5, most: 10 } as const;

/** The best shifts for a Z that is given, from three starts. */
export function fitShifts(problem: MatchingProblem, z: number): Matched {
  const objective = divergenceObjective(problem);
  const bounds = (shift: number) => Float64Array.of(...problem.steps.map(() => Math.log(shift)), Math.log(z));
  const starts = [1, 1.5, 2].map((first) => [
    ...problem.steps.map((_, k) => problem.modelShift * (k === 0 ? first : 1 / first)),
    z,
  ]);
  const ends = starts.map((start) =>
    minimize(objective, {
      lower: Array.from(bounds(SHIFTS.least)),
      upper: Array.from(bounds(SHIFTS.most)),
      start: start.map(Math.log),
      tolerance: 1e-12,
    }),
  );
  const best = ends.reduce((a, b) => (b.value < a.value ? b : a));
  const shifts = Array.from(best.x.subarray(0, problem.steps.length), (x) =>
    Math.min(SHIFTS.most, Math.max(SHIFTS.least, Math.exp(x))),
  );
  return { shifts, z, divergence: exactDivergence({ shifts, z }, problem) };
}

/**
 * Worse matches on purpose: the fitted Z, and shifts between the fitted ones and even steps, h ^ (1 - λ), with λ found
 * by halving so that the exact divergence is the target's. A target below the fit's divergence gives the fit. Law:
 * divergence is the target to 1e-6.
 */
export function mismatched(problem: MatchingProblem, target: number): Matched {
  const fit = fitSchedule(problem);
  const at = (share: number): Matched => {
    const shifts = fit.shifts.map((shift) => shift ** (1 - share));
    return { shifts, z: fit.z, divergence: exactDivergence({ shifts, z: fit.z }, problem) };
  };
  let [low, high] = [0, 1];
  if (at(high).divergence < target)
    throw new RangeError(`target is ${target}; expected at most ${at(high).divergence}, the divergence of even steps`);
  if (at(low).divergence >= target) return at(low);
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (at(middle).divergence < target) low = middle;
    else high = middle;
  }
  return at(high);
}

/** A schedule with this Z at its boundaries, and the h that match best for it. */
export function scheduleAt(
  facts: ModelFacts,
  { width, height }: { readonly width: number; readonly height: number },
  schedule: ScheduleRequest,
  z: number,
): ScheduleRequest {
  const tokens = (width / facts.token_pixels) * (height / facts.token_pixels);
  const { steps, ends } = schedule;
  const { shifts } = fitShifts({ steps, ends, modelShift: modelShift(facts.shift, tokens) }, z);
  return { ...schedule, preset: null, shifts, z };
}
