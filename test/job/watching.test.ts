import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEvents, encodeEvent, type SeenEvent } from '../../src/job/events.ts';
import {
  ACK_BYTES,
  ACK_MS,
  ackDueAt,
  ackOf,
  afterMessage,
  afterSending,
  afterTaking,
  decodeFrame,
  encodeFrame,
  FRAME_BYTES,
  IN_FLIGHT_BYTES,
  inFlight,
  isStalled,
  joined,
  MAX_WATCHERS,
  NOTHING_TAKEN,
  placeAt,
  STALLED_MS,
  shareOf,
  watchRequest,
  wishIn,
} from '../../src/job/watching.ts';

const WISH = { owner: 'acct_d734d55a3ba53202', mode: 'events', after: 7, thumbnails: true } as const;

describe('a wish', () => {
  test.each([WISH, { owner: null, mode: 'end', after: 0, thumbnails: false } as const])(
    'is read as it was made: %o',
    (wish) => {
      expect(wishIn(watchRequest(wish))).toEqual(wish);
    },
  );

  test.each([
    ['of another version', 'version=2&mode=events&after=0'],
    ['of another kind', 'version=1&mode=all&after=0'],
    ['from a place that is none', 'version=1&mode=events&after=-1'],
  ])('%s is not understood', (_, query) => {
    expect(wishIn(new Request(`https://job/watch?${query}`, { headers: { upgrade: 'websocket' } }))).toBeNull();
  });

  test('of a Worker that knows no thumbnails wants none', () => {
    const request = new Request('https://job/watch?version=1&mode=events&after=7', {
      headers: { upgrade: 'websocket' },
    });
    expect(wishIn(request)).toEqual({ owner: null, mode: 'events', after: 7, thumbnails: false });
  });

  test('without an upgrade is not understood', () => {
    expect(wishIn(new Request(watchRequest(WISH).url))).toBeNull();
  });
});

describe('a frame', () => {
  test('is read as it was made', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('part', 'stored', 'live', 'over'),
        fc.nat(2 ** 32 - 1),
        fc.uint8Array({ maxLength: 300 }),
        (kind, seq, body) => {
          const made = encodeFrame({ kind: kind as 'part', seq, body });
          expect(decodeFrame(made.buffer)).toEqual({ kind, seq, body });
        },
      ),
    );
  });

  test('of another kind, or shorter than its header, is refused with its length', () => {
    expect(() => decodeFrame(new Uint8Array([9, 0, 0, 0, 0]).buffer)).toThrow('not a frame of a watched job: 5 bytes');
    expect(() => decodeFrame(new Uint8Array(2).buffer)).toThrow('not a frame of a watched job: 2 bytes');
  });
});

describe('events as bytes', () => {
  const step: SeenEvent = { seq: 4, at: 1, type: 'step', data: { stage: 1, step: 4, steps: 9, sigma: 0.5, ms: 2 } };
  const failed: SeenEvent = {
    seq: 5,
    at: 2,
    type: 'failed',
    data: { job_id: 'j', reason: 'refused', message: 'a\n\nb\u2028c\r"d', stage: 1, attempts: 1, cost: null },
  };

  test('one after the other are read as they were, whatever their texts hold', () => {
    const all = [step, { ...step, seq: null }, failed];
    expect(decodeEvents(joined(all.map(encodeEvent)))).toEqual(all);
    expect(decodeEvents(new Uint8Array())).toEqual([]);
  });

  test('have an id where they are stored, and none where they are told only', () => {
    const text = (event: SeenEvent) => new TextDecoder().decode(encodeEvent(event));
    expect(text(step)).toMatch(/^id: 4\nevent: step\ndata: \{.*"at":1\}\n\n$/);
    expect(text({ ...step, seq: null })).toMatch(/^event: step\ndata: \{.*"at":1\}\n\n$/);
  });
});

