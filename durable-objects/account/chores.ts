/**
 * What an account still has to do that needs others: be in the directory as it is, cancel the jobs of a suspended
 * account, erase its content and the names of its customers. Each is an order in the account's row, so it outlives
 * every fault; rounds are repeated, with a pause, until nothing is left. One job that cannot be reached keeps no other
 * waiting.
 */
import type { JobEnd } from '../../src/account/account.ts';
import { jobObject } from '../../src/job/job-object.ts';
import { logLine } from '../../src/job/log.ts';
import { DIRECTORY_NAME, type DirectoryCalls, type JobCalls, type Objects, type Remote } from '../../src/job/rpc.ts';
import { within } from '../../src/stage/time-limit.ts';
import * as index from './index-tables.ts';
import { pseudonymise } from './pseudonyms.ts';
import * as tables from './tables.ts';
import { withTally } from './tally-table.ts';

export interface ChoresEnv {
  readonly JOBS: Objects<Pick<JobCalls, 'cancel' | 'erase' | 'ending'>>;
  readonly DIRECTORY: Objects<DirectoryCalls>;
}

export interface Chores {
  /** When the next round is due (milliseconds since 1970); null: nothing is left to do. */
  dueAt(account: tables.AccountRecord): number | null;
  /** The next round is due now. */
  hasten(): void;
  /** One round of all there is. Never throws: what went wrong is logged, and tried again in the next. */
  round(): Promise<void>;
}

/** Pause before what is left is tried again. */
const PAUSE_MS = 10_000;
/** Jobs asked at once, and in one round. */
const AT_ONCE = 10;
const JOBS_A_ROUND = 200;
/** Customers that lose their names in one round. */
const USERS_A_ROUND = 500;
/** Longest waits: for the directory, and for a job that ends, which also waits for what it was at. */
const DIRECTORY_MS = 5000;
const JOB_MS = 30_000;

type JobObject = Remote<Pick<JobCalls, 'cancel' | 'erase' | 'ending'>>;

/** What becomes of the entry of a job that was to be erased and is not stored. */
export interface NotStored {
  /** its end, which it has yet to tell */
  readonly ended: (id: string, end: JobEnd) => void;
  /** there is nothing of it; `wasCreated`: its object was heard of before it was asked */
  readonly gone: (id: string, wasCreated: boolean) => void;
}

export function makeChores(env: () => ChoresEnv, storage: DurableObjectStorage, { ended, gone }: NotStored): Chores {
  const { sql } = storage;
  let notBefore = 0;
  /** where cancelling and erasing go on: what could not be reached is left for the next pass */
  let cancelledTo = 0;
  let erasedTo = 0;
  let running: Promise<void> | null = null;

  const hasToCancel = ({ suspendedAt, cancelsJobs }: tables.AccountRecord): boolean =>
    suspendedAt !== null && cancelsJobs && index.openAfter(sql, 0, 1).length > 0;

  async function enterInDirectory({ id, name, createdAt, suspendedAt }: tables.AccountRecord): Promise<void> {
    const directory = env().DIRECTORY.getByName(DIRECTORY_NAME);
    await within(DIRECTORY_MS, 'the directory', directory.enter({ id, name, createdAt, suspendedAt }));
    const now = tables.readAccount(sql);
    // it may have been changed meanwhile
    if (now?.name === name && now.suspendedAt === suspendedAt) tables.markListed(sql);
  }

  /** Asks the jobs, a few at once; those that answered. */
  async function askEach<T>(
    jobs: readonly { readonly id: string }[],
    ask: (job: JobObject) => Promise<T>,
  ): Promise<readonly { readonly id: string; readonly answer: T }[]> {
    const answers: { id: string; answer: T }[] = [];
    for (let i = 0; i < jobs.length; i += AT_ONCE) {
      await Promise.all(
        jobs.slice(i, i + AT_ONCE).map(async ({ id }) => {
          try {
            answers.push({ id, answer: await within(JOB_MS, 'the job', ask(jobObject(env().JOBS, id))) });
          } catch (error) {
            logLine('job_not_reached', { job_id: id, error: String(error) });
          }
        }),
      );
    }
    return answers;
  }

  /** Where the next round goes on after these jobs: at once with those behind them, or from the first after a pause. */
  function nextPlace(jobs: readonly { readonly seq: number }[]): number {
    if (jobs.length < JOBS_A_ROUND) return 0;
    notBefore = 0;
    return jobs.at(-1)?.seq ?? 0;
  }

  async function cancelJobs(account: string): Promise<void> {
    const page = { after: cancelledTo, through: Number.MAX_SAFE_INTEGER, onlyOpen: true, limit: JOBS_A_ROUND };
    const jobs = index.jobsAfter(sql, page);
    // that a job has ended is told by itself; one that never came is let go by the alarm
    await askEach(jobs, (job) => job.cancel(account));
    cancelledTo = nextPlace(jobs);
  }

  async function eraseJobs(account: string, through: number): Promise<void> {
    const jobs = index.jobsAfter(sql, { after: erasedTo, through, onlyOpen: false, limit: JOBS_A_ROUND });
    const created = new Set(jobs.filter(({ id }) => index.isCreated(sql, id)).map(({ id }) => id));
    // an erased job says so itself; of one that is not stored it is asked what it has yet to tell
    const erase = async (job: JobObject) => ((await job.erase(account)) ? 'erased' : job.ending());
    for (const { id, answer } of await askEach(jobs, erase)) {
      if (answer === null) gone(id, created.has(id));
      else if (answer !== 'erased' && answer !== 'open') ended(id, answer);
    }
    erasedTo = nextPlace(jobs);
    if (index.jobsAfter(sql, { after: 0, through, onlyOpen: false, limit: 1 }).length > 0) return;
    storage.transactionSync(() => {
      index.deleteRequests(sql);
      withTally(sql, (tally) => {
        tally.paces = {};
      });
      if (pseudonymise(sql, USERS_A_ROUND)) {
        notBefore = 0;
        return;
      }
      tables.setErasesThrough(sql, null);
      tables.appendAudit(sql, { at: Date.now(), actor: 'system', act: 'content_erased', subject: null, detail: {} });
    });
  }

  async function doAll(): Promise<void> {
    const account = tables.readAccount(sql);
    if (!account) return;
    const { id, isListed, erasesThrough } = account;
    notBefore = Date.now() + PAUSE_MS;
    const works = [
      ...(isListed ? [] : [enterInDirectory(account)]),
      ...(hasToCancel(account) ? [cancelJobs(id)] : []),
      ...(erasesThrough === null ? [] : [eraseJobs(id, erasesThrough)]),
    ];
    for (const outcome of await Promise.allSettled(works))
      if (outcome.status === 'rejected') logLine('chore_not_done', { account: id, error: String(outcome.reason) });
  }

  return {
    dueAt: (account) =>
      !account.isListed || account.erasesThrough !== null || hasToCancel(account) ? notBefore : null,
    hasten() {
      notBefore = 0;
    },
    round() {
      running ??= doAll().finally(() => {
        running = null;
      });
      return running;
    },
  };
}
