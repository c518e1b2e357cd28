/** Replicate's predictions, as a thin translation over jobs: one prediction is one job, under the same id. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type Prediction, viewListed, viewPrediction, viewStreamDone, viewStreamEvent } from '../doors/replicate.ts';
import {
  deadlineSeconds,
  draftPrediction,
  type ModelName,
  modelNamed,
  waitSeconds,
} from '../doors/replicate-request.ts';
import type { JobView } from '../job/job.ts';
import { streamToken, withLinks } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';
import type { FitMemo } from '../job/plan.ts';
import type { JobWithLogs } from '../job/rpc.ts';
import { ownerOrLink, requireKey } from './auth.ts';
import { callJob, callObject } from './call-object.ts';
import { costHeaders } from './cost-headers.ts';
import type { AppEnv } from './env.ts';
import { followJob, waitForJob } from './follow.ts';
import { foreignContent } from './foreign-body.ts';
import { jobId, jobNotFound } from './job-id.ts';
import { draftTools, jobBody, MAX_NAME } from './job-request.ts';
import { orProblem } from './problem.ts';
import { publicBase } from './public-address.ts';
import { rateHeaders } from './refuse-start.ts';
import { limitBody, requireJson } from './request-body.ts';
import { sendEvents } from './send-events.ts';
import { idempotencyOf, NOT_PAID, startJobs } from './start-jobs.ts';
import { webhookOf } from './webhooks.ts';

const PAGE = 20;

const { model: _model, deadline_seconds: _deadline, webhook_url: _webhook, ...inputFields } = jobBody.shape;
const input = z.strictObject(inputFields).openapi('PredictionInput', { description: 'The fields of POST /v1/jobs' });
const prediction = z.custom<Prediction>().openapi('Prediction', { type: 'object' });
const shown = (description: string) => ({ description, content: { 'application/json': { schema: prediction } } });
const EVENTS = ['start', 'output', 'logs', 'completed'] as const;
const createBody = z.strictObject({
  version: z
    .string()
    .min(1)
    .max(2 * MAX_NAME)
    .optional()
    .openapi({ description: 'id, alias or digest of a model; `owner/name` and `owner/name:digest` too' }),
  input,
  webhook: z.string().max(2000).optional(),
  webhook_events_filter: z
    .array(z.enum(EVENTS))
    .max(EVENTS.length)
    .refine((events) => events.includes('completed'), 'must have completed: it is the one that is sent')
    .optional(),
  stream: z.boolean().optional(),
});
const headers = z.object({
  prefer: z.string().optional(),
  'cancel-after': z.string().optional(),
  'idempotency-key': z.string().optional(),
});
const idParam = z.object({ id: z.string() });

const create = createRoute({
  method: 'post',
  path: '/v1/predictions',
  summary: 'Start a prediction',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: { headers, body: foreignContent(createBody) },
  responses: { 201: shown('The prediction'), 402: NOT_PAID },
});
const createOfModel = createRoute({
  method: 'post',
  path: '/v1/models/{owner}/{name}/predictions',
  summary: 'Start a prediction of a model',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: {
    headers,
    params: z.object({ owner: z.string(), name: z.string() }),
    body: foreignContent(createBody.omit({ version: true })),
  },
  responses: { 201: shown('The prediction'), 402: NOT_PAID },
});
const get = createRoute({
  method: 'get',
  path: '/v1/predictions/{id}',
  summary: 'A prediction',
  middleware: [requireKey] as const,
  request: { params: idParam },
  responses: { 200: shown('The prediction') },
});
const list = createRoute({
  method: 'get',
  path: '/v1/predictions',
  summary: 'The account’s predictions, newest first',
  middleware: [requireKey] as const,
  request: {
    query: z.object({
      cursor: z
        .string()
        .regex(/^\d{1,15}$/)
        .optional(),
    }),
  },
  responses: {
    200: {
      description: 'A page',
      content: {
        'application/json': {
          schema: z.object({ previous: z.null(), next: z.string().nullable(), results: z.array(prediction) }),
        },
      },
    },
  },
});
const cancel = createRoute({
  method: 'post',
  path: '/v1/predictions/{id}/cancel',
  summary: 'Stop a prediction',
  middleware: [requireKey] as const,
  request: { params: idParam },
  responses: { 200: shown('The prediction') },
});
const stream = createRoute({
  method: 'get',
  path: '/v1/predictions/{id}/stream',
  summary: 'Stream its pictures: each stage’s as a data URI, the last as a link',
  request: { params: idParam, query: z.object({ token: z.string().optional() }) },
  responses: {
    200: {
      description: 'Server-sent events: output, logs, error, done',
      content: { 'text/event-stream': { schema: z.string() } },
    },
  },
});

export function routeReplicate(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  const view = async (
    c: Context<AppEnv>,
    job: JobView,
    logs: readonly LogLine[],
    isWaitedFor = false,
  ): Promise<Prediction> =>
    viewPrediction(await withLinks(c.env.SIGNING_SECRET, job), logs, {
      origin: publicBase(c.env, c.req.url),
      streamToken: await streamToken(c.env.SIGNING_SECRET, job.id),
      isWaitedFor,
    });

  const find = async (c: Context<AppEnv>, id: string): Promise<JobWithLogs> => {
    const found = await callJob(c.env, await jobId(c, id), (stub) => stub.viewWithLogs(c.var.caller.account));
    if (!found) throw jobNotFound(id);
    return found;
  };

  const start = async (
    c: Context<AppEnv>,
    { body, model }: { readonly body: Omit<z.infer<typeof createBody>, 'version'>; readonly model: ModelName },
  ) => {
    const idempotency = await idempotencyOf(c, c.req.path, body);
    const {
      jobs,
      logs: stories,
      rate,
      isReplay,
    } = await startJobs(c, {
      isThere: (models) => modelNamed(models, model).ok,
      draft: (models) => draftPrediction(body.input, model, models, draftTools(c.env)),
      withLogs: true,
      memo,
      promptField: 'input.prompt',
      idempotency,
      deadlineSeconds: orProblem(deadlineSeconds(c.req.header('cancel-after'))),
      webhook: webhookOf(c, 'webhook', body.webhook, 'replicate'),
      user: body.input.user || null,
    });
    const [{ id }] = jobs as [JobView];
    const wait = waitSeconds(c.req.header('prefer'));
    if (wait > 0) await waitForJob(c.env, c.var.caller.account, id, wait * 1000);
    const { job, logs } = wait > 0 ? await find(c, id) : { job: jobs[0] as JobView, logs: stories[0] ?? [] };
    return c.json(await view(c, job, logs, wait > 0), 201, {
      ...rateHeaders(rate),
      ...costHeaders([job]),
      'x-ralu-job-id': id,
      ...(isReplay && { 'idempotent-replayed': 'true' }),
    });
  };

  app.openapi(create, async (c) => {
    const body = c.req.valid('json');
    return start(c, { body, model: { field: 'version', name: body.version } });
  });

  app.openapi(createOfModel, async (c) => {
    const { name } = c.req.valid('param');
    return start(c, { body: c.req.valid('json'), model: { field: 'model', name } });
  });

  app.openapi(get, async (c) => {
    const { job, logs } = await find(c, c.req.valid('param').id);
    return c.json(await view(c, job, logs), 200, costHeaders([job]));
  });

  app.openapi(list, async (c) => {
    const { cursor } = c.req.valid('query');
    const { account } = c.var.caller;
    const entries = await callObject(c.env.ACCOUNTS, account, (stub) =>
      stub.jobs({
        before: cursor === undefined ? null : Number(cursor),
        limit: PAGE + 1,
        status: null,
        requestId: null,
      }),
    );
    const page = entries.slice(0, PAGE);
    const jobs = await Promise.all(page.map(({ id }) => callJob(c.env, id, (stub) => stub.view(account))));
    const results = await Promise.all(
      jobs.filter((job) => job !== null).map(async (job) => viewListed(await view(c, job, []))),
    );
    const next =
      entries.length > PAGE ? `${publicBase(c.env, c.req.url)}/v1/predictions?cursor=${page.at(-1)?.seq}` : null;
    return c.json({ previous: null, next, results }, 200);
  });

  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid('param');
    if (!(await callJob(c.env, await jobId(c, id), (stub) => stub.cancel(c.var.caller.account)))) throw jobNotFound(id);
    const { job, logs } = await find(c, id);
    return c.json(await view(c, job, logs), 200, costHeaders([job]));
  });

  // Replicate's client sends no key here: the address itself opens it
  app.openapi(stream, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const owner = await ownerOrLink(c, id, 'stream');
    const origin = publicBase(c.env, c.req.url);
    const job = await callJob(c.env, id, (stub) => stub.view(owner));
    if (!job) throw jobNotFound(id);
    return sendEvents(c, async (write) => {
      for await (const event of followJob(c.env, owner, id)) {
        if (event === null) {
          await write.comment();
          continue;
        }
        const shown =
          event.type === 'done'
            ? // made only now: a link opens for an hour
              viewStreamDone(event, origin + (await withLinks(c.env.SIGNING_SECRET, job)).links.image)
            : viewStreamEvent(event);
        for (const [type, data] of shown) await write.event(type, data);
      }
    });
  });
}
