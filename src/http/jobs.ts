/** `/v1/jobs`: start a job, watch it, fetch its image, cancel it, erase it. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { resolveModel } from '../fleet/models.ts';
import type { JobView } from '../job/job.ts';
import { prefixOf } from '../job/links.ts';
import type { FitMemo } from '../job/plan.ts';
import type { PlannedJob } from '../job/plan-request.ts';
import { jobPath, summarize, viewQuote } from '../job/view.ts';
import type { ImageFormat } from '../stage/contract.ts';
import { ownerOrLink, requireKey } from './auth.ts';
import { callJob, callObject } from './call-object.ts';
import { costHeaders } from './cost-headers.ts';
import { whileItOpens } from './end-streams.ts';
import type { AppEnv } from './env.ts';
import { streamJob, waitForJob } from './follow.ts';
import { IMAGE_CONTENT } from './image-content.ts';
import { jobId, jobNotFound } from './job-id.ts';
import { draftBody, draftTools, jobBody } from './job-request.ts';
import { offerFor } from './offer.ts';
import { badField, orProblem, Problem } from './problem.ts';
import { publicBase } from './public-address.ts';
import { queueFor } from './queue.ts';
import { rateHeaders } from './refuse-start.ts';
import { limitBody, requireJson } from './request-body.ts';
import { job as jobSchema, jobSummary, quote as quoteSchema } from './schemas/job.ts';
import { STREAM_HEADERS } from './send-events.ts';
import { sendImage } from './send-image.ts';
import { sendThumbnail } from './send-thumbnail.ts';
import { showJob } from './show-job.ts';
import { idempotencyOf, placeOfDraft, startJobs } from './start-jobs.ts';
import { webhookOf } from './webhooks.ts';

/** Where a reconnecting watcher goes on: the number after `Last-Event-ID`, 0 at first. */
function lastEventId(header: string | undefined): number {
  if (header === undefined || header === '') return 0;
  if (!/^\d{1,15}$/.test(header)) throw badField('last-event-id', header, 'must be the id of an event of this job');
  return Number(header);
}

const idParam = z.object({ id: z.string().openapi({ example: 'job_0123456789abcdef0123456789abcdef' }) });
const jobResponse = (description: string) => ({ description, content: { 'application/json': { schema: jobSchema } } });
const token = z.object({
  token: z.string().optional().openapi({ description: 'instead of a key: from the links of the job' }),
});

const createJob = createRoute({
  operationId: 'createJob',
  method: 'post',
  path: '/v1/jobs',
  summary: 'Start a job',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: {
    headers: z.object({ 'idempotency-key': z.string().optional() }),
    body: { required: true, content: { 'application/json': { schema: jobBody } } },
  },
  responses: {
    202: jobResponse('Accepted: the job with its plan'),
  },
});
const quoteJob = createRoute({
  operationId: 'quoteJob',
  method: 'post',
  path: '/v1/jobs/quote',
  summary: 'Get plan, work, expected time and cost without starting a job',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: { body: { required: true, content: { 'application/json': { schema: jobBody } } } },
  responses: {
    200: {
      description: 'The plan with its work, the most that it costs, and the seconds it took this account’s jobs lately',
      content: { 'application/json': { schema: quoteSchema } },
    },
  },
});
const STATUSES = ['open', 'done', 'failed', 'cancelled'] as const;
const MAX_PAGE = 50;
/** seconds */
const MAX_WAIT = 60;
const listJobs = createRoute({
  operationId: 'listJobs',
  method: 'get',
  path: '/v1/jobs',
  summary: 'The jobs of the account, newest first',
  middleware: [requireKey] as const,
  request: {
    query: z.strictObject({
      limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(20),
      after: z
        .string()
        .regex(/^\d{1,15}$/, 'must be the next_cursor of an earlier page')
        .optional(),
      status: z.enum(STATUSES).optional(),
      request_id: z.string().max(255).optional().openapi({ description: 'jobs of one request: its x-request-id' }),
    }),
  },
  responses: {
    200: {
      description: 'A page',
      content: {
        'application/json': {
          schema: z.object({
            object: z.literal('list'),
            data: z.array(jobSummary),
            has_more: z.boolean(),
            next_cursor: z.string().nullable(),
          }),
        },
      },
    },
  },
});
const getJob = createRoute({
  operationId: 'getJob',
  method: 'get',
  path: '/v1/jobs/{id}',
  summary: 'A job as it stands, at once or when it has ended, within wait=SECONDS',
  middleware: [requireKey] as const,
  request: {
    params: idParam,
    query: z.strictObject({ wait: z.coerce.number().int().min(0).max(MAX_WAIT).optional() }),
  },
  responses: { 200: jobResponse('The job') },
});
const watchJob = createRoute({
  operationId: 'watchJob',
  method: 'get',
  path: '/v1/jobs/{id}/events',
  summary: 'Its events as they happen, resumable with Last-Event-ID',
  request: {
    params: idParam,
    query: token.extend({
      thumbnails: z
        .enum(['true', 'false'])
        .default('true')
        .openapi({ description: 'false leaves out the events of that name' }),
    }),
    headers: z.object({
      'last-event-id': z
        .string()
        .optional()
        .openapi({ description: 'the id of the last event that was seen: those after it come', example: '12' }),
    }),
  },
  responses: {
    200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: z.string() } } },
    204: { description: 'The job has ended and every event was seen' },
  },
});
const getImage = createRoute({
  operationId: 'getJobImage',
  method: 'get',
  path: '/v1/jobs/{id}/image',
  summary: 'The finished picture',
  request: {
    params: idParam,
    query: token,
    headers: z.object({ range: z.string().optional().openapi({ example: 'bytes=0-1023' }) }),
  },
  responses: {
    200: { description: 'Encoded image', content: IMAGE_CONTENT },
    206: { description: 'The part of it that Range names', content: IMAGE_CONTENT },
    304: { description: 'If-None-Match or If-Modified-Since says that the caller has it' },
    409: { description: 'There is no image, or none yet' },
    412: { description: 'If-Match or If-Unmodified-Since asks for another' },
    416: { description: 'Range names nothing of it' },
  },
});
/** The same by a file name, as links to it have it: nobody makes such an address himself. */
const getFile = (extension: string) =>
  createRoute({ ...getImage, path: `${getImage.path}.${extension}` as const, hide: true });
