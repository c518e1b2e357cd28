/** BFL's answers in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { viewMissing, viewResult, viewSubmitted } from '../../doors/bfl.ts';
import { exactly } from '../schema-fields.ts';
import { warnings } from './work.ts';

const cost = z.number().optional().openapi({ description: 'cents' });

export const submitted = exactly<ReturnType<typeof viewSubmitted>>()(
  z
    .object({
      id: z.string(),
      polling_url: z.string(),
      cost,
      input_mp: z.number(),
      output_mp: z.number(),
      status: z.enum(['Pending', 'Ready', 'Error']).optional().openapi({ description: 'where a webhook was named' }),
      webhook_url: z.string().optional(),
      warnings: warnings.optional(),
    })
    .openapi('BflSubmitted'),
);

export const result = z
  .object({
    id: z.string(),
    status: z.enum(['Pending', 'Ready', 'Error']),
    result: z
      .object({
        sample: z.string().openapi({ description: 'a link to the picture' }),
        seed: z.int(),
        prompt: z.string(),
        start_time: z.int(),
        end_time: z.int().nullable(),
        duration: z.number().openapi({ description: 'seconds' }),
      })
      .nullable(),
    progress: z.number(),
    details: z.object({ reason: z.string(), message: z.string().optional() }).nullable(),
    preview: z.null(),
    cost,
    warnings: warnings.optional(),
  })
  .openapi('BflResult') as unknown as z.ZodType<ReturnType<typeof viewResult>>;

export const missing = exactly<ReturnType<typeof viewMissing>>()(
  z.object({ id: z.string(), status: z.string(), result: z.null(), detail: z.string() }).openapi('BflMissing'),
);
