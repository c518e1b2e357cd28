/**
 * fal's queue, as a thin translation over jobs: one request is one job, under the same id. fal.run and the other hosts
 * of fal are not here.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { viewResult, viewStatus } from '../doors/fal.ts';
import { resolveModel, type ServedModel } from '../fleet/models.ts';
import { hasEnded, type JobView } from '../job/job.ts';
import { type LinkedJob, withLinks } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';
import type { FitMemo } from '../job/plan.ts';
import { requireKey } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv } from './env.ts';
import { followJob } from './follow.ts';
import { jobId, jobNotFound } from './job-id.ts';
import { type JobBody, jobBody, planBody, planningTools } from './job-request.ts';
import { availableModels } from './models.ts';
import { badField, Problem } from './problem.ts';
import { limitBody, requireJson } from './request-body.ts';
import { sendEvents } from './send-events.ts';
import { idempotencyOf, rateHeaders, startJobs } from './start-jobs.ts';
import { webhookOf } from './webhooks.ts';

const {
  model: _model,
  deadline_seconds: _deadline,
  webhook_url: _webhook,
  width: _width,
  height: _height,
  ...own
} = jobBody.shape;
const inputBody = z
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
  })
  .openapi('FalInput');
type Input = z.infer<typeof inputBody>;

const APP = { owner: z.string(), app: z.string() };
const any = { content: { 'application/json': { schema: z.object({}) } } };
const BASE = '/fal/queue/{owner}/{app}';

/** What fal's client reads: JSON with `detail`; a list of `{loc, msg, type}` under 422 where fields are at fault. */
const speakFal = createMiddleware<AppEnv>(async function speakFal(c, next) {
  c.set('render', ({ fields: { status, code, detail, errors, headers = {} } }) =>
    errors
      ? Response.json(
          { detail: errors.map(({ field, rule }) => ({ loc: ['body', ...field.split('.')], msg: rule, type: code })) },
          { status: 422, headers },
        )
      : Response.json({ detail }, { status, headers }),
  );
  await next();
});

const submitTo = (path: string) =>
  createRoute({
    method: 'post',
    path,
    summary: 'Submit a request to the queue',
    middleware: [speakFal, requireKey, limitBody, requireJson] as const,
    request: {
      params: z.object(APP).loose(),
      query: z.object({ fal_webhook: z.string().max(2000).optional() }),
      headers: z.object({ 'idempotency-key': z.string().optional() }),
      body: { required: true, content: { 'application/json': { schema: inputBody } } },
    },
    responses: { 200: { description: 'In the queue', ...any } },
  });
