/** What Replicate's answers look like, for the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { Prediction } from '../../doors/replicate.ts';
import type { viewDeployment, viewModel, viewVersion } from '../../doors/replicate-model.ts';

const prediction = z
  .looseObject({
    id: z.string(),
    model: z.string(),
    version: z.string(),
    status: z.enum(['starting', 'processing', 'succeeded', 'failed', 'canceled']),
    input: z.record(z.string(), z.unknown()),
    output: z.array(z.string()).readonly().nullable(),
    error: z.string().nullable(),
    logs: z.string(),
    metrics: z.looseObject({
      predict_time: z.number().optional(),
      total_time: z.number().optional(),
      image_count: z.int().optional(),
      cost_usd: z.number().optional(),
    }),
    created_at: z.string(),
    started_at: z.string().nullable(),
    completed_at: z.string().nullable(),
    urls: z.object({ get: z.string(), cancel: z.string(), stream: z.string() }),
    warnings: z.array(z.string()).readonly(),
  })
  .openapi('Prediction');

const version = z
  .object({
    id: z.string(),
    created_at: z.string(),
    cog_version: z.string(),
    openapi_schema: z.looseObject({}),
  })
  .openapi('ModelVersion');

const model = z
  .looseObject({
    url: z.string(),
    owner: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    visibility: z.literal('public'),
    run_count: z.int(),
    latest_version: version,
  })
  .openapi('ReplicateModel');

const deployment = z
  .looseObject({
    owner: z.string(),
    name: z.string(),
    current_release: z.looseObject({ number: z.int(), model: z.string(), version: z.string() }),
  })
  .openapi('Deployment');

const json = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
});
/** A schema that says less than the type of what it describes. */
const of = <T>(schema: z.ZodType) => schema as z.ZodType<T>;
const page = <T>(results: z.ZodType<T>) =>
  z.object({ previous: z.null(), next: z.string().nullable(), results: z.array(results) });

const ofPrediction = of<Prediction>(prediction);
const ofVersion = of<ReturnType<typeof viewVersion>>(version);

export const onePrediction = (description: string) => json(description, ofPrediction);
export const predictions = (description: string) => json(description, page(ofPrediction));
export const oneVersion = (description: string) => json(description, ofVersion);
export const versions = (description: string) => json(description, page(ofVersion));
export const oneModel = (description: string) => json(description, of<ReturnType<typeof viewModel>>(model));
export const oneDeployment = (description: string) =>
  json(description, of<ReturnType<typeof viewDeployment>>(deployment));
