/** Whether jobs may come at all: asked before anything of them is begun, in the regions where they may run. */
import { accountTag } from '../account/tag.ts';
import { admission } from '../fleet/told.ts';
import { askDispatchers } from '../job/ask-dispatchers.ts';
import type { Draft } from '../job/plan-request.ts';
import type { Caller, Env } from './env.ts';
import type { Offer } from './offer.ts';
import { Problem } from './problem.ts';
import { poolsOf } from './queue.ts';

/** Longest wait for a dispatcher: a job that none admits waits in line like any other. */
const DISPATCHER_MS = 2_000;

/** Jobs are taken whose expected wait is this share of the longest: it is an estimate, and they must not fail for it */
const TAKEN_SHARE = 0.75;

/** Jobs that want to come. */
export interface Coming {
  readonly jobIds: readonly string[];
  readonly draft: Pick<Draft, 'needs' | 'flops' | 'count'>;
  /** regions where they may run, best first */
  readonly regions: readonly string[];
  /** longest that they may wait, milliseconds */
  readonly mostMs: number;
}

/** Jobs that may come: the regions where they may run, that first which lets them in, and who counts on them there. */
export interface Admitted {
  readonly regions: readonly string[];
  /** null: no dispatcher was asked, or none answered */
  readonly dispatcher: string | null;
}

/**
 * Where jobs may come; or, where the line is too long in every region, the 503 Problem that says when it is shorter.
 * Never rejects.
 */
export async function admitJobs(
  env: Env,
  { account }: Caller,
  { servers, regions: places }: Offer,
  { jobIds, draft: { needs, flops, count }, regions, mostMs: longestMs }: Coming,
): Promise<Admitted | Problem> {
  const mostMs = TAKEN_SHARE * longestMs;
  const tag = await accountTag(env.SIGNING_SECRET, account);
  const question = { jobs: jobIds, account: tag, needs, tflops: flops / count / 1e12, mostMs };
  let shortest: { readonly waitMs: number; readonly retryMs: number } | null = null;
  for (const region of regions) {
    for (const name of poolsOf(servers, region, needs.model)) {
      const limits = { regions: places, limitMs: DISPATCHER_MS };
      const answer = (await askDispatchers(env, [name], limits, (one) => one.admit(question).then(admission))).get(
        name,
      );
      const isLetIn = answer && !(answer instanceof Error) && answer.kind === 'come';
      if (isLetIn || !answer || answer instanceof Error) {
        const first = [region, ...regions.filter((other) => other !== region)];
        return { regions: first, dispatcher: isLetIn ? name : null };
      }
      if (answer.kind === 'full' && (shortest === null || answer.retryMs < shortest.retryMs)) shortest = answer;
    }
  }
  return shortest ? tooLong(shortest, mostMs) : { regions, dispatcher: null };
}

/** Jobs that were let in do not come after all: nobody is to wait for the work they would have brought. */
export async function keepAway(
  env: Env,
  { regions }: Offer,
  admitted: Admitted | Problem,
  jobIds: readonly string[],
): Promise<void> {
  if (admitted instanceof Problem || admitted.dispatcher === null) return;
  const limits = { regions, limitMs: DISPATCHER_MS };
  await askDispatchers(env, [admitted.dispatcher], limits, (one) => Promise.all(jobIds.map((id) => one.leave(id))));
}

function tooLong({ waitMs, retryMs }: { readonly waitMs: number; readonly retryMs: number }, mostMs: number): Problem {
  const seconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));
  return new Problem({
    status: 503,
    code: 'no_capacity',
    detail: `A job that comes now would wait about ${seconds(waitMs)} s for a stage server, and none is taken that would wait longer than ${seconds(mostMs)} s; come back in ${seconds(retryMs)} s.`,
    headers: { 'retry-after': String(seconds(retryMs)), 'retry-after-ms': String(Math.ceil(retryMs)) },
  });
}
