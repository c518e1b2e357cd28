/**
 * fal's queue, as a thin translation over jobs: one request is one job, under the same id. fal.run and the other hosts
 * of fal are not here.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { billableUnits, isTold, viewError, viewResult, viewStatus, whyNoResult } from '../doors/fal.ts';
import { draftFalRequest, type FalInput, modelOfApp } from '../doors/fal-request.ts';
import { hasEnded, type JobView } from '../job/job.ts';
import { type LinkedJob, withLinks } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';
import type { FitMemo } from '../job/plan.ts';
import type { JobWithLogs } from '../job/rpc.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { requireKey } from './auth.ts';
import { callJob } from './call-object.ts';
import { costHeaders } from './cost-headers.ts';
import type { AppEnv } from './env.ts';
import { followJob } from './follow.ts';
import { foreignContent } from './foreign-body.ts';
import { jobId, jobNotFound, knownJobId } from './job-id.ts';
import { draftTools, jobBody } from './job-request.ts';
import { methodNotAllowed, Problem } from './problem.ts';
import { publicBase } from './public-address.ts';
import { rateHeaders } from './refuse-start.ts';
import { limitBody, requireJson } from './request-body.ts';
import type { SchemaFields } from './schema-fields.ts';
import { sendEvents } from './send-events.ts';
import { idempotencyOf, NOT_PAID, startJobs } from './start-jobs.ts';
import { webhookOf } from './webhooks.ts';

const {
  model: _model,
  deadline_seconds: _deadline,
  webhook_url: _webhook,
  width: _width,
  height: _height,
  ...own
} = jobBody.shape;
export const falBody = z
  .strictObject({
    ...own,
    image_size: z.strictObject({ width: z.int().positive(), height: z.int().positive() }).optional(),
    num_inference_steps: z.int().min(1).max(1000).optional().openapi({ description: 'a plain run of so many steps' }),
    guidance_scale: own.guidance,
    num_images: z.literal(1).optional(),
    sync_mode: z.literal(false).optional(),
    enable_safety_checker: z
      .boolean()
      .optional()
      .openapi({ description: 'the deployment decides: its judge of prompts is asked either way' }),
  } satisfies SchemaFields<FalInput>)
  .openapi('FalInput');

const APP = { owner: z.string(), app: z.string() };
const any = { content: { 'application/json': { schema: z.object({}) } } };
const BASE = '/fal/queue/{owner}/{app}';

/** Every refusal behind it has fal's shape. */
export const speakFal = createMiddleware<AppEnv>(async function speakFal(c, next) {
  c.set('render', ({ fields }) => {
    const { status, body } = viewError(fields);
    return Response.json(body, { status, headers: { ...fields.headers } });
  });
  await next();
});

const submitTo = (path: string, parts: Readonly<Record<string, z.ZodString>>) =>
  createRoute({
    method: 'post',
    path,
    summary: 'Submit a request to the queue',
    middleware: [speakFal, requireKey, limitBody, requireJson] as const,
    request: {
      params: z.object({ ...APP, ...parts }),
      query: z.object({ fal_webhook: z.string().max(2000).optional() }),
      headers: z.object({ 'idempotency-key': z.string().optional() }),
      body: foreignContent(falBody),
    },
    responses: { 200: { description: 'In the queue', ...any }, 402: NOT_PAID },
  });
const streamStatus = createRoute({
  method: 'get',
  path: `${BASE}/requests/{id}/status/stream` as const,
  summary: 'Stream the status of a request',
  middleware: [speakFal, requireKey] as const,
  request: { params: z.object({ ...APP, id: z.string() }), query: z.object({ logs: z.enum(['0', '1']).optional() }) },
  responses: { 200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: z.string() } } } },
});
const requestRoute = <M extends 'get' | 'put', P extends string>(method: M, part: P, summary: string) =>
  createRoute({
    method,
    path: `${BASE}/requests/{id}${part}` as const,
    summary,
    middleware: [speakFal, requireKey] as const,
    request: { params: z.object({ ...APP, id: z.string() }), query: z.object({ logs: z.enum(['0', '1']).optional() }) },
    responses: { 200: { description: summary, ...any } },
  });

/** The model that an app's path means. Throws a 404 Problem where it means none. */
function modelAt(models: readonly ModelFacts[], app: string, path: string): ModelFacts {
  const model = modelOfApp(models, app, path);
  if (model) return model;
  throw new Problem({
    status: 404,
    code: 'model_not_found',
    detail: `There is no model ${(path || app).slice(0, 100)}; there are ${models.map(({ id }) => id).join(', ')}.`,
  });
}

/** Where a request is submitted. */
interface SubmitPath {
  readonly owner: string;
  readonly app: string;
  readonly path?: string;
  readonly more?: string;
}

/** A request as it stands, and where it is found. */
interface Found {
  readonly job: LinkedJob;
  readonly logs: readonly LogLine[];
  readonly base: string;
  readonly origin: string;
}

