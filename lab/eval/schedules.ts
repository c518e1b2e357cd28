/**
 * Schedules of the evaluation: the presets as a request would get them, and variations that the ablations need. Pure.
 */
import type { ScheduleRequest } from '../../src/job/job.ts';
import { modelShift } from '../../src/job/model-shift.ts';
import { chooseSchedule, type ScheduleInput } from '../../src/job/schedule-request.ts';
import type { MatchingProblem } from '../../src/numerics/densities.ts';
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

/** The h of each stage and the Z of each boundary, and the divergence they have. */
export interface Matched {
  readonly shifts: readonly number[];
  readonly z: readonly number[];
  readonly divergence: number;
}

/** The best shifts for the Z of each boundary, which is given. */
export const fitShifts = (problem: MatchingProblem, z: readonly number[]): Matched =>
  fitSchedule({ ...problem, zRanges: z.map((strength) => ({ least: strength, most: strength })) });

/**
 * Worse matches on purpose: the Z that is given, and shifts between the best for it and even steps, h ^ (1 - λ), with λ
 * found by halving so that the exact divergence is the target's. A target below the best divergence gives the best.
 * Law: divergence is the target to 1e-6.
 */
export function mismatched(problem: MatchingProblem, z: readonly number[], target: number): Matched {
  const fit = fitShifts(problem, z);
  const at = (share: number): Matched => {
    const shifts = fit.shifts.map((shift) => shift ** (1 - share));
    return { shifts, z, divergence: exactDivergence({ shifts, z }, problem) };
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

/** A schedule with this Z at every boundary, and the h that match best for it. */
export function scheduleAt(
  facts: ModelFacts,
  { width, height }: { readonly width: number; readonly height: number },
  schedule: ScheduleRequest,
  z: number,
): ScheduleRequest {
  const tokens = (width / facts.token_pixels) * (height / facts.token_pixels);
  const { steps, ends } = schedule;
  const each = steps.slice(1).map(() => z);
  const { shifts } = fitShifts({ steps, ends, modelShift: modelShift(facts.shift, tokens) }, each);
  return { ...schedule, preset: null, shifts, z: each };
}
