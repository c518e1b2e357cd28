/** What is sent for a prediction: the fields of a job in Replicate's words, and those that change nothing. */
import { z } from '@hono/zod-openapi';
import { type PredictionInput, REPLICATE_IGNORED, REPLICATE_REFUSED } from '../../doors/replicate-request.ts';
import { RATIO } from '../../doors/wanted-size.ts';
import { WEBHOOK_EVENTS } from '../../job/webhook.ts';
import { jobBody, MAX_NAME } from '../job-request.ts';
import type { SchemaFields } from '../schema-fields.ts';
import { anyWord, FORMATS, ignoredFields, JPG, refusedFields } from '../spellings.ts';

/** Longest ratio, size or number, characters. */
const MAX_WORD = 20;
/** Most images of one prediction, as at Replicate. */
const MAX_OUTPUTS = 4;
const SIZE = /^[1-9]\d{0,4}x[1-9]\d{0,4}$/;
const MEGAPIXELS = /^(?:0\.\d{1,4}|[1-9]\d?(?:\.\d{1,4})?)$/;

const { model: _model, deadline_seconds: _deadline, webhook_url: _webhook, ...own } = jobBody.shape;
const steps = z.int().min(1).max(1000);

export const predictionInput = z
  .strictObject({
    ...own,
    ...ignoredFields(REPLICATE_IGNORED),
    ...refusedFields(REPLICATE_REFUSED),
    num_outputs: z.int().min(1).max(MAX_OUTPUTS).optional().openapi({ description: 'image i has seed + i' }),
    aspect_ratio: z
      .string()
      .max(MAX_WORD)
      .refine((ratio) => ratio === 'custom' || RATIO.test(ratio), 'must be a ratio, as in 16:9, or custom')
      .optional()
      .openapi({
        description: 'the nearest that the model makes; custom: width and height say it',
        example: '16:9',
      }),
    megapixels: z
      .union([
        z.number().positive().max(100),
        z.string().max(MAX_WORD).regex(MEGAPIXELS, 'must be a number, as in 0.25'),
      ])
      .optional()
      .openapi({ description: 'of an aspect_ratio; those of the model’s first size when absent' }),
    size: z.string().max(MAX_WORD).regex(SIZE, 'must be WIDTHxHEIGHT').optional(),
    output_format: anyWord(FORMATS, JPG),
    output_quality: z.int().min(0).max(100).optional().openapi({ description: 'webp and jpeg' }),
    num_inference_steps: steps.optional().openapi({ description: 'a plain run of so many steps' }),
    steps: steps.optional().openapi({ description: 'the same as num_inference_steps' }),
    guidance_scale: own.guidance,
  } satisfies SchemaFields<PredictionInput>)
  .openapi('PredictionInput', { description: 'The fields of POST /v1/jobs, and those of models at Replicate' });

export const predictionBody = z.strictObject({
  version: z
    .string()
    .min(1)
    .max(2 * MAX_NAME)
    .optional()
    .openapi({ description: 'id, alias or digest of a model; `owner/name` and `owner/name:digest` too' }),
  input: predictionInput,
  webhook: z.string().max(2000).optional(),
  webhook_events_filter: z
    .array(z.enum(WEBHOOK_EVENTS))
    .max(WEBHOOK_EVENTS.length)
    .optional()
    .openapi({ description: 'output and completed when absent' }),
  stream: z.boolean().optional(),
});
export type PredictionBody = z.infer<typeof predictionBody>;
