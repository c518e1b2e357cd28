/** Strangers who look at a shared picture while its link opens, and after it has ended or run out. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '../soak/random.ts';
import type { Caller } from './caller.ts';
import type { Look, Visited } from './seen-laws.ts';

/** Between two looks. */
const LOOK_MS = { least: 500, most: 2_500 } as const;
/** The shortest time that a share may open. */
const OPEN_SECONDS = 60;
/** When a share is ended, and how long somebody looks once it opens no more. */
const END_MS = { least: 1_000, most: 20_000 } as const;
const AFTER_MS = 6_000;
/** How long one look may take. */
const PATIENCE_MS = 20_000;

/**
 * Shares the finished picture of a job, and what strangers saw of it until it opened no more, or until `until`
 * (milliseconds of `performance.now`). By chance it is ended by its owner, or runs out. Null where it could not be
 * shared in time.
 */
export async function visitShare(caller: Caller, job: string, random: Random, until: number): Promise<Visited | null> {
  const made = await caller.surely(`/v1/jobs/${job}/shares`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ expires_in: OPEN_SECONDS }),
  });
  if (made.status !== 201) return null;
  const { id, url, expires_at } = (await made.json()) as { id: string; url: string; expires_at: number };
  const page = new URL(url).pathname;
  const looks: Look[] = [];
  const endAt = random.chance(0.6) ? Date.now() + random.between(END_MS.least, END_MS.most) : null;
  let endAskedAt: number | null = null;
  let endedAt: number | null = null;
  const isLookedAt = (): boolean =>
    Date.now() < Math.min(expires_at * 1000, endedAt ?? Number.POSITIVE_INFINITY) + AFTER_MS &&
    performance.now() < until;
  while (isLookedAt()) {
    if (endAt !== null && endAskedAt === null && Date.now() >= endAt) {
      endAskedAt = Date.now();
      const ended = await caller.surely(`/v1/jobs/${job}/shares/${id}`, { method: 'DELETE' });
      // one that was asked twice had ended by then
      if (ended.status === 204 || ended.status === 404) endedAt = Date.now();
    }
    const path = random.chance(0.5) ? page : `${page}/image.png`;
    const from = Date.now();
    const status = await statusOf(caller, path);
    looks.push({ path, from, to: Date.now(), status });
    await pause(random.between(LOOK_MS.least, LOOK_MS.most));
  }
  return { job, expiresAt: expires_at, endAskedAt, endedAt, looks };
}

/** What a stranger is answered who has nothing but the address; 0: nothing. */
async function statusOf({ url }: Caller, path: string): Promise<number> {
  try {
    const response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(PATIENCE_MS) });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0; // it was away
  }
}
