/** Which schedule a request asks for: a preset's or its own lists, checked against the rules. Pure. */
import { shiftRange } from '../numerics/divergence.ts';
import { canBeStaged, describeSizes, makesSize, type Size } from '../numerics/grid.ts';
import type { Range } from '../numerics/minimize.ts';
import type { Selection } from '../numerics/select.ts';
import type { TemporalCache } from '../numerics/taylor.ts';
import type { ModelFacts } from '../stage/contract.ts';
import type { ScheduleRequest } from './job.ts';
import { modelShift } from './model-shift.ts';
import { defaultPreset, PLAIN, type Preset, presetsFor } from './presets.ts';

/** What a request may be refused for once the model is known. */
export interface Refusal {
  readonly field: string;
  readonly value: unknown;
  readonly rule: string;
}

export type Planned<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal };

/** A request refused for one field. */
export const refuse = (field: string, value: unknown, rule: string): { ok: false; refusal: Refusal } => ({
  ok: false,
  refusal: { field, value, rule },
});

/** The schedule part of a request as the caller wrote it; the shapes are checked already, the meaning is not. */
export interface ScheduleInput {
  readonly preset?: string | undefined;
  readonly N?: readonly number[] | undefined;
  readonly e?: readonly number[] | undefined;
  readonly h?: readonly number[] | undefined;
  /** for every boundary, or one for each */
  readonly Z?: number | readonly number[] | undefined;
  readonly r?: number | readonly number[] | undefined;
  readonly published?: boolean | undefined;
  /** canny when absent; `none` upsamples nothing early */
  readonly selection?: Selection | undefined;
  readonly z_max?: number | undefined;
  /** every step is evaluated when absent, unless the preset has a cache of its own */
  readonly cache?: TemporalCache | undefined;
}

/** Most steps a job may have in all its stages: far above any useful schedule, low enough to bound the plan. */
export const MAX_STEPS = 1000;
export const MAX_STAGES = 8;
/**
 * Shortest stage on the clock: below it densities run out of digits, and a thousand sigmas fall together in float32, in
 * which they travel.
 */
const MIN_STAGE = 1e-3;
/** Plain steps of a model whose presets have too few steps for a forecast. */
const FEW_STEPS = 4;
const NOTHING_TO_FIT = 'bounds a fitted Z, and this schedule has none to fit';

/** Why a model does not make this size; null where it does. */
export function refuseSize(
  { width, height }: Size,
  facts: Pick<ModelFacts, 'id' | 'sizes' | 'size_rule'>,
): Refusal | null {
  if (makesSize({ width, height }, facts)) return null;
  return {
    field: 'width, height',
    value: `${width}x${height}`,
    rule: `model ${facts.id} offers ${describeSizes(facts)}`,
  };
}

/** Why a size is for the plain run alone, for those whose token grid has an odd side. */
export const plainOnlyRule = ({ width, height }: Size, tokenPixels: number): string =>
  `${width}x${height} has ${width / tokenPixels} x ${height / tokenPixels} tokens; stages need an even number on both sides: ask for preset ${PLAIN} or another size`;

/**
 * N, e, r of a job from a preset or from the caller's own lists. `facts` decides which presets exist; `size` decides
 * what a request gets that names none: the fastest of them, or the plain run where the size cannot be staged. Rules: N
 * and e have one length, 1 … 8; N are positive, at most 1000 together; e rises by at least 0.001 each time, from at
 * least 0.001, and ends at 1; r has K - 2 values in [0, 1] that do not fall; h has K values in shiftRange of the
 * model's shift at that size; Z, one value or K - 1, and z_max lie in [2, 100]; h and Z come together; selection none
 * has no r above 0, and latent needs a boundary to select at; a cache is of a kind that the model can be run with, and
 * leaves the longest stage something to forecast.
 * A custom schedule is for a size that the model makes. Whether the size takes the stages that were asked for is for
 * makePlan to say.
 */
