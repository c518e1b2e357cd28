/**
 * A job watched from the Worker: its events, as bytes or one by one, or its end. Through as many WebSockets as that
 * takes: an object that is reset or moved closes them, and the next one goes on after the last event that came.
 */
import { decodeEvents, type FollowedEvent, heartbeat, isLastEvent } from '../job/events.ts';
import type { JobView } from '../job/job.ts';
import { CUT, decodeFrame, ERASED, joined, type Wish } from '../job/watching.ts';
import { callJob } from './call-object.ts';
import type { Env } from './env.ts';
import { Problem } from './problem.ts';
import { type Opened, openSocket } from './watch-socket.ts';

/** How often a silent stream is kept alive, and a silent object looked at. */
const SILENCE_MS = 10_000;
/** Sockets in a row that may bring nothing, and the pauses before each. */
const MAX_REOPENS = 8;
const REOPEN_MS = { first: 50, most: 2000 } as const;

/** The job was erased while somebody waited for it. */
export const erased = (id: string) =>
  new Problem({ status: 404, code: 'job_not_found', detail: `Job ${id} was erased.` });

const crowded = (id: string) =>
  new Problem({
    status: 429,
    code: 'too_many_watchers',
    detail: `Job ${id} is watched by too many already; try again later, or ask for the job itself.`,
    headers: { 'retry-after': '10' },
  });

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Opens again after a socket was lost: soon, then less often. Rejects once that has led to nothing so often. */
function makeReopening(env: Env, id: string) {
  let reopens = 0;
  return {
    /** something came: a lost socket is news again */
    reset: (): void => {
      reopens = 0;
    },
    async reopen(wish: Wish, withinMs = Number.POSITIVE_INFINITY): Promise<Opened> {
      for (;;) {
        if (++reopens > MAX_REOPENS) throw new Error('the object closes every socket');
        await pause(Math.max(0, Math.min(withinMs, REOPEN_MS.most, REOPEN_MS.first * 2 ** (reopens - 1))));
        try {
          return await openSocket(env, id, wish);
        } catch (error) {
          if (reopens >= MAX_REOPENS) throw error;
        }
      }
    },
  };
}

/** Whole events as server-sent-event bytes; or why none come any more. */
export type Batch =
  | { readonly kind: 'events'; readonly bytes: readonly Uint8Array[] }
  | { readonly kind: 'silent' }
  | { readonly kind: 'over' }
  | { readonly kind: 'erased' }
  /** the reader took nothing for too long */
  | { readonly kind: 'cut' };

export interface EventReader {
  /** What comes next, waited for at most `ms`. To ask again says that the last was taken. */
  next(ms: number): Promise<Batch>;
  close(): void;
}

/** The events after `after`; or why there are none. A reader whose socket was cut goes on only where it `staysOn`. */
export async function openEvents(
  env: Env,
  id: string,
  { staysOn, ...wanted }: Omit<Wish, 'mode'> & { readonly staysOn: boolean },
): Promise<{ readonly kind: 'open'; readonly reader: EventReader } | Exclude<Opened, { kind: 'open' | 'ended' }>> {
  const wish = { ...wanted, mode: 'events' } as const;
  const first = await openSocket(env, id, wish);
  if (first.kind === 'ended') throw new Error('the object ended what was to be watched');
  if (first.kind !== 'open') return first;
  const reopening = makeReopening(env, id);
  let { socket } = first;
  let seen = wish.after;
  let isClosed = false;
  let untaken = 0;
  let parts: Uint8Array[] = [];

  const reader: EventReader = {
    async next(ms) {
      socket.ack(untaken, false);
      untaken = 0;
      for (;;) {
        const message = await socket.next(ms);
        if (isClosed) return { kind: 'over' };
        switch (message.kind) {
          case 'silent':
            return message;
          case 'text':
            throw new Error('the object sent text where events were asked for');
          case 'bytes': {
            reopening.reset();
            const { kind, seq, body } = decodeFrame(message.bytes);
            if (kind === 'over') {
              reader.close();
              return { kind };
            }
            if (kind === 'part') {
              // a whole event is put together here, so that a stream that goes on elsewhere has no half of it
              parts.push(body);
              socket.ack(message.bytes.byteLength, true);
              continue;
            }
            untaken = message.bytes.byteLength;
            if (kind === 'live') return { kind: 'events', bytes: [body] };
            seen = seq;
            const bytes = [...parts, body];
            parts = [];
            return { kind: 'events', bytes };
          }
          case 'closed': {
            if (message.code === ERASED) return { kind: 'erased' };
            if (message.code === CUT && !staysOn) return { kind: 'cut' };
            parts = [];
            const again = await reopening.reopen({ ...wish, after: seen });
            if (again.kind === 'none') return { kind: 'erased' };
            if (again.kind === 'crowded') throw crowded(id);
            if (again.kind !== 'open') return { kind: 'over' };
            ({ socket } = again);
            if (isClosed) socket.close();
          }
        }
      }
    },
    close() {
      isClosed = true;
      socket.close();
    },
  };
  return { kind: 'open', reader };
}

