/**
 * The deployment's own judge of prompts: an HTTP service asked before any work. Off without an address; where it does
 * not answer, nothing gets in.
 */
import { z } from 'zod';
import type { Draft } from '../job/plan-request.ts';
import type { Env } from './env.ts';
import { badField, Problem } from './problem.ts';

const TIMEOUT_MS = 5000;
const verdict = z.object({ allowed: z.boolean() });

/**
 * Asks the service about a prompt: it gets `{prompt, negative_prompt}` and answers `{allowed}`. Throws a 400 Problem
 * that names `field` where the prompt is not allowed, a 503 where there is no verdict.
 */
export async function moderate(
  env: Env,
  { prompt, negativePrompt }: Pick<Draft, 'prompt' | 'negativePrompt'>,
  field: string,
): Promise<void> {
  if (!env.MODERATION_URL) return;
  const answer = await ask(env, JSON.stringify({ prompt, negative_prompt: negativePrompt })).catch(() => null);
  if (answer === null)
    throw new Problem({
      status: 503,
      code: 'moderation_unavailable',
      detail: 'The prompt could not be judged; try again shortly.',
      headers: { 'retry-after': '5' },
    });
  if (!answer.allowed)
    throw new Problem({ ...badField(field, prompt, 'is not allowed here').fields, code: 'moderation_blocked' });
}

async function ask({ MODERATION_URL, MODERATION_TOKEN }: Env, body: string): Promise<z.infer<typeof verdict>> {
  const headers = {
    'content-type': 'application/json',
    ...(MODERATION_TOKEN && { authorization: `Bearer ${MODERATION_TOKEN}` }),
  };
  const response = await fetch(MODERATION_URL, {
    method: 'POST',
    headers,
    body,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return verdict.parse(await response.json());
}
