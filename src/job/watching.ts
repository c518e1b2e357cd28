/**
 * How a Worker watches a job: over a WebSocket to the job's object, so that the object may hibernate while somebody
 * waits. What the two say to each other, pure. `WATCHING` changes with every change that the other side would not
 * understand.
 *
 *   Worker → object   GET with an upgrade: whose job, from which event on, or the end alone
 *   object → Worker   101, or why there is nothing to watch: 204 over, 404 no job, 416 ahead, 426 another version,
 *                     429 too many watchers; 200 with the job where its end was asked for and is there
 *   object → Worker   binary frames of server-sent events; for the end one text, the ended job as JSON
 *   Worker → object   `ack BYTES`: what its reader has taken so far, in all; `ping`, answered `pong` without waking it
 */

export const WATCHING = 1;

/** Over all watchers of a job: bytes that were sent and not acknowledged. */
export const IN_FLIGHT_BYTES = 8 * 2 ** 20;
/** Most watchers of one job. */
export const MAX_WATCHERS = 128;
/** Longest frame, its header included. */
export const FRAME_BYTES = 32 * 1024;
/** A Worker acknowledges at the latest when its reader has taken this much, or after this time. */
export const ACK_BYTES = 32 * 1024;
export const ACK_MS = 10_000;
/** A watcher that has acknowledged nothing of what it was sent for so long is cut. */
export const STALLED_MS = 30_000;
const MAX_SHARE = 256 * 1024;

/** Close codes of the object's own. */
export const CUT = 4408;
export const ERASED = 4404;

export const PING = 'ping';
export const PONG = 'pong';

/** What one of `watchers` may have in flight, bytes: at least two frames, so that one fits beside what is not due. */
export const shareOf = (watchers: number): number =>
  Math.max(IN_FLIGHT_BYTES / MAX_WATCHERS, Math.min(MAX_SHARE, Math.floor(IN_FLIGHT_BYTES / Math.max(1, watchers))));

/** What a watcher wants to see. */
export interface Wish {
  /** the account that asks; null: whoever's job it is */
  readonly owner: string | null;
  readonly mode: 'events' | 'end';
  /** number of the last event that was seen; 0 for all */
  readonly after: number;
  /** whether thumbnails are wanted; an object of an earlier version has none, and a Worker of one wants none */
  readonly thumbnails: boolean;
}

/** The request that opens a WebSocket for a wish. */
export function watchRequest({ owner, mode, after, thumbnails }: Wish): Request {
  const query = new URLSearchParams({ version: String(WATCHING), mode, after: String(after) });
  if (owner !== null) query.set('owner', owner);
  if (thumbnails) query.set('thumbnails', '1');
  return new Request(`https://job/watch?${query}`, { headers: { upgrade: 'websocket' } });
}

/** The wish in a request; null where another version made it. */
export function wishIn(request: Request): Wish | null {
  const query = new URL(request.url).searchParams;
  const [mode, after] = [query.get('mode'), Number(query.get('after'))];
  if (query.get('version') !== String(WATCHING) || request.headers.get('upgrade') !== 'websocket') return null;
  if ((mode !== 'events' && mode !== 'end') || !Number.isSafeInteger(after) || after < 0) return null;
  return { owner: query.get('owner'), mode, after, thumbnails: query.get('thumbnails') === '1' };
}

/** Where a watcher stands, as its socket carries it through the object's sleep. */
export interface Place {
  readonly mode: Wish['mode'];
  /** absent in a socket that an earlier version opened: it wants none */
  readonly thumbnails?: boolean;
  /** number of the last event that was sent whole, and bytes of the next one that were sent */
  readonly after: number;
  readonly offset: number;
  /** events are there that were not sent yet */
  readonly isBehind: boolean;
  /** everything was sent, the end included */
  readonly isOver: boolean;
  /** bytes so far, and when the count of those acknowledged, or of those in flight from none, last grew */
  readonly sent: number;
  readonly acked: number;
  readonly since: number;
}

/** Where a watcher begins. */
export const placeAt = ({ mode, after, thumbnails }: Wish, now: number): Place => ({
  mode,
  thumbnails,
  after,
  offset: 0,
  isBehind: false,
  isOver: false,
  sent: 0,
  acked: 0,
  since: now,
});

export const inFlight = ({ sent, acked }: Place): number => sent - acked;

/** Whether a watcher has taken nothing for too long. */
export const isStalled = (place: Place, now: number): boolean => inFlight(place) > 0 && now - place.since >= STALLED_MS;

/** The place after `bytes` more were sent. */
export const afterSending = (place: Place, bytes: number, now: number): Place => ({
  ...place,
  sent: place.sent + bytes,
  since: inFlight(place) === 0 ? now : place.since,
});

/** The place after a message of its Worker; the same one where the message says nothing new. */
export function afterMessage(place: Place, message: string, now: number): Place {
  const acked = Number(/^ack (\d{1,15})$/.exec(message)?.[1] ?? 0);
  return acked > place.acked && acked <= place.sent ? { ...place, acked, since: now } : place;
}

export const ackOf = (bytes: number): string => `ack ${bytes}`;

/** What a watcher's reader has taken, as its Worker counts it. */
export interface Taken {
  readonly bytes: number;
  /** of which the object knows */
  readonly told: number;
  /** when the first of the others was taken */
  readonly since: number;
}

export const NOTHING_TAKEN: Taken = { bytes: 0, told: 0, since: 0 };

/** What is taken after `bytes` more. */
export const afterTaking = ({ bytes, told, since }: Taken, more: number, now: number): Taken => ({
  bytes: bytes + more,
  told,
  since: bytes === told ? now : since,
});

/** When the object is to be told at the latest: never where it knows. Well before it takes the reader for stalled. */
export function ackDueAt({ bytes, told, since }: Taken): number {
  if (bytes === told) return Number.POSITIVE_INFINITY;
  return bytes - told >= ACK_BYTES ? since : since + ACK_MS;
}

/**
 * A frame: what it is, and the bytes of server-sent events in it. `part` is the beginning or middle of an event too
 * long for one; `stored` brings everything up to the event numbered `seq`; `live` has progress that is not stored;
 * nothing comes after `over`.
 */
export interface Frame {
  readonly kind: 'part' | 'stored' | 'live' | 'over';
  /** 0 but in `stored` */
  readonly seq: number;
  readonly body: Uint8Array;
}

const KINDS = ['part', 'stored', 'live', 'over'] as const;
const HEADER_BYTES = 5;
/** Most bytes of events in a frame. */
export const BODY_BYTES = FRAME_BYTES - HEADER_BYTES;

/** Kind, number as 32 bits with the highest first, events. */
export function encodeFrame({ kind, seq, body }: Frame): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  bytes[0] = KINDS.indexOf(kind);
  new DataView(bytes.buffer).setUint32(1, seq);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** The frame in a message. Throws RangeError for what is none. */
export function decodeFrame(message: ArrayBuffer): Frame {
  const kind = message.byteLength < HEADER_BYTES ? undefined : KINDS[new Uint8Array(message)[0] as number];
  if (!kind) throw new RangeError(`not a frame of a watched job: ${message.byteLength} bytes`);
  return { kind, seq: new DataView(message).getUint32(1), body: new Uint8Array(message, HEADER_BYTES) };
}

/** One after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
