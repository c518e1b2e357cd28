/**
 * Request + model facts → plan: every number of a job, fixed before the job exists. Pure; from here on nobody computes a coefficient.
 * A request that cannot be planned is a value that names field, value and rule.
 */
import { stepFlops, tokenCounts } from '../numerics/flops.ts';
import { exactDivergence, fitSchedule } from '../numerics/nt-matching.ts';
import { buildSchedule, type Schedule } from '../numerics/schedule.ts';
import type { ServedModel } from '../stage/backends.ts';
import type { ModelFacts } from '../stage/contract.ts';
import type { JobRequest, Plan, PlannedFlops, PlannedStage, PlanView, ScheduleRequest } from './job.ts';
import { defaultPreset, PLAIN, type Preset, presetsFor } from './presets.ts';

/** What a request may be refused for once the model is known. */
export interface Refusal {
  readonly field: string;
  readonly value: unknown;
  readonly rule: string;
}

export type Planned<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal };

const refuse = (field: string, value: unknown, rule: string): { ok: false; refusal: Refusal } => ({ ok: false, refusal: { field, value, rule } });

/** The schedule part of a request as the caller wrote it; the shapes are checked already, the meaning is not. */
export interface ScheduleInput {
  readonly preset?: string | undefined;
  readonly N?: readonly number[] | undefined;
  readonly e?: readonly number[] | undefined;
  readonly h?: readonly number[] | undefined;
  readonly Z?: number | undefined;
  readonly r?: number | readonly number[] | undefined;
  readonly published?: boolean | undefined;
  readonly z_max?: number | undefined;
}

/** Most steps a job may have in all its stages: far above any useful schedule, low enough to bound the plan. */
export const MAX_STEPS = 1000;
const MAX_STAGES = 8;
/** Shortest stage on the clock: below it densities run out of digits, and a thousand sigmas fall together in float32, in which they travel. */
const MIN_STAGE = 1e-3;
const DEFAULT_Z_MAX = 10;

/**
 * N, e, r of a job from a preset or from the caller's own lists. `facts` decides which presets exist.
 * Rules: N and e have one length, 1 … 8; N are positive, at most 1000 together; e rises by at least 0.001 each time, from at least 0.001, and ends at 1; r has K - 2 values
 * in [0, 1] that do not fall; h has K values in [0.5, 10]; Z and z_max are at least 2; h and Z come together.
 */
export function chooseSchedule(input: ScheduleInput, facts: ModelFacts): Planned<ScheduleRequest> {
  const custom = (['N', 'e', 'h', 'Z'] as const).filter((field) => input[field] !== undefined);
  const zMax = input.z_max ?? DEFAULT_Z_MAX;
  if (zMax < 2 || zMax > 100) return refuse('z_max', zMax, 'must be from 2 to 100');
  if (input.preset !== undefined && custom.length > 0) return refuse(custom[0] as string, input[custom[0] as 'N'], 'cannot be given together with preset');
  if (input.z_max !== undefined && (input.Z !== undefined || input.published || input.preset === PLAIN || input.N?.length === 1)) {
    return refuse('z_max', input.z_max, 'bounds a fitted Z, and this schedule has none to fit');
  }
  if (custom.length > 0) {
    if (input.published) return refuse('published', true, 'belongs to a preset, not to a custom schedule');
    return customSchedule(input, zMax);
  }
  return presetSchedule(input, facts, zMax);
}

function presetSchedule(input: ScheduleInput, facts: ModelFacts, zMax: number): Planned<ScheduleRequest> {
  const name = input.preset ?? defaultPreset(facts.steps);
  if (name === PLAIN) {
    if (input.r !== undefined) return refuse('r', input.r, 'the plain run has no boundary to select tokens at');
    if (input.published) return refuse('published', true, 'the plain run has no published h and Z');
    return { ok: true, value: { preset: PLAIN, steps: [facts.steps], ends: [1], ratios: [], shifts: null, z: null, zMax } };
  }
  const presets = presetsFor(facts.steps);
  const preset = presets.find((candidate) => candidate.name === name);
  if (!preset) return refuse('preset', name, `must be one of ${[PLAIN, ...presets.map((known) => known.name)].join(', ')}`);
  if (input.published && !preset.published) return refuse('published', true, `preset ${name} has no published h and Z`);
  const ratios = chooseRatios(input.r, preset.steps.length, preset);
  if (!ratios.ok) return ratios;
  const fixed = input.published ? preset.published : null;
  return { ok: true, value: { preset: name, steps: preset.steps, ends: preset.ends, ratios: ratios.value, shifts: fixed?.shifts ?? null, z: fixed?.z ?? null, zMax } };
}

