/**
 * A second look at finished runs: their own events again, at a pace one can follow.
 *
 * @import { SeenEvent } from '../../src/job/events.ts'
 * @import { Run } from '../session/run.js'
 */
import { advance, UNKNOWN } from '../session/run.js';
import { timelineOf, WATCHED_MS } from '../session/timeline.js';

/**
 * Plays runs side by side from one start, each as fast against the other as it really was. Resolves at the end, or at
 * once when `signal` says so.
 *
 * @param {ReturnType<typeof timelineOf>} timeline
 * @param {{ slowness: number, draw: (runs: readonly Run[]) => void, signal: AbortSignal }} how
 */
export async function play(timeline, { slowness, draw, signal }) {
  const runs = Array.from({ length: 1 + Math.max(0, ...timeline.map(({ which }) => which)) }, () => UNKNOWN);
  const began = performance.now();
  for (const { which, ms, event } of timeline) {
    const wait = ms * slowness - (performance.now() - began);
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (signal.aborted) return;
    runs[which] = advance(/** @type {Run} */ (runs[which]), event);
    draw([...runs]);
  }
}

/**
 * Plays finished jobs once more, from their first stage on, within a few seconds.
 *
 * @param {readonly (readonly SeenEvent[])[]} recordings
 * @param {(runs: readonly Run[], slowness: number) => void} draw
 * @param {AbortSignal} signal
 */
export function playAgain(recordings, draw, signal) {
  const timeline = timelineOf(recordings, (events) => events.find(({ type }) => type === 'stage')?.at ?? 0);
  const slowness = WATCHED_MS / Math.max(1, timeline.at(-1)?.ms ?? 1);
  return play(timeline, { slowness, draw: (runs) => draw(runs, slowness), signal });
}