async function found(
  c: Context<AppEnv>,
  { owner, app }: Pick<SubmitPath, 'owner' | 'app'>,
  { job, logs }: JobWithLogs,
): Promise<Found> {
  const origin = publicBase(c.env, c.req.url);
  const base = `${origin}/fal/queue/${owner}/${app}/requests/${job.id}`;
  return { job: await withLinks(c.env.SIGNING_SECRET, job), logs, base, origin };
}

export function routeFal(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  const find = async (
    c: Context<AppEnv>,
    { owner, app, id }: { readonly owner: string; readonly app: string; readonly id: string },
  ): Promise<Found> => {
    const stored = await callJob(c.env, await jobId(c, id), (stub) => stub.viewWithLogs(c.var.caller.account));
    if (!stored) throw jobNotFound(id);
    return found(c, { owner, app }, stored);
  };

  const submit = async (
    c: Context<AppEnv>,
    { owner, app, path = '', more }: SubmitPath,
    { input, webhook }: { readonly input: FalInput; readonly webhook: string | undefined },
  ) => {
    // the address of a request, which takes no POST, has the form of an app's
    if (path === 'requests' && more !== undefined) throw methodNotAllowed('POST', ['GET', 'HEAD']);
    const below = more === undefined ? path : `${path}/${more}`;
    const idempotency = await idempotencyOf(c, c.req.path, { input, webhook });
    const { jobs, rate, isReplay } = await startJobs(c, {
      memo,
      isThere: (models) => modelOfApp(models, app, below) !== null,
      draft: (models) => draftFalRequest(input, modelAt(models, app, below), draftTools(c.env)),
      idempotency,
      webhook: webhookOf(c, 'fal_webhook', webhook, 'fal'),
      user: input.user || null,
    });
    const [begun] = jobs as [JobView];
    const { id } = begun;
    const { job, base } = await found(c, { owner, app }, { job: begun, logs: [] });
    return c.json(
      { ...viewStatus(job, [], base, false), status: 'IN_QUEUE', queue_position: job.queue?.position ?? 0 },
      200,
      {
        ...rateHeaders(rate),
        ...costHeaders([job]),
        'x-fal-request-id': id,
        'x-ralu-job-id': id,
        ...(isReplay && { 'idempotent-replayed': 'true' }),
      },
    );
  };
  // an app has a path below it or has not
  const [path, more] = [z.string(), z.string()];
  for (const route of [
    submitTo(BASE, {}),
    submitTo(`${BASE}/{path}`, { path }),
    submitTo(`${BASE}/{path}/{more}`, { path, more }),
  ]) {
    app.openapi(route, async (c) =>
      submit(c, c.req.valid('param') as SubmitPath, {
        input: c.req.valid('json'),
        webhook: c.req.valid('query').fal_webhook,
      }),
    );
  }

  app.openapi(requestRoute('get', '/status', 'Get the status of a request'), async (c) => {
    const { job, logs, base } = await find(c, c.req.valid('param'));
    return c.json(viewStatus(job, logs, base, c.req.valid('query').logs === '1'), 200, { 'x-fal-request-id': job.id });
  });

  app.openapi(streamStatus, async (c) => {
    const params = c.req.valid('param');
    const withLogs = c.req.valid('query').logs === '1';
    await find(c, params);
    return sendEvents(
      c,
      async (write) => {
        let numLogs = 0;
        let shown = '';
        for await (const event of followJob(c.env, c.var.caller.account, params.id)) {
          if (event === null) {
            await write.comment();
            continue;
          }
          if (!isTold(event.type)) continue;
          const { job, logs, base } = await find(c, params);
          // each line once: the client adds them up
          const status = viewStatus(job, logs.slice(numLogs), base, withLogs);
          numLogs = logs.length;
          const text = JSON.stringify(status);
          if (text !== shown) await write.event(null, text);
          shown = text;
          if (hasEnded(job)) return;
        }
      },
      { 'x-fal-request-id': params.id },
    );
  });

  app.openapi(requestRoute('get', '', 'The result'), async (c) => {
    const { job, origin } = await find(c, c.req.valid('param'));
    const result = viewResult(job, origin);
    const units = billableUnits(job);
    const headers = {
      'x-fal-request-id': job.id,
      ...costHeaders([job]),
      ...(units !== null && { 'x-fal-billable-units': units }),
    };
    if (result) return c.json(result, 200, headers);
    throw new Problem({ ...whyNoResult(job), headers });
  });

  app.openapi(requestRoute('put', '/cancel', 'Stop a request'), async (c) => {
    const id = await knownJobId(c, c.req.valid('param').id);
    const before = id && (await callJob(c.env, id, (stub) => stub.view(c.var.caller.account)));
    if (!id || !before) return c.json({ status: 'NOT_FOUND' }, 404 as 200);
    if (hasEnded(before)) return c.json({ status: 'ALREADY_COMPLETED' }, 400 as 200);
    await callJob(c.env, id, (stub) => stub.cancel(c.var.caller.account));
    return c.json({ status: 'CANCELLATION_REQUESTED' }, 202 as 200);
  });
}
