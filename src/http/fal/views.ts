/** fal's answers in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { FalResult, FalStatus } from '../../doors/fal.ts';
import { exactly, orNull } from '../schema-fields.ts';
import { receipt } from '../schemas/receipt.ts';
import { costOrNull, warnings } from '../schemas/work.ts';
import { NOT_PAID } from '../start-jobs.ts';

const json = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
});

const log = z.object({
  message: z.string(),
  level: z.enum(['INFO', 'WARN', 'ERROR']),
  source: z.literal('USER'),
  timestamp: z.string(),
});
const status = exactly<FalStatus>()(
  z
    .object({
      request_id: z.string(),
      status: z.enum(['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']),
      response_url: z.string(),
      status_url: z.string(),
      cancel_url: z.string(),
      queue_position: z.int().optional(),
      logs: z.array(log).nullable().optional(),
      metrics: z.object({ inference_time: z.number().nullable() }).optional(),
      warnings: warnings.optional(),
    })
    .openapi('FalStatus'),
);

const result = exactly<FalResult>()(
  z
    .object({
      images: z.array(
        z.object({
          url: z.string().openapi({ description: 'a link, or with `sync_mode` a data URI' }),
          width: z.int(),
          height: z.int(),
          content_type: z.string(),
        }),
      ),
      timings: z.object({ inference: z.number().nullable() }),
      seed: z.int().openapi({ description: 'of the first image' }),
      prompt: z.string(),
      warnings,
      cost: costOrNull,
      receipt: orNull(receipt).openapi({ description: 'of the first image' }),
      receipts: z.array(receipt).optional().openapi({ description: 'of all images, where there are several' }),
    })
    .openapi('FalResult'),
);

const cancelled = z
  .object({ status: z.enum(['CANCELLATION_REQUESTED', 'ALREADY_COMPLETED', 'NOT_FOUND']) })
  .openapi('FalCancelled');

export const falStatus = (description: string) => json(description, status);
export const falResult = (description: string) => json(description, result);
export const falCancelled = (description: string) => json(description, cancelled);

/** What the routes that start a request answer where it is not started, or not in its own time. */
export const NOT_STARTED = { 402: NOT_PAID, 504: { description: 'It did not start, or end, in time' } } as const;
