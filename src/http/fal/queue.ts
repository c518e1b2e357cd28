/** fal's queue, as a thin translation over jobs: a request has the id of its first job. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { isTold, viewStatus } from '../../doors/fal.ts';
import type { FalInput } from '../../doors/fal-request.ts';
import { linesOf } from '../../doors/one-request.ts';
import { hasEnded } from '../../job/job.ts';
import type { FitMemo } from '../../job/plan.ts';
import { requireKey } from '../auth.ts';
import { callJob } from '../call-object.ts';
import type { AppEnv } from '../env.ts';
import { knownJobId } from '../job-id.ts';
import { methodNotAllowed } from '../problem.ts';
import { limitBody, requireJson } from '../request-body.ts';
import { cancelRequest, findRequest, followJobs } from '../request-jobs.ts';
import { sendEvents } from '../send-events.ts';
import { anyBoolean } from '../spellings.ts';
import { APP_PATHS, type AppPath, falRequest, paramsOf } from './body.ts';
import { resultOf } from './result.ts';
import { speakFal } from './speak.ts';
import { addressOf, requestHeaders, startRequest } from './start.ts';
import { falCancelled, falResult, falStatus, NOT_STARTED } from './views.ts';

const BASE = '/fal/queue/{owner}/{app}';
const logs = z.object({ logs: anyBoolean.optional().openapi({ description: 'false when absent' }) });

const submitTo = ({ below, parts }: (typeof APP_PATHS)[number]) =>
  createRoute({
    method: 'post',
    path: `${BASE}${below}`,
    summary: 'Submit a request to the queue',
    middleware: [speakFal, requireKey, limitBody, requireJson] as const,
    request: {
      ...falRequest,
      params: paramsOf(parts),
      query: z.object({ fal_webhook: z.string().max(2000).optional() }),
    },
    responses: { 200: falStatus('In the queue'), ...NOT_STARTED },
  });
const getStatus = createRoute({
  method: 'get',
  path: `${BASE}/requests/{id}/status`,
  summary: 'Get the status of a request',
  middleware: [speakFal, requireKey] as const,
  request: { params: paramsOf(['id']), query: logs },
  responses: { 200: falStatus('The status') },
});
const streamStatus = createRoute({
  method: 'get',
  path: `${BASE}/requests/{id}/status/stream`,
  summary: 'Stream the status of a request',
  middleware: [speakFal, requireKey] as const,
  request: { params: paramsOf(['id']), query: logs },
  responses: { 200: { description: 'Server-sent events', content: { 'text/event-stream': { schema: z.string() } } } },
});
const getResult = createRoute({
  method: 'get',
  path: `${BASE}/requests/{id}`,
  summary: 'The result',
  middleware: [speakFal, requireKey] as const,
  request: { params: paramsOf(['id']) },
  responses: {
    200: falResult('The result'),
    400: { description: 'It is still in progress' },
    499: { description: 'It was cancelled' },
    500: { description: 'It failed: `error_type` says why' },
  },
});
const cancel = createRoute({
  method: 'put',
  path: `${BASE}/requests/{id}/cancel`,
  summary: 'Stop a request',
  middleware: [speakFal, requireKey] as const,
  request: { params: paramsOf(['id']) },
  responses: {
    202: falCancelled('It is being stopped'),
    400: falCancelled('It has ended'),
    404: falCancelled('There is no such request'),
  },
});

type RequestPath = Required<Pick<AppPath, 'owner' | 'app'>> & { readonly id: string };

export function routeFalQueue(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  for (const each of APP_PATHS)
    app.openapi(submitTo(each), async (c) => {
      const at = c.req.valid('param') as unknown as AppPath;
      // the address of a request, which takes no POST, has the form of an app's
      if (at.path === 'requests' && at.more !== undefined) throw methodNotAllowed('POST', ['GET', 'HEAD']);
      const input = c.req.valid('json') as FalInput;
      const webhook = c.req.valid('query').fal_webhook;
      const { request, headers } = await startRequest(c, memo, { at, input, webhook });
      return c.json(
        {
          ...viewStatus(request, addressOf(c, at, request), { withLogs: false }),
          status: 'IN_QUEUE' as const,
          queue_position: request.queue?.position ?? 0,
          warnings: request.warnings,
        },
        200,
        headers,
      );
    });

  app.openapi(getStatus, async (c) => {
    const at = c.req.valid('param') as unknown as RequestPath;
    const request = await findRequest(c, at.id);
    const withLogs = c.req.valid('query').logs ?? false;
    return c.json(viewStatus(request, addressOf(c, at, request), { withLogs }), 200, {
      'x-fal-request-id': request.id,
    });
  });

  app.openapi(streamStatus, async (c) => {
    const at = c.req.valid('param') as unknown as RequestPath;
    const withLogs = c.req.valid('query').logs ?? false;
    const { id, jobs } = await findRequest(c, at.id);
    return sendEvents(
      c,
      async (write) => {
        let seen: readonly number[] = [];
        let shown = '';
        await followJobs(c.env, { ids: jobs.map((job) => job.id), account: c.var.caller.account }, async (event) => {
          if (event === null) {
            await write.comment();
            return 'on';
          }
          if (!isTold(event.type)) return 'on';
          const request = await findRequest(c, id);
          // each line once: the client adds them up
          const text = JSON.stringify(viewStatus(request, addressOf(c, at, request), { withLogs, seen }));
          seen = linesOf(request);
          if (text !== shown) await write.event(null, text);
          shown = text;
          return hasEnded(request) ? 'over' : 'on';
        });
      },
      { 'x-fal-request-id': id },
    );
  });

  app.openapi(getResult, async (c) => {
    const { id } = c.req.valid('param') as unknown as RequestPath;
    const request = await findRequest(c, id);
    return c.json(await resultOf(c, request), 200, requestHeaders(request));
  });

  app.openapi(cancel, async (c) => {
    const { account } = c.var.caller;
    const id = await knownJobId(c, (c.req.valid('param') as unknown as RequestPath).id);
    const before = id && (await callJob(c.env, id, (stub) => stub.view(account)));
    if (!id || !before) return c.json({ status: 'NOT_FOUND' as const }, 404);
    if (hasEnded(await findRequest(c, id))) return c.json({ status: 'ALREADY_COMPLETED' as const }, 400);
    await cancelRequest(c.env, account, before);
    return c.json({ status: 'CANCELLATION_REQUESTED' as const }, 202);
  });
}
