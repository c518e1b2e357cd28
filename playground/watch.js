/**
 * Watching a job: its events as they happen, from the first one on, however often the connection breaks.
 *
 * @import { SeenEvent, JobEventType } from '../src/job/events.ts'
 * @import { LinkedJob } from '../src/job/links.ts'
 */
import { getJob, Refusal } from './service.js';

/** @satisfies {readonly JobEventType[]} */
const TYPES = /** @type {const} */ ([
  'queued',
  'plan',
  'stage',
  'step',
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
 * Tells each event once, in order, until the last one or until `signal`; a step that was told before it was stored
 * comes again. An EventSource sends the id it saw last by itself when it comes back; when its link has expired the job
 * is asked for a new one, and events told before are skipped.
 *
 * @param {LinkedJob} job @param {{ onEvent: (event: SeenEvent) => void, onLost: (isLost: boolean) => void, onError:
 * (error: Error) => void, signal: AbortSignal }} watcher
 */
export function watchJob(job, { onEvent, onLost, onError, signal }) {
  let seen = 0;
  /** @param {string} address */
  const open = (address) => {
    const source = new EventSource(address);
    let place = 0;
    const close = () => source.close();
    signal.addEventListener('abort', close, { once: true });
    source.onopen = () => onLost(false);
    source.onerror = () => {
      if (signal.aborted) return;
      onLost(true);
      if (source.readyState === EventSource.CLOSED) renew();
    };
    for (const type of TYPES) {
      source.addEventListener(type, (message) => {
        // an event without an id, which is told and not stored, repeats that of the one before it
        const id = Number(message.lastEventId);
        const isStored = id !== place;
        place = id;
        if (signal.aborted || (isStored ? id <= seen : id < seen)) return;
        seen = id;
        const { at, ...data } = JSON.parse(message.data);
        if (LAST.includes(type)) close();
        onEvent(/** @type {SeenEvent} */ ({ type, data, seq: isStored ? id : null, at }));
      });
    }
  };

  const renew = () =>
    setTimeout(async () => {
      if (signal.aborted) return;
      try {
        open((await getJob(job.id)).links.events);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refusal && error.status >= 400 && error.status < 500) onError(error);
        else renew();
      }
    }, AGAIN_MS);

  open(job.links.events);
}
