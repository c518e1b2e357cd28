/**
 * The body of `POST /v1/images/generations`: OpenAI's fields with their meaning here, ours beside them, and the way
 * from it to one planned job an image.
 */
import { z } from '@hono/zod-openapi';
import { createMiddleware } from 'hono/factory';
import { resolveModel, type ServedModel } from '../../fleet/models.ts';
import { PLAIN, presetsFor } from '../../job/presets.ts';
import { type ImageFormat, imageFormat } from '../../stage/contract.ts';
import type { AppEnv } from '../env.ts';
import { type JobBody, jobBody, type PlanningTools, planBody } from '../job-request.ts';
import { badField, Problem } from '../problem.ts';
import type { Planned } from '../start-jobs.ts';

const MAX_IMAGES = 10;
const MAX_PARTIALS = 3;
const NUM_SEEDS = 2 ** 32;
const SIZE = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/;
const DEFAULT_COMPRESSION = 100;

const { prompt, seed, guidance, negative_prompt, N, e, h, Z, r, z_max, published, upsampling, reference, preset } =
  jobBody.shape;

const extras = z
  .strictObject({
    preset,
    N,
    e,
    h,
    Z,
    r,
    z_max,
    published,
    upsampling,
    reference,
    on_disconnect: z.enum(['cancel', 'continue']).optional().openapi({
      description: 'when the caller goes away: a stream without Idempotency-Key cancels, everything else continues',
    }),
  })
  .openapi('RaluOptions', { description: 'What only this service has; the fields of POST /v1/jobs' });

export const imageBody = z
  .strictObject({
    prompt,
    model: z.string().min(1).nullish(),
    n: z
      .int()
      .min(1)
      .max(MAX_IMAGES)
      .nullish()
      .openapi({ description: 'image i has seed + i and is a job of its own' }),
    size: z
      .string()
      .refine((size) => size === 'auto' || SIZE.test(size), 'must be auto or WIDTHxHEIGHT')
      .nullish(),
    quality: z
      .enum(['low', 'medium', 'high', 'xhigh', 'max', 'auto', 'standard', 'hd'])
      .nullish()
      .openapi({ description: 'low to high: the presets of the model, fastest first; xhigh and max: the plain run' }),
    output_format: imageFormat.nullish(),
    output_compression: z
      .int()
      .min(0)
      .max(100)
      .nullish()
      .openapi({ description: 'webp and jpeg only; 100 when absent' }),
    background: z.enum(['auto', 'opaque']).nullish(),
    moderation: z.enum(['auto', 'low']).nullish(),
    response_format: z
      .enum(['b64_json', 'url'])
      .nullish()
      .openapi({ description: 'b64_json when absent; a url opens for an hour' }),
    stream: z.boolean().nullish(),
    partial_images: z
      .int()
      .min(0)
      .max(MAX_PARTIALS)
      .nullish()
      .openapi({ description: 'with stream: pictures after the first so many stages' }),
    user: z.string().max(512).nullish(),
    safety_identifier: z.string().max(512).nullish(),
    seed: seed.nullable(),
    steps: z.int().min(1).max(1000).nullish().openapi({ description: 'a plain run of so many steps' }),
    guidance: guidance.nullable(),
    negative_prompt: negative_prompt.nullable(),
    ralu: extras.nullish(),
  })
  .openapi('ImageRequest');
export type ImageBody = z.infer<typeof imageBody>;

/** Fields and values of OpenAI's specification that no model here can do, with the reason. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => string | null>> = {
  background: (value) => (value === 'transparent' ? 'pictures are opaque' : null),
  output_format: (value) => (value === 'gif' || value === 'svg' ? 'must be png, webp or jpeg' : null),
  style: () => 'the models have no styles',
  complexity: () => 'the models have no planning to spend more or less on',
  frame_count: () => 'there is one frame',
  frame_duration_ms: () => 'there is one frame',
  svg: () => 'must be png, webp or jpeg',
};

/**
 * Refuses what the specification has and this service does not: a 400 `unsupported_parameter` that names it. Null is as
 * good as absent.
 */
export const refuseUnsupported = createMiddleware<AppEnv>(async function refuseUnsupported(c, next) {
  const body: unknown = await c.req.json();
  for (const [field, refusal] of Object.entries(UNSUPPORTED)) {
    const value = typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[field] : undefined;
    const rule = value === undefined || value === null ? null : refusal(value);
    if (rule)
      throw new Problem({
        status: 400,
        code: 'unsupported_parameter',
        detail: `${field} is not supported: ${rule}.`,
        errors: [{ field, value, rule }],
      });
  }
  await next();
});

