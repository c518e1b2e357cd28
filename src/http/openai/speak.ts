/** Refusals in OpenAI's shape. */
import type { Context, MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import { viewError } from '../../doors/openai.ts';
import { findUnsupported } from '../../doors/openai-request.ts';
import { readKeyFrom, requireKey } from '../auth.ts';
import type { AppEnv } from '../env.ts';
import { badField } from '../problem.ts';

/** Every refusal behind it is `{error: {message, type, param, code}}`. */
export const speakOpenAI = createMiddleware<AppEnv>(async function speakOpenAI(c, next) {
  c.set('render', ({ fields }) =>
    Response.json({ error: viewError(fields) }, { status: fields.status, headers: { ...fields.headers } }),
  );
  await next();
});

/** Azure's clients put the key into a header of its own. */
const readAzureKey = readKeyFrom('api-key');

/** How a door of OpenAI's clients answers, and lets in. */
export interface Door {
  readonly speaks: MiddlewareHandler<AppEnv>[];
}
export const OPENAI: Door = { speaks: [speakOpenAI, requireKey] };
export const AZURE: Door = { speaks: [speakOpenAI, readAzureKey, requireKey] };

/** Every refusal behind it is `{error: "…"}`, which is all that Hugging Face's clients read. */
export const speakHuggingFace = createMiddleware<AppEnv>(async function speakHuggingFace(c, next) {
  c.set('render', ({ fields }) =>
    Response.json({ error: fields.detail }, { status: fields.status, headers: { ...fields.headers } }),
  );
  await next();
});

/** Refuses what Hugging Face's clients send to whatever address they are given, so that they can read it. */
async function refuseInputs(c: Context<AppEnv>): Promise<never> {
  await speakHuggingFace(c, async () => undefined);
  throw badField(
    'inputs',
    undefined,
    'this address has OpenAI’s form: send {"prompt": "…"} in place of {"inputs": "…"}',
  );
}

/** Refuses what the specification has and this service does not: a 400 `unsupported_parameter` that names it. */
export const refuseUnsupported = createMiddleware<AppEnv>(async function refuseUnsupported(c, next) {
  const body: unknown = await c.req.json();
  if (typeof body === 'object' && body !== null && 'inputs' in body && !('prompt' in body)) await refuseInputs(c);
  const fault = findUnsupported(body);
  if (fault) throw badField(fault.field, fault.value, fault.rule, 'unsupported_parameter');
  await next();
});
