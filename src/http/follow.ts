/** A job watched from the Worker: its events, or its end, through as many calls as that takes. */
import { isLastEvent, type StoredEvent } from '../job/events.ts';
import { hasEnded, type JobView } from '../job/job.ts';
import { callJob } from './call-object.ts';
import type { Env } from './env.ts';
import { Problem } from './problem.ts';

/** One call waits at most this long for something new: how often a silent stream is kept alive. */
const SILENCE_MS = 10_000;

/** The job was erased while somebody waited for it. */
export const erased = (id: string) =>
  new Problem({ status: 404, code: 'job_not_found', detail: `Job ${id} was erased.` });

/**
 * The events of a job, of whoever's where `account` is null, from its first to its last; null whenever nothing has
 * happened for ten seconds. Throws a 404 Problem when the job is erased meanwhile.
 */
export async function* followJob(env: Env, account: string | null, id: string): AsyncGenerator<StoredEvent | null> {
  for (let after = 0; ; ) {
    const events = await callJob(env, id, (stub) => stub.eventsAfter(account, after, SILENCE_MS));
    if (events === null) throw erased(id);
    if (events.length === 0) yield null;
    for (const event of events) {
      after = event.seq;
      yield event;
      if (isLastEvent(event.type)) return;
    }
  }
}

/**
 * The job once it has ended, or as it stands after `ms`; without `ms` it waits for the end. Null when there is none
 * (any more).
 */
export async function waitForJob(
  env: Env,
  account: string,
  id: string,
  ms = Number.POSITIVE_INFINITY,
): Promise<JobView | null> {
  const until = Date.now() + ms;
  for (;;) {
    const rest = Math.max(0, Math.min(SILENCE_MS, until - Date.now()));
    const job = await callJob(env, id, (stub) => stub.wait(account, rest));
    if (job === null || hasEnded(job) || Date.now() >= until) return job;
  }
}
