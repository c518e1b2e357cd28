/** A job's events as the frames that its watchers get: each read, encoded and framed once, however many watch. */
import { encodeEvent, type SeenEvent, type StoredEvent } from '../../src/job/events.ts';
import { BODY_BYTES, encodeFrame, joined, type Place } from '../../src/job/watching.ts';
import type { Told } from './progress.ts';

/** Events read at once: previews may be large. */
const BATCH = 8;
/** Encoded events kept while a watcher is behind. */
const KEPT_BYTES = 2 * 2 ** 20;

/** A frame, and where a watcher stands who got it. */
export interface DueFrame {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly next: Pick<Place, 'after' | 'offset'>;
}

export interface Frames {
  /** What comes after a place; null where that is everything. */
  at(place: Pick<Place, 'after' | 'offset'>): DueFrame | null;
  /** More may be stored than there was. */
  refresh(): void;
  /** Lets go of what is kept. */
  forget(): void;
}

/** Frames of what `read` gives: up to `limit` events after a number, in order. */
export function makeFrames(read: (after: number, limit: number) => readonly StoredEvent[]): Frames {
  /** the event after a number, and its own */
  const events = new Map<number, { readonly seq: number; readonly bytes: Uint8Array }>();
  const frames = new Map<string, DueFrame>();
  let kept = 0;
  /** the number after which there was nothing */
  let end: number | null = null;

  const forget = (): void => {
    events.clear();
    frames.clear();
    kept = 0;
  };
  const eventAfter = (after: number) => {
    const known = events.get(after);
    if (known || after === end) return known;
    if (kept > KEPT_BYTES) forget();
    const found = read(after, BATCH);
    let place = after;
    for (const event of found) {
      const bytes = encodeEvent(event);
      events.set(place, { seq: event.seq, bytes });
      kept += bytes.length;
      place = event.seq;
    }
    if (found.length < BATCH) end = place;
    return events.get(after);
  };

  /** The frame after a place: several whole events, or a part of one too long for a frame. */
  function make({ after, offset }: Pick<Place, 'after' | 'offset'>): DueFrame | null {
    const first = eventAfter(after);
    if (!first) return null;
    if (offset + BODY_BYTES < first.bytes.length) {
      const body = first.bytes.subarray(offset, offset + BODY_BYTES);
      return { bytes: encodeFrame({ kind: 'part', seq: 0, body }), next: { after, offset: offset + BODY_BYTES } };
    }
    const body = [first.bytes.subarray(offset)];
    let { seq } = first;
    if (offset === 0) {
      let room = BODY_BYTES - first.bytes.length;
      for (let more = eventAfter(seq); more && more.bytes.length <= room; more = eventAfter(seq)) {
        body.push(more.bytes);
        room -= more.bytes.length;
        seq = more.seq;
      }
    }
    return { bytes: encodeFrame({ kind: 'stored', seq, body: joined(body) }), next: { after: seq, offset: 0 } };
  }

  return {
    at(place) {
      const key = `${place.after}.${place.offset}`;
      const due = frames.get(key) ?? make(place);
      if (due) frames.set(key, due);
      return due;
    },
    refresh() {
      end = null;
    },
    forget,
  };
}

/** The frame of what is told and not stored. */
export function liveFrame(heard: readonly Told[]): Uint8Array<ArrayBuffer> {
  const events = heard.map(({ event, at }): SeenEvent => ({ ...event, seq: null, at }));
  return encodeFrame({ kind: 'live', seq: 0, body: joined(events.map(encodeEvent)) });
}

/** After it comes nothing. */
export const OVER_FRAME = encodeFrame({ kind: 'over', seq: 0, body: new Uint8Array() });