const streamStatus = createRoute({
  method: 'get',
  path: `${BASE}/requests/{id}/status/stream` as const,
  summary: 'Where it stands, as it moves',
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

/** The input as a job's body. Throws a 400 Problem. */
function toJobBody(input: Input, model: string): JobBody {
  const {
    image_size,
    num_inference_steps: steps,
    guidance_scale,
    num_images: _,
    sync_mode: __,
    enable_safety_checker: ___,
    ...fields
  } = input;
  if (steps !== undefined && (fields.preset !== undefined || fields.N !== undefined))
    throw badField('num_inference_steps', steps, 'cannot be given together with a preset or N');
  if (guidance_scale !== undefined && fields.guidance !== undefined)
    throw badField('guidance_scale', guidance_scale, 'cannot be given together with guidance');
  return {
    ...fields,
    model,
    ...image_size,
    ...(steps !== undefined && { N: [steps], e: [1] }),
    ...(guidance_scale !== undefined && { guidance: guidance_scale }),
  };
}

/** The model that an app's path means: its last parts first. Throws a 404 Problem. */
function modelOf(models: readonly ServedModel[], app: string, path: string): string {
  const names = [path, path.split('/').at(-1) ?? '', app].filter((name) => name !== '');
  const found = names.map((name) => resolveModel(models, name)).find((model) => model !== null);
  if (!found)
    throw new Problem({
      status: 404,
      code: 'model_not_found',
      detail: `There is no model ${names[0]}; there are ${models.map(({ facts }) => facts.id).join(', ')}.`,
    });
  return found.facts.id;
}

export function routeFal(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  type Told = {
    readonly job: LinkedJob;
    readonly logs: readonly LogLine[];
    readonly base: string;
    readonly origin: string;
  };

  const told = async (
    c: Context<AppEnv>,
    { owner, app, id }: { readonly owner: string; readonly app: string; readonly id: string },
  ): Promise<Told> => {
    const found = await callObject(c.env.JOBS, jobId(id), (stub) => stub.viewWithLogs(c.var.caller.account));
    if (!found) throw jobNotFound(id);
    const { origin } = new URL(c.req.url);
    return {
      job: await withLinks(c.env.SIGNING_SECRET, found.job),
      logs: found.logs,
      base: `${origin}/fal/queue/${owner}/${app}/requests/${id}`,
      origin,
    };
  };

  const submit = async (
    c: Context<AppEnv>,
    { owner, app }: { readonly owner: string; readonly app: string },
    input: Input,
    webhook: string | undefined,
  ) => {
    const idempotency = await idempotencyOf(c.req.header('idempotency-key'), c.req.path, { input, webhook });
    const plan = async () => {
      const models = await availableModels(c.env);
      const path = c.req.path.slice(`/fal/queue/${owner}/${app}/`.length);
      return [planBody(toJobBody(input, modelOf(models, app, path)), models, planningTools(memo, c.env))];
    };
    const { jobs, rate, isReplay } = await startJobs(c.env, c.var.caller, {
      plan,
      requestId: c.var.requestId,
      idempotency,
      webhook: webhookOf(c, 'fal_webhook', webhook, 'fal'),
    });
    const [{ id }] = jobs as [JobView];
    const { job, base } = await told(c, { owner, app, id });
    return c.json(
      { ...viewStatus(job, [], base, false), status: 'IN_QUEUE', queue_position: job.queue?.position ?? 0 },
      200,
      {
        ...rateHeaders(rate),
        'x-fal-request-id': id,
        'x-ralu-job-id': id,
        ...(isReplay && { 'idempotent-replayed': 'true' }),
      },
    );
  };
  // an app has a path below it or has not
  for (const path of [BASE, `${BASE}/{path}`, `${BASE}/{path}/{more}`] as const) {
    app.openapi(submitTo(path), async (c) =>
      submit(
        c,
        c.req.valid('param') as { owner: string; app: string },
        c.req.valid('json'),
        c.req.valid('query').fal_webhook,
      ),
    );
  }

  app.openapi(requestRoute('get', '/status', 'Where a request stands'), async (c) => {
    const { job, logs, base } = await told(c, c.req.valid('param'));
    return c.json(viewStatus(job, logs, base, c.req.valid('query').logs === '1'), 200, { 'x-fal-request-id': job.id });
  });

  app.openapi(streamStatus, async (c) => {
    const params = c.req.valid('param');
    const withLogs = c.req.valid('query').logs === '1';
    await told(c, params);
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
          // these change neither the status nor the logs
          if (event.type === 'step' || event.type === 'preview') continue;
          const { job, logs, base } = await told(c, params);
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
    const { job, origin } = await told(c, c.req.valid('param'));
    const result = viewResult(job, origin);
    if (result) return c.json(result, 200, { 'x-fal-request-id': job.id });
    if (!hasEnded(job))
      throw new Problem({ status: 400, code: 'in_progress', detail: 'The request is still in progress.' });
    throw new Problem({
      status: job.status === 'failed' ? 500 : 409,
      code: job.error?.reason ?? 'cancelled',
      detail: job.error?.message ?? 'The request was cancelled.',
    });
  });

  app.openapi(requestRoute('put', '/cancel', 'Stop a request'), async (c) => {
    const { id } = c.req.valid('param');
    const before = await callObject(c.env.JOBS, jobId(id), (stub) => stub.view(c.var.caller.account));
    if (!before) return c.json({ status: 'NOT_FOUND' }, 404 as 200);
    if (hasEnded(before)) return c.json({ status: 'ALREADY_COMPLETED' }, 400 as 200);
    await callObject(c.env.JOBS, id, (stub) => stub.cancel(c.var.caller.account));
    return c.json({ status: 'CANCELLATION_REQUESTED' }, 202 as 200);
  });
}
