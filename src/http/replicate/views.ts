/** Replicate's answers in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { Prediction } from '../../doors/replicate.ts';
import type { Deployment, ModelVersion, ReplicateModel } from '../../doors/replicate-model.ts';
import { exactly, orNull } from '../schema-fields.ts';
import { receipt } from '../schemas/receipt.ts';
import { costOrNull, warnings } from '../schemas/work.ts';

const time = z.string().openapi({ description: 'RFC 3339' });

const prediction = exactly<Prediction>()(
  z
    .object({
      id: z.string(),
      model: z.string(),
      version: z.string(),
      status: z.enum(['starting', 'processing', 'succeeded', 'failed', 'canceled']),
      input: z.record(z.string(), z.unknown()),
      output: z.array(z.string()).nullable().openapi({ description: 'links to the pictures; null until it has ended' }),
      error: z.string().nullable(),
      logs: z.string(),
      metrics: z.object({
        predict_time: z.number().optional().openapi({ description: 'seconds' }),
        total_time: z.number().optional().openapi({ description: 'seconds' }),
        image_count: z.int().optional(),
        cost_usd: z.number().optional(),
      }),
      created_at: time,
      started_at: time.nullable(),
      completed_at: time.nullable(),
      deadline: time.nullable(),
      data_removed: z.boolean(),
      source: z.literal('api'),
      webhook: z.string().optional(),
      urls: z.object({ get: z.string(), cancel: z.string(), stream: z.string() }),
      warnings,
      cost: costOrNull,
      receipt: orNull(receipt).openapi({ description: 'of the first image' }),
      receipts: z.array(receipt).optional().openapi({ description: 'of all images, where there are several' }),
      job_ids: z.array(z.string()).optional().openapi({ description: 'of all images, where there are several' }),
    })
    .openapi('Prediction'),
);

const version = exactly<ModelVersion>()(
  z
    .object({
      id: z.string().openapi({ description: 'the digest of the model' }),
      created_at: time,
      cog_version: z.string(),
      openapi_schema: z
        .record(z.string(), z.unknown())
        .openapi({ description: 'a document whose `components.schemas` has `Input` and `Output`' }),
    })
    .openapi('ModelVersion'),
);

const model = exactly<ReplicateModel>()(
  z
    .object({
      url: z.string(),
      owner: z.string(),
      name: z.string(),
      description: z.string(),
      visibility: z.literal('public'),
      is_official: z.literal(false),
      github_url: z.null(),
      paper_url: z.null(),
      license_url: z.null(),
      run_count: z.int(),
      cover_image_url: z.null(),
      default_example: z.null(),
      latest_version: version,
    })
    .openapi('ReplicateModel'),
);

const deployment = exactly<Deployment>()(
  z
    .object({
      owner: z.string(),
      name: z.string(),
      current_release: z.object({
        number: z.int(),
        model: z.string(),
        version: z.string(),
        created_at: time,
        created_by: z.object({
          type: z.literal('organization'),
          username: z.string(),
          name: z.string(),
          github_url: z.null(),
        }),
        configuration: z.object({ hardware: z.string(), min_instances: z.int(), max_instances: z.int() }),
      }),
    })
    .openapi('Deployment'),
);

const json = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
});
const page = <T>(results: z.ZodType<T>) =>
  z.object({ previous: z.null(), next: z.string().nullable(), results: z.array(results) });

/** What the list of models has besides OpenAI's entries. */
export const modelPage = page(model);

export const onePrediction = (description: string) => json(description, prediction);
export const predictions = (description: string) => json(description, page(prediction));
export const oneVersion = (description: string) => json(description, version);
export const versions = (description: string) => json(description, page(version));
export const oneModel = (description: string) => json(description, model);
export const oneDeployment = (description: string) => json(description, deployment);
