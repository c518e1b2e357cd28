/** Black Forest Labs' API below `/bfl/v1`, as a thin translation over jobs: a request is a job, under the same id. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import {
  BFL_IGNORED,
  BFL_REFUSED,
  type BflRequest,
  draftBfl,
  viewMissing,
  viewResult,
  viewSubmitted,
} from '../doors/bfl.ts';
import { RATIO } from '../doors/wanted-size.ts';
import { resolveModel } from '../fleet/models.ts';
import type { JobView } from '../job/job.ts';
import { withLinks } from '../job/links.ts';
import type { FitMemo } from '../job/plan.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { json } from './accounts/wire.ts';
import { readKeyFrom, requireKey } from './auth.ts';
import { callJob } from './call-object.ts';
import { costHeaders } from './cost-headers.ts';
import type { AppEnv } from './env.ts';
import { foreignContent } from './foreign-body.ts';
import { jobNotFound, knownJobId } from './job-id.ts';
import { draftTools, jobBody } from './job-request.ts';
import { noModel } from './no-model.ts';
import { publicBase } from './public-address.ts';
import { rateHeaders } from './refuse-start.ts';
import { limitBody, requireJson } from './request-body.ts';
import type { SchemaFields } from './schema-fields.ts';
import { result as found, missing, submitted } from './schemas/bfl.ts';
import { speakFastAPI } from './speak-fastapi.ts';
import { anyText, anyWord, FORMATS, ignoredFields, JPG, refusedFields, textOrEmpty } from './spellings.ts';
import { idempotencyOf, NOT_PAID, startJobs } from './start-jobs.ts';
import { webhookOf } from './webhooks.ts';

const BASE = '/bfl/v1';
/** Longest address of a webhook, and longest secret of one, characters. */
const MAX_URL = 2000;
const MAX_SECRET = 500;

const { prompt, seed, guidance } = jobBody.shape;

export const bflBody = z
  .strictObject({
    prompt,
    width: z.int().positive().optional(),
    height: z.int().positive().optional(),
    aspect_ratio: anyText(20, (ratio) => RATIO.test(ratio), 'must be WIDTH:HEIGHT'),
    steps: z.int().min(1).max(1000).optional().openapi({ description: 'a plain run of so many steps' }),
    guidance,
    seed,
    output_format: anyWord(FORMATS, JPG),
    webhook_url: textOrEmpty(MAX_URL).openapi({ description: 'called when the request is over' }),
    webhook_secret: textOrEmpty(MAX_SECRET).openapi({ description: 'signs the call, in the header x-bfl-signature' }),
    ...refusedFields(BFL_REFUSED),
    ...ignoredFields(BFL_IGNORED),
  } satisfies SchemaFields<BflRequest> & Readonly<Record<string, z.ZodType>>)
  .openapi('BflRequest');

const open = [speakFastAPI, readKeyFrom('x-key'), requireKey];

const submit = createRoute({
  method: 'post',
  path: `${BASE}/{model}`,
  summary: 'Submit a request as Black Forest Labs’ clients do',
  middleware: [...open, limitBody, requireJson],
  request: {
    params: z.object({ model: z.string() }),
    headers: z.object({ 'idempotency-key': z.string().optional() }),
    body: foreignContent(bflBody),
  },
  responses: { 200: json(submitted, 'Taken: the id, where to poll, and the cost'), 402: NOT_PAID },
});
const result = createRoute({
  method: 'get',
  path: `${BASE}/get_result`,
  summary: 'A request as it stands, with a link to its picture once it is Ready',
  middleware: open,
  request: { query: z.object({ id: z.string() }) },
  responses: {
    200: json(found, 'The request'),
    404: json(missing, 'There is no such request, or it has expired'),
  },
});

/** Throws a 404 Problem where no model is called so. */
function requireModel(models: readonly ModelFacts[], name: string): void {
  if (resolveModel(models, name)) return;
  throw noModel(name, models);
}

export function routeBfl(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  app.openapi(submit, async (c) => {
    const body: BflRequest = c.req.valid('json');
    const { model } = c.req.valid('param');
    const { webhook_url: url, webhook_secret: secret } = body;
    const webhook = webhookOf(c, 'webhook_url', url, 'bfl');
    const { jobs, rate, isReplay } = await startJobs(c, {
      memo,
      isThere: (models) => resolveModel(models, model) !== null,
      draft: (models, offer) => {
        requireModel(models, model);
        return draftBfl(body, model, models, draftTools(c.env, offer, resolveModel(models, model)));
      },
      idempotency: await idempotencyOf(c, c.req.path, body),
      webhook: webhook && { ...webhook, ...(secret !== undefined && { secret }) },
    });
    const [job] = jobs as [JobView];
    const address = `${publicBase(c.env, c.req.url)}${BASE}/get_result?id=${job.id}`;
    return c.json(viewSubmitted(job, address), 200, {
      ...rateHeaders(rate),
      ...costHeaders(jobs),
      'x-ralu-job-id': job.id,
      ...(isReplay && { 'idempotent-replayed': 'true' }),
    });
  });

  app.openapi(result, async (c) => {
    const { id } = c.req.valid('query');
    const job = await find(c, id);
    if (!job) return c.json(viewMissing(id.slice(0, 100), jobNotFound(id).fields.detail), 404);
    const linked = await withLinks(c.env.SIGNING_SECRET, job);
    return c.json(viewResult(linked, publicBase(c.env, c.req.url)), 200, costHeaders([job]));
  });
}

async function find(c: Context<AppEnv>, id: string): Promise<JobView | null> {
  const known = await knownJobId(c, id);
  return known === null ? null : callJob(c.env, known, (stub) => stub.view(c.var.caller.account));
}
