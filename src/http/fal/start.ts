/** A request to an app of fal, started: what its queue, fal.run and its streams begin with. */
import type { Context } from 'hono';
import { billableUnits } from '../../doors/fal.ts';
import { draftFalRequest, type FalInput, modelOfApp, startSeconds } from '../../doors/fal-request.ts';
import type { OneRequest } from '../../doors/one-request.ts';
import type { FitMemo } from '../../job/plan.ts';
import type { ModelFacts } from '../../stage/contract.ts';
import { costHeaders } from '../cost-headers.ts';
import type { AppEnv } from '../env.ts';
import { draftTools } from '../job-request.ts';
import { noModel } from '../no-model.ts';
import { orProblem, Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { rateHeaders } from '../refuse-start.ts';
import { startedRequest } from '../request-jobs.ts';
import { idempotencyOf, startJobs } from '../start-jobs.ts';
import { webhookOf } from '../webhooks.ts';
import type { AppPath } from './body.ts';

/** The model that an app's path means. Throws a 404 Problem where it means none. */
function modelAt(models: readonly ModelFacts[], app: string, path: string): ModelFacts {
  const model = modelOfApp(models, app, path);
  if (model) return model;
  throw noModel(path || app, models);
}

/** The address of a request in the queue. */
export const addressOf = (
  c: Context<AppEnv>,
  { owner, app }: Pick<AppPath, 'owner' | 'app'>,
  { id }: Pick<OneRequest, 'id'>,
): string => `${publicBase(c.env, c.req.url)}/fal/queue/${owner}/${app}/requests/${id}`;

/** Headers of every answer about a request. */
export function requestHeaders(request: OneRequest): Record<string, string> {
  const units = billableUnits(request);
  return {
    'x-fal-request-id': request.id,
    'x-ralu-job-id': request.jobs.map(({ id }) => id).join(', '),
    ...costHeaders([request]),
    ...(units !== null && { 'x-fal-billable-units': units }),
  };
}

/** Tells fal's clients that the limit was the caller's own: they do not ask for the same work again. */
export const USER_TIMEOUT = { 'x-fal-request-timeout-type': 'user' } as const;

/** What is thrown where jobs were not let in: where they would have been but for the caller's own limit, its 504. */
function refusedStart(problem: unknown, seconds: number | null): unknown {
  if (seconds === null || !(problem instanceof Problem) || problem.fields.code !== 'no_capacity') return problem;
  const { headers } = problem.fields;
  return new Problem({
    status: 504,
    code: 'startup_timeout',
    detail: `The request would not start within ${seconds} s, so nothing was begun. ${problem.fields.detail}`,
    headers: { ...headers, ...USER_TIMEOUT },
  });
}

/** A request that was started, the headers to answer with, and how long it may wait for its start. */
export interface StartedRequest {
  readonly request: OneRequest;
  readonly headers: Readonly<Record<string, string>>;
  readonly startSeconds: number | null;
  /** another request has started it */
  readonly isReplay: boolean;
}

/** Starts a request at an app's path. Throws what `startJobs` throws, and a 404 Problem where no model is meant. */
export async function startRequest(
  c: Context<AppEnv>,
  memo: FitMemo,
  {
    at: { app, path = '', more },
    input,
    webhook,
  }: { readonly at: AppPath; readonly input: FalInput; readonly webhook: string | undefined },
): Promise<StartedRequest> {
  const below = more === undefined ? path : `${path}/${more}`;
  const header = (name: string): string | null => c.req.header(name) ?? null;
  const seconds = orProblem(startSeconds(c.req.header('x-fal-request-timeout')));
  const started = await startJobs(c, {
    memo,
    isThere: (models) => modelOfApp(models, app, below) !== null,
    draft: (models, offer) => {
      const model = modelAt(models, app, below);
      return draftFalRequest(input, model, draftTools(c.env, offer, model), {
        priority: header('x-fal-queue-priority'),
        lifecycle: header('x-fal-object-lifecycle-preference'),
        storeIo: header('x-fal-store-io'),
      });
    },
    idempotency: await idempotencyOf(c, c.req.path, { input, webhook }),
    webhook: webhookOf(c, 'fal_webhook', webhook, 'fal'),
    user: input.user || null,
    startSeconds: seconds,
    batch: { inline: input.sync_mode ?? false },
  }).catch((problem: unknown) => {
    throw refusedStart(problem, seconds);
  });
  const request = await startedRequest(c.env, started);
  return {
    request,
    headers: {
      ...rateHeaders(started.rate),
      ...requestHeaders(request),
      ...(started.isReplay && { 'idempotent-replayed': 'true' }),
    },
    startSeconds: seconds,
    isReplay: started.isReplay,
  };
}
