/** A request for OpenAI's images in the words of a job. Pure. */

import { isAlias } from '../fleet/models.ts';
import type { Upsampling } from '../job/job.ts';
import {
  chooseModel,
  type Draft,
  type DraftTools,
  draftRequest,
  type RequestInput,
  renamed,
} from '../job/plan-request.ts';
import { PLAIN, type PresetFacts, usualPresetsFor } from '../job/presets.ts';
import { type Planned, type Refusal, refuse, type ScheduleInput } from '../job/schedule-request.ts';
import type { Solver } from '../numerics/adams-bashforth.ts';
import type { ImageFormat, ModelFacts } from '../stage/contract.ts';
import { askedSize } from './any-size.ts';
import { meaningOf, type OtherWords } from './openai-words.ts';

const DEFAULT_COMPRESSION = 100;

/** What only this service has. */
export interface RaluOptions extends ScheduleInput {
  readonly speed?: number | undefined;
  readonly solver?: Solver | undefined;
  readonly upsampling?: Upsampling | undefined;
  readonly reference?: boolean | undefined;
  readonly allow_engine_change?: boolean | undefined;
  readonly metadata?: boolean | undefined;
  readonly on_disconnect?: 'cancel' | 'continue' | undefined;
}

/** The body of a request, its shapes checked, its nulls left out. */
export interface ImageRequest extends OtherWords {
  readonly prompt: string;
  readonly model?: string | undefined;
  readonly n?: number | undefined;
  /** `auto`, or as openai-words.ts has it */
  readonly size?: string | undefined;
  readonly quality?: 'low' | 'medium' | 'high' | 'xhigh' | 'max' | 'auto' | 'standard' | 'hd' | undefined;
  readonly output_format?: ImageFormat | undefined;
  readonly output_compression?: number | undefined;
  readonly background?: 'auto' | 'opaque' | undefined;
  readonly moderation?: 'auto' | 'low' | undefined;
  /** where absent, as the model that is asked for has it: `responseFormatOf` */
  readonly response_format?: 'b64_json' | 'url' | undefined;
  readonly stream?: boolean | undefined;
  readonly partial_images?: number | undefined;
  readonly user?: string | undefined;
  readonly safety_identifier?: string | undefined;
  readonly seed?: number | undefined;
  readonly steps?: number | undefined;
  readonly guidance?: number | undefined;
  readonly negative_prompt?: string | undefined;
  readonly ralu?: RaluOptions | undefined;
}

/** A field that is refused; where `values` are named, these alone. */
interface RefusedField {
  readonly why: string;
  readonly values?: readonly unknown[];
}

/** Fields and values of OpenAI's specification that no model here can do, with the reason. */
export const OPENAI_REFUSED: Readonly<Record<string, RefusedField>> = {
  background: { values: ['transparent'], why: 'pictures are opaque' },
  output_format: { values: ['gif', 'svg'], why: 'must be png, webp or jpeg' },
  complexity: { why: 'the models have no planning to spend more or less on' },
  frame_count: { why: 'there is one frame' },
  frame_duration_ms: { why: 'there is one frame' },
  svg: { why: 'must be png, webp or jpeg' },
};

/**
 * The first field of a body that the specification has and this service does not, with the reason; null where there is
 * none. Null is as good as absent.
 */
export function findUnsupported(body: unknown): Refusal | null {
  if (typeof body !== 'object' || body === null) return null;
  for (const [field, { why, values }] of Object.entries(OPENAI_REFUSED)) {
    const value = Object.hasOwn(body, field) ? (body as Record<string, unknown>)[field] : null;
    if (value !== null && (values === undefined || values.includes(value))) return { field, value, rule: why };
  }
  return null;
}

/** Models that answer with addresses where a request does not say: the tools that ask for them read nothing else. */
const ANSWER_URLS = /^dall-e-[23]$/i;

/** How the pictures of a request are handed over. */
export const responseFormatOf = ({ response_format, model }: Pick<ImageRequest, 'response_format' | 'model'>) =>
  response_format ?? (ANSWER_URLS.test(model ?? '') ? 'url' : 'b64_json');

/**
 * A draft: a job an image, image i with seed + i. `preferred` is the format where the body names none. Refuses fields
 * by their names in this body.
 */
