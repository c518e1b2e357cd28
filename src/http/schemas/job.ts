/** A job, its short form and its quote in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import { FAILURE_REASONS } from '../../job/failures.ts';
import type { Batch, Enlarged, ImageView, JobFailure, JobSummary, Quote, RequestAgain } from '../../job/job.ts';
import type { LinkedJob, Links } from '../../job/links.ts';
import { UPSAMPLE_MODES } from '../../numerics/upsample.ts';
import { imageFormat, temporalCache } from '../../stage/contract.ts';
import { exactly, orNull } from '../schema-fields.ts';
import { receipt } from './receipt.ts';
import { costOrNull, plan, selection, solver } from './work.ts';

const time = z.int().openapi({ description: 'Unix seconds' });
const id = z.string().openapi({ example: 'job_0123456789abcdef0123456789abcdef' });

const image = exactly<ImageView>()(
  z
    .object({ url: z.string(), format: imageFormat, width: z.int(), height: z.int(), bytes: z.int() })
    .openapi('JobImage'),
);
const failure = exactly<JobFailure>()(
  z
    .object({
      reason: z.enum(FAILURE_REASONS),
      message: z.string(),
      stage: z.int().nullable(),
      attempts: z.int(),
    })
    .openapi('JobFailure'),
);
const smallOrNull = z
  .string()
  .nullable()
  .openapi({ description: 'the finished image once more, small; null: there is none, or none yet' });
const links = exactly<Links>()(
  z
    .object({ events: z.string(), image: z.string(), thumbnail: smallOrNull, expires_at: time })
    .openapi('Links', { description: 'paths that open for whoever has them, until they expire' }),
);

const enlarged = exactly<Enlarged>()(
  z.object({ from: z.string(), to: z.string(), factor: z.number() }).openapi('Enlarged', {
    description: 'sizes as 256x256, and how many times larger a side is',
  }),
);
const batch = exactly<Batch>()(
  z
    .object({ jobs: z.array(id), inline: z.boolean() })
    .openapi('Batch', { description: 'the jobs of one request of a door whose requests have one id' }),
);

const again = exactly<RequestAgain>()(
  z
    .object({
      model: z.string(),
      prompt: z.string(),
      negative_prompt: z.string().optional(),
      width: z.int(),
      height: z.int(),
      enlarge: z.object({ width: z.int(), height: z.int() }).optional(),
      seed: z.int(),
      preset: z.string().optional(),
      published: z.boolean().optional(),
      N: z.array(z.int()).optional(),
      e: z.array(z.number()).optional(),
      h: z.array(z.number()).optional(),
      Z: z.array(z.number()).optional(),
      r: z.array(z.number()).optional(),
      z_max: z.number().optional(),
      cache: temporalCache.optional(),
      solver,
      selection,
      upsampling: z.enum(UPSAMPLE_MODES),
      reference: z.boolean().optional(),
      guidance: z.number().optional(),
      output_format: imageFormat,
      quality: z.int().optional(),
      metadata: z.boolean().optional(),
    })
    .openapi('RequestAgain', { description: 'a body of POST /v1/jobs that makes the picture again' }),
);
export const enlargedOrNull = orNull(enlarged).openapi({
  description: 'null: the picture has the size that was computed',
});

const asked = {
  model: z.string(),
  width: z.int(),
  height: z.int(),
  seed: z.int(),
  preset: z.string().nullable().openapi({ description: 'null: a schedule of the caller’s own' }),
};
const summaryFields = {
  id,
  object: z.literal('job'),
  status: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
  created_at: time,
  finished_at: time.nullable(),
  expires_at: time.nullable(),
  ...asked,
  prompt: z.string(),
  output_format: imageFormat,
  image: orNull(image).openapi({ description: 'null: there is none, or none yet' }),
  error: orNull(failure),
  cost: costOrNull,
  urls: z.object({
    get: z.string(),
    events: z.string(),
    image: z.string(),
    thumbnail: smallOrNull,
    cancel: z.string(),
  }),
  links,
};

export const job = exactly<LinkedJob>()(
  z
    .object({
      ...summaryFields,
      room: z.string().openapi({ description: 'where it stands', example: 'stage1' }),
      enlarged: enlargedOrNull,
      request: again,
      plan,
      receipt: orNull(receipt).openapi({ description: 'null until it has ended' }),
      deadline_at: time.nullable(),
      queue: z
        .object({ position: z.int().nullable(), eta_ms: z.number().nullable() })
        .nullable()
        .openapi({ description: 'its place in the line of the stage servers; null: it does not wait' }),
      webhook: z
        .object({ url: z.string(), state: z.enum(['waiting', 'delivered', 'given_up']), tries: z.int() })
        .nullable(),
      batch: batch.optional(),
    })
    .openapi('Job', { description: 'status, plan, image and receipt once done, and links that need no key' }),
);

export const jobSummary = exactly<JobSummary & { readonly links: Links }>()(
  z.object(summaryFields).openapi('JobSummary', {
    description: 'a job without plan and receipt, the prompt cut after 200 characters; `urls.get` has all of it',
  }),
);

export const quote = exactly<Quote>()(
  z
    .object({
      object: z.literal('quote'),
      ...asked,
      enlarged: enlargedOrNull,
      plan,
      tflops: z.number(),
      cost: costOrNull,
      seconds: z.number().nullable().openapi({ description: 'at the pace of the account’s last jobs on this model' }),
      queue: z
        .object({ waiting: z.int(), eta_ms: z.number().nullable() })
        .nullable()
        .openapi({ description: 'the line it would join' }),
    })
    .openapi('Quote'),
);
