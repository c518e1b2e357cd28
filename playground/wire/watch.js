/**
 * Watching a job: its events as they happen, from the first one on, however often the connection breaks.
 *
 * @import { SeenEvent, ToldEvent } from '../../src/job/events.ts'
 * @import { LinkedJob } from '../../src/job/links.ts'
 * @import { Connection } from '../session/session.js'
 */
import { getJob, Refusal } from './service.js';

/** @satisfies {readonly ToldEvent['type'][]} */
const TYPES = /** @type {const} */ ([
  'queued',
  'plan',
  'stage',
  'step',
  'thumbnail',
  'retry',
  'preview',
  'selection',
  'done',
  'failed',
  'cancelled',
]);
const LAST = ['done', 'failed', 'cancelled'];
const AGAIN_MS = 2000;
/**
 * After so long without an event the job is asked for, and again each time: a connection that has died without a word
 * looks like a job that has nothing to tell.
 */
const QUIET_MS = 6000;
const ANSWER_MS = 4000;

/**
 * Tells each event once, in order, until the last one or until `signal`; a step that was told before it was stored
 * comes again. An EventSource sends the id it saw last by itself when it comes back; when its link has expired, or its
 * connection is dead, the job is asked for a new one, and events told before are skipped.
 *
 * @typedef {object} Watcher
 * @property {(event: SeenEvent) => void} onEvent
 * @property {(connection: Connection) => void} onConnection
 * @property {(error: Error) => void} onError
 * @property {AbortSignal} signal
 *
 * @param {LinkedJob} job
 * @param {Watcher} watcher
 */
export function watchJob(job, { onEvent, onConnection, onError, signal }) {
  let seen = 0;
  let heardAt = performance.now();
  let isOver = false;
  /** @type {EventSource | null} */
  let source = null;
  /** @type {ReturnType<typeof setInterval>} */
  const looking = setInterval(() => void look(), QUIET_MS);
  const stop = () => {
    isOver = true;
    clearInterval(looking);
    source?.close();
  };
  signal.addEventListener('abort', stop, { once: true });

  /** @param {string} address */
  const open = (address) => {
    source?.close();
    const own = new EventSource(address);
    source = own;
    let place = 0;
    own.onopen = () => {
      heardAt = performance.now();
      onConnection({ name: 'here' });
    };
    own.onerror = () => {
      if (isOver || own !== source) return;
      onConnection({ name: 'lost' });
      if (own.readyState === EventSource.CLOSED) renewSoon();
    };
    for (const type of TYPES) {
      own.addEventListener(type, (message) => {
        // an event without an id, which is told and not stored, repeats that of the one before it
        const id = Number(message.lastEventId);
        const isStored = id !== place;
        place = id;
        if (isOver || own !== source || (isStored ? id <= seen : id < seen)) return;
        seen = id;
        heardAt = performance.now();
        const { at, ...data } = JSON.parse(message.data);
        if (LAST.includes(type)) stop();
        onEvent(/** @type {SeenEvent} */ ({ type, data, seq: isStored ? id : null, at }));
      });
    }
  };

  /** Asks for the job; null where the service does not answer. */
  const ask = async () => {
    try {
      return await getJob(job.id, AbortSignal.timeout(ANSWER_MS));
    } catch (error) {
      if (!isOver && error instanceof Refusal && error.status >= 400 && error.status < 500) {
        stop();
        onError(error);
      }
      return null;
    }
  };

  let isRenewing = false;
  const renewSoon = () => {
    if (isRenewing) return;
    isRenewing = true;
    setTimeout(renew, AGAIN_MS);
  };
  const renew = async () => {
    const found = isOver ? null : await ask();
    isRenewing = false;
    if (isOver) return;
    if (found) open(found.links.events);
    else renewSoon();
  };

  const look = async () => {
    if (source?.readyState !== EventSource.OPEN || performance.now() - heardAt < QUIET_MS) return;
    const found = await ask();
    if (isOver || performance.now() - heardAt < QUIET_MS) return;
    if (!found) {
      onConnection({ name: 'lost' });
      return renewSoon();
    }
    // it has ended, and nobody said so here
    if (LAST.includes(found.status)) open(found.links.events);
    else onConnection({ name: 'quiet', seconds: Math.round((performance.now() - heardAt) / 1000) });
  };

  open(job.links.events);
}
