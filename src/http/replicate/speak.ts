/** Refusals in Replicate's shape. */
import { createMiddleware } from 'hono/factory';
import { viewError } from '../../doors/replicate.ts';
import type { AppEnv } from '../env.ts';

/** Every refusal behind it is problem details, with `invalid_fields` where fields of the request are at fault. */
export const speakReplicate = createMiddleware<AppEnv>(async function speakReplicate(c, next) {
  c.set('render', ({ fields }) => {
    const { status, body } = viewError(fields);
    const headers = { ...fields.headers, 'content-type': 'application/problem+json' };
    return Response.json(body, { status, headers });
  });
  await next();
});
