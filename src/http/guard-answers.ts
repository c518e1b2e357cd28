/** Headers that every answer has, whatever it is. */
import { createMiddleware } from 'hono/factory';
import type { AppEnv } from './env.ts';

/**
 * No answer is taken for another type than it states. None is kept by anything in between or by a browser unless its
 * route says otherwise: answers hold keys, secrets, and links that open a picture to whoever has them.
 */
export const guardAnswers = createMiddleware<AppEnv>(async function guardAnswers(c, next) {
  await next();
  const { headers } = c.res;
  headers.set('x-content-type-options', 'nosniff');
  headers.set('referrer-policy', 'no-referrer');
  if (!headers.has('cache-control')) headers.set('cache-control', 'no-store');
});
