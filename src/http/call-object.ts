/** Calling an object: a broken stub is thrown away, and a call that may be repeated is. */
import { within } from '../stage/time-limit.ts';

const MAX_CALLS = 3;
/** Longest wait for one call: well over what an erasure takes where the bucket and the account are silent. */
const CALL_MS = 60_000;

/**
 * What `call` returns for the object of this name. Repeated with a new stub while the platform says that helps, so it
 * must be idempotent. Rejects with what the call rejects with, and with TookTooLong.
 */
export async function callObject<Stub, R>(
  objects: { getByName(name: string): Stub },
  name: string,
  call: (object: Stub) => Promise<R>,
): Promise<R> {
  for (let calls = 1; ; calls++) {
    try {
      return await within(CALL_MS, name, call(objects.getByName(name)));
    } catch (error) {
      const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
      if (!retryable || overloaded || calls === MAX_CALLS) throw error;
    }
  }
}
