/** The body of `POST /v1/jobs`: its contract, and the way from it to a planned job. Strict: null is a value. */
import { z } from '@hono/zod-openapi';
import { MAX_USER } from '../billing/spending.ts';
import { readTariff } from '../billing/tariff.ts';
import { isFeatureServed } from '../fleet/models.ts';
import {
  chooseModel,
  type Draft,
  type DraftTools,
  draftRequest,
  RANDOM_SEED,
  type RequestInput,
} from '../job/plan-request.ts';
import type { Planned } from '../job/schedule-request.ts';
import { SELECTIONS } from '../numerics/select.ts';
import { UPSAMPLE_MODES } from '../numerics/upsample.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { imageFormat, solver, temporalCache } from '../stage/contract.ts';
import type { Env } from './env.ts';
import type { Offer } from './offer.ts';
import type { SchemaFields } from './schema-fields.ts';

const MAX_PROMPT = 32_000;
const MAX_SEED = 2 ** 32 - 1;
/** Longest name of a model or a preset, characters. */
export const MAX_NAME = 200;

const numbers = z.array(z.number()).min(1).max(8);
const text = z.string().max(MAX_PROMPT, `must have at most ${MAX_PROMPT} characters`);

/** What a body of ours has beside the request. */
interface JobFields extends RequestInput {
  readonly model?: string | undefined;
  readonly deadline_seconds?: number | undefined;
  readonly webhook_url?: string | undefined;
  readonly user?: string | undefined;
}

export const jobBody = z
  .strictObject({
    prompt: text.refine((value) => value.trim().length > 0, 'must not be empty'),
    negative_prompt: text.optional(),
    model: z.string().min(1).max(MAX_NAME).optional(),
    width: z
      .int()
      .positive()
      .optional()
      .openapi({ description: 'with `height`: one of the model’s `sizes`, or one that its `size_rule` allows' }),
    height: z.int().positive().optional(),
    enlarge: z.strictObject({ width: z.int().positive(), height: z.int().positive() }).optional().openapi({
      description:
        'the size that the finished picture is encoded at, larger or smaller than it is computed at, by Lanczos; what does not fit its aspect ratio is cut off',
    }),
    seed: z
      .int()
      .min(RANDOM_SEED)
      .max(MAX_SEED)
      .optional()
      .openapi({ description: 'drawn at random when absent or -1; always echoed' }),
    preset: z.string().min(1).max(MAX_NAME).optional().openapi({
      description: '`plain`, or one of the model’s presets; the last that the model lists when absent',
      example: '7x',
    }),
    N: numbers.optional().openapi({ description: 'custom schedule: steps of each stage', example: [2, 3, 5] }),
    e: numbers.optional().openapi({
      description: 'custom schedule: end of each stage on the clock 0 (noise) to 1',
      example: [0.2, 0.3, 1],
    }),
    h: numbers.optional().openapi({ description: 'shift of each stage; fitted by NT-Matching when absent' }),
    Z: z
      .union([z.number(), z.array(z.number()).max(7)])
      .optional()
      .openapi({ description: 'renoise strength, of all boundaries or of each; fitted together with h when absent' }),
    r: z
      .union([z.number(), z.array(z.number()).max(6)])
      .optional()
      .openapi({ description: 'share of low-resolution tokens upsampled early', example: 0.1 }),
    z_max: z
      .number()
      .optional()
      .openapi({ description: 'upper bound of every fitted Z; without it the size of the picture decides' }),
    speed: z.number().min(1).max(50).optional().openapi({
      description: 'how many times less denoising than the plain run, at least: chooses N; with `e` or without',
      example: 7,
    }),
    published: z
      .boolean()
      .optional()
      .openapi({ description: 'use the h and Z the paper prints for the preset instead of fitting them' }),
    solver: solver
      .optional()
      .openapi({ description: 'how the stages step; euler when absent, which reference and published runs keep' }),
    cache: temporalCache.optional().openapi({
      description:
        'forecast the steps between evaluations (TaylorSeer), by the velocity or by the features of the model’s blocks: after `warmup` evaluations every `interval`-th step is evaluated; of a kind that the model lists; with solver euler only',
      example: { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 2 },
    }),
    selection: z.enum(SELECTIONS).optional().openapi({
      description:
        'what tells the tokens upsampled early: edges of the decoded picture, detail of the latents, or none',
    }),
    upsampling: z
      .enum(UPSAMPLE_MODES)
      .optional()
      .openapi({ description: 'how one token becomes four; the first that the model lists when absent' }),
    reference: z
      .boolean()
      .optional()
      .openapi({ description: 'reproduce the reference implementation, its errors included' }),
    guidance: z.number().optional().openapi({
      description: 'within the model’s range; of kind cfg it halves the work at 1 or below',
    }),
    output_format: imageFormat.optional(),
    quality: z.int().min(1).max(100).optional().openapi({ description: 'webp and jpeg only' }),
    preview: z
      .boolean()
      .optional()
      .openapi({ description: 'decode and send the stages before the last; true when absent' }),
    allow_engine_change: z
      .boolean()
      .optional()
      .openapi({ description: 'whether the stages may run on different engine classes, which round differently' }),
    metadata: z.boolean().optional().openapi({
      description:
        'whether the file of the picture says what it was made from: prompt, seed, schedule and model; the deployment decides when absent',
    }),
    deadline_seconds: z
      .int()
      .min(1)
      .max(86_400)
      .optional()
      .openapi({ description: 'the job fails unless it is done by then' }),
    webhook_url: z
      .string()
      .max(2000)
      .optional()
      .openapi({ description: 'an address that is called when the job has ended, signed by Standard Webhooks' }),
    user: z.string().max(MAX_USER).optional().openapi({
      description: 'your own customer: counted in usage, and held to the limits of each user; empty: none',
    }),
  } satisfies SchemaFields<JobFields>)
  .openapi('JobRequest', { example: { prompt: 'a red apple', seed: 7 } });
export type JobBody = z.infer<typeof jobBody>;

/**
 * What this deployment makes of a request for a model, null where it is not known. A size other than the model's needs
 * a server that can: where none of the model's can, the request is refused, rather than kept waiting for one.
 */
export function draftTools(
  env: Pick<Env, 'ALLOW_ENGINE_CHANGE' | 'TARIFF' | 'ENLARGE' | 'METADATA'>,
  { servers }: Pick<Offer, 'servers'>,
  model: ModelFacts | null,
): DraftTools {
  return {
    allowEngineChange: env.ALLOW_ENGINE_CHANGE === 'true',
    metadata: env.METADATA !== 'off',
    mayEnlarge: env.ENLARGE !== 'off' && model !== null && isFeatureServed(servers, model, 'enlarge'),
    tariff: readTariff(env.TARIFF),
    draw: () => crypto.getRandomValues(new Uint32Array(1))[0] as number,
  };
}

/** The draft of a body, one job. Refuses fields by their names in the body. */
export function draftBody(body: JobBody, models: readonly ModelFacts[], tools: DraftTools): Planned<Draft> {
  const model = chooseModel(models, body.model);
  return model.ok ? draftRequest(body, model.value, tools) : model;
}
