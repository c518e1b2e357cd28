/**
 * `POST /v1/images/generations`: OpenAI's image API over the job object, as JSON, as a stream of real stages, or as the
 * bytes alone.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Idempotency } from '../../account/account.ts';
import { type DoneJob, failureOf, isDone, methodHeaders, viewAnswer } from '../../doors/openai.ts';
import { draftImages, type ImageRequest } from '../../doors/openai-request.ts';
import { resolveModel } from '../../fleet/models.ts';
import type { JobView } from '../../job/job.ts';
import type { FitMemo } from '../../job/plan.ts';
import { type ImageFormat, imageFormat } from '../../stage/contract.ts';
import { requireKey } from '../auth.ts';
import { callJob, callObject } from '../call-object.ts';
import { costHeaders } from '../cost-headers.ts';
import type { AppEnv, Env } from '../env.ts';
import { erased, waitForJob } from '../follow.ts';
import { foreignContent } from '../foreign-body.ts';
import { draftTools } from '../job-request.ts';
import { badField, Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { rateHeaders } from '../refuse-start.ts';
import { limitBody, requireJson } from '../request-body.ts';
import { type EventWriter, sendEvents } from '../send-events.ts';
import { digestOf, idempotencyOf, NOT_PAID, type StartedJobs, startJobs } from '../start-jobs.ts';
import { imageBody } from './image-body.ts';
import { imageBase64, imageBytes, imageUrl } from './image-bytes.ts';
import { writeImageEvents } from './image-events.ts';
import { refuseUnsupported, speakOpenAI } from './speak.ts';

const SURFACE = '/v1/images/generations';

const generate = createRoute({
  method: 'post',
  path: SURFACE,
  summary: 'Images as OpenAI’s clients ask for them',
  middleware: [speakOpenAI, requireKey, limitBody, requireJson, refuseUnsupported] as const,
  request: {
    headers: z.object({
      'idempotency-key': z.string().optional(),
      accept: z.string().optional().openapi({ description: 'image/*: the bytes alone, with the facts in headers' }),
    }),
    body: foreignContent(imageBody),
  },
  responses: {
    200: {
      description: 'The images; with stream their stages as server-sent events; with Accept: image/* the bytes',
      content: {
        'application/json': {
          schema: z
            .object({
              created: z.int(),
              data: z.array(z.object({ b64_json: z.string().optional(), url: z.string().optional() })),
            })
            .openapi('ImageAnswer'),
        },
      },
    },
    400: { description: 'A field that is not there, not supported or not valid' },
    402: NOT_PAID,
    429: { description: 'Too many images a minute, or jobs at once' },
  },
});

/**
 * What makes two requests one: the caller's own key; or else, as far as that can be told, a repetition that OpenAI's
 * client sends by itself, which has the same body and a retry count but no key. Such a one attaches to what the first
 * try started.
 */
async function idempotencyHere(c: Context<AppEnv>, body: ImageRequest): Promise<Idempotency | null> {
  const given = await idempotencyOf(c, SURFACE, body);
  const retries = c.req.header('x-stainless-retry-count');
  if (given || retries === undefined) return given;
  const digest = await digestOf(c, SURFACE, body);
  // no header can hold a zero byte, so no caller's key is like it
  return {
    key: `\0${c.var.caller.keyId}.${digest}`,
    digest,
    repetition: Math.max(0, Math.trunc(Number(retries)) || 0),
  };
}

/** Whether only bytes are wanted, and as what; null where JSON will do. */
function wantedBytes(accept: string | undefined): ImageFormat | 'any' | null {
  const types = (accept ?? '').split(',').map((type) => type.split(';')[0]?.trim() ?? '');
  if (types.includes('application/json') || types.includes('text/event-stream')) return null;
  const named = types.find((type) => type.startsWith('image/'))?.slice('image/'.length);
  if (named === undefined) return null;
  return imageFormat.safeParse(named).data ?? 'any';
}