const EXTENSIONS: readonly (readonly [extension: string, format: ImageFormat])[] = [
  ['png', 'png'],
  ['webp', 'webp'],
  ['jpeg', 'jpeg'],
  ['jpg', 'jpeg'],
];
const getThumbnail = createRoute({
  operationId: 'getJobThumbnail',
  method: 'get',
  path: '/v1/jobs/{id}/thumbnail',
  summary: 'The finished picture once more, small: for lists',
  request: { params: idParam, query: token },
  responses: {
    200: { description: 'Encoded image', content: IMAGE_CONTENT },
    304: { description: 'If-None-Match or If-Modified-Since says that the caller has it' },
    409: { description: 'There is none, or none yet' },
    412: { description: 'If-Match or If-Unmodified-Since asks for another' },
  },
});
const cancelJob = createRoute({
  operationId: 'cancelJob',
  method: 'post',
  path: '/v1/jobs/{id}/cancel',
  summary: 'Stop a job',
  middleware: [requireKey] as const,
  request: { params: idParam },
  responses: { 200: jobResponse('The job: cancelled, or as it had ended before') },
});
const deleteJob = createRoute({
  operationId: 'eraseJob',
  method: 'delete',
  path: '/v1/jobs/{id}',
  summary: 'Erase a job: picture, latents and events',
  middleware: [requireKey] as const,
  request: { params: idParam },
  responses: { 204: { description: 'Erased' } },
});

