/** Who may come in: one bearer key from the configuration. */
import { createMiddleware } from 'hono/factory';
import { timingSafeEqual } from 'hono/utils/buffer';
import type { AppEnv } from './env.ts';
import { Problem } from './problem.ts';

const refuse = (detail: string) => new Problem({ status: 401, code: 'unauthorized', detail, headers: { 'www-authenticate': 'Bearer' } });

/** Lets a request through when it carries the configured key, compared in constant time. Without a configured key nobody gets in. */
export const requireKey = createMiddleware<AppEnv>(async function requireKey(c, next) {
  if (!c.env.API_KEY) throw new Problem({ status: 503, code: 'not_configured', detail: 'This deployment has no API_KEY secret yet.' });
  const [, key] = /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? [];
  if (!key) throw refuse('Send the key as "Authorization: Bearer KEY".');
  if (!(await timingSafeEqual(key, c.env.API_KEY))) throw refuse('The key is not valid.');
  await next();
});
