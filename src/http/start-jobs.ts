/**
 * From planned images to running jobs: entered in the account first, then created. Every surface starts its jobs here.
 */
import type { Context } from 'hono';
import { readLimits } from '../../durable-objects/limits.ts';
import type { Idempotency } from '../account/account.ts';
import { hmacHex } from '../account/hmac.ts';
import { newJobId } from '../account/job-id.ts';
import { placeIn } from '../account/place.ts';
import type { RateState } from '../account/rate.ts';
import { type Placed, place, type Spot } from '../fleet/place.ts';
import type { Batch, JobView } from '../job/job.ts';
import type { LogLine } from '../job/log-lines.ts';
import type { FitMemo } from '../job/plan.ts';
import type { Draft, PlannedJob } from '../job/plan-request.ts';
import type { JobCalls, JobWithLogs, NewJob, Remote } from '../job/rpc.ts';
import type { Planned } from '../job/schedule-request.ts';
import type { AskedWebhook } from '../job/webhook.ts';
import { wantsPictures } from '../job/webhook-news.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { admitJobs, keepAway } from './admission.ts';
import { callJob, callObject } from './call-object.ts';
import type { AppEnv, Caller, Env } from './env.ts';
import { takeTry } from './gate.ts';
import { moderate } from './moderate.ts';
import { type Offer, offerFor } from './offer.ts';
import { badField, orProblem, Problem } from './problem.ts';
import { refusal } from './refuse-start.ts';
import { requireBucket } from './require-bucket.ts';

const MAX_IDEMPOTENCY_KEY = 255;

/** How a 402 is described. */
export const NOT_PAID = { description: 'The account has too little credit, or has spent what it may for now' };

export interface StartedJobs {
  readonly jobs: readonly JobView[];
  /** the story of each so far, where it was asked for */
  readonly logs: readonly (readonly LogLine[])[];
  /** the jobs of an earlier request with the same idempotency key */
  readonly isReplay: boolean;
  readonly rate: RateState;
}

export interface StartOptions {
  /** whether the model that is asked for is among these */
  readonly isThere: (models: readonly ModelFacts[]) => boolean;
  /** of the request on these models, or the field at fault by its name at this surface; asked for once */
  readonly draft: (models: readonly ModelFacts[], offer: Offer) => Planned<Draft>;
  readonly memo: FitMemo;
  /** what the prompt is called at this surface; `prompt` when absent */
  readonly promptField?: string;
  readonly idempotency: Idempotency | null;
  /** whether the story of each job is wanted */
  readonly withLogs?: boolean;
  /** of each job */
  readonly deadlineSeconds?: number | null;
  readonly webhook?: AskedWebhook | null;
  /** seconds that the jobs are let in to wait at most, where their caller waits less long than the deployment does */
  readonly startSeconds?: number | null;
  /** the first job speaks for all of them, and remembers this; absent: each speaks for itself */
  readonly batch?: Pick<Batch, 'inline'>;
  /** the caller's own customer, for whom the pictures are */
  readonly user?: string | null;
}

/**
 * What an `Idempotency-Key` header, bare or quoted as the IETF draft has it, makes of a request; null without one.
 * Throws a 400 Problem.
 */
export async function idempotencyOf(c: Context<AppEnv>, surface: string, body: unknown): Promise<Idempotency | null> {
  const header = c.req.header('idempotency-key');
  if (header === undefined) return null;
  const key = /^"(.*)"$/.exec(header)?.[1] ?? header;
  if (key.length === 0 || key.length > MAX_IDEMPOTENCY_KEY)
    throw badField('idempotency-key', header, `must have 1 to ${MAX_IDEMPOTENCY_KEY} characters`);
  return { key, digest: await digestOf(c, surface, body), repetition: null };
}

/**
 * What two requests must share to be one: account, surface and body. 64 hex digits, under the deployment's secret, so
 * nobody who reads them can tell whether a prompt they guess is in there.
 */
export const digestOf = ({ env, var: { caller } }: Context<AppEnv>, surface: string, body: unknown): Promise<string> =>
  hmacHex(env.SIGNING_SECRET, 'digest', `${caller.account}\0${surface}\0${JSON.stringify(body)}`);

/**
 * The jobs of a request, one an image, started for the caller: all or none. With an idempotency key that came before,
 * the jobs it started then, whatever has become of models, limits and judges since.
 *
 * The account is asked once, before anything that costs: it knows a repetition, and enters what is new. Only then is
 * the prompt judged and the schedule fitted; where that comes to nothing the entry is withdrawn. Throws a 400 Problem
 * for what `draft` refuses, a 422 where the key came with another request, a 429 that says when to come back, and what
 * `draft`, `offerFor` and `moderate` throw.
 */
