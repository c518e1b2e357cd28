/** Nothing on a far side is waited for without end. */

/** A far side that did not answer in time. */
export class TookTooLong extends Error {
  override name = 'TookTooLong';
  constructor(what: string, ms: number) {
    super(`${what} took longer than ${ms / 1000} s`);
  }
}

/** What `work` gives. Rejects with what it rejects with, or with TookTooLong after `ms`. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new TookTooLong(what, ms)), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
