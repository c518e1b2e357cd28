/** What an outcome of a stage says of its server. */
import type { DeskState, Held } from './desk-state.ts';
import { addWork } from './pace.ts';
import type { SlotOutcome } from './slots.ts';

/** Shortest, the first time, and longest that a server is left alone because it said so. */
const LEAST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 30_000;

/** The slot is free; its server's pace, fault and breaker are as the outcome says once the promise resolves. */
export async function noteOutcome(server: DeskState, held: Held, outcome: SlotOutcome, now: number): Promise<void> {
  server.held.delete(held.job);
  const ms = now - Math.max(held.since, server.busySince);
  const before = server.breaker.state;
  if (outcome.kind === 'done') {
    // what one that is well again wasted while it was out tells nothing of it now
    const known = before === 'closed' ? server.pace : null;
    // with several at once, each outcome took the time since the one before
    server.pace = addWork(known, { ms: Math.min(ms, outcome.ms), tflops: held.tflops }, now);
    server.fault = null;
  }
  if (outcome.kind === 'wrong') {
    server.pace = addWork(server.pace, { ms, tflops: 0 }, now);
    server.fault = outcome.what;
  }
  if (outcome.kind === 'busy') {
    // who refuses again and again is asked less and less often, whatever it says
    const least = LEAST_PAUSE_MS * 2 ** Math.min(10, server.refusals++);
    server.fullUntil = now + Math.min(MAX_PAUSE_MS, Math.max(least, outcome.retryMs));
  }
  // what told nothing of the server's pace leaves the time to the next outcome that does
  if (outcome.kind === 'done' || outcome.kind === 'wrong') server.busySince = now;
  server.stages[outcome.kind]++;
  // one job alone does not put a server out, however often it fails there
  const isCounted = outcome.kind === 'wrong' && server.faultJob !== held.job;
  if (outcome.kind === 'done') {
    server.faultJob = null;
    server.refusals = 0;
  }
  if (outcome.kind === 'wrong') server.faultJob = held.job;
  await held.settle(outcome.kind === 'done' ? 'well' : isCounted ? 'wrong' : 'neither');
  if (before !== 'open' && server.breaker.state === 'open') server.openings++;
}
