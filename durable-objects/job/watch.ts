/**
 * Who watches a job: each a WebSocket that the object holds while it hibernates. No timer and no promise waits here for
 * a watcher: what is stored goes out when it is stored, and a watcher that was behind goes on when it acknowledges.
 *
 * What is in flight over all of them stays within `IN_FLIGHT_BYTES`: each has a share. One that holds more than its
 * share, because the others were fewer, is cut when they need the room; one that acknowledges nothing for 30 s is cut
 * at the next event. The cut can resume.
 */
import type { StoredEvent } from '../../src/job/events.ts';
import type { JobView } from '../../src/job/job.ts';
import {
  ACK_BYTES,
  afterMessage,
  afterSending,
  CUT,
  ERASED,
  FRAME_BYTES,
  IN_FLIGHT_BYTES,
  inFlight,
  isStalled,
  MAX_WATCHERS,
  PING,
  type Place,
  PONG,
  placeAt,
  shareOf,
  wishIn,
} from '../../src/job/watching.ts';
import { liveFrame, makeFrames, OVER_FRAME } from './frames.ts';
import type { Told } from './progress.ts';

/** What watchers may read of a job. */
export interface Watched {
  /** whether the job is there, for `owner`, and whether it has ended; null: it is not there */
  readonly state: (owner: string | null) => 'running' | 'ended' | null;
  /** up to `limit` stored events after a number, in order */
  readonly read: (after: number, limit: number) => readonly StoredEvent[];
  /** the ended job */
  readonly view: () => JobView | null;
  /** the newest progress that is not stored, and the newest thumbnail */
  readonly latest: () => { readonly progress: Told | null; readonly thumbnail: Told | null };
}

export interface Watchers {
  /** Answers the request that opens a watcher's WebSocket. */
  open(request: Request): Response;
  /** Something was stored, or the job is no longer there: every watcher gets what is due. */
  notify(): void;
  /** Tells what is not stored to those who have seen everything that is. */
  tell(heard: readonly Told[]): void;
  /** Tells a thumbnail to those who want them and have seen everything that is stored. */
  show(thumbnail: Told): void;
  /** Whether somebody would be shown a thumbnail now. */
  wantThumbnails(): boolean;
  /** A message of a watcher. */
  take(socket: WebSocket, message: string | ArrayBuffer): void;
}

/** Where everybody stands: read once for all that is done at a time. */
interface Crowd {
  readonly places: Map<WebSocket, Place>;
  /** bytes that one may have in flight, and that all have */
  readonly share: number;
  total: number;
}

type Sockets = Pick<DurableObjectState, 'acceptWebSocket' | 'getWebSockets' | 'setWebSocketAutoResponse'>;

