/** The body of `POST /v1/jobs`: its contract, and the way from it to a planned job. */
import { z } from '@hono/zod-openapi';
import { resolveModel, type ServedModel } from '../fleet/models.ts';
import type { JobRequest, Plan } from '../job/job.ts';
import { type FitMemo, makePlan } from '../job/plan.ts';
import { chooseSchedule, MAX_STAGES, type Planned } from '../job/schedule-request.ts';
import { imageFormat, type ModelFacts } from '../stage/contract.ts';
import type { Env } from './env.ts';
import { badField } from './problem.ts';

const MAX_PROMPT = 32_000;
const MAX_SEED = 2 ** 32 - 1;
const DEFAULT_QUALITY = 90;

const numbers = z.array(z.number()).min(1).max(8);
const text = z.string().max(MAX_PROMPT, `must have at most ${MAX_PROMPT} characters`);

export const jobBody = z
  .strictObject({
    prompt: text.refine((value) => value.trim().length > 0, 'must not be empty'),
    negative_prompt: text.optional(),
    model: z.string().min(1).optional(),
    width: z.int().positive().optional(),
    height: z.int().positive().optional(),
    seed: z
      .int()
      .min(0)
      .max(MAX_SEED)
      .optional()
      .openapi({ description: 'drawn at random when absent; always echoed' }),
    preset: z
      .string()
      .min(1)
      .optional()
      .openapi({ description: '`plain`, or one of the model’s presets; the fastest when absent', example: '7x' }),
    N: numbers.optional().openapi({ description: 'custom schedule: steps of each stage', example: [2, 3, 5] }),
    e: numbers.optional().openapi({
      description: 'custom schedule: end of each stage on the clock 0 (noise) to 1',
      example: [0.2, 0.3, 1],
    }),
    h: numbers.optional().openapi({ description: 'shift of each stage; fitted by NT-Matching when absent' }),
    Z: z.number().optional().openapi({ description: 'renoise strength; fitted together with h when absent' }),
    r: z
      .union([z.number(), z.array(z.number()).max(6)])
      .optional()
      .openapi({ description: 'share of low-resolution tokens upsampled early', example: 0.1 }),
    z_max: z.number().optional().openapi({ description: 'upper bound of a fitted Z; 10 when absent' }),
    published: z
      .boolean()
      .optional()
      .openapi({ description: 'use the h and Z the paper prints for the preset instead of fitting them' }),
    upsampling: z.enum(['latent', 'token']).optional(),
    reference: z
      .boolean()
      .optional()
      .openapi({ description: 'reproduce the reference implementation, its errors included' }),
    guidance: z.number().optional(),
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
      .openapi({ description: 'told when the job has ended, by Standard Webhooks' }),
  })
  .openapi('JobRequest');
export type JobBody = z.infer<typeof jobBody>;

export interface PlanningTools {
  readonly memo: FitMemo;
  /** milliseconds, for measuring */
  readonly clock: () => number;
  /** what a request gets that does not say whether its stages may change engines */
  readonly allowEngineChange: boolean;
  /** a random seed */
  readonly draw: () => number;
}

export const planningTools = (memo: FitMemo, env: Pick<Env, 'ALLOW_ENGINE_CHANGE'>): PlanningTools => ({
  memo,
  clock: () => performance.now(),
  allowEngineChange: env.ALLOW_ENGINE_CHANGE === 'true',
  draw: () => crypto.getRandomValues(new Uint32Array(1))[0] as number,
});

/** A planned value or the 400 that names what is wrong with it. */
function orProblem<T>(planned: Planned<T>): T {
  if (planned.ok) return planned.value;
  const { field, value, rule } = planned.refusal;
  throw badField(field, value, rule);
}

/**
 * The request as it will be stored and its plan: every default filled in, the seed drawn. Throws a 400 Problem naming
 * field, value and rule.
 */
export function planBody(
  body: JobBody,
  models: readonly ServedModel[],
  tools: PlanningTools,
  previews = nativePreviews(body),
): { request: JobRequest; plan: Plan } {
  const model = resolveModel(models, body.model);
  if (!model) throw badField('model', body.model, `must be one of ${models.map(({ facts }) => facts.id).join(', ')}`);
  const format = body.output_format ?? 'png';
  if (body.quality !== undefined && format === 'png')
    throw badField('quality', body.quality, 'belongs to webp and jpeg; png is lossless');
  const size = chooseSize(body, model.facts);
  const request: JobRequest = {
    model: model.facts.id,
    prompt: body.prompt,
    negativePrompt: body.negative_prompt ?? '',
    guidance: body.guidance ?? model.facts.guidance?.default ?? null,
    ...size,
    seed: body.seed ?? tools.draw(),
    schedule: orProblem(chooseSchedule(body, model.facts, size)),
    upsampling: body.upsampling ?? (body.reference ? 'token' : 'latent'),
    reference: body.reference ?? false,
    format,
    quality: body.quality ?? DEFAULT_QUALITY,
    allowEngineChange: body.allow_engine_change ?? tools.allowEngineChange,
    previews,
  };
  return { request, plan: orProblem(makePlan(request, model, tools)) };
}

/** Every stage's picture unless told otherwise, in the format that is smallest. */
const nativePreviews = ({ preview = true }: JobBody): JobRequest['previews'] => ({
  count: preview ? MAX_STAGES - 1 : 0,
  format: 'webp',
});

/** The size asked for; a missing side is the default size's. */
function chooseSize({ width, height }: JobBody, { sizes }: ModelFacts): { width: number; height: number } {
  const [first] = sizes as [ModelFacts['sizes'][number]];
  return { width: width ?? first.width, height: height ?? first.height };
}
