/** The Hono app: middleware, then one route group a surface. */
import { OpenAPIHono } from '@hono/zod-openapi';
import { cors } from 'hono/cors';
import { requestId } from 'hono/request-id';
import { routeA1111 } from './http/a1111.ts';
import { routeAccounts } from './http/accounts.ts';
import { answerHead } from './http/answer-head.ts';
import { routeBackup } from './http/backup.ts';
import { routeBfl } from './http/bfl.ts';
import { refuseWrongConfiguration } from './http/configuration.ts';
import { endStreams } from './http/end-streams.ts';
import type { AppEnv, Env } from './http/env.ts';
import { routeFalQueue } from './http/fal/queue.ts';
import { routeFalRun } from './http/fal/run.ts';
import { routeFleet } from './http/fleet.ts';
import { makeGate, stepThrough } from './http/gate.ts';
import { guardAnswers } from './http/guard-answers.ts';
import { routeJobs } from './http/jobs.ts';
import { routeLedger } from './http/ledger.ts';
import { routeModels } from './http/models.ts';
import { routeOpenAIImages } from './http/openai/images.ts';
import { routeOpenAPI } from './http/openapi.ts';
import { fromZod, Problem } from './http/problem.ts';
import { routePath } from './http/public-address.ts';
import { routeReconcile } from './http/reconcile.ts';
import { routeReplicateModels } from './http/replicate/models.ts';
import { routePredictions } from './http/replicate/predictions.ts';
import { routeShares } from './http/shares/manage.ts';
import { routeSharedPages } from './http/shares/show.ts';
import { routeStripe } from './http/stripe.ts';
import { refuseUnknownRoutes } from './http/unknown-routes.ts';
import { takeUnreadBody } from './http/unread-body.ts';
import { routeUsage } from './http/usage.ts';
import { routeWebhooks } from './http/webhooks.ts';
import { logLine } from './job/log.ts';
import type { FitMemo } from './job/plan.ts';
import { TookTooLong } from './stage/time-limit.ts';

/** Response headers that scripts of other origins may read. */
const EXPOSED = [
  'accept-ranges',
  'allow',
  'content-disposition',
  'content-range',
  'etag',
  'idempotent-replayed',
  'link',
  'location',
  'openai-processing-ms',
  'preference-applied',
  'retry-after',
  'retry-after-ms',
  'x-fal-billable-units',
  'x-fal-error-type',
  'x-fal-request-id',
  'x-fal-request-timeout-type',
  'x-ralu-available-usd',
  'x-ralu-cost-usd',
  'x-ralu-engine',
  'x-ralu-job-id',
  'x-ralu-preset',
  'x-ralu-quote-usd',
  'x-ralu-seed',
  'x-ralu-tflops',
  'x-ralu-tflops-plain',
  'x-ralu-warnings',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
  'x-request-id',
  'x-should-retry',
];

/**
 * The app. Its only state is the memo of schedule fits, which are pure functions of their key, and what the gate
 * remembers of keys, of bad tries and of stage servers; all of it is bounded.
 */
export function createApp(): OpenAPIHono<AppEnv> {
  const app = new OpenAPIHono<AppEnv>({
    getPath: (request, options) => routePath(request, (options?.env as Env | undefined)?.PUBLIC_URL),
    defaultHook: async (result, c) => {
      if (!result.success)
        throw fromZod(
          result.error,
          result.target === 'json' ? await c.req.json() : result.target === 'query' ? c.req.query() : c.req.param(),
        );
      return undefined;
    },
  });
  const memo: FitMemo = new Map();

  app.use(takeUnreadBody);
  app.use(requestId());
  app.use(guardAnswers);
  app.use(
    cors({
      origin: '*',
      allowMethods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      exposeHeaders: EXPOSED,
      maxAge: 86_400,
    }),
  );
  app.use(answerHead);
  app.use(stepThrough(makeGate()));
  app.use(endStreams);
  refuseUnknownRoutes(app);
  refuseWrongConfiguration(app);
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  routeAccounts(app);
  routeLedger(app);
  routeUsage(app);
  routeReconcile(app);
  routeBackup(app);
  routeFleet(app);
  routeModels(app);
  routeJobs(app, memo);
  routeShares(app);
  routeSharedPages(app);
  routeOpenAIImages(app, memo);
  routePredictions(app, memo);
  routeReplicateModels(app);
  routeFalQueue(app, memo);
  routeFalRun(app, memo);
  routeA1111(app, memo);
  routeBfl(app, memo);
  routeWebhooks(app);
  routeStripe(app);
  routeOpenAPI(app);

  app.onError((error, c) => {
    const render = c.get('render') ?? ((problem: Problem) => problem.toResponse());
    if (error instanceof Problem) return withHeaders(render(error), c.res.headers);
    logLine('request_failed', { request_id: c.get('requestId'), path: c.req.routePath, error: error.message });
    if (error instanceof TookTooLong)
      return withHeaders(
        render(
          new Problem({
            status: 503,
            code: 'unavailable',
            detail: 'Something behind this service did not answer in time; try again shortly.',
            headers: { 'retry-after': '5' },
          }),
        ),
        c.res.headers,
      );
    return withHeaders(
      render(
        new Problem({
          status: 500,
          code: 'internal_error',
          detail: 'Something went wrong here; the request id names it.',
        }),
      ),
      c.res.headers,
    );
  });
  return app;
}

/** Headers that middleware had set before the error belong to the error's response too. */
function withHeaders(response: Response, headers: Headers): Response {
  headers.forEach((value, name) => {
    if (!response.headers.has(name)) response.headers.set(name, value);
  });
  return response;
}
