/** How long a job would wait that came now, as the dispatchers of its regions say. */
import { accountTag } from '../account/tag.ts';
import { dispatcherName } from '../fleet/fleet.ts';
import { mayServe } from '../fleet/models.ts';
import { admission } from '../fleet/told.ts';
import { askDispatchers } from '../job/ask-dispatchers.ts';
import type { Plan, Queue } from '../job/job.ts';
import { needsOf } from '../job/plan.ts';
import type { Caller, Env } from './env.ts';
import type { Offer } from './offer.ts';

/** Longest wait for a dispatcher: a quote without its queue is better than none. */
const DISPATCHER_MS = 2_000;

/**
 * The line that a job of this plan would join, in the first of the `placed` regions where one takes it: of its pools
 * that with the shortest wait. Null where no dispatcher answers, or none has a server for it.
 */
export async function queueFor(
  env: Env,
  { account }: Caller,
  { servers, regions }: Offer,
  { plan, placed }: { readonly plan: Plan; readonly placed: readonly string[] },
): Promise<Queue | null> {
  const needs = needsOf(plan);
  const pools = (region: string) => poolsOf(servers, region, needs.model);
  const tag = await accountTag(env.SIGNING_SECRET, account);
  const question = { jobs: [], account: tag, needs, tflops: 0, mostMs: Number.MAX_SAFE_INTEGER };
  const names = [...new Set(placed.flatMap(pools))];
  const answers = await askDispatchers(env, names, { regions, limitMs: DISPATCHER_MS }, (one) =>
    one.admit(question).then(admission),
  );
  for (const region of placed) {
    const queues = pools(region).flatMap((name): Queue[] => {
      const answer = answers.get(name);
      // whoever brings no job is never refused for the length of the line
      if (!answer || answer instanceof Error || answer.kind !== 'come') return [];
      return [{ waiting: answer.waiting, eta_ms: answer.waitMs }];
    });
    const shortest = queues.sort((a, b) => orLongest(a.eta_ms) - orLongest(b.eta_ms))[0];
    if (shortest) return shortest;
  }
  return null;
}

/** The dispatchers of a region that may have a server for a model. */
export function poolsOf(servers: Offer['servers'], region: string, model: string): readonly string[] {
  const may = servers.filter(({ backend }) => backend.region === region && mayServe(backend, model));
  return [...new Set(may.map(({ backend }) => dispatcherName(backend)))];
}

const orLongest = (ms: number | null): number => ms ?? Number.MAX_VALUE;
