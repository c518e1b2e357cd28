/**
 * Request + model facts → plan: every number of a job, fixed before the job exists. Pure; from here on nobody computes
 * a coefficient. A request that cannot be planned is a value that names field, value and rule.
 */
import type { WorkToPrice } from '../billing/price.ts';
import { type PlannedWork, planWork, type StageWork, viewPlannedWork } from '../billing/work.ts';
import type { Needs } from '../fleet/fit.ts';
import { fitSteps, type StepsFit, type StepsProblem } from '../numerics/fit-steps.ts';
import { type FlopFacts, oneBranch } from '../numerics/flops.ts';
import { canBeStaged, tokenGrid } from '../numerics/grid.ts';
import type { Range } from '../numerics/minimize.ts';
import { exactDivergence, fitSchedule } from '../numerics/nt-matching.ts';
import { amplitudeRanges, boundaryAmplitudes, type Restarts } from '../numerics/restart-amplitude.ts';
import { buildSchedule, type Schedule } from '../numerics/schedule.ts';
import type { Selection } from '../numerics/select.ts';
import { evaluatedSteps } from '../numerics/taylor.ts';
import { selectedCounts, tokenCounts } from '../numerics/token-counts.ts';
import { type ModelFacts, neededFeatures } from '../stage/contract.ts';
import type { JobRequest, Plan, PlanView, ScheduleRequest } from './job.ts';
import { modelShift } from './model-shift.ts';
import { presetsFor } from './presets.ts';
import { type Planned, plainOnlyRule, type Refusal, refuseSize } from './schedule-request.ts';
import { promptWarnings } from './scripts.ts';
import { selectionOf } from './selection.ts';

/** h and Z of a schedule: fitted by NT-Matching unless they are given. N too where the work was given. */
export interface Fit {
  readonly steps: readonly number[];
  readonly shifts: readonly number[];
  readonly z: readonly number[];
  readonly divergence: number | null;
  readonly fitted: boolean;
}

/**
 * Fits already made, by everything that decides them. The fit is a pure function, so a kept one is as good as a new
 * one.
 */
export type FitMemo = Map<string, Fit>;
const MEMO_SIZE = 256;

function matchTimesteps(
  schedule: ScheduleRequest,
  { shift, zRanges }: { readonly shift: number; readonly zRanges: readonly Range[] },
  memo: FitMemo,
): Fit {
  const { steps, ends } = schedule;
  if (steps.length === 1) return { steps, shifts: schedule.shifts ?? [shift], z: [], divergence: null, fitted: false };
  const problem = { steps, ends, modelShift: shift };
  if (schedule.shifts && schedule.z !== null) {
    return {
      steps,
      shifts: schedule.shifts,
      z: schedule.z,
      divergence: exactDivergence({ shifts: schedule.shifts, z: schedule.z }, problem),
      fitted: false,
    };
  }
  return remember({ ...problem, zRanges }, (whole) => ({ steps, ...fitSchedule(whole) }), memo);
}

/** The N, h and Z of a budget of work, remembered with their fit. Throws RangeError as fitSteps does. */
export function matchSteps(problem: StepsProblem, memo: FitMemo): Fit {
  return remember(problem, fitSteps, memo);
}

/** What `search` makes of a problem, or made of it before. */
function remember<Problem>(problem: Problem, search: (problem: Problem) => StepsFit, memo: FitMemo): Fit {
  const key = JSON.stringify(problem);
  const kept = memo.get(key);
  if (kept) return kept;
  const { steps, shifts, z, divergence } = search(problem);
  const made = { steps, shifts, z, divergence, fitted: true };
  if (memo.size >= MEMO_SIZE) memo.delete(memo.keys().next().value as string);
  memo.set(key, made);
  return made;
}

/** What of a plan is known before h and Z are: tokens, evaluations, work. Making it takes no time worth counting. */
export interface Outline {
  readonly rows: number;
  readonly cols: number;
  readonly selected: readonly number[];
  readonly selection: Selection;
  readonly evaluations: readonly number[];
  readonly work: PlannedWork;
  /** the same, as it is priced */
  readonly toPrice: WorkToPrice;
  /** the model's own shift at this size, and where a fitted Z may lie */
  readonly shift: number;
  readonly zRanges: readonly Range[];
}

/**
 * The outline of a request on a model. Refuses a size the model does not offer, stages on a size with an odd number of
 * tokens on a side, guidance, a negative prompt or an upsampling the model does not take, a cache with a solver other
 * than Euler, and a reference run in latent mode or on a model without token mode, with a solver other than Euler, a
 * selection other than Canny's, or a cache.
 */
