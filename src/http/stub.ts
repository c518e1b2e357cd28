/** Calling an object: a broken stub is thrown away, and a call that may be repeated is. */

const MAX_CALLS = 3;

/**
 * What `call` returns for the object of this name. Repeated with a new stub while the platform says that helps, so it
 * must be idempotent.
 */
export async function callObject<T extends Rpc.DurableObjectBranded, R>(
  namespace: DurableObjectNamespace<T>,
  name: string,
  call: (stub: DurableObjectStub<T>) => Promise<R>,
): Promise<R> {
  for (let calls = 1; ; calls++) {
    try {
      return await call(namespace.getByName(name));
    } catch (error) {
      const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
      if (!retryable || overloaded || calls === MAX_CALLS) throw error;
    }
  }
}
