/** Refusals in fal's shape. */
import { createMiddleware } from 'hono/factory';
import { viewError } from '../../doors/fal.ts';
import type { AppEnv } from '../env.ts';

/** Every refusal behind it is `{detail, error_type, message}`, or a list of faults of the request. */
export const speakFal = createMiddleware<AppEnv>(async function speakFal(c, next) {
  c.set('render', ({ fields }) => {
    const { status, body } = viewError(fields);
    return Response.json(body, { status, headers: { ...fields.headers, 'x-fal-error-type': fields.code } });
  });
  await next();
});
