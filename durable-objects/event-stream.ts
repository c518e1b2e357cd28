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
 * The events after `after`, each as soon as it is stored; comments when nothing happens for `heartbeatMs`; closed after the last event.
 * The reader sets the pace: nothing is buffered for a slow one, it reads on from the table. `read` returns null when the job was erased.
 */
export function streamEvents({ after, read, signal, heartbeatMs }: {
  readonly after: number;
  readonly read: (after: number, limit: number) => readonly StoredEvent[] | null;
  readonly signal: Signal;
  readonly heartbeatMs: number;
}): ReadableStream<Uint8Array> {
  let seq = after;
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      // what is asked for before reading: an event stored between the read and the wait must wake the reader
      const changed = signal.changed();
      let events = read(seq, BATCH);
      if (events?.length === 0) {
        let timer: ReturnType<typeof setTimeout> | undefined;
        const pause = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, heartbeatMs);
        });
        await Promise.race([changed, pause]);
        clearTimeout(timer);
        events = read(seq, BATCH);
      }
      if (events?.length === 0) return controller.enqueue(HEARTBEAT);
      for (const event of events ?? []) {
        seq = event.seq;
        controller.enqueue(encodeEvent(event));
      }
      const last = events?.at(-1);
      if (!last || isLastEvent(last.type)) controller.close();
    },
  });
}
