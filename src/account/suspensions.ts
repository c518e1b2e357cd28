/**
 * Whether what a job shows to strangers is dark because its account is suspended, remembered for a while: a page of a
 * share asks for five pictures, and its account need not hear of each. Bounded, for one isolate.
 */
import { READ_AGE_MS } from './standing.ts';

export interface Suspensions {
  /**
   * Whether the account of `job` is suspended, as it said at most 30 s ago; `ask` asks it. Rejects with what `ask`
   * rejects with, and remembers nothing of that.
   */
  of(job: string, ask: () => Promise<boolean>): Promise<boolean>;
}

/** Jobs remembered at once; the one least recently asked for goes first. */
const MAX_JOBS = 5000;

export function makeSuspensions(now: () => number, maxJobs = MAX_JOBS): Suspensions {
  const kept = new Map<string, { readonly isSuspended: boolean; readonly at: number }>();
  return {
    async of(job, ask) {
      const at = now();
      const known = kept.get(job);
      if (known && at - known.at < READ_AGE_MS && at >= known.at) return known.isSuspended;
      const isSuspended = await ask();
      kept.delete(job);
      kept.set(job, { isSuspended, at });
      if (kept.size > maxJobs) kept.delete(kept.keys().next().value as string);
      return isSuspended;
    },
  };
}
