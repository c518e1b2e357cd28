/** Requests for several pictures, as Replicate's clients make them. */
import { setTimeout as pause } from 'node:timers/promises';
import { BODY, type Caller, refusalOf } from './caller.ts';
import { type Member, NUM_SEEDS } from './crowd.ts';
import type { Several } from './seen-laws.ts';

/** Pictures of one request. */
export const PICTURES = 3;
const LOOK_MS = 300;

interface Prediction {
  readonly id: string;
  readonly status: string;
  readonly output: readonly string[] | null;
  readonly error: string | null;
  readonly job_ids?: readonly string[];
}

/**
 * A request through everything, and its jobs as members of the crowd. Never rejects: a request that got no answer is
 * one that was refused.
 */
export async function askForSeveral(
  caller: Caller,
  { name, at, patienceMs }: { readonly name: string; readonly at: number; readonly patienceMs: number },
): Promise<{ readonly members: readonly Member[]; readonly several: Several | null }> {
  // picture i has seed + i, which is one of the crowd's own
  const seed = at % (NUM_SEEDS - PICTURES + 1);
  const { model, ...fields } = BODY;
  const input = { ...fields, prompt: 'a red apple', seed, num_outputs: PICTURES, output_format: 'png' };
  const askedAt = Date.now();
  try {
    const started = await caller.requestSurely('/v1/predictions', { version: model, input }, name);
    if (!started.ok) {
      const answer = await refusalOf(started);
      return { members: [{ name, seed, answer, ended: null, askedAt, endedAt: Date.now() }], several: null };
    }
    const { id, job_ids: ids = [] } = (await started.json()) as Prediction;
    const whole = await overAt(caller, id, performance.now() + patienceMs);
    const members = await Promise.all(
      ids.map(async (job, i): Promise<Member> => {
        const { status, error, cost } = await caller.ended(job, patienceMs);
        const ended = { id: job, status, error, cost };
        return { name: `${name}/${i}`, seed: seed + i, answer: { id: job }, ended, askedAt, endedAt: Date.now() };
      }),
    );
    const pictures = whole.output ?? [];
    const found = await Promise.all(pictures.map(async (url) => (await caller.surely(url)).ok));
    return {
      members,
      several: {
        name,
        count: PICTURES,
        status: whole.status,
        pictures: new Set(pictures).size,
        had: found.filter(Boolean).length,
        error: whole.error,
        ends: members.map(({ ended }) => ended?.status ?? 'unknown'),
      },
    };
  } catch (error) {
    const answer = { status: 0, code: String(error), retryAfter: null };
    return { members: [{ name, seed, answer, ended: null, askedAt, endedAt: Date.now() }], several: null };
  }
}

/** The prediction once it is over, or as it is at `end` (milliseconds of `performance.now`). */
async function overAt(caller: Caller, id: string, end: number): Promise<Prediction> {
  for (;;) {
    const response = await caller.surely(`/v1/predictions/${id}`);
    const prediction = (await response.json()) as Prediction;
    if (!['starting', 'processing'].includes(prediction.status) && response.ok) return prediction;
    if (performance.now() > end) return prediction;
    await pause(LOOK_MS);
  }
}
