/** What every JSON body must be before it is read. */
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import { WHOLE_BODY } from '../doors/problem.ts';
import type { AppEnv } from './env.ts';
import { badField, Problem } from './problem.ts';

const MAX_BODY_BYTES = 256 * 1024;
/** lists and objects inside each other; no request of ours has more than four */
const MAX_DEPTH = 16;

/** Refuses a longer body than any request of ours has. */
export const limitBody = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: () => {
    throw new Problem({
      status: 413,
      code: 'body_too_large',
      detail: `The body may have at most ${MAX_BODY_BYTES} bytes.`,
    });
  },
});

/** The types that Hono reads a body as JSON for; any other would slip past the contract unread. */
const JSON_TYPE = /^application\/([a-z-.]+\+)?json(;\s*[a-zA-Z0-9-]+=([^;]+))*$/;

/** Whether lists and objects go more than `depth` levels into each other. It looks no further. */
const isDeeper = (value: unknown, depth: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (depth === 0 || Object.values(value).some((each) => isDeeper(each, depth - 1)));

/** Refuses what is not JSON, before the contract is looked at. */
export const requireJson = createMiddleware<AppEnv>(async function requireJson(c, next) {
  const type = c.req.header('content-type') ?? '';
  if (!JSON_TYPE.test(type)) {
    throw new Problem({
      status: 415,
      code: 'unsupported_media_type',
      detail: `content-type: got ${JSON.stringify(type)}; must be application/json`,
      errors: [{ field: 'content-type', value: type, rule: 'must be application/json' }],
    });
  }
  const body: unknown = await c.req.json().catch(() => {
    throw badField(WHOLE_BODY, undefined, 'must be JSON');
  });
  if (isDeeper(body, MAX_DEPTH)) throw badField(WHOLE_BODY, undefined, `must be at most ${MAX_DEPTH} levels deep`);
  await next();
});
