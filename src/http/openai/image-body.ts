/** The body of `POST /v1/images/generations`: OpenAI's fields with their meaning here, ours beside them. */
import { z } from '@hono/zod-openapi';
import { MAX_USER } from '../../billing/spending.ts';
import type { ImageRequest, RaluOptions } from '../../doors/openai-request.ts';
import { IMAGE_SIZES, OPENAI_IGNORED, SIZE } from '../../doors/openai-words.ts';
import { RATIO } from '../../doors/wanted-size.ts';
import { jobBody, MAX_NAME } from '../job-request.ts';
import type { SchemaFields } from '../schema-fields.ts';
import { anyBoolean, anyText, anyWord, FORMATS, ignoredFields, JPG, textOrEmpty } from '../spellings.ts';

/** Images of one request. */
export const MAX_IMAGES = 10;
const MAX_PARTIALS = 3;

const { prompt, seed, guidance, negative_prompt } = jobBody.shape;
const {
  N,
  e,
  h,
  Z,
  r,
  z_max,
  speed,
  published,
  solver,
  cache,
  selection,
  upsampling,
  reference,
  preset,
  allow_engine_change,
  metadata,
} = jobBody.shape;

const extras = z
  .strictObject({
    preset,
    N,
    e,
    h,
    Z,
    r,
    z_max,
    speed,
    published,
    solver,
    cache,
    selection,
    upsampling,
    reference,
    allow_engine_change,
    metadata,
    on_disconnect: z.enum(['cancel', 'continue']).optional().openapi({
      description: 'when the caller goes away: a stream without Idempotency-Key cancels, everything else continues',
    }),
  } satisfies SchemaFields<RaluOptions>)
  .openapi('RaluOptions', { description: 'What only this service has; the fields of POST /v1/jobs' });

const numImages = z.int().min(1).max(MAX_IMAGES).optional();
const numSteps = z.int().min(1).max(1000).optional();

export const imageBody = z
  .strictObject({
    prompt,
    model: textOrEmpty(MAX_NAME),
    n: numImages.openapi({ description: 'image i has seed + i and is a job of its own' }),
    num_images: numImages.openapi({ description: 'what n is' }),
    size: anyText(20, (size) => size === 'auto' || SIZE.test(size), 'must be auto or WIDTHxHEIGHT'),
    width: z.int().positive().optional().openapi({ description: 'with height, what size is' }),
    height: z.int().positive().optional(),
    aspect_ratio: anyText(20, (ratio) => ratio === 'auto' || RATIO.test(ratio), 'must be auto or WIDTH:HEIGHT').openapi(
      { description: 'the nearest that the model makes' },
    ),
    image_size: anyWord(IMAGE_SIZES).openapi({ description: 'pixels of a picture of that aspect ratio' }),
    quality: anyWord(['low', 'medium', 'high', 'xhigh', 'max', 'auto', 'standard', 'hd']).openapi({
      description: 'low to high: the presets of the model, fastest first; xhigh and max: the plain run',
    }),
    output_format: anyWord(FORMATS, JPG),
    output_compression: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .openapi({ description: 'webp and jpeg only; 100 when absent' }),
    background: anyWord(['auto', 'opaque']),
    moderation: anyWord(['auto', 'low']),
    response_format: anyWord(['b64_json', 'url'], { base64: 'b64_json' }).openapi({
      description: 'when absent url for dall-e-2 and dall-e-3, b64_json for others; a url opens for an hour',
    }),
    stream: anyBoolean.optional(),
    partial_images: z
      .int()
      .min(0)
      .max(MAX_PARTIALS)
      .optional()
      .openapi({ description: 'with stream: pictures after the first so many stages' }),
    user: z.string().max(MAX_USER).optional(),
    safety_identifier: z.string().max(MAX_USER).optional(),
    seed,
    steps: numSteps.openapi({ description: 'a plain run of so many steps' }),
    num_inference_steps: numSteps.openapi({ description: 'what steps is' }),
    guidance,
    guidance_scale: guidance.openapi({ description: 'what guidance is; ignored where the model has none' }),
    negative_prompt,
    ...ignoredFields(OPENAI_IGNORED),
    ralu: extras.optional(),
  } satisfies SchemaFields<ImageRequest>)
  .openapi('ImageRequest');