/** Stops jobs that nobody waits for any more: not those that another request has attached to. */
async function cancelUnlessShared(
  env: Env,
  account: string,
  jobs: readonly JobView[],
  idempotencyKey: string | null,
): Promise<void> {
  if (idempotencyKey !== null && (await callObject(env.ACCOUNTS, account, (stub) => stub.isShared(idempotencyKey))))
    return;
  await Promise.all(jobs.map(({ id }) => callJob(env, id, (stub) => stub.cancel(account))));
}

const jobIds = (jobs: readonly JobView[]): string => jobs.map(({ id }) => id).join(', ');

export function routeOpenAIImages(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  app.openapi(generate, async (c) => {
    const began = Date.now();
    const body = c.req.valid('json');
    const bytes = wantedBytes(c.req.header('accept'));
    if (bytes && body.stream) throw badField('stream', true, 'needs Accept: text/event-stream or application/json');
    if (bytes && (body.n ?? 1) > 1) throw badField('n', body.n, 'must be 1 where the answer is the bytes of an image');
    const idempotency = await idempotencyHere(c, body);
    const started = await startJobs(c, {
      isThere: (models) => resolveModel(models, body.model) !== null,
      draft: (models) => draftImages(body, models, draftTools(c.env), bytes && bytes !== 'any' ? bytes : 'png'),
      memo,
      idempotency,
      user: body.user || body.safety_identifier || null,
    });
    const headers = {
      ...rateHeaders(started.rate),
      'x-ralu-job-id': jobIds(started.jobs),
      ...(started.isReplay && { 'idempotent-replayed': 'true' }),
    };
    // from here on work is under way: whatever the answer is, it names the jobs, and asking again by itself would ask
    // for it twice
    for (const [name, value] of Object.entries({ ...headers, 'x-should-retry': 'false' })) c.header(name, value);
    // a stream's caller has nothing else to stop the work with, unless the job can be had again by key
    const onLeave =
      body.ralu?.on_disconnect ?? (body.stream && !c.req.header('idempotency-key') ? 'cancel' : 'continue');
    const isOurs = onLeave === 'cancel' && !started.isReplay;
    const cancel = (): void => {
      if (isOurs)
        c.executionCtx.waitUntil(
          cancelUnlessShared(c.env, c.var.caller.account, started.jobs, idempotency?.key ?? null),
        );
    };
    c.req.raw.signal.addEventListener('abort', cancel);

    if (body.stream) {
      const write = async (writer: EventWriter): Promise<void> => {
        // one of several images without a picture ends the stream; nobody waits for the others then
        const { hasFailed } = await writeImageEvents(
          { env: c.env, account: c.var.caller.account, body, jobs: started.jobs },
          writer,
        );
        if (hasFailed) cancel();
      };
      return sendEvents(c, write, { ...headers, ...costHeaders(started.jobs) }, cancel);
    }

    const jobs = await finished(c, started);
    const timed = { ...headers, ...costHeaders(jobs), 'openai-processing-ms': String(Date.now() - began) };
    if (bytes) {
      const [{ id, image, receipt }] = jobs as [DoneJob];
      return c.body(await imageBytes(c.env, id, image), 200, {
        ...timed,
        ...methodHeaders(receipt),
        'content-type': `image/${image.format}`,
      });
    }
    const origin = publicBase(c.env, c.req.url);
    const data = await Promise.all(
      jobs.map(async (job) =>
        body.response_format === 'url'
          ? { url: await imageUrl(c.env, origin, job) }
          : { b64_json: await imageBase64(c.env, job.id, job.image) },
      ),
    );
    return c.json(viewAnswer(body, jobs, data), 200, timed);
  });
}

/**
 * The jobs once all have their image. Throws the Problem of the first that has none, with what they cost all together;
 * the others stay to be fetched.
 */
async function finished(c: Context<AppEnv>, { jobs }: StartedJobs): Promise<readonly DoneJob[]> {
  const ended = await Promise.all(jobs.map(({ id }) => waitForJob(c.env, c.var.caller.account, id)));
  const headers = costHeaders(ended.map((job) => job ?? { cost: null }));
  return ended.map((job, i) => {
    if (!job) throw erased((jobs[i] as JobView).id);
    if (!isDone(job)) throw new Problem({ ...failureOf(job), headers });
    return job;
  });
}