function customSchedule({ N, e, h, Z, r }: ScheduleInput, zMax: number): Planned<ScheduleRequest> {
  if (N === undefined) return refuse('N', undefined, 'is required for a custom schedule: steps of each stage');
  if (e === undefined) return refuse('e', undefined, 'is required for a custom schedule: end of each stage, rising to 1');
  const numStages = N.length;
  if (numStages < 1 || numStages > MAX_STAGES) return refuse('N', N, `must have 1 to ${MAX_STAGES} values`);
  if (!N.every((steps) => Number.isInteger(steps) && steps >= 1)) return refuse('N', N, 'every value must be a whole number of at least 1');
  if (N.reduce((sum, steps) => sum + steps, 0) > MAX_STEPS) return refuse('N', N, `must not be more than ${MAX_STEPS} steps together`);
  if (e.length !== numStages) return refuse('e', e, `must have as many values as N: ${numStages}`);
  if (e[numStages - 1] !== 1) return refuse('e', e, 'the last value must be 1');
  if (e.some((end, k) => !(end - (e[k - 1] ?? 0) >= MIN_STAGE * (1 - 1e-9)))) return refuse('e', e, `must rise from above 0, by at least ${MIN_STAGE} each time`);
  if (h !== undefined && (h.length !== numStages || h.some((shift) => !(shift >= 0.5 && shift <= 10)))) return refuse('h', h, `must have ${numStages} values from 0.5 to 10`);
  if (Z !== undefined && (numStages === 1 || !(Z >= 2 && Z <= 100))) return refuse('Z', Z, numStages === 1 ? 'one stage has no boundary to renoise at' : 'must be from 2 to 100');
  if (numStages > 1 && (h === undefined) !== (Z === undefined)) return refuse(h === undefined ? 'h' : 'Z', undefined, 'h and Z must be given together, or neither, to have them fitted');
  const ratios = chooseRatios(r, numStages, null);
  if (!ratios.ok) return ratios;
  return { ok: true, value: { preset: null, steps: N, ends: e, ratios: ratios.value, shifts: h ?? null, z: Z ?? null, zMax } };
}

function chooseRatios(r: ScheduleInput['r'], numStages: number, preset: Preset | null): Planned<readonly number[]> {
  const count = Math.max(0, numStages - 2);
  if (r === undefined) {
    if (preset) return { ok: true, value: preset.ratios };
    if (count === 0) return { ok: true, value: [] };
    return refuse('r', undefined, `is required for ${numStages} stages: the share of tokens upsampled early, ${count} value${count === 1 ? '' : 's'}`);
  }
  const list = typeof r === 'number' ? [r] : r;
  if (list.length !== count)
    return refuse('r', r, count === 0 ? `${numStages} stage${numStages === 1 ? '' : 's'} have no selection to make` : `must have ${count} value${count === 1 ? '' : 's'} for ${numStages} stages`);
  if (!list.every((ratio, k) => ratio >= 0 && ratio <= 1 && ratio >= (list[k - 1] ?? 0))) return refuse('r', r, 'must lie in [0, 1] and not fall');
  return { ok: true, value: list };
}

/** The model's own shift at a number of full-resolution tokens: log(shift) linear in tokens through its points. */
export function modelShift(points: ModelFacts['shift'], tokens: number): number {
  const [first, second] = points;
  const stated = points.find((point) => point.tokens === tokens);
  if (stated) return stated.shift;
  if (!first) throw new RangeError('a model states at least one shift');
  if (!second) return first.shift;
  const share = (tokens - first.tokens) / (second.tokens - first.tokens);
  return Math.exp(Math.log(first.shift) + share * (Math.log(second.shift) - Math.log(first.shift)));
}

/** h and Z of a schedule: fitted by NT-Matching unless they are given. */
export interface Fit {
  readonly shifts: readonly number[];
  readonly z: number | null;
  readonly divergence: number | null;
  readonly fitted: boolean;
  readonly ms: number;
}

/** Fits already made, by everything that decides them. The fit is a pure function, so a kept one is as good as a new one. */
export type FitMemo = Map<string, Fit>;
const MEMO_SIZE = 256;

function matchTimesteps(schedule: ScheduleRequest, shift: number, memo: FitMemo, clock: () => number): Fit {
  const { steps, ends, zMax } = schedule;
  if (steps.length === 1) return { shifts: schedule.shifts ?? [shift], z: null, divergence: null, fitted: false, ms: 0 };
  const problem = { steps, ends, modelShift: shift };
  if (schedule.shifts && schedule.z !== null) {
    return { shifts: schedule.shifts, z: schedule.z, divergence: exactDivergence({ shifts: schedule.shifts, z: schedule.z }, problem), fitted: false, ms: 0 };
  }
  const key = JSON.stringify([steps, ends, shift, zMax]);
  const kept = memo.get(key);
  if (kept) return kept;
  const begin = clock();
  const { shifts, z, divergence } = fitSchedule({ ...problem, zMax });
  const made = { shifts: Array.from(shifts), z, divergence, fitted: true, ms: clock() - begin };
  if (memo.size >= MEMO_SIZE) memo.delete(memo.keys().next().value as string);
  memo.set(key, made);
  return made;
}

/**
 * The plan of a request on a model. Refuses a size the model does not offer, guidance or a negative prompt it does not take, and a reference
 * run in latent mode. `clock` gives milliseconds and only measures the fit.
 */