describe('shares', () => {
  test('of all watchers together never exceed what may be in flight, and each holds two frames', () => {
    for (let watchers = 1; watchers <= MAX_WATCHERS; watchers++) {
      expect(watchers * shareOf(watchers)).toBeLessThanOrEqual(IN_FLIGHT_BYTES);
      // one frame fits beside what a reader that has taken everything need not have acknowledged
      expect(shareOf(watchers)).toBeGreaterThanOrEqual(ACK_BYTES + FRAME_BYTES);
    }
  });
});

describe('a place', () => {
  const start = placeAt(WISH, 0);

  test('counts what was sent and not acknowledged', () => {
    const sent = afterSending(afterSending(start, 100, 10), 50, 20);
    expect(inFlight(sent)).toBe(150);
    const acked = afterMessage(sent, ackOf(100), 30);
    expect(inFlight(acked)).toBe(50);
    expect(afterMessage(acked, ackOf(100), 40)).toBe(acked);
  });

  test.each(['ack 151', 'ack -1', 'ack x', 'ping', ''])('stays where the Worker says %o', (message) => {
    const sent = afterSending(start, 150, 10);
    expect(afterMessage(sent, message, 20)).toBe(sent);
  });

  test('is stalled when nothing of what was sent is acknowledged for 30 s, and not when nothing was sent', () => {
    expect(isStalled(start, 10 * STALLED_MS)).toBe(false);
    const sent = afterSending(start, 100, 5);
    expect(isStalled(sent, 5 + STALLED_MS - 1)).toBe(false);
    expect(isStalled(sent, 5 + STALLED_MS)).toBe(true);
    // more that is sent changes nothing, an acknowledgement does
    expect(isStalled(afterSending(sent, 1, STALLED_MS), 5 + STALLED_MS)).toBe(true);
    expect(isStalled(afterMessage(sent, ackOf(50), STALLED_MS), 5 + STALLED_MS)).toBe(false);
  });
});

describe('what is taken', () => {
  test('is acknowledged at once where it is much, and else soon after the first of it', () => {
    expect(ackDueAt(NOTHING_TAKEN)).toBe(Number.POSITIVE_INFINITY);
    const little = afterTaking(afterTaking(NOTHING_TAKEN, 10, 1000), 10, 5000);
    expect(ackDueAt(little)).toBe(1000 + ACK_MS);
    expect(ackDueAt({ ...little, told: 20 })).toBe(Number.POSITIVE_INFINITY);
    expect(ackDueAt(afterTaking(little, ACK_BYTES, 6000))).toBeLessThanOrEqual(6000);
  });

  test('keeps a reader from being taken for stalled, however little comes and however often', () => {
    const messages = fc.array(
      fc.record({ gapMs: fc.integer({ min: 1, max: 60_000 }), bytes: fc.integer({ min: 1, max: FRAME_BYTES }) }),
      { maxLength: 200 },
    );
    const lateness = fc.integer({ min: 0, max: STALLED_MS - ACK_MS - 1 });
    fc.assert(
      fc.property(messages, lateness, (sent, lateMs) => {
        let place = placeAt(WISH, 0);
        let taken = NOTHING_TAKEN;
        let takenAt = 0;
        let now = 0;
        /** what was sent and is not taken yet, and when it will be */
        const onTheWay: { readonly at: number; readonly bytes: number }[] = [];
        const tell = (at: number): void => {
          if (ackDueAt(taken) > at) return;
          // what became due by what was just taken is told then, not before
          place = afterMessage(place, ackOf(taken.bytes), Math.max(ackDueAt(taken), takenAt));
          taken = { ...taken, told: taken.bytes };
        };
        const takeUntil = (until: number): void => {
          for (let next = onTheWay[0]; next && next.at <= until; next = onTheWay[0]) {
            tell(next.at);
            taken = afterTaking(taken, next.bytes, next.at);
            takenAt = next.at;
            onTheWay.shift();
            tell(next.at);
          }
          tell(until);
        };
        for (const { gapMs, bytes } of sent) {
          now += gapMs;
          takeUntil(now);
          expect(isStalled(place, now)).toBe(false);
          place = afterSending(place, bytes, now);
          onTheWay.push({ at: now + lateMs, bytes });
        }
      }),
    );
  });
});
