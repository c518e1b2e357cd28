/** AUTOMATIC1111's answers in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { viewImages, viewUnderWay } from '../../doors/a1111.ts';
import { exactly } from '../schema-fields.ts';
import { warnings } from './work.ts';

type Images = ReturnType<typeof viewImages>;

/** `parameters` repeats the request. */
export const images = z
  .object({
    images: z.array(z.string()).openapi({ description: 'base64' }),
    parameters: z.looseObject({}),
    info: z.string().openapi({ description: 'JSON: seeds, sizes, what was used' }),
    warnings: warnings.optional(),
  })
  .openapi('A1111Images') as unknown as z.ZodType<Images>;

export const progress = exactly<ReturnType<typeof viewUnderWay>>()(
  z
    .object({
      progress: z.number().openapi({ description: '0 to 1' }),
      eta_relative: z.number().openapi({ description: 'seconds' }),
      state: z.object({
        skipped: z.boolean(),
        interrupted: z.boolean(),
        stopping_generation: z.boolean(),
        job: z.string(),
        job_count: z.int(),
        job_timestamp: z.string(),
        job_no: z.int(),
        sampling_step: z.int(),
        sampling_steps: z.int(),
      }),
      current_image: z.string().nullable().openapi({ description: 'base64: the picture of its last stage' }),
      textinfo: z.string().nullable(),
    })
    .openapi('A1111Progress'),
);
