/**
 * The account asks its open jobs whether they still are. Each tells its end by itself, at least once; this is for those
 * that cannot: one that was lost, or whose telling was. Else its place would be taken for ever.
 */
import type { JobEnd } from '../../src/account/account.ts';
import { jobObject } from '../../src/job/job-object.ts';
import { logLine } from '../../src/job/log.ts';
import type { JobCalls, Objects } from '../../src/job/rpc.ts';
import { within } from '../../src/stage/time-limit.ts';

/** How long an open job is not heard of before it is asked, and the time between two rounds. */
export const RECONCILE_MS = 5 * 60_000;
/** Jobs asked in one round, drawn at random, so that in time each has its turn. */
export const JOBS_A_ROUND = 32;
const JOB_MS = 10_000;

/** What becomes of a job that is no longer open, or is not there. */
export interface Found {
  readonly ended: (id: string, end: JobEnd) => void;
  readonly gone: (id: string) => void;
}

/**
 * When the next round is due: every five minutes from when the account was opened. Law: after `now`, by at most that.
 */
export const nextRound = (openedAt: number, now: number): number => {
  const since = (now - openedAt) % RECONCILE_MS;
  return now + RECONCILE_MS - (since < 0 ? since + RECONCILE_MS : since);
};

/** Asks these jobs. Never rejects: one that does not answer is asked again in a later round, and keeps no other. */
export async function reconcile(
  jobs: Objects<Pick<JobCalls, 'ending'>>,
  ids: readonly string[],
  { ended, gone }: Found,
): Promise<void> {
  await Promise.all(
    ids.map(async (id) => {
      try {
        const end = await within(JOB_MS, 'the job', jobObject(jobs, id).ending());
        if (end === 'open') return;
        if (end) ended(id, end);
        else gone(id);
        logLine('job_reconciled', { job_id: id, status: end?.status ?? 'gone' });
      } catch (error) {
        logLine('job_not_reached', { job_id: id, error: String(error) });
      }
    }),
  );
}
