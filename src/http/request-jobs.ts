/** The jobs of one request, found, waited for, followed and stopped together: its first job knows the others. */
import type { Context } from 'hono';
import { asOne, jobsOf, type OneRequest, type ToldJob } from '../doors/one-request.ts';
import type { FollowedEvent } from '../job/events.ts';
import type { JobView } from '../job/job.ts';
import { withLinks } from '../job/links.ts';
import type { JobWithLogs } from '../job/rpc.ts';
import { callJob } from './call-object.ts';
import type { AppEnv, Env } from './env.ts';
import { followJob, waitForJob } from './follow.ts';
import { jobId, jobNotFound } from './job-id.ts';
import type { StartedJobs } from './start-jobs.ts';

/** Jobs as one request, with fresh links. */
export async function requestOf(env: Env, jobs: readonly JobWithLogs[]): Promise<OneRequest> {
  const told = await Promise.all(
    jobs.map(async ({ job, logs }) => ({ job: await withLinks(env.SIGNING_SECRET, job), logs })),
  );
  return asOne(told as [ToldJob, ...ToldJob[]]);
}

/** The request that has just been started. */
export const startedRequest = (env: Env, { jobs, logs }: Pick<StartedJobs, 'jobs' | 'logs'>): Promise<OneRequest> =>
  requestOf(
    env,
    jobs.map((job, i) => ({ job, logs: logs[i] ?? [] })),
  );

/** A job with those that it speaks for, of `account`, or whoever's they are. One that was erased is left out. */
export async function withOthers(
  env: Env,
  account: string | null,
  first: JobWithLogs,
): Promise<readonly JobWithLogs[]> {
  const others = jobsOf(first.job).slice(1);
  const found = await Promise.all(others.map((id) => callJob(env, id, (stub) => stub.viewWithLogs(account))));
  return [first, ...found.filter((job) => job !== null)];
}

/** The caller's request of this id as it stands. Throws a 404 Problem, and what `jobId` throws. */
export async function findRequest(c: Context<AppEnv>, id: string): Promise<OneRequest> {
  const { account } = c.var.caller;
  const first = await callJob(c.env, await jobId(c, id), (stub) => stub.viewWithLogs(account));
  if (!first) throw jobNotFound(id);
  return requestOf(c.env, await withOthers(c.env, account, first));
}

/** Stops what goes on of a request. */
export async function cancelRequest(env: Env, account: string, job: Pick<JobView, 'id' | 'batch'>): Promise<void> {
  await Promise.all(jobsOf(job).map((id) => callJob(env, id, (stub) => stub.cancel(account))));
}

/** Resolves once all these jobs have ended or are gone, and after `ms` at the latest. */
export async function waitForJobs(env: Env, account: string, ids: readonly string[], ms: number): Promise<void> {
  await Promise.all(ids.map((id) => waitForJob(env, account, id, ms)));
}

/** What comes after an event is told: more, or nothing, because the stream is at its end. */
type Told = 'on' | 'over';

export interface Followed {
  /** of the jobs, in the order of the images */
  readonly ids: readonly string[];
  /** whose they are; null: whoever's */
  readonly account: string | null;
  /** the event of each after which to go on; from the first where absent */
  readonly after?: readonly number[];
}

/**
 * The events of all jobs as they come, until each has ended or `tell` says `over`, after which it is not called again;
 * null whenever nothing has happened for a while. Rejects with what `tell` rejects with, and where a job is erased
 * meanwhile.
 */
export async function followJobs(
  env: Env,
  { ids, account, after = [] }: Followed,
  tell: (event: FollowedEvent | null, index: number) => Promise<Told>,
): Promise<Told> {
  let told: Told = 'on';
  const over = Promise.withResolvers<void>();
  const all = Promise.all(
    ids.map(async (id, index) => {
      for await (const event of followJob(env, account, id, after[index])) {
        // another job was the end of it
        if (told === 'over') return;
        if ((await tell(event, index)) === 'on') continue;
        told = 'over';
        over.resolve();
      }
    }),
  );
  // a job of which nothing is heard keeps nobody waiting
  await Promise.race([all, over.promise]);
  return told;
}
