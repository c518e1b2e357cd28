/** A request for one of Replicate's predictions in the words of a job. Pure. */

import { resolveModel } from '../fleet/models.ts';
import {
  chooseModel,
  type Draft,
  type DraftTools,
  draftRequest,
  type RequestInput,
  renamed,
} from '../job/plan-request.ts';
import { type Planned, refuse } from '../job/schedule-request.ts';
import type { WebhookEvent } from '../job/webhook.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { guidanceOf } from './guidance.ts';
import { type IgnoredFields, ignoredIn } from './ignored.ts';
import {
  AS_WRITTEN,
  JUDGE,
  NO_ADAPTERS,
  NO_IMAGE_TO_IMAGE,
  NO_PICTURE,
  NO_RAW,
  OWN_PACE,
  OWN_SCHEDULE,
} from './reasons.ts';
import { type FoundSize, ratioSize } from './wanted-size.ts';

const MAX_WAIT_SECONDS = 60;
const MAX_DEADLINE_SECONDS = 86_400;

/** The input of a prediction, its shapes checked, its nulls left out. */
export interface PredictionInput extends RequestInput {
  /** image i has seed + i */
  readonly num_outputs?: number | undefined;
  /** a ratio, or `custom`: then width and height say it */
  readonly aspect_ratio?: string | undefined;
  readonly megapixels?: string | number | undefined;
  /** WIDTHxHEIGHT */
  readonly size?: string | undefined;
  readonly output_quality?: number | undefined;
  /** a plain run of so many */
  readonly num_inference_steps?: number | undefined;
  /** the same by another name */
  readonly steps?: number | undefined;
  /** what `guidance` is */
  readonly guidance_scale?: number | undefined;
  /** the caller's own customer */
  readonly user?: string | undefined;
}

const NO_WEIGHTS = 'there are no weights of others to scale';
const ONE_PASS = 'there is one model, and no refiner after it';

/** What models at Replicate take and clients send along, and changes nothing here. */
export const REPLICATE_IGNORED = {
  go_fast: { why: OWN_PACE },
  disable_safety_checker: { why: JUDGE, anyway: [false] },
  safety_tolerance: { why: JUDGE },
  prompt_strength: { why: NO_PICTURE },
  image_prompt_strength: { why: NO_PICTURE },
  prompt_upsampling: { why: AS_WRITTEN, anyway: [false] },
  raw: { why: NO_RAW, anyway: [false] },
  interval: { why: 'the models have no such setting' },
  apply_watermark: { why: 'pictures have no watermark', anyway: [false] },
  scheduler: { why: OWN_SCHEDULE },
  lora_scale: { why: NO_WEIGHTS },
  extra_lora_scale: { why: NO_WEIGHTS },
  refine: { why: ONE_PASS, anyway: ['no_refiner'] },
  refine_steps: { why: ONE_PASS },
  high_noise_frac: { why: ONE_PASS },
} as const satisfies IgnoredFields;

/** What models at Replicate take and this service cannot do: to ignore it would give another picture. */
export const REPLICATE_REFUSED = {
  image: NO_IMAGE_TO_IMAGE,
  mask: NO_IMAGE_TO_IMAGE,
  image_prompt: NO_IMAGE_TO_IMAGE,
  input_image: NO_IMAGE_TO_IMAGE,
  input_images: NO_IMAGE_TO_IMAGE,
  image_input: NO_IMAGE_TO_IMAGE,
  control_image: NO_IMAGE_TO_IMAGE,
  lora_weights: NO_ADAPTERS,
  extra_lora: NO_ADAPTERS,
  hf_lora: NO_ADAPTERS,
  replicate_weights: NO_ADAPTERS,
} as const;

/** What a webhook is told where a request does not say it: new pictures, and the end. */
export const DEFAULT_EVENTS: readonly WebhookEvent[] = ['output', 'completed'];

/** What names the model: a field of the body, or the path. */
export interface ModelName {
  readonly field: 'version' | 'model';
  /** id, alias or digest; `owner/name`; `owner/name:digest`; undefined means the first model */
  readonly name: string | undefined;
}

/** The model that a version or an `owner/name` means. Refuses `field`. */
export function modelNamed(models: readonly ModelFacts[], { field, name }: ModelName): Planned<ModelFacts> {
  if (name === undefined) return chooseModel(models, name);
  // a digest may have colons of its own
  const [, path, digest] = /^([^:]*\/[^:]*):(.+)$/.exec(name) ?? [];
  const byDigest = models.find((facts) => facts.digest === (digest ?? name));
  if (byDigest) return { ok: true, value: byDigest };
  const known = (what: 'id' | 'digest') => models.map((facts) => facts[what]).join(', ');
  if (path !== undefined) return refuse(field, name, `must end in the digest of a model: ${known('digest')}`);
  const byName = resolveModel(models, name.split('/').at(-1) as string);
  return byName ? { ok: true, value: byName } : refuse(field, name, `must be one of ${known('id')}`);
}

/** The draft of a prediction, a job an image. Refuses fields by their names in the body. */
export function draftPrediction(
  input: PredictionInput,
  model: ModelName,
  models: readonly ModelFacts[],
  tools: DraftTools,
): Planned<Draft> {
  const chosen = modelNamed(models, model);
  return chosen.ok ? renamed(draftInput(input, chosen.value, tools), nameHere) : chosen;
}