export async function startJobs(c: Context<AppEnv>, options: StartOptions): Promise<StartedJobs> {
  const { memo, promptField = 'prompt', idempotency, deadlineSeconds = null, webhook = null, user = null } = options;
  const { startSeconds = null } = options;
  const { env } = c;
  const { caller, requestId } = c.var;
  const withLogs = options.withLogs ?? false;
  const drafted = await draftOf(c, options).catch(async (problem: unknown) => {
    // a request that came before is not refused for what has changed since
    const recalled = idempotency && (await recallJobs(env, caller, idempotency, withLogs));
    if (recalled) return recalled;
    throw problem;
  });
  if ('jobs' in drafted) return drafted;
  const { draft, placed, offer } = drafted;
  const ids = Array.from({ length: draft.count }, () => newJobId(env.SIGNING_SECRET, placeIn(caller.jurisdiction)));
  const jobIds = await Promise.all(ids);
  const { flops, plainFlops, steps, model } = draft;
  const price = draft.price && { model, tariff: draft.price.tariff, quoted: draft.price.quoted };
  const work = { flops, plainFlops, steps };
  const { keyHashes } = caller;
  const [started, admitted] = await Promise.all([
    callObject(env.ACCOUNTS, caller.account, (account) =>
      account.start(caller.keyId, { keyHashes, requestId, jobIds, work, price, user, idempotency }),
    ),
    admitJobs(env, caller, offer, {
      jobIds,
      draft,
      regions: placed.regions,
      mostMs: Math.min(
        longestWait(env, deadlineSeconds),
        startSeconds === null ? Number.POSITIVE_INFINITY : startSeconds * 1000,
      ),
    }),
  ]);
  c.set('isKeyJudged', true);
  const stayAway = (): void => c.executionCtx.waitUntil(keepAway(env, offer, admitted, jobIds));
  if (started.kind !== 'new') stayAway();
  if (started.kind === 'key_out') takeTry(c);
  if (started.kind !== 'new' && started.kind !== 'again') throw refusal(started, draft.count);
  const { rate } = started;
  if (started.kind === 'again') {
    const found = await viewJobs(env, caller, started.jobIds, withLogs);
    if (found) return { ...found, isReplay: true, rate };
  }
  try {
    // whoever was let in before is let in
    if (admitted instanceof Problem && started.kind === 'new') throw admitted;
    await moderate(env, draft, promptField);
    const plans = draft.plan(memo);
    const planned = started.kind === 'again' ? plans.map((one, i) => atMost(one, started.held[i] ?? null)) : plans;
    const { regions, dispatcher } = admitted instanceof Problem ? { ...placed, dispatcher: null } : admitted;
    const entered = started.kind === 'new' ? { enteredAt: started.enteredAt } : {};
    const hint = regions[0] === placed.regions[0] ? placed.hint : hintOf(offer, regions[0]);
    const created = await Promise.all(
      started.jobIds.map((id, i) => {
        const { request, plan } = asked(planned[i] as PlannedJob, started.jobIds, options);
        // of several jobs the first tells their end
        const ofJob = {
          request,
          plan,
          deadlineSeconds,
          webhook: i === 0 ? webhook : null,
          regions,
          dispatcher,
          ...entered,
        };
        const job: NewJob = { id, account: caller.account, ...ofJob };
        return callJob(env, id, (stub) => create(stub, job, withLogs), hint).then(orErased);
      }),
    );
    return { ...apart(created), isReplay: started.kind === 'again', rate };
  } catch (fault) {
    stayAway();
    // the entries of an earlier request are that one's
    if (started.kind === 'new')
      await giveUp(env, caller, started.jobIds, { fault, mayRepeat: idempotency?.repetition === null });
    throw fault;
  }
}

/**
 * The request on the models that there are, and where its jobs are to run. Throws what `draft` refuses as a 400
 * Problem, what `offerFor` throws, and a 503 Problem where the account's pictures have no bucket.
 */
async function draftOf(
  c: Context<AppEnv>,
  { isThere, draft: makeDraft }: StartOptions,
): Promise<{ readonly draft: Draft; readonly placed: Placed; readonly offer: Offer }> {
  requireBucket(c.env, c.var.caller.jurisdiction);
  const offer = await offerFor(c, isThere);
  const draft = orProblem(makeDraft(offer.models, offer));
  return { draft, placed: placeOfDraft(c, offer, draft), offer };
}

