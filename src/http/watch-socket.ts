/** The Worker's end of a WebSocket to a job's object (src/job/watching.ts): messages one after the other. */
import type { JobView } from '../job/job.ts';
import { ackDueAt, ackOf, afterTaking, NOTHING_TAKEN, PING, PONG, type Wish, watchRequest } from '../job/watching.ts';
import { callJob } from './call-object.ts';
import type { Env } from './env.ts';

/** How often a silent object is asked for a sign of life, which does not wake it, and how long that may take. */
const PING_MS = 30_000;
const PONG_MS = 30_000;

export type Message =
  | { readonly kind: 'bytes'; readonly bytes: ArrayBuffer }
  | { readonly kind: 'text'; readonly text: string }
  /** nothing came in time */
  | { readonly kind: 'silent' }
  | { readonly kind: 'closed'; readonly code: number };

export interface WatchSocket {
  /** The next message, waited for at most `ms`. One reader at a time. */
  next(ms: number): Promise<Message>;
  /** So many bytes more were taken; the object hears of it soon, or `atOnce`. */
  ack(bytes: number, atOnce: boolean): void;
  close(): void;
}

/** Lost without a word. */
const LOST = 1006;

/** What a request to watch leads to. */
export type Opened =
  | { readonly kind: 'open'; readonly socket: WatchSocket }
  /** the end was asked for, and is there */
  | { readonly kind: 'ended'; readonly job: JobView }
  /** every event was seen and no more can come */
  | { readonly kind: 'over' }
  | { readonly kind: 'none' }
  /** there has been no such event */
  | { readonly kind: 'ahead' }
  | { readonly kind: 'crowded' };

/** Opens a socket. Rejects where the object cannot be reached, or is of another version. */
export async function openSocket(env: Env, id: string, wish: Wish): Promise<Opened> {
  const response = await callJob(env, id, (object) => object.fetch(watchRequest(wish)));
  if (response.webSocket) return { kind: 'open', socket: listenTo(response.webSocket) };
  switch (response.status) {
    case 200:
      return { kind: 'ended', job: await response.json() };
    case 204:
      return { kind: 'over' };
    case 404:
      return { kind: 'none' };
    case 416:
      return { kind: 'ahead' };
    case 429:
      return { kind: 'crowded' };
    default:
      throw new Error(`the job's object does not open a WebSocket: ${response.status}`);
  }
}

function listenTo(socket: WebSocket): WatchSocket {
  const messages: Message[] = [];
  let wake: (() => void) | null = null;
  let heardAt = Date.now();
  let pingedAt: number | null = null;
  let taken = NOTHING_TAKEN;

  // one timer for many waits: messages come every few milliseconds, and a reader that is woken too early looks again
  let timer: { readonly at: number; readonly id: ReturnType<typeof setTimeout> } | null = null;
  const disarm = (): void => {
    if (timer) clearTimeout(timer.id);
    timer = null;
  };
  const wakeBy = (at: number): void => {
    if (timer && timer.at <= at) return;
    disarm();
    const ring = (): void => {
      timer = null;
      wake?.();
    };
    timer = { at, id: setTimeout(ring, at - Date.now()) };
  };

  const take = (message: Message | null): void => {
    if (message?.kind === 'closed') disarm();
    heardAt = Date.now();
    pingedAt = null;
    if (message) messages.push(message);
    wake?.();
  };
  const say = (text: string): void => {
    try {
      socket.send(text);
    } catch {
      // closed meanwhile: the reader hears of that next
    }
  };
  const tellTaken = (): void => {
    if (taken.told === taken.bytes) return;
    taken = { ...taken, told: taken.bytes };
    say(ackOf(taken.bytes));
  };
  /** Asks a silent object whether it is there; false where it has not answered. */
  const isThere = (now: number): boolean => {
    if (pingedAt !== null) return now - pingedAt < PONG_MS;
    if (now - heardAt < PING_MS) return true;
    pingedAt = now;
    say(PING);
    return true;
  };

  socket.binaryType = 'arraybuffer';
  socket.accept();
  socket.addEventListener('message', ({ data }) => {
    if (data === PONG) take(null);
    else take(typeof data === 'string' ? { kind: 'text', text: data } : { kind: 'bytes', bytes: data as ArrayBuffer });
  });
  socket.addEventListener('close', ({ code }) => take({ kind: 'closed', code }));
  socket.addEventListener('error', () => take({ kind: 'closed', code: LOST }));

  return {
    async next(ms) {
      const until = Date.now() + ms;
      for (;;) {
        const message = messages.shift();
        if (message) return message;
        const now = Date.now();
        if (now >= ackDueAt(taken)) tellTaken();
        if (now >= until) return isThere(now) ? { kind: 'silent' } : { kind: 'closed', code: LOST };
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        wakeBy(Math.min(until, ackDueAt(taken)));
        await promise;
        wake = null;
      }
    },
    ack(bytes, atOnce) {
      const now = Date.now();
      taken = afterTaking(taken, bytes, now);
      // whoever is told of steps all the time is never silent
      if (atOnce || now >= ackDueAt(taken)) tellTaken();
    },
    close() {
      try {
        socket.close(1000);
      } catch {
        // closed already
      }
      take({ kind: 'closed', code: 1000 });
    },
  };
}
