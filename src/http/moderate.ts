/**
 * The deployment's own judge of prompts: an HTTP service asked before any work. Off without an address; where it does
 * not answer, answers too much or leads elsewhere, nothing gets in.
 */
import { z } from 'zod';
import type { Draft } from '../job/plan-request.ts';
import { readAtMost } from '../stage/read-at-most.ts';
import type { Env } from './env.ts';
import { badField, Problem } from './problem.ts';

const TIMEOUT_MS = 5000;
const MAX_VERDICT_BYTES = 64 * 1024;
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
  if (!answer.allowed) throw badField(field, prompt, 'is not allowed here', 'moderation_blocked');
}

async function ask({ MODERATION_URL, MODERATION_TOKEN }: Env, body: string): Promise<z.infer<typeof verdict>> {
  const headers = {
    'content-type': 'application/json',
    ...(MODERATION_TOKEN && { authorization: `Bearer ${MODERATION_TOKEN}` }),
  };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  // a redirect would take the prompt and the token along to wherever it leads
  const response = await fetch(MODERATION_URL, { method: 'POST', headers, body, signal, redirect: 'manual' });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`status ${response.status}`);
  }
  const bytes = await readAtMost(response.body, MAX_VERDICT_BYTES, signal);
  if (!bytes) throw new Error(`more than ${MAX_VERDICT_BYTES} bytes`);
  return verdict.parse(JSON.parse(new TextDecoder().decode(bytes)));
}
