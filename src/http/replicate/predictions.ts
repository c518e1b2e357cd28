/** Replicate's predictions, as a thin translation over jobs: a prediction has the id of its first job. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { isSpokenFor, jobsOf, type OneRequest } from '../../doors/one-request.ts';
import {
  LAST_ID,
  type Prediction,
  streamId,
  streamPlace,
  viewListed,
  viewPrediction,
  viewStreamEnd,
  viewStreamEvent,
  viewStreamPicture,
} from '../../doors/replicate.ts';
import {
  DEFAULT_EVENTS,
  deadlineSeconds,
  draftPrediction,
  type ModelName,
  modelNamed,
  waitSeconds,
} from '../../doors/replicate-request.ts';
import type { FollowedEvent } from '../../job/events.ts';
import { streamToken, withLinks } from '../../job/links.ts';
import type { FitMemo } from '../../job/plan.ts';
import { ownerOrLink, requireKey } from '../auth.ts';
import { callJob, callObject } from '../call-object.ts';
import { costHeaders } from '../cost-headers.ts';
import type { AppEnv } from '../env.ts';
import { foreignContent } from '../foreign-body.ts';
import { jobId, jobNotFound } from '../job-id.ts';
import { draftTools } from '../job-request.ts';
import { orProblem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { rateHeaders } from '../refuse-start.ts';
import { limitBody, requireJson } from '../request-body.ts';
import {
  cancelRequest,
  findRequest,
  followJobs,
  requestOf,
  startedRequest,
  waitForJobs,
  withOthers,
} from '../request-jobs.ts';
import { sendEvents } from '../send-events.ts';
import { idempotencyOf, NOT_PAID, startJobs } from '../start-jobs.ts';
import { webhookOf } from '../webhooks.ts';
import { type PredictionBody, predictionBody } from './body.ts';
import { modelAt } from './model-at.ts';
import { speakReplicate } from './speak.ts';
import { onePrediction, predictions } from './views.ts';

const PAGE = 20;

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
  middleware: [speakReplicate, requireKey, limitBody, requireJson] as const,
  request: { headers, body: foreignContent(predictionBody) },
  responses: { 201: onePrediction('The prediction'), 402: NOT_PAID },
});
const bodyOfModel = foreignContent(predictionBody.omit({ version: true }));
const createOf = (what: 'models' | 'deployments') =>
  createRoute({
    method: 'post',
    path: `/v1/${what}/{owner}/{name}/predictions`,
    summary: `Start a prediction of ${what === 'models' ? 'a model' : 'a deployment, which is a model'}`,
    middleware: [speakReplicate, requireKey, limitBody, requireJson] as const,
    request: {
      headers,
      params: z.object({ owner: z.string(), name: z.string() }),
      body: bodyOfModel,
    },
    responses: { 201: onePrediction('The prediction'), 402: NOT_PAID },
  });
const get = createRoute({
  method: 'get',
  path: '/v1/predictions/{id}',
  summary: 'A prediction',
  middleware: [speakReplicate, requireKey] as const,
  request: { params: idParam },
  responses: { 200: onePrediction('The prediction') },
});
const list = createRoute({
  method: 'get',
  path: '/v1/predictions',
  summary: 'The account’s predictions, newest first',
  middleware: [speakReplicate, requireKey] as const,
  request: {
    query: z.object({
      cursor: z
        .string()
        .regex(/^\d{1,15}$/)
        .optional(),
    }),
  },
  responses: { 200: predictions('A page') },
});
const cancel = createRoute({
  method: 'post',
  path: '/v1/predictions/{id}/cancel',
  summary: 'Stop a prediction',
  middleware: [speakReplicate, requireKey] as const,
  request: { params: idParam },
  responses: { 200: onePrediction('The prediction') },
});
const stream = createRoute({
  method: 'get',
  path: '/v1/predictions/{id}/stream',
  summary: 'Stream its pictures: each stage’s as a data URI, the last as a link',
  middleware: [speakReplicate] as const,
  request: {
    params: idParam,
    query: z.object({ token: z.string().optional() }),
    headers: z.object({ 'last-event-id': z.string().optional() }),
  },
  responses: {
    200: {
      description: 'Server-sent events: output, logs, error, done; each with an id',
      content: { 'text/event-stream': { schema: z.string() } },
    },
    204: { description: 'Everything was seen' },
  },
});

export function routePredictions(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  const view = async (c: Context<AppEnv>, request: OneRequest, isWaitedFor = false): Promise<Prediction> =>
    viewPrediction(request, {
      origin: publicBase(c.env, c.req.url),
      streamToken: await streamToken(c.env.SIGNING_SECRET, request.id),
      isWaitedFor,
    });

  const start = async (
    c: Context<AppEnv>,
    { body, model }: { readonly body: Omit<PredictionBody, 'version'>; readonly model: ModelName },
  ) => {
    const events = body.webhook_events_filter ?? DEFAULT_EVENTS;
    const webhook = webhookOf(c, 'webhook', body.webhook, 'replicate');
    const started = await startJobs(c, {
      isThere: (models) => modelNamed(models, model).ok,
      draft: (models, offer) => {
        if (model.field === 'model') modelAt(models, model.name ?? '');
        const found = modelNamed(models, model);
        const tools = draftTools(c.env, offer, found.ok ? found.value : null);
        return draftPrediction(body.input, model, models, tools);
      },
      withLogs: true,
      memo,
      promptField: 'input.prompt',
      idempotency: await idempotencyOf(c, c.req.path, body),
      deadlineSeconds: orProblem(deadlineSeconds(c.req.header('cancel-after'))),
      webhook: webhook && events.length > 0 ? { ...webhook, events } : null,
      user: body.input.user || null,
      batch: { inline: false },
    });
    const ids = started.jobs.map(({ id }) => id);
    const wait = waitSeconds(c.req.header('prefer'));
    if (wait > 0) await waitForJobs(c.env, c.var.caller.account, ids, wait * 1000);
    const request = wait > 0 ? await findRequest(c, ids[0] as string) : await startedRequest(c.env, started);
    return c.json(await view(c, request, wait > 0), 201, {
      ...rateHeaders(started.rate),
      ...costHeaders([request]),
      'x-ralu-job-id': ids.join(', '),
      ...(started.isReplay && { 'idempotent-replayed': 'true' }),
    });
  };

  app.openapi(create, async (c) => {
    const body = c.req.valid('json');
    return start(c, { body, model: { field: 'version', name: body.version } });
  });

  for (const what of ['models', 'deployments'] as const)
    app.openapi(createOf(what), async (c) => {
      const { name } = c.req.valid('param');
      return start(c, { body: c.req.valid('json'), model: { field: 'model', name } });
    });

  app.openapi(get, async (c) => {
    const request = await findRequest(c, c.req.valid('param').id);
    return c.json(await view(c, request), 200, costHeaders([request]));
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
    const firsts = jobs.filter((job) => job !== null).filter((job) => !isSpokenFor(job));
    const results = await Promise.all(
      firsts.map(async (job) => {
        const all = await withOthers(c.env, account, { job, logs: [] });
        return viewListed(await view(c, await requestOf(c.env, all)));
      }),
    );
    const next =
      entries.length > PAGE ? `${publicBase(c.env, c.req.url)}/v1/predictions?cursor=${page.at(-1)?.seq}` : null;
    return c.json({ previous: null, next, results }, 200);
  });

  app.openapi(cancel, async (c) => {
    const { id } = c.req.valid('param');
    const before = await findRequest(c, id);
    await cancelRequest(c.env, c.var.caller.account, before.first);
    const request = await findRequest(c, id);
    return c.json(await view(c, request), 200, costHeaders([request]));
  });

  // Replicate's client sends no key here: the address itself opens it
  app.openapi(stream, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const account = await ownerOrLink(c, id, 'stream');
    const origin = publicBase(c.env, c.req.url);
    const job = await callJob(c.env, id, (stub) => stub.view(account));
    if (!job) throw jobNotFound(id);
    const ids = jobsOf(job);
    const place = streamPlace(c.req.header('last-event-id'), ids.length);
    if (place === 'over') return c.body(null, 204);
    return sendEvents(c, async (write) => {
      const seen = [...place];
      /** The lines of an event; a watcher who loses some of them gets all of them again. */
      const shownOf = async (event: Exclude<FollowedEvent, { type: 'failed' | 'cancelled' }>, index: number) => {
        if (event.type !== 'done') return viewStreamEvent(event);
        // made only now: a link opens for an hour
        const of = ids[index] as string;
        const done = of === id ? job : await callJob(c.env, of, (stub) => stub.view(account));
        if (!done) throw jobNotFound(of);
        return viewStreamPicture(event, origin + (await withLinks(c.env.SIGNING_SECRET, done)).links.image);
      };
      const told = await followJobs(c.env, { ids, account, after: place }, async (event, index) => {
        if (event === null) {
          await write.comment();
          return 'on';
        }
        if (event.type === 'failed' || event.type === 'cancelled') {
          for (const [type, data] of viewStreamEnd(event)) await write.event(type, data, LAST_ID);
          return 'over';
        }
        const shown = await shownOf(event, index);
        for (const [i, [type, data]] of shown.entries()) {
          if (i === shown.length - 1) seen[index] = event.seq ?? seen[index] ?? 0;
          await write.event(type, data, streamId(seen));
        }
        return 'on';
      });
      if (told === 'over') return;
      for (const [type, data] of viewStreamEnd(null)) await write.event(type, data, LAST_ID);
    });
  });
}