export function makeWatchers(sockets: Sockets, { state, read, view, latest }: Watched): Watchers {
  const frames = makeFrames(read);

  function crowd(): Crowd {
    const open = sockets.getWebSockets().filter(({ readyState }) => readyState === WebSocket.OPEN);
    const places = new Map(open.map((socket) => [socket, socket.deserializeAttachment() as Place]));
    const all = [...places.values()];
    const readers = all.filter(({ mode }) => mode === 'events').length;
    return { places, share: shareOf(readers), total: all.reduce((sum, place) => sum + inFlight(place), 0) };
  }

  function drop(all: Crowd, socket: WebSocket, code: number, reason: string): void {
    const place = all.places.get(socket);
    if (place) all.total -= inFlight(place);
    all.places.delete(socket);
    close(socket, code, reason);
  }

  function move(all: Crowd, socket: WebSocket, place: Place): void {
    all.total += inFlight(place) - inFlight(all.places.get(socket) ?? place);
    all.places.set(socket, place);
    socket.serializeAttachment(place);
  }

  /** Whether one may have `bytes` more; others that hold more than their share are cut where that is in the way. */
  function hasRoom(all: Crowd, place: Place, bytes: number): boolean {
    if (inFlight(place) + bytes > all.share) return false;
    while (all.total + bytes > IN_FLIGHT_BYTES) {
      const [greedy] = [...all.places].sort(([, a], [, b]) => inFlight(b) - inFlight(a));
      if (!greedy || inFlight(greedy[1]) <= all.share) return false;
      drop(all, greedy[0], CUT, 'reads too slowly');
    }
    return true;
  }

  /** Sends what one has not seen, as far as its share goes; then, where the job has ended, that this is all. */
  function goOn(all: Crowd, socket: WebSocket, hasEnded: boolean): void {
    const place = all.places.get(socket);
    if (!place || place.isOver) return;
    if (isStalled(place, Date.now())) {
      drop(all, socket, CUT, 'reads too slowly');
      return;
    }
    let so = place;
    for (let due = frames.at(so); due; due = frames.at(so)) {
      if (!hasRoom(all, so, due.bytes.length)) {
        move(all, socket, { ...so, isBehind: true });
        return;
      }
      if (!send(socket, due.bytes)) return;
      so = { ...afterSending(so, due.bytes.length, Date.now()), ...due.next, isBehind: false };
      move(all, socket, so);
    }
    if (hasEnded && send(socket, OVER_FRAME))
      move(all, socket, { ...afterSending(so, OVER_FRAME.length, Date.now()), isOver: true });
  }

  /** Progress to one that has seen everything stored; left out where its share is used up. */
  function tellOne(all: Crowd, socket: WebSocket, bytes: Uint8Array<ArrayBuffer>): void {
    const place = all.places.get(socket);
    if (place?.mode !== 'events' || place.isBehind || place.isOver || !hasRoom(all, place, bytes.length)) return;
    if (send(socket, bytes)) move(all, socket, afterSending(place, bytes.length, Date.now()));
  }

  const forgetUnlessAwaited = ({ places }: Crowd): void => {
    if (![...places.values()].some(({ isBehind }) => isBehind)) frames.forget();
  };

  /** Why there is nothing to open; null where there is. */
  function refusal(request: Request): Response | null {
    const wish = wishIn(request);
    if (!wish) return new Response(null, { status: 426 });
    const { owner, mode, after } = wish;
    const now = state(owner);
    if (now === null) return new Response(null, { status: 404 });
    if (mode === 'end' && now === 'ended') return Response.json(view());
    if (mode === 'events' && after > 0 && read(after - 1, 1).length === 0) return new Response(null, { status: 416 });
    if (mode === 'events' && now === 'ended' && read(after, 1).length === 0) return new Response(null, { status: 204 });
    return crowd().places.size < MAX_WATCHERS ? null : new Response(null, { status: 429 });
  }

  return {
    open(request) {
      const refused = refusal(request);
      const wish = wishIn(request);
      if (refused || !wish) return refused as Response;
      const [theirs, ours] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket];
      sockets.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
      sockets.acceptWebSocket(ours);
      ours.serializeAttachment(placeAt(wish, Date.now()));
      if (wish.mode === 'events') {
        const all = crowd();
        frames.refresh();
        goOn(all, ours, state(null) === 'ended');
        const { progress, thumbnail } = latest();
        const newest = [progress, wish.thumbnails ? thumbnail : null].filter((told) => told !== null);
        if (newest.length > 0) tellOne(all, ours, liveFrame(newest));
        forgetUnlessAwaited(all);
      }
      return new Response(null, { status: 101, webSocket: theirs });
    },

    notify() {
      const all = crowd();
      if (all.places.size === 0) return;
      const now = state(null);
      let end: string | null = null;
      frames.refresh();
      for (const [socket, place] of [...all.places]) {
        if (now === null) drop(all, socket, ERASED, 'erased');
        else if (place.mode === 'events') goOn(all, socket, now === 'ended');
        else if (now === 'ended' && !place.isOver) {
          end ??= JSON.stringify(view());
          if (send(socket, end)) move(all, socket, { ...place, isOver: true });
        }
      }
      forgetUnlessAwaited(all);
    },

    tell(heard) {
      const all = crowd();
      if (all.places.size === 0) return;
      const bytes = liveFrame(heard);
      for (const socket of [...all.places.keys()]) tellOne(all, socket, bytes);
    },

    show(thumbnail) {
      const all = crowd();
      const wanting = [...all.places].filter(([, place]) => wantsThumbnails(place));
      if (wanting.length === 0) return;
      const bytes = liveFrame([thumbnail]);
      for (const [socket] of wanting) tellOne(all, socket, bytes);
    },

    wantThumbnails: () => [...crowd().places.values()].some(wantsThumbnails),

    take(socket, message) {
      const all = crowd();
      const place = all.places.get(socket);
      if (!place) return;
      const next = afterMessage(place, String(message), Date.now());
      if (next === place) return;
      move(all, socket, next);
      if (!next.isBehind) return;
      const now = state(null);
      frames.refresh();
      if (now === null) drop(all, socket, ERASED, 'erased');
      else goOn(all, socket, now === 'ended');
      forgetUnlessAwaited(all);
    },
  };
}

/** Whether one would be shown a thumbnail now: not where so much is on its way that it would come late. */
const wantsThumbnails = (place: Place): boolean => {
  const { mode, thumbnails, isBehind, isOver } = place;
  return mode === 'events' && thumbnails === true && !isBehind && !isOver && inFlight(place) < MAX_IN_FLIGHT;
};
/** What one may have in flight and still be shown a thumbnail, bytes: more than is taken before it is acknowledged. */
const MAX_IN_FLIGHT = ACK_BYTES + FRAME_BYTES;

/** False where the other side is gone; the socket's own event says so too. */
function send(socket: WebSocket, message: string | Uint8Array<ArrayBuffer>): boolean {
  try {
    socket.send(message);
    return true;
  } catch {
    return false;
  }
}

/** Closes a socket, whatever state it is in. */
export function close(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason);
  } catch {
    // closed already
  }
}
