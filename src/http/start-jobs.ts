/**
 * From planned images to running jobs: entered in the account first, then created. Every surface starts its jobs here.
 */
import type { Context } from 'hono';
import type { Idempotency, Started } from '../account/account.ts';
import { hmacHex } from '../account/hmac.ts';
import { newJobId } from '../account/job-id.ts';
import type { RateState } from '../account/rate.ts';
import { formatUsd } from '../billing/money.ts';
import type { JobView } from '../job/job.ts';
import type { FitMemo } from '../job/plan.ts';
import type { Draft, PlannedJob } from '../job/plan-request.ts';
import type { NewJob } from '../job/rpc.ts';
import type { Planned } from '../job/schedule-request.ts';
import type { Webhook } from '../job/webhook.ts';
import { KEY_FAULTS, refuse } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv, Caller, Env } from './env.ts';
import { moderate } from './moderate.ts';
import { badField, orProblem, Problem } from './problem.ts';

const MAX_IDEMPOTENCY_KEY = 255;

/** How a 402 is described. */
export const NOT_PAID = { description: 'The account has too little credit, or has spent what it may for now' };

export interface StartedJobs {
  readonly jobs: readonly JobView[];
  /** the jobs of an earlier request with the same idempotency key */
  readonly isReplay: boolean;
  readonly rate: RateState;
}

export interface StartOptions {
  /** of the request, or the field at fault by its name at this surface; asked for once */
  readonly draft: () => Promise<Planned<Draft>>;
  readonly memo: FitMemo;
  /** what the prompt is called at this surface; `prompt` when absent */
  readonly promptField?: string;
  readonly requestId: string;
  readonly idempotency: Idempotency | null;
  /** of each job */
  readonly deadlineSeconds?: number | null;
  readonly webhook?: Pick<Webhook, 'url' | 'door' | 'origin'> | null;
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

/** A number for people, in three figures. */
const figures = (value: number): string => String(Number(value.toPrecision(3)));

/** Seconds for `retry-after`: never sooner than it would pass. */
const wholeSeconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1000)));

/** What OpenAI's clients read of the key's images a minute. */
export function rateHeaders({ limit, remaining, resetMs }: RateState): Record<string, string> {
  return {
    'x-ratelimit-limit-requests': String(limit),
    'x-ratelimit-remaining-requests': String(remaining),
    'x-ratelimit-reset-requests': `${resetMs}ms`,
  };
}

/**
 * The jobs of a request, one an image, started for the caller: all or none. With an idempotency key that came before,
 * the jobs it started then, whatever has become of models, limits and judges since.
 *
 * The account is asked once, before anything that costs: it knows a repetition, and enters what is new. Only then is
 * the prompt judged and the schedule fitted; where that comes to nothing the entry is withdrawn. Throws a 400 Problem
 * for what `draft` refuses, a 422 where the key came with another request, a 429 that says when to come back, and what
 * `draft` and `moderate` throw.
 */
export async function startJobs(
  env: Env,
  caller: Caller,
  {
    draft: makeDraft,
    memo,
    promptField = 'prompt',
    requestId,
    idempotency,
    deadlineSeconds = null,
    webhook = null,
    user = null,
  }: StartOptions,
): Promise<StartedJobs> {
  const draft = await makeDraft()
    .then(orProblem)
    .catch(async (problem: unknown) => {
      // a request that came before is not refused for what has changed since
      const recalled = idempotency && (await recallJobs(env, caller, idempotency));
      if (recalled) return recalled;
      throw problem;
    });
  if ('jobs' in draft) return draft;
  const jobIds = await Promise.all(Array.from({ length: draft.count }, () => newJobId(env.SIGNING_SECRET)));
  const { flops, plainFlops, steps, model } = draft;
  const price = draft.price && { model, tariff: draft.price.tariff, quoted: draft.price.quoted };
  const work = { flops, plainFlops, steps };
  const started = await callObject(env.ACCOUNTS, caller.account, (account) =>
    account.start(caller.keyId, { requestId, jobIds, work, price, user, idempotency }),
  );
  if (started.kind !== 'new' && started.kind !== 'again') throw refusal(started, draft.count);
  const { rate } = started;
  if (started.kind === 'again') {
    const jobs = await viewJobs(env, caller, started.jobIds);
    if (jobs) return { jobs, isReplay: true, rate };
  }
  try {
    await moderate(env, draft, promptField);
    const plans = draft.plan(memo);
    const planned = started.kind === 'again' ? plans.map((one, i) => atMost(one, started.held[i] ?? null)) : plans;
    const jobs = await Promise.all(
      started.jobIds.map((id, i) => {
        const job: NewJob = { id, account: caller.account, ...(planned[i] as PlannedJob), deadlineSeconds, webhook };
        return callObject(env.JOBS, id, (stub) => stub.create(job)).then(orErased);
      }),
    );
    return { jobs, isReplay: started.kind === 'again', rate };
  } catch (fault) {
    // the entries of an earlier request are that one's
    if (started.kind === 'new')
      await giveUp(env, caller, started.jobIds, { fault, mayRepeat: idempotency?.repetition === null });
    throw fault;
  }
}

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
    const stopped = ids.map((id) => callObject(env.JOBS, id, (stub) => stub.cancel(account)));
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
function orErased(job: JobView | null): JobView {
  if (job) return job;
  throw new Problem({
    status: 409,
    code: 'job_erased',
    detail: 'The job of this request is being erased; send the request again in a moment.',
    headers: { 'retry-after': '1' },
  });
}

