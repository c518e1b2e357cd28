/** Calling an object: a broken stub is thrown away, and a call that may be repeated is. */
import type { LocationHint } from '../fleet/regions.ts';
import { jobObject } from '../job/job-object.ts';
import type { JobCalls, Objects, Remote } from '../job/rpc.ts';
import { within } from '../stage/time-limit.ts';

const MAX_CALLS = 3;
/** Longest wait for one call: well over what an erasure takes where the bucket and the account are silent. */
const CALL_MS = 60_000;

/**
 * What `call` returns for the object of this name. Repeated with a new stub while the platform says that helps, so it
 * must be idempotent. Rejects with what the call rejects with, and with TookTooLong.
 */
export const callObject = <Calls, R>(
  objects: Objects<Calls>,
  name: string,
  call: (object: Remote<Calls>) => Promise<R>,
): Promise<R> => persist(name, () => call(objects.getByName(name)));

/** The same for the object of a job, wherever that is kept; `hint`: where it is best made. */
export const callJob = <R>(
  { JOBS }: { readonly JOBS: Objects<JobCalls> },
  id: string,
  call: (job: Remote<JobCalls>) => Promise<R>,
  hint: LocationHint | null = null,
): Promise<R> => persist(id, () => call(jobObject(JOBS, id, hint)));

async function persist<R>(name: string, call: () => Promise<R>): Promise<R> {
  for (let calls = 1; ; calls++) {
    try {
      return await within(CALL_MS, name, call());
    } catch (error) {
      const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
      if (!retryable || overloaded || calls === MAX_CALLS) throw error;
    }
  }
}