export function routeJobs(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  app.openapi(createJob, async (c) => {
    const body = c.req.valid('json');
    const idempotency = await idempotencyOf(c, '/v1/jobs', body);
    const { jobs, isReplay, rate } = await startJobs(c, {
      isThere: (models) => resolveModel(models, body.model) !== null,
      draft: (models, offer) => draftBody(body, models, draftTools(c.env, offer, resolveModel(models, body.model))),
      memo,
      idempotency,
      deadlineSeconds: body.deadline_seconds ?? null,
      webhook: webhookOf(c, 'webhook_url', body.webhook_url, 'jobs'),
      user: body.user || null,
    });
    const [job] = jobs as [JobView];
    return c.json(await showJob(c, job), 202, {
      ...rateHeaders(rate),
      ...costHeaders(jobs),
      location: prefixOf(publicBase(c.env, c.req.url)) + jobPath(job.id),
      'x-ralu-job-id': job.id,
      ...(isReplay && { 'idempotent-replayed': 'true' }),
    });
  });

  app.openapi(quoteJob, async (c) => {
    const body = c.req.valid('json');
    const offer = await offerFor(c, (models) => resolveModel(models, body.model) !== null);
    const draft = orProblem(
      draftBody(body, offer.models, draftTools(c.env, offer, resolveModel(offer.models, body.model))),
    );
    const [{ request, plan }] = draft.plan(memo) as readonly [PlannedJob];
    const [pace, queue] = await Promise.all([
      callObject(c.env.ACCOUNTS, c.var.caller.account, (account) => account.pace(request.model)),
      queueFor(c.env, c.var.caller, offer, { plan, placed: placeOfDraft(c, offer, draft).regions }),
    ]);
    const quote = viewQuote(request, plan, { pace, queue });
    return c.json(quote, 200, costHeaders([quote]));
  });

  app.openapi(listJobs, async (c) => {
    const { limit, after, status, request_id } = c.req.valid('query');
    const { account } = c.var.caller;
    // one more than the page tells whether there are more
    const entries = await callObject(c.env.ACCOUNTS, account, (stub) =>
      stub.jobs({
        before: after === undefined ? null : Number(after),
        limit: limit + 1,
        status: status ?? null,
        requestId: request_id ?? null,
      }),
    );
    const page = entries.slice(0, limit);
    const jobs = await Promise.all(page.map(({ id }) => callJob(c.env, id, (stub) => stub.view(account))));
    const data = await Promise.all(jobs.filter((job) => job !== null).map((job) => showJob(c, summarize(job))));
    const hasMore = entries.length > limit;
    return c.json(
      { object: 'list' as const, data, has_more: hasMore, next_cursor: hasMore ? String(page.at(-1)?.seq) : null },
      200,
    );
  });

  app.openapi(getJob, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const { wait = 0 } = c.req.valid('query');
    const { account } = c.var.caller;
    const job = await whileItOpens(c, (refused) => waitForJob(c.env, account, id, wait * 1000, refused));
    if (!job) throw jobNotFound(id);
    return c.json(await showJob(c, job), 200, costHeaders([job]));
  });

  app.openapi(watchJob, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const owner = await ownerOrLink(c, id, 'events');
    const after = lastEventId(c.req.header('last-event-id'));
    const thumbnails = c.req.valid('query').thumbnails === 'true';
    const events = await streamJob(c.env, id, { owner, after, thumbnails, signal: c.req.raw.signal });
    if (!events) throw jobNotFound(id);
    if (events === 'ahead') throw badField('last-event-id', after, 'must be the id of an event of this job');
    if (events === 'over') return c.body(null, 204);
    return c.body(events, 200, STREAM_HEADERS);
  });

  const showImage = async (c: Context<AppEnv>, name: string, asked: ImageFormat | null) => {
    const id = await jobId(c, name);
    const owner = await ownerOrLink(c, id, 'image');
    const job = await callJob(c.env, id, (stub) => stub.view(owner));
    if (!job) throw jobNotFound(id);
    if (!job.image)
      throw new Problem({
        status: 409,
        code: 'image_not_ready',
        detail: `Job ${id} has no image: it is ${job.status}.`,
      });
    const { format } = job.image;
    if (asked !== null && asked !== format)
      throw new Problem({
        status: 404,
        code: 'no_such_image',
        detail: `The image of job ${id} is image.${format}; there is no image.${asked}.`,
      });
    return sendImage(c, { id, format });
  };
  app.openapi(getImage, async (c) => showImage(c, c.req.valid('param').id, null));
  for (const [extension, format] of EXTENSIONS)
    app.openapi(getFile(extension), async (c) => showImage(c, c.req.valid('param').id, format));

  app.openapi(getThumbnail, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const owner = await ownerOrLink(c, id, 'thumbnail');
    const thumbnail = await callJob(c.env, id, (stub) => stub.thumbnail(owner));
    if (!thumbnail) throw jobNotFound(id);
    if (thumbnail === 'none')
      throw new Problem({
        status: 409,
        code: 'image_not_ready',
        detail: `Job ${id} has no small image: \`urls.thumbnail\` of the job is null.`,
      });
    return sendThumbnail(c, id, thumbnail);
  });

  app.openapi(cancelJob, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const job = await callJob(c.env, id, (stub) => stub.cancel(c.var.caller.account));
    if (!job) throw jobNotFound(id);
    return c.json(await showJob(c, job), 200, costHeaders([job]));
  });

  app.openapi(deleteJob, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const { account } = c.var.caller;
    await callObject(c.env.ACCOUNTS, account, (stub) => stub.noteErasure(id, c.var.actor));
    if (!(await callJob(c.env, id, (stub) => stub.erase(account)))) throw jobNotFound(id);
    return c.body(null, 204);
  });
}
