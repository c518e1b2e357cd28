/**
 * The bytes of a body that somebody else decides the length of: all of them, or null when there are more than `limit`,
 * and then the rest is never read. Throws what the body throws when it breaks, and the signal's reason when that is
 * aborted, also where the body itself does not heed the signal.
 */
export async function readAtMost(
  body: ReadableStream<Uint8Array> | null,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  if (!body) return new Uint8Array(0);
  const reader = body.getReader();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  aborted.catch(() => {}); // heard below, or nobody waits any more
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  try {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), aborted]);
      if (done) return join(chunks, length);
      length += value.length;
      if (length > limit) return null;
      chunks.push(value);
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    void reader.cancel().catch(() => {}); // it has ended, is broken, or nobody wants the rest
  }
}

function join(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
