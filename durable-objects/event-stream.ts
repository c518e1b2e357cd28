/** A job's events as a byte stream of server-sent events: replay what is stored, then follow what comes. */
import { encodeEvent, HEARTBEAT, isLastEvent, type StoredEvent } from '../src/job/events.ts';

/** Something a reader can wait on: `changed()` resolves at the next `notify()`. */
export interface Signal {
  changed(): Promise<void>;
  notify(): void;
}

export function makeSignal(): Signal {
  let { promise, resolve } = Promise.withResolvers<void>();
  return {
    changed: () => promise,
    notify: () => {
      resolve();
      ({ promise, resolve } = Promise.withResolvers<void>());
    },
  };
}

const BATCH = 64;

/**
 * The events after `after`, each as soon as it is stored; comments when nothing happens for `heartbeatMs`; closed when no more can come.
 * The reader sets the pace: nothing is buffered for a slow one, it reads on from the table. `read` returns null when the job was erased,
 * `isOver` says whether its last event is stored.
 */
export function streamEvents({
  after,
  read,
  isOver,
  signal,
  heartbeatMs,
}: {
  readonly after: number;
  readonly read: (after: number, limit: number) => readonly StoredEvent[] | null;
  readonly isOver: () => boolean;
  readonly signal: Signal;
  readonly heartbeatMs: number;
}): ReadableStream<Uint8Array> {
  let seq = after;
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      // asked for before reading: an event stored between the read and the wait must wake the reader
      const changed = signal.changed();
      let events = read(seq, BATCH);
      if (events?.length === 0 && !isOver()) {
        await Promise.race([changed, pause(heartbeatMs)]);
        events = read(seq, BATCH);
        if (events?.length === 0 && !isOver()) return controller.enqueue(HEARTBEAT);
      }
      for (const event of events ?? []) {
        seq = event.seq;
        controller.enqueue(encodeEvent(event));
      }
      if (!events?.length || isLastEvent((events.at(-1) as StoredEvent).type)) controller.close();
    },
  });
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
