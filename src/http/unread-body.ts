/** Bodies that nobody read: of a request to nowhere, with a wrong key, of a wrong type. */
import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './env.ts';
import { rewritten } from './request-body.ts';

/** A picture that somebody wants edited comes within it. */
const MAX_BYTES = 8 * 2 ** 20;
const MAX_MS = 2_000;

/** What comes from a reader, as it is asked for; when it is given up, the reader still has the rest. */
const through = (reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      async pull(controller) {
        const part = await reader.read();
        if (part.done) controller.close();
        else controller.enqueue(part.value);
      },
    },
    // nothing ahead: the runtime allows one read of a request at a time, and the next may be that of the rest
    { highWaterMark: 0 },
  );

/** Reads to the end and keeps nothing, within the limits. */
async function readRest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  const giveUp = () => reader.cancel().catch(() => {});
  const timer = setTimeout(giveUp, MAX_MS);
  try {
    let bytes = 0;
    for (let part = await reader.read(); !part.done && bytes < MAX_BYTES; part = await reader.read())
      bytes += part.value.length;
  } catch {
    // the client is gone
  } finally {
    clearTimeout(timer);
    await giveUp();
  }
}

/**
 * Takes what is left of the request before its answer goes out, and throws it away. A server that answers with bytes
 * still to come closes the connection: the client's write then fails, and it never reads why it was refused. Of what is
 * longer, or slower, the rest is not waited for.
 */
export const takeUnreadBody = createMiddleware<AppEnv>(async function takeUnreadBody(c, next) {
  // what is inside may put another request in its place
  const { raw } = c.req;
  if (!raw.body) return next();
  if (raw.headers.has('content-length')) {
    await next();
    if (!raw.bodyUsed && !raw.body.locked) await readRest(raw.body.getReader());
    return;
  }
  // how long it is shows while it is read: who stops at a limit leaves the rest
  const reader = raw.body.getReader();
  c.req.raw = rewritten(raw, { body: through(reader) });
  await next();
  await readRest(reader);
});