/** The jobs as their owner sees them; null where one is not there. */
async function viewJobs(env: Env, { account }: Caller, ids: readonly string[]): Promise<readonly JobView[] | null> {
  const jobs = await Promise.all(ids.map((id) => callObject(env.JOBS, id, (stub) => stub.view(account))));
  return jobs.every((job) => job !== null) ? jobs : null;
}

/**
 * The jobs that an earlier request started under the same key; null where there are none, or one was entered and never
 * created.
 */
async function recallJobs(env: Env, caller: Caller, idempotency: Idempotency): Promise<StartedJobs | null> {
  const recalled = await callObject(env.ACCOUNTS, caller.account, (account) =>
    account.recall(caller.keyId, idempotency),
  );
  if (!recalled) return null;
  if (recalled.kind === 'conflict') throw refusal(recalled, 0);
  const jobs = await viewJobs(env, caller, recalled.jobIds);
  return jobs && { jobs, isReplay: true, rate: recalled.rate };
}

/** A 402: asking again changes nothing until money comes, or a new day. */
const unpaid = (
  code: string,
  detail: string,
  { needed, available }: { readonly needed: number; readonly available: number },
): Problem =>
  new Problem({
    status: 402,
    code,
    detail,
    headers: {
      'x-should-retry': 'false',
      'x-ralu-quote-usd': formatUsd(needed),
      'x-ralu-available-usd': formatUsd(available),
    },
  });

function refusal(started: Exclude<Started, { kind: 'new' | 'again' }>, count: number): Problem {
  switch (started.kind) {
    case 'key_out':
      return refuse(KEY_FAULTS[started.refusal]);
    case 'suspended':
      return new Problem({
        status: 403,
        code: 'account_suspended',
        detail: 'The account is suspended: it takes no new work.',
      });
    case 'conflict':
      return new Problem({
        status: 422,
        code: 'idempotency_mismatch',
        detail: 'This Idempotency-Key came before with another request; a new request needs a new key.',
      });
    case 'rate_limited': {
      const { retryMs, rate } = started;
      if (retryMs === Number.POSITIVE_INFINITY)
        return new Problem({
          status: 429,
          code: 'rate_limit',
          detail: `One request may ask for at most ${rate.limit} images with this key.`,
          headers: { ...rateHeaders(rate), 'x-should-retry': 'false' },
        });
      return new Problem({
        status: 429,
        code: 'rate_limit',
        detail: `The key may ask for ${rate.limit} images a minute; come back in ${wholeSeconds(retryMs)} s.`,
        headers: { ...rateHeaders(rate), 'retry-after': wholeSeconds(retryMs), 'retry-after-ms': String(retryMs) },
      });
    }
    case 'image_too_large': {
      const { what, asked, limit } = started;
      return new Problem({
        status: 400,
        code: 'image_too_large',
        detail: `One image of this account may have at most ${figures(limit)} ${what}; this request asks for ${figures(asked)}.`,
      });
    }
    case 'out_of_budget': {
      const { whose, retryMs, budget } = started;
      return new Problem({
        status: 429,
        code: 'rate_limit',
        detail: `The ${whose} may begin ${figures(budget.limit)} TFLOPs of work a minute; come back in ${wholeSeconds(retryMs)} s.`,
        headers: {
          'x-ratelimit-limit-tflops': figures(budget.limit),
          'x-ratelimit-remaining-tflops': figures(budget.remaining),
          'x-ratelimit-reset-tflops': `${budget.resetMs}ms`,
          'retry-after': wholeSeconds(retryMs),
          'retry-after-ms': String(retryMs),
        },
      });
    }
    case 'out_of_credit':
      return unpaid(
        'insufficient_credit',
        `The request may cost ${formatUsd(started.needed)} USD, and the account has ${formatUsd(started.available)} USD left.`,
        { needed: started.needed, available: started.available },
      );
    case 'over_spend_limit': {
      const { whose, period, needed, spent, limit } = started;
      const of = whose === 'user' ? 'This user' : `The ${whose}`;
      return unpaid(
        'spend_limit',
        `${of} may spend ${formatUsd(limit)} USD a ${period} (UTC) and has spent ${formatUsd(spent)}; the request may cost ${formatUsd(needed)} USD.`,
        { needed, available: Math.max(0, limit - spent) },
      );
    }
    case 'too_many_jobs': {
      const { open, limit, rate } = started;
      if (count > limit)
        return new Problem({
          status: 429,
          code: 'too_many_jobs',
          detail: `One request may start at most ${limit} jobs in this account.`,
          headers: { ...rateHeaders(rate), 'x-should-retry': 'false' },
        });
      return new Problem({
        status: 429,
        code: 'too_many_jobs',
        detail: `The account has ${open} jobs under way and may have ${limit}; come back when one has ended.`,
        headers: { ...rateHeaders(rate), 'retry-after': '1' },
      });
    }
  }
}