export function chooseSchedule(input: ScheduleInput, facts: ModelFacts, size: Size): Planned<ScheduleRequest> {
  const custom = (['N', 'e', 'h', 'Z'] as const).filter((field) => input[field] !== undefined);
  const zMax = input.z_max ?? null;
  if (zMax !== null && !(zMax >= 2 && zMax <= 100)) return refuse('z_max', zMax, 'must be from 2 to 100');
  if (input.preset !== undefined && custom.length > 0)
    return refuse(custom[0] as string, input[custom[0] as 'N'], 'cannot be given together with preset');
  if (
    input.z_max !== undefined &&
    (input.Z !== undefined || input.published || input.preset === PLAIN || input.N?.length === 1)
  ) {
    return refuse('z_max', input.z_max, NOTHING_TO_FIT);
  }
  if (custom.length > 0) {
    if (input.published) return refuse('published', true, 'belongs to a preset, not to a custom schedule');
    // no other size has a shift that can be relied on
    const refusal = refuseSize(size, facts);
    if (refusal) return { ok: false, refusal };
    const tokens = (size.width / facts.token_pixels) * (size.height / facts.token_pixels);
    return customSchedule(input, facts, { zMax, shifts: shiftRange(modelShift(facts.shift, tokens)) });
  }
  return presetSchedule(input, facts, size, zMax);
}

function presetSchedule(
  input: ScheduleInput,
  facts: ModelFacts,
  size: Size,
  zMax: number | null,
): Planned<ScheduleRequest> {
  const isPlainOnly = !canBeStaged(size, facts.token_pixels);
  const name = input.preset ?? (isPlainOnly ? PLAIN : defaultPreset(facts));
  if (name === PLAIN) {
    // who did not ask for the plain run hears why it is the only one
    const field = (['r', 'published', 'z_max'] as const).find(
      (asked) => input[asked] !== undefined && input[asked] !== false,
    );
    if (isPlainOnly && input.preset === undefined && field)
      return refuse(field, input[field], plainOnlyRule(size, facts.token_pixels));
    if (input.r !== undefined) return refuse('r', input.r, 'the plain run has no boundary to select tokens at');
    if (input.published) return refuse('published', true, 'the plain run has no published h and Z');
    if (input.z_max !== undefined) return refuse('z_max', input.z_max, NOTHING_TO_FIT);
    if (input.selection === 'latent')
      return refuse('selection', 'latent', 'the plain run has no boundary to select tokens at');
    const cache = choosePresetCache(input, [facts.steps], facts);
    if (!cache.ok) return cache;
    return {
      ok: true,
      value: {
        preset: PLAIN,
        steps: [facts.steps],
        ends: [1],
        ratios: [],
        shifts: null,
        z: null,
        zMax,
        cache: cache.value,
      },
    };
  }
  const presets = presetsFor(facts);
  const preset = presets.find((candidate) => candidate.name === name);
  if (!preset)
    return refuse('preset', name, `must be one of ${[PLAIN, ...presets.map((known) => known.name)].join(', ')}`);
  if (input.published && !preset.published) return refuse('published', true, `preset ${name} has no published h and Z`);
  if (input.published && input.selection !== undefined && input.selection !== 'canny')
    return refuse('selection', input.selection, 'the published schedule selects by canny: leave it out or say canny');
  if (preset.cache && input.cache)
    return refuse('cache', input.cache, `preset ${name} has a cache of its own: leave it out, or name another preset`);
  if (input.published && input.cache)
    return refuse('cache', input.cache, 'the published schedule evaluates every step: leave it out');
  const ratios = chooseRatios(input, preset.steps.length, preset);
  if (!ratios.ok) return ratios;
  const cache = choosePresetCache(input, preset.steps, facts);
  if (!cache.ok) return cache;
  const fixed = input.published ? preset.published : null;
  return {
    ok: true,
    value: {
      preset: name,
      steps: preset.steps,
      ends: preset.ends,
      ratios: ratios.value,
      shifts: fixed?.shifts ?? null,
      z: fixed && preset.steps.slice(1).map(() => fixed.z),
      zMax,
      cache: preset.cache ?? cache.value,
    },
  };
}

