/**
 * Events of finished runs as one story, to be watched at a pace one can follow. Pure.
 *
 * @import { SeenEvent } from '../../src/job/events.ts'
 */

/** How long the longest of them takes to watch, whatever it really took. */
export const WATCHED_MS = 9000;

/**
 * The events of several runs in the order in which they came, each with its run and its time since the start of that.
 *
 * @param {readonly (readonly SeenEvent[])[]} recordings
 * @param {(events: readonly SeenEvent[]) => number} startOf when a run began
 * @returns {{ which: number, ms: number, event: SeenEvent }[]}
 */
export const timelineOf = (recordings, startOf) =>
  recordings
    .flatMap((events, which) => events.map((event) => ({ which, ms: Math.max(0, event.at - startOf(events)), event })))
    // events of one moment stay in their order
    .sort((one, other) => one.ms - other.ms);
