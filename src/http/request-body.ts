/** What every JSON body must be before it is read. */
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import { WHOLE_BODY } from '../doors/problem.ts';
import { refuseShape } from './body-shape.ts';
import type { AppEnv } from './env.ts';
import { badField, Problem } from './problem.ts';

const MAX_BODY_BYTES = 256 * 1024;

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

/** Refuses what is not JSON, or has parts too large, before the contract is looked at. */
export const requireJson = createMiddleware<AppEnv>(async function requireJson(c, next) {
  const type = c.req.header('content-type') ?? '';
  if (!JSON_TYPE.test(type)) {
    const { fields } = badField('content-type', type, 'must be application/json', 'unsupported_media_type');
    throw new Problem({ ...fields, status: 415 });
  }
  const body: unknown = await c.req.json().catch(() => {
    throw badField(WHOLE_BODY, undefined, 'must be JSON');
  });
  const refusal = refuseShape(body);
  if (refusal) throw badField(refusal.field, refusal.value, refusal.rule);
  await next();
});
