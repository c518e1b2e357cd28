/** Refusals in OpenAI's shape. */
import { createMiddleware } from 'hono/factory';
import { viewError } from '../../doors/openai.ts';
import { findUnsupported } from '../../doors/openai-request.ts';
import type { AppEnv } from '../env.ts';
import { badField } from '../problem.ts';

/** Every refusal behind it is `{error: {message, type, param, code}}`. */
export const speakOpenAI = createMiddleware<AppEnv>(async function speakOpenAI(c, next) {
  c.set('render', ({ fields }) =>
    Response.json({ error: viewError(fields) }, { status: fields.status, headers: { ...fields.headers } }),
  );
  await next();
});

/** Refuses what the specification has and this service does not: a 400 `unsupported_parameter` that names it. */
export const refuseUnsupported = createMiddleware<AppEnv>(async function refuseUnsupported(c, next) {
  const fault = findUnsupported(await c.req.json());
  if (fault) throw badField(fault.field, fault.value, fault.rule, 'unsupported_parameter');
  await next();
});
