import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEvents, encodeEvent, type SeenEvent } from '../../src/job/events.ts';
import {
  ACK_BYTES,
  ackOf,
  afterMessage,
  afterSending,
  decodeFrame,
  encodeFrame,
  FRAME_BYTES,
  IN_FLIGHT_BYTES,
  inFlight,
  isStalled,
  joined,
  MAX_WATCHERS,
  placeAt,
  STALLED_MS,
  shareOf,
  watchRequest,
  wishIn,
} from '../../src/job/watching.ts';

const WISH = { owner: 'acct_d734d55a3ba53202', mode: 'events', after: 7 } as const;

describe('a wish', () => {
  test.each([WISH, { owner: null, mode: 'end', after: 0 } as const])('is read as it was made: %o', (wish) => {
    expect(wishIn(watchRequest(wish))).toEqual(wish);
  });

  test.each([
    ['of another version', 'version=2&mode=events&after=0'],
    ['of another kind', 'version=1&mode=all&after=0'],
    ['from a place that is none', 'version=1&mode=events&after=-1'],
  ])('%s is not understood', (_, query) => {
    expect(wishIn(new Request(`https://job/watch?${query}`, { headers: { upgrade: 'websocket' } }))).toBeNull();
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