export function outlinePlan(request: JobRequest, facts: ModelFacts): Planned<Outline> {
  const refusal = refuseForModel(request, facts);
  if (refusal) return { ok: false, refusal };

  const { rows, cols } = tokenGrid(request, facts.token_pixels);
  const { steps, ratios, cache } = request.schedule;
  const evaluations = steps.map((count) => evaluatedSteps(count, cache).length);
  const isPlain = steps.length === 1;
  const selected = isPlain ? [] : selectedCounts((rows * cols) / 4, ratios);
  const counts = tokenCounts(rows * cols, isPlain ? null : selected);
  const selection = selectionOf(request, { selected });
  const perStep = workPerStep(request, facts);
  const run = {
    stages: evaluations.map((count, k) => ({
      stage: k + 1,
      tokens: counts[k] as number,
      evaluations: count,
      decode: decodeAfter(k, request, selection),
    })),
    pixels: request.width * request.height,
    plainSteps: facts.steps,
  };
  return {
    ok: true,
    value: {
      rows,
      cols,
      selected,
      selection,
      evaluations,
      work: planWork(perStep, run),
      toPrice: { facts: perStep, textTokens: facts.text_tokens, ...run },
      shift: modelShift(facts.shift, rows * cols),
      zRanges: zRangesOf(request.schedule, { rows, cols, selected }),
    },
  };
}

/** The plan of a request on a model. Refuses what outlinePlan refuses. */
export function makePlan(request: JobRequest, facts: ModelFacts, memo: FitMemo): Planned<Plan> {
  const outline = outlinePlan(request, facts);
  return outline.ok ? { ok: true, value: completePlan(request, outline.value, facts, memo) } : outline;
}

/** The features of the stage contract that a request needs, with what its tokens are selected by. */
export const featuresOf = (
  { solver, schedule, enlarge }: JobRequest,
  selection: Outline['selection'],
): readonly string[] =>
  neededFeatures({ solver, clean_latents: selection === 'latent', cache: schedule.cache, enlarge });

/** The plan of an outline, its h and Z fitted unless they are given: this takes the time of a fit. */
export function completePlan(
  request: JobRequest,
  { rows, cols, selected, selection, evaluations, work, shift, zRanges }: Outline,
  facts: ModelFacts,
  memo: FitMemo,
): Plan {
  const { steps, ends } = request.schedule;
  const found = matchTimesteps(request.schedule, { shift, zRanges }, memo);
  const schedule: Schedule = buildSchedule({ steps, ends, shifts: found.shifts, z: found.z });
  const stages = schedule.stages.map(({ start, end, shift, sigmas, steps: count }, k) => {
    const boundary = schedule.renoise[k - 1];
    return {
      ...(work.stages[k] as StageWork),
      steps: count,
      evaluations: evaluations[k] as number,
      start,
      end,
      shift,
      sigmas: Array.from(sigmas),
      renoise: boundary ? { signal: boundary.signal, noise: boundary.noise, correlation: boundary.correlation } : null,
    };
  });
  const { id, channels, token_pixels, digest } = facts;
  return {
    model: { id, channels, token_pixels, digest },
    features: featuresOf(request, selection),
    numerics: isPublished(request) ? 1 : 2,
    rows,
    cols,
    stages,
    z: found.z,
    divergence: found.divergence,
    fitted: found.fitted,
    selected,
    flops: work.flops,
    warnings: promptWarnings(request, facts),
    price: null,
  };
}

/**
 * The floating-point work of a model under the guidance of a request. Classifier-free guidance evaluates twice a step
 * and encodes two texts, and so do the model's own figures count it; at 1 or below there is one of each.
 */
const workPerStep = ({ guidance }: Pick<JobRequest, 'guidance'>, facts: ModelFacts): FlopFacts =>
  facts.guidance?.kind === 'cfg' && guidance !== null && guidance <= 1 ? oneBranch(facts.flops) : facts.flops;

/** What decides the amplitudes of things at the restarts: a token has two latent pixels on a side. */
function restartsOf(
  ends: readonly number[],
  { rows, cols, selected }: Pick<Plan, 'rows' | 'cols' | 'selected'>,
): Restarts {
  return { side: 2 * Math.min(rows, cols), ends, selected, lowTokens: (rows * cols) / 4 };
}

/** Where a fitted Z may lie at each boundary: as high as the caller says, or as the amplitudes allow. */
function zRangesOf({ ends, zMax }: ScheduleRequest, grid: Pick<Plan, 'rows' | 'cols' | 'selected'>): readonly Range[] {
  if (zMax === null) return amplitudeRanges(restartsOf(ends, grid));
  return ends.slice(1).map(() => ({ least: 2, most: zMax }));
}

