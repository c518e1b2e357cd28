/** Who is shown thumbnails of a job, and how much of that is on its way at most. */
import { expect, test } from 'vitest';
import type { Told } from '../../durable-objects/job/progress.ts';
import { ACK_BYTES, ackOf, FRAME_BYTES, type Place, placeAt, type Wish } from '../../src/job/watching.ts';

/** A module that is written against the platform's types, which are not those of Node. */
const { makeWatchers } = await import(
  /* @vite-ignore */ new URL('../../durable-objects/job/watch.ts', import.meta.url).href
);

/** As large as one may be. */
const data = { stage: 1, step: 1, format: 'webp', width: 96, height: 96, b64_json: 'A'.repeat(5464) } as const;
const THUMBNAIL: Told = { event: { type: 'thumbnail', data }, at: 0 };

/** A job with one reader, who has read nothing yet of what was sent. */
function watchedBy(wish: Partial<Wish> = {}) {
  let place: Place = placeAt({ owner: null, mode: 'events', after: 0, thumbnails: true, ...wish }, Date.now());
  let bytes = 0;
  const socket = {
    readyState: WebSocket.OPEN,
    deserializeAttachment: () => place,
    serializeAttachment(next: Place) {
      place = next;
    },
    send(frame: Uint8Array) {
      bytes += frame.length;
    },
    close: () => undefined,
  };
  const watchers = makeWatchers(
    { getWebSockets: () => [socket] },
    {
      ...{ state: () => 'running', read: () => [], view: () => null },
      latest: () => ({ progress: null, thumbnail: null }),
    },
  );
  return { watchers, acknowledge: () => watchers.take(socket, ackOf(place.sent)), sent: () => bytes };
}

test('a reader that takes nothing is soon shown no more, and goes on when it has', () => {
  const { watchers, acknowledge, sent } = watchedBy();
  let numShown = 0;
  for (let round = 0; round < 200 && watchers.wantThumbnails(); round++) {
    watchers.show(THUMBNAIL);
    numShown += 1;
  }
  expect(watchers.wantThumbnails()).toBe(false);
  expect(sent()).toBeGreaterThan(5464 * numShown);
  expect(sent()).toBeLessThan(ACK_BYTES + FRAME_BYTES + 6000);
  acknowledge();
  expect(watchers.wantThumbnails()).toBe(true);
});

test('whoever wants none, or only the end, is shown none', () => {
  for (const wish of [{ thumbnails: false }, { mode: 'end' }] as const) {
    const { watchers, sent } = watchedBy(wish);
    expect(watchers.wantThumbnails()).toBe(false);
    watchers.show(THUMBNAIL);
    expect(sent()).toBe(0);
  }
});
