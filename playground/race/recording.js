/**
 * What a recording says of itself: how much faster, on what, how it is played. Pure.
 *
 * @import { RecordedRun, Recording } from '../../src/job/recording.ts'
 * @import { Run } from '../session/run.js'
 */

import { counted, times } from '../ground/figures.js';
import { describeEngine } from '../session/engine.js';
import { advance, denoised, UNKNOWN } from '../session/run.js';
import { WATCHED_MS } from '../session/timeline.js';

/** Where a run has come to at its end. @param {RecordedRun} recorded @returns {Run} */
export const endOf = ({ events }) => events.reduce(advance, UNKNOWN);

/** How much faster the first is than the plain model, by the receipts of both. @param {Recording} recording */
export function fasterBy({ runs }) {
  const [own, plain] = runs.map((run) => endOf(run).receipt);
  if (!own || !plain) throw new RangeError('a recorded run has no receipt');
  return { denoising: denoised(plain) / denoised(own), whole: plain.wall_ms.total / own.wall_ms.total };
}

/** @param {Recording} recording */
export function describeResult(recording) {
  const { denoising, whole } = fasterBy(recording);
  return `${times(denoising)} faster denoising; ${times(whole)} for the whole request.`;
}

/**
 * How many times slower both are played than they were: a whole number, so that it can be told, and never faster.
 *
 * @param {Recording} recording
 */
export const slownessOf = ({ runs }) =>
  Math.max(1, Math.round(WATCHED_MS / Math.max(1, ...runs.map(({ events }) => events.at(-1)?.at ?? 0))));

/** @param {Recording} recording */
export function describePace(recording) {
  const slowness = slownessOf(recording);
  return slowness === 1 ? 'played as fast as it was' : `both played ${slowness}× slower than they were`;
}

/** When, on what and with what it was made. @param {Recording} recording */
export function describeOrigin(recording) {
  const { recorded_on, machine, model, model_digest, rounds, runs } = recording;
  const day = new Date(`${recorded_on}T00:00:00Z`).toLocaleDateString('en-GB', {
    timeZone: 'UTC',
    day: 'numeric',
    month: 'long',
    year: 'numeric',
  });
  const engine = describeEngine(endOf(runs[0]).receipt?.engine ?? '');
  const choice = rounds === 1 ? '' : ` The median of ${rounds} rounds.`;
  return `Recorded on ${day}, on ${counted(machine.cores, 'core')} of ${machine.processor}, with ${model} (${model_digest.slice(0, 8)}) by ${engine}.${choice}`;
}
