/** A job's events as a byte stream of server-sent events: replay what is stored, then follow what comes. */
import { encodeEvent, heartbeat, isLastEvent, type StoredEvent } from '../src/job/events.ts';

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
 * The events after `after`, each as soon as it is stored; comments when nothing happens for `heartbeatMs`; closed when
 * no more can come. The reader sets the pace: nothing is buffered for a slow one, it reads on from the table. `read`
 * returns null when the job was erased, `isOver` says whether its last event is stored.
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
      const silentUntil = Date.now() + heartbeatMs;
      for (;;) {
        // asked for before reading: an event stored between the read and the wait must wake the reader
        const changed = signal.changed();
        const events = read(seq, BATCH);
        for (const event of events ?? []) {
          seq = event.seq;
          controller.enqueue(encodeEvent(event));
        }
        const last = events?.at(-1);
        if (events === null || (last ? isLastEvent(last.type) : isOver())) return controller.close();
        if (last) return;
        const rest = silentUntil - Date.now();
        if (rest <= 0) return controller.enqueue(heartbeat());
        await changedWithin(changed, rest);
      }
    },
  });
}

/** Resolves when `changed` does, or after `ms`. */
export async function changedWithin(changed: Promise<void>, ms: number): Promise<void> {
  const { promise: pause, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([changed, pause]);
  clearTimeout(timer);
}
