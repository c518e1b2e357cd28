/** What fal's answers look like, for the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { viewResult, viewStatus } from '../../doors/fal.ts';
import { NOT_PAID } from '../start-jobs.ts';

const json = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
});

const log = z.object({ message: z.string(), level: z.string(), source: z.string(), timestamp: z.string() });
const status = z
  .looseObject({
    request_id: z.string(),
    status: z.enum(['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']),
    response_url: z.string(),
    status_url: z.string(),
    cancel_url: z.string(),
    queue_position: z.int().optional(),
    logs: z.array(log).nullish(),
    metrics: z.object({ inference_time: z.number().nullable() }).optional(),
    warnings: z.array(z.string()).readonly().optional(),
  })
  .openapi('FalStatus');

const image = z.object({ url: z.string(), width: z.int(), height: z.int(), content_type: z.string() });
const result = z
  .looseObject({
    images: z.array(image),
    timings: z.object({ inference: z.number().nullable() }),
    seed: z.int(),
    prompt: z.string(),
    warnings: z.array(z.string()).readonly(),
  })
  .openapi('FalResult');

const error = z.object({ detail: z.string(), error_type: z.string(), message: z.string() }).openapi('FalError');
const cancelled = z
  .object({ status: z.enum(['CANCELLATION_REQUESTED', 'ALREADY_COMPLETED', 'NOT_FOUND']) })
  .openapi('FalCancelled');

/** A schema that says less than the type of what it describes. */
const of = <T>(schema: z.ZodType) => schema as z.ZodType<T>;

export const falStatus = (description: string) => json(description, of<ReturnType<typeof viewStatus>>(status));
export const falResult = (description: string) =>
  json(description, of<NonNullable<ReturnType<typeof viewResult>>>(result));
/** What the routes that start a request answer where it is not started, or not in its own time. */
export const NOT_STARTED = { 402: NOT_PAID, 504: json('It did not start, or end, in time', error) } as const;
export const falCancelled = (description: string) => json(description, cancelled);