function customSchedule(
  { N, e, h, Z, r, selection, cache }: ScheduleInput,
  facts: ModelFacts,
  { zMax, shifts }: { readonly zMax: number | null; readonly shifts: Range },
): Planned<ScheduleRequest> {
  if (N === undefined) return refuse('N', undefined, 'is required for a custom schedule: steps of each stage');
  if (e === undefined)
    return refuse('e', undefined, 'is required for a custom schedule: end of each stage, rising to 1');
  const numStages = N.length;
  if (numStages < 1 || numStages > MAX_STAGES) return refuse('N', N, `must have 1 to ${MAX_STAGES} values`);
  if (!N.every((steps) => Number.isInteger(steps) && steps >= 1))
    return refuse('N', N, 'every value must be a whole number of at least 1');
  if (N.reduce((sum, steps) => sum + steps, 0) > MAX_STEPS)
    return refuse('N', N, `must not be more than ${MAX_STEPS} steps together`);
  if (e.length !== numStages) return refuse('e', e, `must have as many values as N: ${numStages}`);
  if (e[numStages - 1] !== 1) return refuse('e', e, 'the last value must be 1');
  if (e.some((end, k) => !(end - (e[k - 1] ?? 0) >= MIN_STAGE * (1 - 1e-9))))
    return refuse('e', e, `must rise from above 0, by at least ${MIN_STAGE} each time`);
  if (
    h !== undefined &&
    (h.length !== numStages || h.some((shift) => !(shift >= shifts.least && shift <= shifts.most)))
  )
    return refuse('h', h, `must have ${numStages} values from ${shifts.least} to ${shifts.most}`);
  const z = typeof Z === 'number' ? N.slice(1).map(() => Z) : Z;
  if (Z !== undefined && numStages === 1) return refuse('Z', Z, 'one stage has no boundary to renoise at');
  if (z !== undefined && (z.length !== numStages - 1 || !z.every((strength) => strength >= 2 && strength <= 100)))
    return refuse('Z', Z, `must be from 2 to 100, one value or a list of ${numStages - 1}`);
  if (numStages > 1 && (h === undefined) !== (Z === undefined))
    return refuse(
      h === undefined ? 'h' : 'Z',
      undefined,
      'h and Z must be given together, or neither, to have them fitted',
    );
  const ratios = chooseRatios({ r, selection }, numStages, null);
  if (!ratios.ok) return ratios;
  const forecast = chooseCache({ cache }, N, facts);
  if (!forecast.ok) return forecast;
  return {
    ok: true,
    value: {
      preset: null,
      steps: N,
      ends: e,
      ratios: ratios.value,
      shifts: h ?? null,
      z: z ?? null,
      zMax,
      cache: forecast.value,
    },
  };
}

function chooseRatios(
  { r, selection }: Pick<ScheduleInput, 'r' | 'selection'>,
  numStages: number,
  preset: Preset | null,
): Planned<readonly number[]> {
  const count = Math.max(0, numStages - 2);
  if (count === 0 && selection === 'latent')
    return refuse('selection', selection, `${numStages} stage${numStages === 1 ? '' : 's'} have no selection to make`);
  if (r === undefined) {
    if (selection === 'none') return { ok: true, value: Array<number>(count).fill(0) };
    if (preset) return { ok: true, value: preset.ratios };
    if (count === 0) return { ok: true, value: [] };
    return refuse(
      'r',
      undefined,
      `is required for ${numStages} stages: the share of tokens upsampled early, ${count} value${count === 1 ? '' : 's'}`,
    );
  }
  const list = typeof r === 'number' ? [r] : r;
  if (list.length !== count)
    return refuse(
      'r',
      r,
      count === 0
        ? `${numStages} stage${numStages === 1 ? '' : 's'} have no selection to make`
        : `must have ${count} value${count === 1 ? '' : 's'} for ${numStages} stages`,
    );
  if (!list.every((ratio, k) => ratio >= 0 && ratio <= 1 && ratio >= (list[k - 1] ?? 0)))
    return refuse('r', r, 'must lie in [0, 1] and not fall');
  if (selection === 'none' && list.some((ratio) => ratio > 0))
    return refuse('r', r, 'selection none upsamples nothing early: leave r out or say 0');
  return { ok: true, value: list };
}

/** The cache asked for, with stages of a preset's steps. */
const choosePresetCache: typeof chooseCache = (input, steps, facts) =>
  input.cache && facts.steps <= FEW_STEPS
    ? refuse('cache', input.cache, `presets of ${facts.steps} steps have too few to forecast from: leave it out`)
    : chooseCache(input, steps, facts);

/** The cache asked for, with stages of these steps. */
function chooseCache(
  { cache }: Pick<ScheduleInput, 'cache'>,
  steps: readonly number[],
  { id, caches }: Pick<ModelFacts, 'id' | 'caches' | 'steps'>,
): Planned<TemporalCache | null> {
  if (!cache) return { ok: true, value: null };
  if (caches.length === 0) return refuse('cache', cache, `model ${id} evaluates every step: leave it out`);
  if (!caches.includes(cache.kind)) return refuse('cache.kind', cache.kind, `model ${id} takes ${caches.join(', ')}`);
  const longest = Math.max(...steps);
  const stage = `the longest stage has ${longest} step${longest === 1 ? '' : 's'}`;
  if (cache.warmup >= longest)
    return refuse('cache.warmup', cache.warmup, `must leave a step to forecast, and ${stage}`);
  if (cache.interval > longest)
    return refuse('cache.interval', cache.interval, `must not be more than a stage has, and ${stage}`);
  return { ok: true, value: cache };
}
