/** `/v1/jobs`: start a job, watch it, fetch its image, cancel it, erase it. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import { imageKey } from '../../durable-objects/job.ts';
import type { JobView } from '../job/job.ts';
import type { FitMemo } from '../job/plan.ts';
import { jobPath } from '../job/view.ts';
import type { AppEnv } from './env.ts';
import { jobBody, planBody } from './job-request.ts';
import { callJob } from './job-stub.ts';
import { availableModels } from './models.ts';
import { badField, Problem } from './problem.ts';

const MAX_BODY_BYTES = 256 * 1024;
const JOB_ID = /^job_[0-9a-f]{32}$/;

const notFound = (id: string) => new Problem({ status: 404, code: 'job_not_found', detail: `There is no job ${JOB_ID.test(id) ? id : 'of that id'}; it may have expired.` });

/** The id from the path. One that was never ours names no object, so none is touched for it. */
function jobId(id: string): string {
  if (!JOB_ID.test(id)) throw notFound(id);
  return id;
}

const limitBody = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: () => {
    throw new Problem({ status: 413, code: 'body_too_large', detail: `The body may have at most ${MAX_BODY_BYTES} bytes.` });
  },
});

/** The types that Hono reads a body as JSON for; any other would slip past the contract unread. */
const JSON_TYPE = /^application\/([a-z-.]+\+)?json(;\s*[a-zA-Z0-9-]+=([^;]+))*$/;

const requireJson = createMiddleware<AppEnv>(async function requireJson(c, next) {
  const type = c.req.header('content-type') ?? '';
  if (!JSON_TYPE.test(type)) {
    throw new Problem({
      status: 415,
      code: 'unsupported_media_type',
      detail: `content-type: got ${JSON.stringify(type)}; must be application/json`,
      errors: [{ field: 'content-type', value: type, rule: 'must be application/json' }],
    });
  }
  await c.req.json().catch(() => {
    throw badField('(body)', undefined, 'must be JSON');
  });
  await next();
});

/** Where a reconnecting watcher goes on: the number after `Last-Event-ID`, 0 at first. */
function lastEventId(header: string | undefined): number {
  if (header === undefined || header === '') return 0;
  if (!/^\d{1,15}$/.test(header)) throw badField('last-event-id', header, 'must be the id of an event of this job');
  return Number(header);
}

const idParam = z.object({ id: z.string().openapi({ example: 'job_0123456789abcdef0123456789abcdef' }) });
const jobSchema = z.custom<JobView>().openapi('Job', { type: 'object', description: 'The job: status, plan, image and receipt once done' });
const jobResponse = (description: string) => ({ description, content: { 'application/json': { schema: jobSchema } } });

const createJob = createRoute({
  method: 'post',
  path: '/v1/jobs',
  summary: 'Start a job',
  middleware: [limitBody, requireJson] as const,
  request: { body: { required: true, content: { 'application/json': { schema: jobBody } } } },
  responses: { 202: jobResponse('Accepted: the job with its plan') },
});
const getJob = createRoute({ method: 'get', path: '/v1/jobs/{id}', summary: 'A job as it stands', request: { params: idParam }, responses: { 200: jobResponse('The job') } });
const watchJob = createRoute({
  method: 'get',
  path: '/v1/jobs/{id}/events',
  summary: 'Its events as they happen, resumable with Last-Event-ID',
  request: { params: idParam },
  responses: { 200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: z.string() } } }, 204: { description: 'The job has ended and every event was seen' } },
});
const getImage = createRoute({ method: 'get', path: '/v1/jobs/{id}/image', summary: 'The finished image', request: { params: idParam }, responses: { 200: { description: 'Encoded image' } } });
const cancelJob = createRoute({
  method: 'post',
  path: '/v1/jobs/{id}/cancel',
  summary: 'Stop a job',
  request: { params: idParam },
  responses: { 200: jobResponse('The job: cancelled, or as it had ended before') },
});
const deleteJob = createRoute({
  method: 'delete',
  path: '/v1/jobs/{id}',
  summary: 'Erase a job: image, latents and events',
  request: { params: idParam },
  responses: { 204: { description: 'Erased' } },
});

export function routeJobs(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  app.openapi(createJob, async (c) => {
    const tools = { memo, clock: () => performance.now(), draw: () => crypto.getRandomValues(new Uint32Array(1))[0] as number };
    const { request, plan } = planBody(c.req.valid('json'), await availableModels(c.env), tools);
    const id = `job_${crypto.randomUUID().replaceAll('-', '')}`;
    const job = await callJob(c.env, id, (stub) => stub.create({ id, request, plan }) as Promise<JobView>);
    return c.json(job, 202, { location: jobPath(id), 'x-ralu-job-id': id });
  });

  app.openapi(getJob, async (c) => {
    const id = jobId(c.req.valid('param').id);
    const job = await callJob(c.env, id, (stub) => stub.view() as Promise<JobView | null>);
    if (!job) throw notFound(id);
    return c.json(job, 200);
  });

  app.openapi(watchJob, async (c) => {
    const id = jobId(c.req.valid('param').id);
    const after = lastEventId(c.req.header('last-event-id'));
    const events = await callJob(c.env, id, (stub) => stub.events(after) as Promise<ReadableStream<Uint8Array> | 'over' | 'ahead' | null>);
    if (!events) throw notFound(id);
    if (events === 'ahead') throw badField('last-event-id', after, 'must be the id of an event of this job');
    if (events === 'over') return c.body(null, 204);
    const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'content-encoding': 'identity', 'x-accel-buffering': 'no' };
    return c.body(events, 200, headers);
  });

  app.openapi(getImage, async (c) => {
    const id = jobId(c.req.valid('param').id);
    const job = await callJob(c.env, id, (stub) => stub.view() as Promise<JobView | null>);
    if (!job) throw notFound(id);
    if (!job.image) throw new Problem({ status: 409, code: 'image_not_ready', detail: `Job ${id} has no image: it is ${job.status}.` });
    const image = await c.env.IMAGES.get(imageKey(id, job.image.format));
    if (!image) throw notFound(id);
    return c.body(image.body, 200, { 'content-type': `image/${job.image.format}`, 'content-length': String(image.size), etag: image.httpEtag, 'cache-control': 'private, max-age=3600' });
  });

  app.openapi(cancelJob, async (c) => {
    const id = jobId(c.req.valid('param').id);
    const job = await callJob(c.env, id, (stub) => stub.cancel() as Promise<JobView | null>);
    if (!job) throw notFound(id);
    return c.json(job, 200);
  });

  app.openapi(deleteJob, async (c) => {
    const id = jobId(c.req.valid('param').id);
    if (!(await callJob(c.env, id, (stub) => stub.erase()))) throw notFound(id);
    return c.body(null, 204);
  });
}
