/**
 * Whether what a job shows to strangers is dark because its account is suspended, remembered for a while: a page of a
 * share asks for five pictures, and its account need not hear of each. Those who ask at once ask together, also where
 * their jobs are different ones of the same account. Bounded, for one isolate.
 */
import { makeJoined } from './joined.ts';
import { READ_AGE_MS } from './standing.ts';

/** How it is found out. */
export interface AskSuspended {
  /** whose the job is */
  readonly owner: () => Promise<string>;
  readonly isSuspended: (account: string) => Promise<boolean>;
}

export interface Suspensions {
  /**
   * Whether the account of `job` is suspended, as it said at most 30 s ago; `ask` asks for it. Rejects with what a
   * question rejects with, and remembers nothing of that.
   */
  of(job: string, ask: AskSuspended): Promise<boolean>;
}

export interface SuspensionTools {
  readonly now: () => number;
  /** waits for the answer that another request asked for, `waitMs` at most, and rejects then */
  readonly wait: <T>(answer: Promise<T>) => Promise<T>;
  readonly waitMs: number;
}

/** Jobs remembered at once; the one whose account said it longest ago goes first. */
const MAX_JOBS = 5000;

export function makeSuspensions({ now, wait, waitMs }: SuspensionTools, maxJobs = MAX_JOBS): Suspensions {
  /** what an account said, and when it was asked */
  const kept = new Map<string, { readonly isSuspended: boolean; readonly at: number }>();
  const jobs = makeJoined<boolean>(now, waitMs, wait);
  const accounts = makeJoined<{ readonly isSuspended: boolean; readonly at: number }>(now, waitMs, wait);

  async function find(job: string, { owner, isSuspended }: AskSuspended): Promise<boolean> {
    const account = await owner();
    const said = await accounts.of(account, async () => {
      const at = now();
      return { isSuspended: await isSuspended(account), at };
    });
    kept.delete(job);
    kept.set(job, said);
    if (kept.size > maxJobs) kept.delete(kept.keys().next().value as string);
    return said.isSuspended;
  }

  return {
    async of(job, ask) {
      const at = now();
      const known = kept.get(job);
      if (known && at - known.at < READ_AGE_MS && at >= known.at) return known.isSuspended;
      return jobs.of(job, () => find(job, ask));
    },
  };
}
