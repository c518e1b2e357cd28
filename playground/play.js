/**
 * A second look at finished runs: their own events again, at a pace one can follow.
 *
 * @import { SeenEvent } from '../src/job/events.ts'
 * @import { Run } from './run.js'
 */
import { advance, UNKNOWN } from './run.js';

/** How long the longest of them takes to watch, whatever it really took. */
const WATCHED_MS = 9000;

/**
 * Plays recordings side by side from one start, each as fast against the other as it really was. Resolves at the end,
 * or at once when `signal` says so.
 *
 * @param {readonly (readonly SeenEvent[])[]} recordings
 * @param {(runs: readonly Run[], slowness: number) => void} draw
 * @param {AbortSignal} signal
 */
export async function playAgain(recordings, draw, signal) {
  const runs = recordings.map(() => UNKNOWN);
  const timeline = recordings
    .flatMap((events, which) => {
      const start = events.find(({ type }) => type === 'stage')?.at ?? 0;
      return events.map((event) => ({ which, ms: Math.max(0, event.at - start), event }));
    })
    // events of one moment stay in their order
    .sort((one, other) => one.ms - other.ms);
  const slowness = WATCHED_MS / Math.max(1, timeline.at(-1)?.ms ?? 1);
  const began = performance.now();
  for (const { which, ms, event } of timeline) {
    const wait = ms * slowness - (performance.now() - began);
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (signal.aborted) return;
    runs[which] = advance(/** @type {Run} */ (runs[which]), event);
    draw([...runs], slowness);
  }
}
