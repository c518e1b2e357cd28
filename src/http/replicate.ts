/** Replicate's predictions, as a thin translation over jobs: one prediction is one job, under the same id. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type Prediction, viewPrediction } from '../doors/replicate.ts';
import type { ServedModel } from '../fleet/models.ts';
import type { StoredEvent } from '../job/events.ts';
import type { JobView } from '../job/job.ts';
import { streamToken, withLinks } from '../job/links.ts';
import { type LogLine, logLines } from '../job/log-lines.ts';
import type { FitMemo } from '../job/plan.ts';
import { ownerOrLink, requireKey } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv } from './env.ts';
import { followJob, waitForJob } from './follow.ts';
import { jobId, jobNotFound } from './job-id.ts';
import { jobBody, planBody, planningTools } from './job-request.ts';
import { availableModels } from './models.ts';
import { badField } from './problem.ts';
import { limitBody, requireJson } from './request-body.ts';
import { sendEvents } from './send-events.ts';
import { idempotencyOf, rateHeaders, startJobs } from './start-jobs.ts';
import { webhookOf } from './webhooks.ts';

const PAGE = 20;
const MAX_WAIT_SECONDS = 60;

const { model: _model, deadline_seconds: _deadline, webhook_url: _webhook, ...inputFields } = jobBody.shape;
const input = z.strictObject(inputFields).openapi('PredictionInput', { description: 'The fields of POST /v1/jobs' });
const prediction = z.custom<Prediction>().openapi('Prediction', { type: 'object' });
const shown = (description: string) => ({ description, content: { 'application/json': { schema: prediction } } });
const EVENTS = ['start', 'output', 'logs', 'completed'] as const;
const createBody = z.strictObject({
  version: z
    .string()
    .min(1)
    .optional()
    .openapi({ description: 'id, alias or digest of a model; `owner/name` and `owner/name:digest` too' }),
  input,
  webhook: z.string().max(2000).optional(),
  webhook_events_filter: z
    .array(z.enum(EVENTS))
    .refine((events) => events.includes('completed'), 'must have completed: it is the one that is sent')
    .optional(),
  stream: z.boolean().optional(),
});
const headers = z.object({
  prefer: z.string().optional(),
  'cancel-after': z.string().optional(),
  'idempotency-key': z.string().optional(),
});
const bodyOf = <T extends z.ZodType>(schema: T) => ({ required: true, content: { 'application/json': { schema } } });
const idParam = z.object({ id: z.string() });

const create = createRoute({
  method: 'post',
  path: '/v1/predictions',
  summary: 'Start a prediction',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: { headers, body: bodyOf(createBody) },
  responses: { 201: shown('The prediction') },
});
const createOfModel = createRoute({
  method: 'post',
  path: '/v1/models/{owner}/{name}/predictions',
  summary: 'Start a prediction of a model',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: {
    headers,
    params: z.object({ owner: z.string(), name: z.string() }),
    body: bodyOf(createBody.omit({ version: true })),
  },
  responses: { 201: shown('The prediction') },
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
  summary: 'Its pictures as they come: each stage’s as a data URI, the last as an address',
  request: { params: idParam, query: z.object({ token: z.string().optional() }) },
  responses: {
    200: {
      description: 'Server-sent events: output, logs, error, done',
      content: { 'text/event-stream': { schema: z.string() } },
    },
  },
});

/** The model a version or an `owner/name` means. Throws a 400 Problem for a digest that none has. */
export function modelNamed(models: readonly ServedModel[], name: string): string {
  const [path = '', digest] = name.split(':');
  const last = path.split('/').at(-1) as string;
  const byDigest = models.find(({ facts }) => facts.digest === (digest ?? path))?.facts.id;
  if (digest !== undefined && byDigest === undefined)
    throw badField(
      'version',
      name,
      `must end in the digest of a model: ${models.map(({ facts }) => facts.digest).join(', ')}`,
    );
  return byDigest ?? last;
}

/** Seconds of `Prefer: wait` or `wait=n`, at most 60; 0 where it is not asked for. */
function waitSeconds(prefer: string | undefined): number {
  const found = /(?:^|[,;\s])wait(?:=(\d{1,4}))?(?:$|[,;\s])/.exec(prefer ?? '');
  return found ? Math.min(MAX_WAIT_SECONDS, Number(found[1] ?? MAX_WAIT_SECONDS)) : 0;
}

/** Seconds of `Cancel-After`: `90`, `90s`, `5m`, `1h30m`. Throws a 400 Problem. */
function deadlineSeconds(header: string | undefined): number | null {
  if (header === undefined) return null;
  const [, hours, minutes, seconds] = /^(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s?)?$/.exec(header) ?? [];
  const total = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  if (!(total >= 1 && total <= 86_400))
    throw badField('cancel-after', header, 'must be a time from 1s to 24h, as in 90s, 5m or 1h30m');
  return total;
}

