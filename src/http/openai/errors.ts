/** Errors as OpenAI's clients read them: `{error: {message, type, param, code}}`. */
import { createMiddleware } from 'hono/factory';
import type { JobView } from '../../job/job.ts';
import type { AppEnv } from '../env.ts';
import { Problem, type ProblemFields, UNKNOWN_FIELD } from '../problem.ts';

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

export interface OpenAIError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string;
}

export function toOpenAIError({ status, code, detail, errors }: ProblemFields): OpenAIError {
  const [fault] = errors ?? [];
  const name =
    code !== 'invalid_request' ? code : fault?.rule === UNKNOWN_FIELD ? 'unsupported_parameter' : 'invalid_value';
  return { message: detail, type: typeOf(status), param: fault?.field ?? null, code: name };
}

/** Every refusal behind it has OpenAI's shape. */
export const speakOpenAI = createMiddleware<AppEnv>(async function speakOpenAI(c, next) {
  c.set('render', ({ fields }) =>
    Response.json({ error: toOpenAIError(fields) }, { status: fields.status, headers: { ...fields.headers } }),
  );
  await next();
});

/**
 * Why a job that has ended came to no image. A cancelled one is gone (410), which no client takes for a reason to try
 * again by itself.
 */
export function failureOf(job: Pick<JobView, 'id' | 'error'>): Problem {
  if (job.error === null)
    return new Problem({ status: 410, code: 'job_cancelled', detail: `Job ${job.id} was cancelled.` });
  const { reason, message } = job.error;
  const status = reason === 'no_capacity' ? 503 : reason === 'refused' ? 400 : 500;
  return new Problem({ status, code: reason, detail: message });
}
