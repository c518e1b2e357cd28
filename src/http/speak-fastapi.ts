/** Refusals in FastAPI's shape. */
import { createMiddleware } from 'hono/factory';
import { viewError } from '../doors/fastapi.ts';
import type { AppEnv } from './env.ts';

/** Every refusal behind it is `{detail}`. */
export const speakFastAPI = createMiddleware<AppEnv>(async function speakFastAPI(c, next) {
  c.set('render', ({ fields }) => {
    const { status, body } = viewError(fields);
    return Response.json(body, { status, headers: { ...fields.headers } });
  });
  await next();
});