export function makePlan(request: JobRequest, model: ServedModel, tools: { readonly memo: FitMemo; readonly clock: () => number }): Planned<Plan> {
  const { facts } = model;
  const refusal = refuseForModel(request, facts);
  if (refusal) return { ok: false, refusal };

  const rows = request.height / facts.token_pixels;
  const cols = request.width / facts.token_pixels;
  const { steps, ends, ratios } = request.schedule;
  const found = matchTimesteps(request.schedule, modelShift(facts.shift, rows * cols), tools.memo, tools.clock);
  const schedule: Schedule = buildSchedule({ steps, ends, shifts: found.shifts, z: found.z });

  const counts = tokenCounts({ lowTokens: (rows / 2) * (cols / 2), ratios: steps.length === 1 ? null : ratios });
  const stages = schedule.stages.map((stage, k): PlannedStage => {
    const tokens = counts[k] as number;
    const step = stepFlops(facts.flops, tokens);
    const boundary = schedule.renoise[k - 1];
    return {
      stage: k + 1,
      tokens,
      steps: stage.steps,
      start: stage.start,
      end: stage.end,
      shift: stage.shift,
      sigmas: Array.from(stage.sigmas),
      renoise: boundary ? { signal: boundary.signal, noise: boundary.noise, correlation: boundary.correlation } : null,
      decode: k === steps.length - 1 ? 'image' : request.preview || (k === 0 && steps.length > 2) ? 'clean' : 'none',
      flops: step.total * stage.steps,
      flopsWithoutAttention: step.withoutAttention * stage.steps,
    };
  });
  const { id, channels, token_pixels, digest } = facts;
  return {
    ok: true,
    value: {
      model: { id, channels, token_pixels, digest },
      backends: model.backends,
      rows,
      cols,
      stages,
      z: found.z,
      divergence: found.divergence,
      fitted: found.fitted,
      fitMs: found.ms,
      selected: ratios.map((ratio) => Math.floor(ratio * (rows / 2) * (cols / 2))),
      flops: planFlops(request, facts, stages, rows * cols),
    },
  };
}

function refuseForModel(request: JobRequest, facts: ModelFacts): Refusal | null {
  const sizes = facts.sizes.map(({ width, height }) => `${width}x${height}`);
  if (!sizes.includes(`${request.width}x${request.height}`)) {
    return { field: 'width, height', value: `${request.width}x${request.height}`, rule: `model ${facts.id} offers ${sizes.join(', ')}` };
  }
  if (request.guidance !== null && !facts.guidance) return { field: 'guidance', value: request.guidance, rule: `model ${facts.id} has no guidance` };
  if (request.guidance !== null && facts.guidance && (request.guidance < facts.guidance.min || request.guidance > facts.guidance.max)) {
    return { field: 'guidance', value: request.guidance, rule: `model ${facts.id} takes ${facts.guidance.min} to ${facts.guidance.max}` };
  }
  if (request.negativePrompt !== '' && !facts.negative_prompt) return { field: 'negative_prompt', value: '(text)', rule: `model ${facts.id} takes no negative prompt` };
  if (request.reference && request.upsampling === 'latent') return { field: 'upsampling', value: 'latent', rule: 'the reference repeats tokens: leave it out or say token' };
  return null;
}

function planFlops(request: JobRequest, facts: ModelFacts, stages: readonly PlannedStage[], fullTokens: number): PlannedFlops {
  const pixels = request.width * request.height;
  const plain = stepFlops(facts.flops, fullTokens);
  // a grid of low tokens alone is decoded at its own half size, a mixed one at full size
  const decoded = stages.map(({ decode, tokens }) => (decode === 'none' ? 0 : tokens === fullTokens / 4 ? pixels / 4 : pixels));
  return {
    denoise: sum(stages.map(({ flops }) => flops)),
    denoiseWithoutAttention: sum(stages.map(({ flopsWithoutAttention }) => flopsWithoutAttention)),
    decode: facts.flops.decode_per_pixel * sum(decoded),
    text: facts.flops.text,
    plain: plain.total * facts.steps,
    plainWithoutAttention: plain.withoutAttention * facts.steps,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const tera = (flops: number): number => flops / 1e12;

/** The plan in wire form. */
export function viewPlan(plan: Plan, request: JobRequest): PlanView {
  return {
    stages: plan.stages.map(({ stage, tokens, steps, start, end, shift, sigmas }) => ({ stage, tokens, steps, start, end, shift, sigmas })),
    h: plan.stages.map(({ shift }) => shift),
    z: plan.z,
    s: plan.stages.map(({ start }) => start),
    divergence: plan.divergence,
    fitted: plan.fitted,
    fit_ms: plan.fitMs,
    selected: plan.selected,
    upsampling: request.upsampling,
    tflops: {
      denoise: tera(plan.flops.denoise),
      denoise_without_attention: tera(plan.flops.denoiseWithoutAttention),
      decode: tera(plan.flops.decode),
      text: tera(plan.flops.text),
      plain: tera(plan.flops.plain),
      plain_without_attention: tera(plan.flops.plainWithoutAttention),
      ratio: plan.flops.plain / plan.flops.denoise,
    },
  };
}