/**
 * The events of a job after `after`, with `thumbnails` or without, as server-sent-event bytes, with a comment after ten
 * seconds of silence, until the last one, the erasure of the job, or `signal`. The reader sets the pace; the stream of
 * one that reads nothing for too long ends. `over` where no event can come, null where there is no job, `ahead` where
 * there has been no such event.
 */
export async function streamJob(
  env: Env,
  id: string,
  { signal, ...wanted }: Omit<Wish, 'mode'> & { readonly signal: AbortSignal },
): Promise<ReadableStream<Uint8Array> | 'over' | 'ahead' | null> {
  const opened = await openEvents(env, id, { ...wanted, staysOn: false });
  switch (opened.kind) {
    case 'none':
      return null;
    case 'crowded':
      throw crowded(id);
    case 'over':
    case 'ahead':
      return opened.kind;
    case 'open':
      return streamOf(opened.reader, signal);
  }
}

function streamOf(reader: EventReader, signal: AbortSignal): ReadableStream<Uint8Array> {
  if (signal.aborted) reader.close();
  signal.addEventListener('abort', () => reader.close(), { once: true });
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      const batch = await reader.next(SILENCE_MS);
      if (batch.kind === 'events') for (const bytes of batch.bytes) controller.enqueue(bytes);
      else if (batch.kind === 'silent') controller.enqueue(heartbeat());
      else controller.close();
    },
    cancel: () => reader.close(),
  });
}

/**
 * The events of a job, of whoever's where `account` is null, from the one after `after` to its last; null whenever
 * nothing has happened for ten seconds. Each step of an attempt comes once. Throws a 404 Problem when the job is erased
 * meanwhile.
 */
export async function* followJob(
  env: Env,
  account: string | null,
  id: string,
  after = 0,
): AsyncGenerator<FollowedEvent | null> {
  const wanted = { owner: account, thumbnails: false, staysOn: true };
  let opened = await openEvents(env, id, { ...wanted, after });
  // nobody was told of an event that has not come: from the first
  if (opened.kind === 'ahead') opened = await openEvents(env, id, { ...wanted, after: 0 });
  if (opened.kind === 'over' && after > 0) return;
  if (opened.kind === 'crowded') throw crowded(id);
  if (opened.kind !== 'open') throw erased(id);
  const { reader } = opened;
  let step = 0;
  try {
    for (;;) {
      const batch = await reader.next(SILENCE_MS);
      if (batch.kind === 'silent') yield null;
      else if (batch.kind !== 'events') throw erased(id);
      else
        for (const event of decodeEvents(joined(batch.bytes))) {
          if (event.type === 'thumbnail') continue;
          if (event.type === 'stage') step = 0;
          // a step that is stored after it was told comes again
          if (event.type === 'step' && event.data.step <= step) continue;
          if (event.type === 'step') step = event.data.step;
          yield event;
          if (isLastEvent(event.type)) return;
        }
    }
  } finally {
    reader.close();
  }
}

/**
 * The job once it has ended, or as it stands after `ms` or once `signal` comes; without `ms` it waits for the end. Null
 * when there is none (any more).
 */
export async function waitForJob(
  env: Env,
  account: string,
  id: string,
  ms = Number.POSITIVE_INFINITY,
  signal: AbortSignal | null = null,
): Promise<JobView | null> {
  const until = Date.now() + ms;
  const view = () => callJob(env, id, (stub) => stub.view(account));
  const wish = { owner: account, mode: 'end', after: 0, thumbnails: false } as const;
  if (ms <= 0) return view();
  const reopening = makeReopening(env, id);
  for (let opened = await openSocket(env, id, wish); ; opened = await reopening.reopen(wish, until - Date.now())) {
    if (opened.kind === 'ended') return opened.job;
    if (opened.kind === 'none') return null;
    if (opened.kind === 'crowded') throw crowded(id);
    if (opened.kind !== 'open') throw new Error('the object ended what was to be waited for');
    const { socket } = opened;
    signal?.addEventListener('abort', socket.close, { once: true });
    try {
      for (let isLost = false; !isLost; ) {
        const rest = signal?.aborted ? 0 : Math.min(SILENCE_MS, until - Date.now());
        const message = rest > 0 ? await socket.next(rest) : null;
        if (message === null) return view();
        if (message.kind === 'text') return JSON.parse(message.text) as JobView;
        if (message.kind === 'silent') reopening.reset();
        if (message.kind === 'closed' && message.code === ERASED) return null;
        isLost = message.kind === 'closed' && !signal?.aborted;
      }
    } finally {
      signal?.removeEventListener('abort', socket.close);
      socket.close();
    }
  }
}
