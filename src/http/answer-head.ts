/** HEAD: what a GET would answer, without its body. */
import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './env.ts';

/**
 * Ends the body of an answer to HEAD. The router takes HEAD for GET and leaves the body unread: a stream would go on
 * with no reader.
 */
export const answerHead = createMiddleware<AppEnv>(async function answerHead(c, next) {
  await next();
  if (c.req.method !== 'HEAD') return;
  const { body } = c.res;
  c.res = new Response(null, c.res);
  await body?.cancel();
});
