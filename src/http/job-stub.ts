/** Calling a job's object: a broken stub is thrown away, and a call that may be repeated is. */
import type { JobObject } from '../../durable-objects/job.ts';
import type { Env } from './env.ts';

const MAX_CALLS = 3;

/** What `call` returns for the job `id`. Repeated with a new stub while the platform says that helps; every method of the object is idempotent. */
export async function callJob<T>({ JOBS }: Env, id: string, call: (job: DurableObjectStub<JobObject>) => Promise<T>): Promise<T> {
  for (let calls = 1; ; calls++) {
    try {
      return await call(JOBS.getByName(id));
    } catch (error) {
      const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
      if (!retryable || overloaded || calls === MAX_CALLS) throw error;
    }
  }
}