/** How long a job may wait for a stage server, milliseconds. While the limits are wrong jobs are let in, and wait. */
function longestWait(env: Env, deadlineSeconds: number | null): number {
  const deadlineMs = (deadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000;
  try {
    return Math.min(readLimits(env).queueMs, deadlineMs);
  } catch {
    return deadlineMs;
  }
}

/** Where the object of a job that runs in a region is best made. */
const hintOf = ({ regions }: Offer, region: string | undefined): Placed['hint'] =>
  regions.find(({ id }) => id === region)?.hint ?? null;

/** Where the jobs of a draft are to run. */
export const placeOfDraft = (c: Context<AppEnv>, { regions, servers }: Offer, { needs }: Draft): Placed =>
  place({ caller: spotOf(c), regions, servers, needs, jurisdiction: c.var.caller.jurisdiction });

/** Where the platform takes the caller to be; null where it does not say. */
function spotOf(c: Context<AppEnv>): Spot | null {
  const { latitude, longitude } = (c.req.raw.cf ?? {}) as Readonly<Record<string, unknown>>;
  const degrees = [latitude, longitude].map((text) => (typeof text === 'string' && text !== '' ? Number(text) : NaN));
  const [north, east] = degrees as [number, number];
  return Number.isFinite(north) && Number.isFinite(east) ? { latitude: north, longitude: east } : null;
}

const create = (stub: Remote<JobCalls>, job: NewJob, withLogs: boolean): Promise<JobView | JobWithLogs | null> =>
  withLogs ? stub.createWithLogs(job) : stub.create(job);

/** A planned job with what its request has to remember: the jobs beside it, and how the pictures are wanted. */
function asked(
  planned: PlannedJob,
  jobs: readonly string[],
  { batch, webhook }: Pick<StartOptions, 'batch' | 'webhook'>,
): PlannedJob {
  if (!batch || (jobs.length === 1 && !batch.inline)) return planned;
  const tells = jobs.length > 1 && webhook && wantsPictures(webhook);
  const stored = { jobs, inline: batch.inline, ...(tells && { tellsPictures: true as const }) };
  return { ...planned, request: { ...planned.request, batch: stored } };
}

/** Jobs and their stories, each in a list of its own. */
const apart = (found: readonly (JobView | JobWithLogs)[]): Pick<StartedJobs, 'jobs' | 'logs'> => ({
  jobs: found.map((one) => ('job' in one ? one.job : one)),
  logs: found.map((one) => ('job' in one ? one.logs : [])),
});

/**
 * Nothing is answered for these jobs: those that never came are withdrawn, and where the caller cannot ask for the
 * others again they are stopped, so that nobody pays for a picture that he was not told of.
 */
async function giveUp(
  env: Env,
  { account }: Caller,
  ids: readonly string[],
  { fault, mayRepeat }: { readonly fault: unknown; readonly mayRepeat: boolean },
): Promise<void> {
  if (!(fault instanceof Problem) && mayRepeat) return;
  // a prompt that is not allowed has used what it took: else a judge could be asked without end
  const refund = !(fault instanceof Problem && fault.fields.code === 'moderation_blocked');
  const told = callObject(env.ACCOUNTS, account, (stub) => stub.withdraw(ids, refund));
  if (fault instanceof Problem) await told;
  else {
    const stopped = ids.map((id) => callJob(env, id, (stub) => stub.cancel(account)));
    // what cannot be reached now is let go by the account
    await Promise.allSettled([told, ...stopped]);
  }
}

/** A job of a request that came before: prices may have changed since, and it costs no more than was held for it. */
function atMost({ request, plan }: PlannedJob, held: number | null): PlannedJob {
  const { price } = plan;
  const kept = price && held !== null ? { ...price, quoted: Math.min(price.quoted, held) } : null;
  return { request, plan: { ...plan, price: kept } };
}

/** A created job. Throws a 409 Problem for one that was erased a moment ago: soon its idempotency key is free again. */
function orErased(job: JobView | JobWithLogs | null): JobView | JobWithLogs {
  if (job) return job;
  throw new Problem({
    status: 409,
    code: 'job_erased',
    detail: 'The job of this request is being erased; send the request again in a moment.',
    headers: { 'retry-after': '1' },
  });
}

/** The jobs as their owner sees them; null where one is not there. */
async function viewJobs(
  env: Env,
  { account }: Caller,
  ids: readonly string[],
  withLogs: boolean,
): Promise<Pick<StartedJobs, 'jobs' | 'logs'> | null> {
  const found = await Promise.all(
    ids.map((id) =>
      callJob<JobView | JobWithLogs | null>(env, id, (stub) =>
        withLogs ? stub.viewWithLogs(account) : stub.view(account),
      ),
    ),
  );
  return found.every((job) => job !== null) ? apart(found) : null;
}

/**
 * The jobs that an earlier request started under the same key; null where there are none, or one was entered and never
 * created.
 */
async function recallJobs(
  env: Env,
  caller: Caller,
  idempotency: Idempotency,
  withLogs: boolean,
): Promise<StartedJobs | null> {
  const recalled = await callObject(env.ACCOUNTS, caller.account, (account) =>
    account.recall(caller.keyId, idempotency),
  );
  if (!recalled) return null;
  if (recalled.kind === 'conflict') throw refusal(recalled, 0);
  const found = await viewJobs(env, caller, recalled.jobIds, withLogs);
  return found && { ...found, isReplay: true, rate: recalled.rate };
}
