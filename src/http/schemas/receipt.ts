/** A receipt in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { ReceiptCost } from '../../billing/charge.ts';
import type { Receipt } from '../../billing/receipt.ts';
import { exactly, orNull } from '../schema-fields.ts';
import { cache, costFields, selection, solver, usd, warnings, work } from './work.ts';

const receiptCost = exactly<ReceiptCost>()(
  z
    .object({
      ...costFields,
      usd,
      usd_per_tflop: usd,
      minimum_usd: usd,
      paid: z.enum(['whole', 'heard', 'nothing']),
      lines: z.array(
        z.object({
          item: z.string().openapi({ example: 'stage1' }),
          tokens: z.int().nullable(),
          steps: z.int(),
          tflops: z.number(),
          usd,
        }),
      ),
    })
    .openapi('ReceiptCost'),
);

export const receipt = exactly<Receipt>()(
  z
    .object({
      job_id: z.string(),
      model: z.string(),
      model_digest: z.string(),
      engine: z.string().openapi({ description: 'every engine that computed a stage' }),
      engine_changed: z.boolean(),
      seed: z.int(),
      preset: z.string().nullable(),
      solver,
      cache,
      selection,
      stages: z.array(
        z.object({
          stage: z.int(),
          tokens: z.int(),
          steps: z.int(),
          evaluations: z.int(),
          attempts: z.int(),
          compute_ms: z.number(),
          decode_ms: z.number(),
          encode_ms: z.number(),
          wall_ms: z.number(),
          text_tokens: z.int().nullable(),
          tflops: z.number(),
          tflops_without_attention: z.number(),
        }),
      ),
      cost: orNull(receiptCost),
      tflops: work,
      wall_ms: z.object({
        total: z.number(),
        rooms: z.array(z.object({ room: z.string(), ms: z.number() })),
        orchestration: z.number(),
      }),
      warnings,
    })
    .openapi('Receipt', { description: 'what the job did until it ended' }),
);
