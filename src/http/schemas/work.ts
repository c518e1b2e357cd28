/** Work, plan and cost in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { CostView } from '../../billing/charge.ts';
import type { WorkView } from '../../billing/work.ts';
import type { PlanView } from '../../job/job.ts';
import { SELECTIONS } from '../../numerics/select.ts';
import { UPSAMPLE_MODES } from '../../numerics/upsample.ts';
import { solver, temporalCache } from '../../stage/contract.ts';
import { exactly, orNull } from '../schema-fields.ts';

export { solver };
export const cache = temporalCache.nullable().openapi({ description: 'null: every step is evaluated' });
export const selection = z.enum(SELECTIONS).openapi({ description: 'how the tokens that go early are found' });
export const warnings = z.array(z.string());

const tflops = {
  denoise: z.number(),
  denoise_without_attention: z.number(),
  decode: z.number(),
  text: z.number(),
  total: z.number().openapi({ description: 'denoise + decode + text' }),
  plain: z.number().openapi({ description: 'denoising of the plain full-resolution run' }),
  plain_without_attention: z.number(),
  plain_total: z.number(),
};
const ratios = <T extends z.ZodType>(ratio: T) => ({
  ratio,
  ratio_without_attention: ratio,
  ratio_total: ratio,
});
const plannedWork = exactly<WorkView>()(
  z.object({ ...tflops, ...ratios(z.number()) }).openapi('PlannedWork', {
    description: 'TFLOPs beside those of the plain run; a ratio is how many times less work',
  }),
);
export const work = exactly<WorkView<number | null>>()(
  z.object({ ...tflops, ...ratios(z.number().nullable()) }).openapi('Work', {
    description: 'TFLOPs of the stages that were finished; the ratios are null where the picture was not',
  }),
);

const amplitude = z
  .object({ reached: z.number(), wanted: z.number() })
  .nullable()
  .openapi({ description: 'null: there are no such tokens' });

export const plan = exactly<PlanView>()(
  z
    .object({
      model_digest: z.string(),
      numerics: z.literal([1, 2]).openapi({ type: 'integer' }),
      stages: z.array(
        z.object({
          stage: z.int(),
          tokens: z.int(),
          steps: z.int(),
          evaluations: z.int().openapi({ description: 'those of the steps that are evaluated' }),
          start: z.number(),
          end: z.number(),
          shift: z.number(),
          sigmas: z.array(z.number()),
        }),
      ),
      h: z.array(z.number()),
      z: z.array(z.number()),
      s: z.array(z.number()),
      amplitude: z.array(z.object({ upsampled: amplitude, kept: amplitude })),
      divergence: z.number().nullable(),
      fitted: z.boolean(),
      selected: z.array(z.int()),
      solver,
      cache,
      selection,
      upsampling: z.enum(UPSAMPLE_MODES),
      tflops: plannedWork,
      warnings,
    })
    .openapi('Plan', { description: 'the schedule and its work; the API page explains the letters' }),
);

const usd = z.string().openapi({ description: 'dollars as text', example: '0.000068' });
export const costFields = {
  usd: usd.nullable().openapi({ description: 'null until the job has ended; never more than quote_usd' }),
  quote_usd: usd,
  plain_usd: usd.openapi({ description: 'what the plain run would cost' }),
  tariff: z.string(),
};
export const cost = exactly<CostView>()(z.object(costFields).openapi('Cost'));
export const costOrNull = orNull(cost).openapi({ description: 'null: nothing is charged' });
export { usd };
