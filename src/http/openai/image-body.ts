/** The body of `POST /v1/images/generations`: OpenAI's fields with their meaning here, ours beside them. */
import { z } from '@hono/zod-openapi';
import { MAX_USER } from '../../billing/spending.ts';
import { type ImageRequest, type RaluOptions, SIZE } from '../../doors/openai-request.ts';
import { imageFormat } from '../../stage/contract.ts';
import { jobBody, MAX_NAME } from '../job-request.ts';
import type { SchemaFields } from '../schema-fields.ts';

const MAX_IMAGES = 10;
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

export const imageBody = z
  .strictObject({
    prompt,
    model: z.string().min(1).max(MAX_NAME).optional(),
    n: z
      .int()
      .min(1)
      .max(MAX_IMAGES)
      .optional()
      .openapi({ description: 'image i has seed + i and is a job of its own' }),
    size: z
      .string()
      .max(20)
      .refine((size) => size === 'auto' || SIZE.test(size), 'must be auto or WIDTHxHEIGHT')
      .optional(),
    quality: z
      .enum(['low', 'medium', 'high', 'xhigh', 'max', 'auto', 'standard', 'hd'])
      .optional()
      .openapi({ description: 'low to high: the presets of the model, fastest first; xhigh and max: the plain run' }),
    output_format: imageFormat.optional(),
    output_compression: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .openapi({ description: 'webp and jpeg only; 100 when absent' }),
    background: z.enum(['auto', 'opaque']).optional(),
    moderation: z.enum(['auto', 'low']).optional(),
    response_format: z
      .enum(['b64_json', 'url'])
      .optional()
      .openapi({ description: 'b64_json when absent; a url opens for an hour' }),
    stream: z.boolean().optional(),
    partial_images: z
      .int()
      .min(0)
      .max(MAX_PARTIALS)
      .optional()
      .openapi({ description: 'with stream: pictures after the first so many stages' }),
    user: z.string().max(MAX_USER).optional(),
    safety_identifier: z.string().max(MAX_USER).optional(),
    seed,
    steps: z.int().min(1).max(1000).optional().openapi({ description: 'a plain run of so many steps' }),
    guidance,
    negative_prompt,
    ralu: extras.optional(),
  } satisfies SchemaFields<ImageRequest>)
  .openapi('ImageRequest');
