/** fal.run and fal's streams: the same requests as in the queue, waited for, or watched as they are made. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { isUnbegun, viewPartial, whyNoResult } from '../../doors/fal.ts';
import type { FalInput } from '../../doors/fal-request.ts';
import type { OneRequest } from '../../doors/one-request.ts';
import { hasEnded } from '../../job/job.ts';
import type { LinkedJob } from '../../job/links.ts';
import type { FitMemo } from '../../job/plan.ts';
import { requireKey } from '../auth.ts';
import type { AppEnv } from '../env.ts';
import { Problem } from '../problem.ts';
import { limitBody, requireJson } from '../request-body.ts';
import { cancelRequest, findRequest, followJobs, waitForJobs } from '../request-jobs.ts';
import { type EventWriter, sendEvents } from '../send-events.ts';
import { APP_PATHS, type AppPath, falRequest, paramsOf } from './body.ts';
import { resultOf } from './result.ts';
import { speakFal } from './speak.ts';
import { addressOf, requestHeaders, type StartedRequest, startRequest, USER_TIMEOUT } from './start.ts';
import { falResult, NOT_STARTED } from './views.ts';

const BASE = '/fal/run/{owner}/{app}';

/**
 * Longest wait for a result, milliseconds: the fetch of Node gives up after five minutes without an answer, and fal's
 * client would then ask for the same work again.
 */
const RUN_MS = 240_000;

const runAt = ({ below, parts }: (typeof APP_PATHS)[number]) =>
  createRoute({
    method: 'post',
    path: `${BASE}${below}`,
    summary: 'Run a request and wait for its result',
    middleware: [speakFal, requireKey, limitBody, requireJson] as const,
    request: { ...falRequest, params: paramsOf(parts) },
    responses: { 200: falResult('The result'), ...NOT_STARTED, 499: { description: 'It was cancelled' } },
  });
const streamAt = ({ below, parts }: (typeof APP_PATHS)[number]) =>
  createRoute({
    method: 'post',
    path: `${BASE}${below}/stream`,
    summary: 'Run a request and see each stage’s picture, then the result',
    middleware: [speakFal, requireKey, limitBody, requireJson] as const,
    request: { ...falRequest, params: paramsOf(parts) },
    responses: {
      200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: z.string() } } },
      ...NOT_STARTED,
    },
  });

/** A 504 that fal's clients do not answer by asking for the same work again. */
const notInTime = (request: OneRequest, code: string, detail: string): Problem =>
  new Problem({
    status: 504,
    code,
    detail,
    headers: { ...requestHeaders(request), ...USER_TIMEOUT },
  });

/**
 * The request once it has ended. Throws a 504 Problem where it has not begun within its own time, and is stopped then
 * if it is this caller's own; and where it is not done when nobody can be expected to wait longer, and goes on.
 */
async function ended(
  c: Context<AppEnv>,
  { request, startSeconds, isReplay }: StartedRequest,
  { at, runMs }: { readonly at: AppPath; readonly runMs: number },
): Promise<OneRequest> {
  const { account } = c.var.caller;
  const { id, first, jobs } = request;
  const ids = jobs.map((job) => job.id);
  const until = Date.now() + runMs;
  if (startSeconds !== null && startSeconds * 1000 < runMs) {
    await waitForJobs(c.env, account, ids, startSeconds * 1000);
    const now = await findRequest(c, id);
    if (isUnbegun(now)) {
      // what another request waits for goes on
      if (!isReplay) await cancelRequest(c.env, account, first);
      const end = isReplay ? 'goes on' : 'was cancelled';
      const detail = `The request did not start within ${startSeconds} s and ${end}.`;
      throw notInTime(now, 'startup_timeout', detail);
    }
  }
  await waitForJobs(c.env, account, ids, until - Date.now());
  const found = await findRequest(c, id);
  if (hasEnded(found)) return found;
  const detail = `Request ${id} is not done after ${runMs / 1000} s and goes on: its result will be at ${addressOf(c, at, found)}.`;
  throw notInTime(found, 'request_timeout', detail);
}

/** The pictures of the stages as they come, and the result; or why there is none, in the shape of a refusal. */
async function writePictures(c: Context<AppEnv>, { id, jobs }: OneRequest, write: EventWriter): Promise<void> {
  const send = (value: object): Promise<void> => write.event(null, JSON.stringify(value));
  const ids = jobs.map((job) => job.id);
  const told = await followJobs(c.env, { ids, account: c.var.caller.account }, async (event, index) => {
    if (event === null) await write.comment();
    else if (event.type === 'preview') await send(viewPartial({ id }, event, { job: jobs[index] as LinkedJob, index }));
    return event?.type === 'failed' || event?.type === 'cancelled' ? 'over' : 'on';
  });
  const request = await findRequest(c, id);
  if (told === 'on' && request.status === 'done') {
    await send(await resultOf(c, request));
    return;
  }
  const failed = request.jobs.find(({ status }) => status === 'failed' || status === 'cancelled') ?? request.first;
  const { code, detail } = whyNoResult(failed);
  await send({ detail, error_type: code, message: detail, request_id: id });
}

/** `runMs`: the longest wait for a result. */
export function routeFalRun(app: OpenAPIHono<AppEnv>, memo: FitMemo, runMs = RUN_MS): void {
  // before the runs: `stream` is the last part of a path of theirs too
  for (const each of APP_PATHS)
    app.openapi(streamAt(each), async (c) => {
      const at = c.req.valid('param') as unknown as AppPath;
      const input = c.req.valid('json') as FalInput;
      const { request, headers } = await startRequest(c, memo, { at, input, webhook: undefined });
      return sendEvents(c, (write) => writePictures(c, request, write), headers);
    });

  for (const each of APP_PATHS)
    app.openapi(runAt(each), async (c) => {
      const at = c.req.valid('param') as unknown as AppPath;
      const input = c.req.valid('json') as FalInput;
      const started = await startRequest(c, memo, { at, input, webhook: undefined });
      const request = await ended(c, started, { at, runMs });
      return c.json(await resultOf(c, request), 200, { ...started.headers, ...requestHeaders(request) });
    });
}
