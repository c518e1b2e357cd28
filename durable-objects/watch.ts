/**
 * Watching a job: what is stored is replayed, then what comes is followed; as bytes of server-sent events, as events,
 * or as the job once it has ended.
 */
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

/** Events read at once. */
const BATCH = 64;
const HEARTBEAT_MS = 10_000;

/** What a watcher may read of a job. */
export interface Watched {
  /** whether the job is there, for this watcher, and whether it has ended; null: it is not there */
  readonly state: () => 'running' | 'ended' | null;
  /** up to `limit` stored events after a place, in order */
  readonly read: (after: number, limit: number) => readonly StoredEvent[];
  readonly signal: Signal;
}

/**
 * The events after `after` as server-sent-event bytes, followed until the job ends; null when there is no job, `over`
 * when none can come any more, `ahead` when there has been no such event.
 */
export function watchEvents(
  { state, read, signal }: Watched,
  after: number,
): ReadableStream<Uint8Array> | 'over' | 'ahead' | null {
  if (state() === null) return null;
  if (after > 0 && read(after - 1, 1).length === 0) return 'ahead';
  if (state() === 'ended' && read(after, 1).length === 0) return 'over';
  return streamEvents({
    after,
    read: (seq, limit) => (state() === null ? null : read(seq, limit)),
    isOver: () => state() === 'ended',
    signal,
    heartbeatMs: HEARTBEAT_MS,
  });
}

/**
 * The stored events after `after`, at most 64; where there are none, those that come within `ms`. Null without a job.
 */
export async function nextEvents(
  { state, read, signal }: Watched,
  after: number,
  ms: number,
): Promise<readonly StoredEvent[] | null> {
  // asked for before reading: an event stored between the read and the wait must wake the reader
  const changed = signal.changed();
  if (state() === null) return null;
  const stored = read(after, BATCH);
  if (stored.length > 0 || state() === 'ended') return stored;
  await changedWithin(changed, ms);
  return state() === null ? null : read(after, BATCH);
}

/** Resolves when the job has ended or is gone, or after `ms`. */
export async function untilEnded({ state, signal }: Watched, ms: number): Promise<void> {
  const until = Date.now() + ms;
  for (;;) {
    const changed = signal.changed();
    const rest = until - Date.now();
    if (state() !== 'running' || rest <= 0) return;
    await changedWithin(changed, rest);
  }
}

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
