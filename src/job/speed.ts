/**
 * A schedule by how much less work it is: the request names a speed, and the steps of each stage follow from it. Pure.
 */
import { mostSpeed } from '../numerics/fit-steps.ts';
import type { Size } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';
import type { JobRequest, ScheduleRequest } from './job.ts';
import { type FitMemo, matchSteps, outlinePlan } from './plan.ts';
import { chooseSchedule, MAX_STEPS, type Planned, refuse, type ScheduleInput } from './schedule-request.ts';

/** e of a request that names none. Divergence does not choose it (docs/method.md). */
const DEFAULT_ENDS = [0.2, 1];
/** Stages whose steps are searched for; the fits of more take too long. */
const FEWEST_STAGES = 2;
const MOST_STAGES = 3;

/** What else decides the steps, or is not fitted to them. */
const OTHER_WAYS = ['preset', 'N', 'h', 'Z', 'published', 'cache'] as const;

/**
 * The schedule of a request that names a speed, as fast as it goes: with one step in each stage. Refuses `speed`
 * together with `preset`, `N`, `h`, `Z`, `published` or `cache`, an `e` without two or three values, and what
 * chooseSchedule refuses of the rest.
 */
export function fastestSchedule(
  speed: number,
  { e = DEFAULT_ENDS, ...input }: ScheduleInput,
  facts: ModelFacts,
  size: Size,
): Planned<ScheduleRequest> {
  const other = OTHER_WAYS.find((field) => input[field] !== undefined && input[field] !== false);
  if (other) return refuse('speed', speed, `cannot be given together with ${other}`);
  if (e.length < FEWEST_STAGES || e.length > MOST_STAGES)
    return refuse('e', e, `must have ${FEWEST_STAGES} or ${MOST_STAGES} values together with speed`);
  return chooseSchedule({ ...input, N: e.map(() => 1), e }, facts, size);
}

/** The search for the steps of a speed, before it is made. */
export interface SpeedSearch {
  /** work of denoising that the steps found have at most, FLOPs; and how many steps that is at most */
  readonly flops: number;
  readonly steps: number;
  /** the request with the steps that fit its speed best (fitSteps): this takes the time of the fits */
  readonly find: (memo: FitMemo) => JobRequest;
}

/**
 * The search for the steps of a request that is given with one step in each stage. Work is denoising with attention, as
 * the ratio of a plan counts it. Refuses a speed with less than one step for each stage or more than a job may have,
 * and whatever outlinePlan refuses. Law: the ratio of the plan of what is found is at least `speed`.
 */
export function atSpeed(speed: number, request: JobRequest, facts: ModelFacts): Planned<SpeedSearch> {
  const fastest = outlinePlan(request, facts);
  if (!fastest.ok) {
    const { field, rule } = fastest.refusal;
    // who named no steps hears of the speed
    return field === 'N' ? refuse('speed', speed, rule) : fastest;
  }
  const { work, shift, zRanges } = fastest.value;
  const costs = work.stages.map((stage) => stage.flops);
  const { plain } = work.flops;
  if (plain === 0) return refuse('speed', speed, `model ${facts.id} does not state its work`);
  const most = mostSpeed({ costs, plain });
  if (speed > most)
    return refuse('speed', speed, `must be at most ${Math.floor(most * 100) / 100}: one step of each stage`);
  const least = plain / (MAX_STEPS * costs[0]!);
  if (speed < least)
    return refuse(
      'speed',
      speed,
      `must be at least ${Math.ceil(least * 100) / 100}: a job has ${MAX_STEPS} steps at most`,
    );
  const problem = { costs, plain, speed, ends: request.schedule.ends, modelShift: shift, zRanges };
  return {
    ok: true,
    value: {
      flops: plain / speed,
      steps: Math.floor(plain / speed / Math.min(...costs)),
      find: (memo) => {
        const { steps } = matchSteps(problem, memo);
        return { ...request, schedule: { ...request.schedule, steps } };
      },
    },
  };
}