export function draftImages(
  body: ImageRequest,
  models: readonly ModelFacts[],
  tools: DraftTools,
  preferred: ImageFormat = 'png',
): Planned<Draft> {
  const { partial_images: partials = 0, output_compression: compression = DEFAULT_COMPRESSION } = body;
  if (partials > 0 && !body.stream) return refuse('partial_images', partials, 'needs stream');
  const model = chooseModel(models, body.model);
  if (!model.ok) return model;
  const format = body.output_format ?? preferred;
  if (compression !== DEFAULT_COMPRESSION && format === 'png')
    return refuse('output_compression', compression, 'belongs to webp and jpeg; png is lossless');
  const isFree = tools.mayEnlarge === true && isAlias(models, body.model);
  const meaning = meaningOf(body, model.value, isFree);
  if (!meaning.ok) return meaning;
  const { count, steps, guidance, size: wanted, notes } = meaning.value;
  const schedule = scheduleOf({ ...body, steps }, model.value);
  if (!schedule.ok) return renamed(schedule, (field) => nameHere(field, body));
  const size = askedSize(wanted, { name: body.model, models, facts: model.value, tools });
  const { on_disconnect: _, ...options } = body.ralu ?? {};
  const input: RequestInput = {
    prompt: body.prompt,
    negative_prompt: body.negative_prompt,
    ...options,
    ...schedule.value,
    ...size.input,
    seed: body.seed,
    guidance,
    output_format: format,
    // 0 is as good as 1: the encoders begin there
    ...(format !== 'png' && { quality: Math.max(1, compression) }),
  };
  const planned = draftRequest(input, model.value, tools, {
    count,
    previews: { count: partials, format },
    notes: [...notes, ...size.notes],
  });
  return renamed(planned, (field) => nameHere(field, body));
}

/**
 * The preset that a quality means for a model: `low` its fastest, `medium` the one in the middle,
 * `high` its most careful; undefined where it chooses none.
 */
function presetOf(quality: ImageRequest['quality'], facts: PresetFacts): string | undefined {
  const names = usualPresetsFor(facts).map(({ name }) => name);
  switch (quality) {
    case 'low':
      return names.at(-1) ?? PLAIN;
    case 'medium':
      return names[(names.length - 1) >> 1] ?? PLAIN;
    case 'high':
    case 'hd':
      return names[0] ?? PLAIN;
    case 'xhigh':
    case 'max':
      return PLAIN;
    case 'auto':
    case 'standard':
    case undefined:
      return undefined;
  }
}

/** The schedule that `quality` or `steps` choose. The ways to choose one exclude each other. */
function scheduleOf({ quality, steps, ralu }: ImageRequest, facts: PresetFacts): Planned<ScheduleInput> {
  const preset = presetOf(quality, facts);
  const own = (['preset', 'N', 'e', 'h', 'Z', 'speed'] as const).find((field) => ralu?.[field] !== undefined);
  if (preset !== undefined && own) return refuse('quality', quality, `chooses a preset, and so does ralu.${own}`);
  if (preset !== undefined && steps !== undefined)
    return refuse('steps', steps, 'cannot be given together with quality');
  if (steps !== undefined && own) return refuse('steps', steps, `cannot be given together with ralu.${own}`);
  if (steps !== undefined) return { ok: true, value: { N: [steps], e: [1] } };
  return { ok: true, value: preset === undefined ? {} : { preset } };
}

/** The fields of the job that have their place under `ralu`. */
const OPTIONS: Readonly<Record<Exclude<keyof RaluOptions, 'on_disconnect'>, true>> = {
  preset: true,
  N: true,
  e: true,
  h: true,
  Z: true,
  r: true,
  z_max: true,
  speed: true,
  published: true,
  solver: true,
  cache: true,
  selection: true,
  upsampling: true,
  reference: true,
  allow_engine_change: true,
  metadata: true,
};

/** Names that a field of the job has in this body, where it was the one that came. */
function nameHere(field: string, body: ImageRequest): string {
  const { quality, ralu } = body;
  const steps = body.num_inference_steps === undefined ? 'steps' : 'num_inference_steps';
  if (['width', 'height', 'width, height', 'enlarge'].includes(field))
    return body.width === undefined ? 'size' : 'width, height';
  if (field === 'quality' && body.output_compression !== undefined) return 'output_compression';
  if (field === 'steps') return steps;
  if (body[steps] !== undefined && (field === 'N' || field === 'e')) return steps;
  if (field === 'guidance' && body.guidance === undefined) return 'guidance_scale';
  if (field === 'preset' && quality && ralu?.preset === undefined) return 'quality';
  const [own = field] = field.split('.');
  return Object.hasOwn(OPTIONS, own) ? `ralu.${field}` : field;
}
