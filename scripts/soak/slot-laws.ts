/** What holds of the slots of stage servers and of who waits for them, whatever was killed. */
import type { DispatcherView } from '../../src/fleet/slots.ts';
import { hold, type StoredJob } from './laws.ts';

/** When every job is served at the latest, once servers are well: a breaker's longest pause, and the line. */
const SERVED_MS = 150_000;
/** When a job is done at the latest that comes when nobody else does: a job that is not called asks again later. */
const SOON_MS = 10_000;

/** Longest time that a slot is held: the timer on the whole request, and a lease. */
const LONGEST_STAGE_MS = 150_000;

/**
 * What holds of the slots of a dispatcher's servers at any time, but where a dispatcher that was killed may have given
 * a slot anew before who holds it has said so.
 */
export function checkSlots({ servers }: DispatcherView, killedAt: number | null, now: number): void {
  if (killedAt !== null && now - killedAt < LONGEST_STAGE_MS) return;
  for (const { id, held, slots } of servers)
    hold('no server has more slots held than it has', held <= slots, () => `${id}: ${held} of ${slots}`);
}

/** What holds of them when every job has ended. */
export function checkFree({ servers, lines }: DispatcherView): void {
  for (const { id, held } of servers) hold('at rest no slot is held', held === 0, () => `${id}: ${held}`);
  hold('at rest nobody waits in line', lines.length === 0, () => JSON.stringify(lines));
}

/** Servers have been well since `healedAt`: who waited for one got it; and quick since `calmAt`: nobody waits long. */
export function checkServed(
  id: string,
  { room, reason, createdAt, finishedAt }: StoredJob,
  { healedAt, calmAt }: { readonly healedAt: number; readonly calmAt: number },
): void {
  const isUnserved = reason === 'no_capacity' || reason === 'unreachable';
  const sinceHealed = (finishedAt ?? 0) - Math.max(healedAt, createdAt);
  hold('who waits is served once servers are well', !isUnserved || sinceHealed < SERVED_MS, () => {
    return `${id}: ${room}, ${reason}, ${sinceHealed} ms after`;
  });
  if (createdAt < calmAt) return;
  const ms = (finishedAt ?? 0) - createdAt;
  hold('who comes when all is well is done soon', room === 'done' && ms < SOON_MS, () => `${id}: ${room}, ${ms} ms`);
}