/**
 * The preset that a quality means for a model with this plain run: `low` its fastest, `medium` the one in the middle,
 * `high` its most careful.
 */
function presetOf(quality: ImageBody['quality'], plainSteps: number): string | undefined {
  const names = presetsFor(plainSteps).map(({ name }) => name);
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
    default:
      return undefined;
  }
}

/** The ways to choose a schedule exclude each other. Throws a 400 Problem. */
function chooseSchedule({ quality, steps, ralu }: ImageBody, plainSteps: number): Partial<JobBody> {
  const named = presetOf(quality, plainSteps);
  const own = (['preset', 'N', 'e', 'h', 'Z'] as const).find((field) => ralu?.[field] !== undefined);
  if (named !== undefined && own) throw badField('quality', quality, `chooses a preset, and so does ralu.${own}`);
  if (named !== undefined && typeof steps === 'number')
    throw badField('steps', steps, 'cannot be given together with quality');
  if (typeof steps === 'number' && own) throw badField('steps', steps, `cannot be given together with ralu.${own}`);
  if (typeof steps === 'number') return { N: [steps], e: [1] };
  return named === undefined ? {} : { preset: named };
}

/** Names that a field of the job has in this body, where it was the one that came. */
function nameHere(field: string, { steps, quality, ralu }: ImageBody): string {
  if (['width', 'height', 'width, height'].includes(field)) return 'size';
  if (field === 'quality') return 'output_compression';
  if (typeof steps === 'number' && (field === 'N' || field === 'e')) return 'steps';
  if (field === 'preset' && quality && ralu?.preset === undefined) return 'quality';
  return Object.hasOwn(extras.shape, field) ? `ralu.${field}` : field;
}

/**
 * Fields of the job that are fields of this body too: undefined where they did not come, since null means the same
 * here.
 */
const given = <T>(value: T | null | undefined): { readonly value: T } | null =>
  value === null || value === undefined ? null : { value };

/**
 * One planned job an image, image i with seed + i. `preferred` is the format where the body names none. Throws a 400
 * Problem in the names of this body.
 */
export function planImages(
  body: ImageBody,
  models: readonly ServedModel[],
  tools: PlanningTools,
  preferred: ImageFormat = 'png',
): readonly Planned[] {
  const { partial_images: partials, output_compression: compression, model, ralu } = body;
  if (typeof partials === 'number' && partials > 0 && !body.stream)
    throw badField('partial_images', partials, 'needs stream');
  const found = resolveModel(models, model ?? undefined);
  if (!found) throw badField('model', model, `must be one of ${models.map(({ facts }) => facts.id).join(', ')}`);
  const format = body.output_format ?? preferred;
  if (typeof compression === 'number' && compression !== DEFAULT_COMPRESSION && format === 'png')
    throw badField('output_compression', compression, 'belongs to webp and jpeg; png is lossless');
  const [, width, height] = SIZE.exec(body.size ?? '') ?? [];
  const firstSeed = body.seed ?? tools.draw();
  const { on_disconnect: _, ...options } = ralu ?? {};
  const guidance = given(body.guidance);
  const negative = given(body.negative_prompt);
  const job: JobBody = {
    prompt: body.prompt,
    model: found.facts.id,
    ...options,
    ...chooseSchedule(body, found.facts.steps),
    ...(width && height && { width: Number(width), height: Number(height) }),
    ...(guidance && { guidance: guidance.value }),
    ...(negative && { negative_prompt: negative.value }),
    output_format: format,
    // 0 is as good as 1: the encoders begin there
    ...(format !== 'png' && { quality: Math.max(1, compression ?? DEFAULT_COMPRESSION) }),
  };
  try {
    return Array.from({ length: body.n ?? 1 }, (_, i) =>
      planBody({ ...job, seed: (firstSeed + i) % NUM_SEEDS }, models, tools, { count: partials ?? 0, format }),
    );
  } catch (error) {
    const fault = error instanceof Problem ? error.fields.errors?.[0] : undefined;
    if (!fault) throw error;
    throw badField(nameHere(fault.field, body), fault.value, fault.rule);
  }
}
