/** Draws a picture with the client that openapi-typescript makes: `service.d.ts` is its work, beside this file. */
import createClient from 'openapi-fetch';
import type { components, paths } from './service.d.ts';

const { RALU_URL: baseUrl = '', RALU_API_KEY: key } = process.env;
const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } });

/** The answer of a call that must not be refused. */
function good<T>({ data, response }: { readonly data?: T; readonly response: Response }): T {
  if (data === undefined) throw new Error(`refused: ${response.status}`);
  return data;
}

const started = await client.POST('/v1/jobs', { body: { prompt: 'a red apple', width: 256, height: 256, seed: 7 } });
const { id } = good(started);
const path = { id };
const job: components['schemas']['Job'] = good(
  await client.GET('/v1/jobs/{id}', { params: { path, query: { wait: 60 } } }),
);
const image = await client.GET('/v1/jobs/{id}/image', { params: { path }, parseAs: 'arrayBuffer' });

// answers of other APIs have types
const samplers: readonly string[] = good(await client.GET('/sdapi/v1/samplers')).map(({ name }) => name);
const [model] = good(await client.GET('/v1/models')).results;
const version: string | undefined = model?.latest_version.id;

// a refusal has a type too
const { error } = await client.GET('/v1/jobs/{id}', { params: { path: { id: 'job_none' } } });

console.log(
  JSON.stringify({
    status: job.status,
    stages: job.plan.stages.map(({ steps }) => steps).length,
    ratio: job.receipt?.tflops.ratio ?? null,
    usd: job.cost?.usd ?? null,
    bytes: job.image?.bytes ?? null,
    png: Buffer.from(good(image)).subarray(0, 8).toString('hex'),
    size: good(image).byteLength,
    code: error?.code ?? null,
    samplers,
    version: version ?? null,
  }),
);