export function routeReplicate(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  const view = async (
    c: Context<AppEnv>,
    job: JobView,
    logs: readonly LogLine[],
    isWaitedFor = false,
  ): Promise<Prediction> =>
    viewPrediction(await withLinks(c.env.SIGNING_SECRET, job), logs, {
      origin: new URL(c.req.url).origin,
      streamToken: await streamToken(c.env.SIGNING_SECRET, job.id),
      isWaitedFor,
    });

  const told = async (c: Context<AppEnv>, id: string): Promise<{ job: JobView; logs: readonly LogLine[] }> => {
    const found = await callObject(c.env.JOBS, jobId(id), (stub) => stub.viewWithLogs(c.var.caller.account));
    if (!found) throw jobNotFound(id);
    return found;
  };

  const start = async (c: Context<AppEnv>, body: z.infer<typeof createBody>, name: string | undefined) => {
    const idempotency = await idempotencyOf(c.req.header('idempotency-key'), c.req.path, body);
    const plan = async () => {
      const models = await availableModels(c.env);
      return [
        planBody(
          { ...body.input, ...(name !== undefined && { model: modelNamed(models, name) }) },
          models,
          planningTools(memo, c.env),
        ),
      ];
    };
    const webhook = webhookOf(c, 'webhook', body.webhook, 'replicate');
    const { jobs, rate, isReplay } = await startJobs(c.env, c.var.caller, {
      plan,
      requestId: c.var.requestId,
      idempotency,
      deadlineSeconds: deadlineSeconds(c.req.header('cancel-after')),
      webhook,
    });
    const [{ id }] = jobs as [JobView];
    const wait = waitSeconds(c.req.header('prefer'));
    if (wait > 0) await waitForJob(c.env, c.var.caller.account, id, wait * 1000);
    const { job, logs } = await told(c, id);
    return c.json(await view(c, job, logs, wait > 0), 201, {
      ...rateHeaders(rate),
      'x-ralu-job-id': id,
      ...(isReplay && { 'idempotent-replayed': 'true' }),
    });
  };

  app.openapi(create, async (c) => {
    const body = c.req.valid('json');
    return start(c, body, body.version);
  });

  app.openapi(createOfModel, async (c) => start(c, c.req.valid('json'), c.req.valid('param').name));

  app.openapi(get, async (c) => {
    const { job, logs } = await told(c, c.req.valid('param').id);
    return c.json(await view(c, job, logs), 200);
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
    const jobs = await Promise.all(page.map(({ id }) => callObject(c.env.JOBS, id, (stub) => stub.view(account))));
    const results = await Promise.all(jobs.filter((job) => job !== null).map((job) => view(c, job, [])));
    const next =
      entries.length > PAGE ? `${new URL(c.req.url).origin}/v1/predictions?cursor=${page.at(-1)?.seq}` : null;
    return c.json({ previous: null, next, results }, 200);
  });

  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid('param');
    if (!(await callObject(c.env.JOBS, jobId(id), (stub) => stub.cancel(c.var.caller.account)))) throw jobNotFound(id);
    const { job, logs } = await told(c, id);
    return c.json(await view(c, job, logs), 200);
  });

  // Replicate's client sends no key here: the address itself opens it
  app.openapi(stream, async (c) => {
    const id = jobId(c.req.valid('param').id);
    const owner = await ownerOrLink(c, id, 'stream');
    const origin = new URL(c.req.url).origin;
    const first = await callObject(c.env.JOBS, id, (stub) => stub.view(owner));
    if (!first) throw jobNotFound(id);
    const translate = async (event: StoredEvent): Promise<readonly (readonly [string, string])[]> => {
      const lines = logLines([event]).map(({ message }) => ['logs', message] as const);
      switch (event.type) {
        case 'preview':
          return [...lines, ['output', `data:image/${event.data.format};base64,${event.data.b64_json}`]];
        case 'done':
          return [
            ...lines,
            [
              'output',
              origin + (await withLinks(c.env.SIGNING_SECRET, { ...first, image: event.data.image })).links.image,
            ],
            ['done', '{}'],
          ];
        case 'failed':
          return [
            ['error', event.data.message],
            ['done', '{"reason": "error"}'],
          ];
        case 'cancelled':
          return [['done', '{"reason": "canceled"}']];
        default:
          return lines;
      }
    };
    return sendEvents(c, async (write) => {
      for await (const event of followJob(c.env, owner, id)) {
        if (event === null) await write.comment();
        else for (const [type, data] of await translate(event)) await write.event(type, data);
      }
    });
  });
}