/** Decoded is the image, a picture that somebody watches, and what the selection looks for edges in. */
function decodeAfter(k: number, { schedule, previews }: JobRequest, selection: Selection): StageWork['decode'] {
  const numStages = schedule.steps.length;
  if (k === numStages - 1) return 'image';
  return k < previews.count || (k === 0 && selection === 'canny') ? 'clean' : 'none';
}

function refuseForModel(request: JobRequest, facts: ModelFacts): Refusal | null {
  const refusal = refuseSize(request, facts);
  if (refusal) return refusal;
  const { preset, steps } = request.schedule;
  if (steps.length > 1 && !canBeStaged(request, facts.token_pixels))
    return {
      field: preset === null ? 'N' : 'preset',
      value: preset ?? steps,
      rule: plainOnlyRule(request, facts.token_pixels),
    };
  if (request.guidance !== null && !facts.guidance)
    return { field: 'guidance', value: request.guidance, rule: `model ${facts.id} has no guidance` };
  if (
    request.guidance !== null &&
    facts.guidance &&
    (request.guidance < facts.guidance.min || request.guidance > facts.guidance.max)
  ) {
    return {
      field: 'guidance',
      value: request.guidance,
      rule: `model ${facts.id} takes ${facts.guidance.min} to ${facts.guidance.max}`,
    };
  }
  if (request.negativePrompt !== '' && !facts.negative_prompt)
    return { field: 'negative_prompt', value: '(text)', rule: `model ${facts.id} takes no negative prompt` };
  if (request.reference && !facts.upsampling.includes('token'))
    return {
      field: 'reference',
      value: true,
      rule: `the reference repeats tokens, and model ${facts.id} takes upsampling ${facts.upsampling.join(', ')}`,
    };
  if (!facts.upsampling.includes(request.upsampling))
    return {
      field: 'upsampling',
      value: request.upsampling,
      rule: `model ${facts.id} takes ${facts.upsampling.join(', ')}`,
    };
  if (request.reference && request.upsampling === 'latent')
    return { field: 'upsampling', value: 'latent', rule: 'the reference repeats tokens: leave it out or say token' };
  if (request.reference && request.solver !== 'euler')
    return { field: 'solver', value: request.solver, rule: 'the reference steps by euler: leave it out or say euler' };
  if (request.reference && request.selection !== 'canny')
    return {
      field: 'selection',
      value: request.selection,
      rule: 'the reference selects by canny: leave it out or say canny',
    };
  const { cache } = request.schedule;
  if (request.reference && cache)
    return presetsFor(facts).some((own) => own.name === preset && own.cache)
      ? { field: 'preset', value: preset, rule: 'the reference evaluates every step: ask for a preset without a cache' }
      : { field: 'cache', value: cache, rule: 'the reference evaluates every step: leave it out' };
  if (cache && request.solver !== 'euler')
    return {
      field: 'solver',
      value: request.solver,
      rule: 'a cache forecasts for euler alone: leave it out, say euler, or go without a cache',
    };
  return null;
}

/** Whether a run repeats what was published: the reference, or a preset with the h and Z printed for it. */
const isPublished = ({ reference, schedule: { preset, shifts } }: JobRequest): boolean =>
  reference || (preset !== null && shifts !== null);

/** What the stages of a plan need of their server. */
export const needsOf = ({ model, features }: Plan): Needs => ({ model: model.id, digest: model.digest, features });

/** The plan in wire form. */
export function viewPlan(plan: Plan, request: JobRequest): PlanView {
  return {
    model_digest: plan.model.digest,
    numerics: plan.numerics,
    stages: plan.stages.map(({ stage, tokens, steps, evaluations, start, end, shift, sigmas }) => ({
      stage,
      tokens,
      steps,
      evaluations,
      start,
      end,
      shift,
      sigmas,
    })),
    h: plan.stages.map(({ shift }) => shift),
    z: plan.z,
    s: plan.stages.map(({ start }) => start),
    amplitude: boundaryAmplitudes(
      restartsOf(
        plan.stages.map(({ end }) => end),
        plan,
      ),
      plan.z,
    ),
    divergence: plan.divergence,
    fitted: plan.fitted,
    selected: plan.selected,
    solver: request.solver,
    cache: request.schedule.cache,
    selection: selectionOf(request, plan),
    upsampling: request.upsampling,
    tflops: viewPlannedWork(plan),
    warnings: plan.warnings,
  };
}
