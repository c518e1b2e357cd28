/**
 * What the page shows: one job, and the plain model's beside it where it is compared. Pure: each step gives the next
 * session.
 *
 * @import { SeenEvent } from '../../src/job/events.ts'
 * @import { LinkedJob } from '../../src/job/links.ts'
 * @import { Run } from './run.js'
 */
import { times } from '../ground/figures.js';
import { advance, hasEnded, numStepsDone, UNKNOWN } from './run.js';

/**
 * How the events of a job come: `here`; `quiet` for so many seconds although the service answers; or not at all, since
 * the service does not answer.
 *
 * @typedef {{ name: 'here' | 'lost' } | { name: 'quiet', seconds: number }} Connection
 */
/**
 * A job that is watched, with every event it has told so far.
 *
 * @typedef {{ job: LinkedJob, events: readonly SeenEvent[], run: Run, connection: Connection }} Watched
 */
/** @typedef {{ main: Watched, beside: Watched | null, isBesideAwaited: boolean }} Session */
/** @typedef {'main' | 'beside'} Part */

/** @type {Connection} */
const HERE = { name: 'here' };

/** @param {LinkedJob} job @returns {Watched} */
const unseen = (job) => ({ job, events: [], run: UNKNOWN, connection: HERE });

/** A job of which nothing has been told yet. @param {LinkedJob} job @param {boolean} isBesideAwaited */
export const begin = (job, isBesideAwaited) =>
  /** @type {Session} */ ({ main: unseen(job), beside: null, isBesideAwaited });

/** The plain model's job is there. @param {Session} session @param {LinkedJob} job @returns {Session} */
export const besideBegins = (session, job) => ({ ...session, beside: unseen(job) });

/** The comparison is over, or not wanted any more. @param {Session} session @returns {Session} */
export const besideEnds = (session) => ({ ...session, isBesideAwaited: false });

/** @param {Session} session @param {Part} part @param {(watched: Watched) => Watched} change @returns {Session} */
function inPart(session, part, change) {
  const watched = session[part];
  return watched ? { ...session, [part]: change(watched) } : session;
}

/** An event has come. @param {Session} session @param {Part} part @param {SeenEvent} event */
export const told = (session, part, event) =>
  inPart(session, part, (watched) => ({
    ...watched,
    events: [...watched.events, event],
    run: advance(watched.run, event),
    connection: HERE,
  }));

/** @param {Session} session @param {Part} part @param {Connection} connection */
export const connected = (session, part, connection) =>
  inPart(session, part, (watched) => ({ ...watched, connection }));

/** The part that is told about: the one that runs. @param {Session} session @returns {Part} */
export const partUnderWay = ({ main, beside }) => (beside && hasEnded(main.run) ? 'beside' : 'main');

/** Whether something of the session still runs. @param {Session | null} session */
export const isBusy = (session) => session !== null && (!hasEnded(session.main.run) || session.isBesideAwaited);

/** What may be tried again: the job that came to no picture. @param {Session | null} session */
export const isFruitless = (session) =>
  session !== null && !isBusy(session) && ['failed', 'cancelled'].includes(session.main.run.status);

/** @param {Watched} watched */
export const nameOf = ({ job }) => job.preset ?? 'custom';

/** Where a run stands, in a sentence. @param {Run} run */
function placeOf(run) {
  if (run.waiting) return run.waiting;
  const current = run.stages.findLast(({ beganAt }) => beganAt !== null);
  if (!current) return 'Waiting for the first stage.';
  if (current.trouble) return current.trouble;
  const step = `${Math.min(numStepsDone(current) + 1, current.steps)} of ${current.steps}`;
  return run.stages.length === 1 ? `Step ${step}.` : `Stage ${current.stage} of ${run.stages.length}, step ${step}.`;
}

/**
 * What happens now, or that nothing does because it was cancelled, in a sentence; else empty. `played`: how many times
 * slower it is played again; null: it is not.
 *
 * @param {Session} session
 * @param {number | null} played
 */
export function statusOf(session, played) {
  if (played !== null)
    return played > 1
      ? `Playing ${times(played)} slower than it was.`
      : `Playing ${times(1 / played)} faster than it was.`;
  if (!isBusy(session)) return session.main.run.status === 'cancelled' ? 'Cancelled.' : '';
  const watched = session[partUnderWay(session)] ?? session.main;
  const { run, connection } = watched;
  const place = hasEnded(run) ? '' : placeOf(run);
  if (connection.name === 'lost') return `No connection to the service; trying again. ${place}`.trim();
  const quiet = connection.name === 'quiet' ? ` Nothing has been heard for ${connection.seconds} s.` : '';
  if (watched === session.main && !hasEnded(run)) return place + quiet;
  return `The plain model, for comparison. ${place}`.trim() + quiet;
}
