/** Bodies that nobody read: of a request to nowhere, with a wrong key, of a wrong type. */
import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './env.ts';

/** A picture that somebody wants edited comes within it. */
const MAX_BYTES = 8 * 2 ** 20;
const MAX_MS = 2_000;

/**
 * Takes what is left of the request before its answer goes out, and throws it away. A server that answers with bytes
 * still to come closes the connection: the client's write then fails, and it never reads why it was refused. Of what is
 * longer, or slower, the rest is not waited for.
 */
export const takeUnreadBody = createMiddleware<AppEnv>(async function takeUnreadBody(c, next) {
  // what is inside may put another request in its place
  const { raw } = c.req;
  await next();
  if (!raw.body || raw.bodyUsed || raw.body.locked) return;
  const reader = raw.body.getReader();
  const timer = setTimeout(() => void reader.cancel().catch(() => {}), MAX_MS);
  try {
    let bytes = 0;
    for (let part = await reader.read(); !part.done && bytes < MAX_BYTES; part = await reader.read())
      bytes += part.value.length;
  } catch {
    // the client is gone
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => {});
  }
});