/** `width, height` → `input.width, input.height`. */
const nameHere = (field: string): string =>
  field
    .split(', ')
    .map((name) => `input.${name}`)
    .join(', ');

/** The draft of an input. Refuses fields by their names in it. */
function draftInput(input: PredictionInput, model: ModelFacts, tools: DraftTools): Planned<Draft> {
  const {
    num_outputs,
    num_inference_steps,
    steps = num_inference_steps,
    guidance_scale,
    output_quality,
    ...own
  } = input;
  const stepsField = num_inference_steps === undefined ? 'steps' : 'num_inference_steps';
  if (num_inference_steps !== undefined && steps !== num_inference_steps)
    return refuse('steps', steps, 'cannot be given together with num_inference_steps');
  if (steps !== undefined && (own.preset !== undefined || own.N !== undefined || own.speed !== undefined))
    return refuse(stepsField, steps, 'cannot be given together with a preset, N or speed');
  if (guidance_scale !== undefined && own.guidance !== undefined)
    return refuse('guidance_scale', guidance_scale, 'cannot be given together with guidance');
  if (output_quality !== undefined && own.quality !== undefined)
    return refuse('output_quality', output_quality, 'cannot be given together with quality');
  const found = sizeOf(input, model);
  if (!found.ok) return found;
  const guided = guidance_scale === undefined ? 'guidance' : 'guidance_scale';
  const { notes: told, guidance } = guidanceOf(guided, guidance_scale ?? own.guidance, model);
  const isLossy = (own.output_format ?? 'png') !== 'png';
  const lossless = output_quality !== undefined && !isLossy ? ['output_quality is ignored: png is lossless'] : [];
  const { aspect_ratio: _, megapixels: __, size: ___, width: ____, height: _____, ...rest } = own;
  const planned = draftRequest(
    {
      ...rest,
      ...found.value.size,
      ...(steps !== undefined && { N: [steps], e: [1] }),
      // 0 is as good as 1: the encoders begin there
      ...(output_quality !== undefined && isLossy && { quality: Math.max(1, output_quality) }),
      guidance,
    },
    model,
    tools,
    {
      count: num_outputs ?? 1,
      notes: [...found.value.notes, ...told, ...lossless, ...ignoredIn(input, REPLICATE_IGNORED)],
    },
  );
  return renamed(planned, (field) => {
    if (steps !== undefined && (field === 'N' || field === 'e')) return stepsField;
    if (field === 'guidance') return guided;
    return field === 'width, height' && input.size !== undefined ? 'size' : field;
  });
}

interface AskedSize extends Pick<FoundSize, 'notes'> {
  readonly size: Pick<RequestInput, 'width' | 'height'> | null;
}

/** The size asked for by pixels, which are meant as they are, or by ratio. */
function sizeOf(input: PredictionInput, model: ModelFacts): Planned<AskedSize> {
  const { aspect_ratio: ratio, megapixels, size, width, height } = input;
  const isByRatio = ratio !== undefined && ratio !== 'custom';
  const sides = (['width', 'height'] as const).filter((side) => input[side] !== undefined);
  if (size !== undefined && (isByRatio || sides.length > 0))
    return refuse('size', size, 'cannot be given together with aspect_ratio, width or height');
  if (isByRatio) {
    const found = ratioSize(ratio, megapixels === undefined ? null : Number(megapixels), model);
    if (!found.ok) return found;
    const unread = sides.map(
      (side) => `${side} is ignored: aspect_ratio decides; custom leaves it to width and height`,
    );
    return { ok: true, value: { ...found.value, notes: [...found.value.notes, ...unread] } };
  }
  const notes = megapixels === undefined ? [] : ['megapixels is ignored: it belongs to an aspect_ratio'];
  if (size === undefined) return { ok: true, value: { size: { width, height }, notes } };
  const [wide, high] = size.split('x').map(Number);
  return { ok: true, value: { size: { width: wide, height: high }, notes } };
}

/** Seconds of `Prefer: wait` or `wait=n`, at most 60; 0 where it is not asked for. */
export function waitSeconds(prefer: string | undefined): number {
  const found = /(?:^|[,;\s])wait(?:=(\d{1,4}))?(?:$|[,;\s])/.exec(prefer ?? '');
  return found ? Math.min(MAX_WAIT_SECONDS, Number(found[1] ?? MAX_WAIT_SECONDS)) : 0;
}

/** Seconds of `Cancel-After`: `90`, `90s`, `5m`, `1h30m`; null without one. Refuses `cancel-after`. */
export function deadlineSeconds(header: string | undefined): Planned<number | null> {
  if (header === undefined) return { ok: true, value: null };
  const [, hours, minutes, seconds] = /^(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s?)?$/.exec(header) ?? [];
  const total = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  if (!(total >= 1 && total <= MAX_DEADLINE_SECONDS))
    return refuse('cancel-after', header, 'must be a time from 1s to 24h, as in 90s, 5m or 1h30m');
  return { ok: true, value: total };
}
