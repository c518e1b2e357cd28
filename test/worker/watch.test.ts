import { describe, expect, test } from 'vitest';
import { makeSignal, streamEvents } from '../../durable-objects/watch.ts';
import type { StoredEvent } from '../../src/job/events.ts';

const step = (seq: number): StoredEvent => ({
  seq,
  at: 0,
  type: 'step',
  data: { stage: 1, step: seq, steps: 9, sigma: 1, ms: 1 },
});
const cancelled = (seq: number): StoredEvent => ({
  seq,
  at: 0,
  type: 'cancelled',
  data: { job_id: 'j', room: 'stage1', cost: null },
});

/** A table of events with its stream, as an object has them. */
function makeLog(heartbeatMs: number, stored: StoredEvent[] = []) {
  const signal = makeSignal();
  let isErased = false;
  const read = (after: number, limit: number) =>
    isErased ? null : stored.filter(({ seq }) => seq > after).slice(0, limit);
  const isOver = () => stored.at(-1)?.type === 'cancelled';
  return {
    open: (after = 0) =>
      streamEvents({ after, read, isOver, signal, heartbeatMs }).pipeThrough(new TextDecoderStream()).getReader(),
    store(event: StoredEvent) {
      stored.push(event);
      signal.notify();
    },
    erase() {
      isErased = true;
      signal.notify();
    },
    wake: () => signal.notify(),
  };
}

describe('an event stream', () => {
  test('says it is alive, again and again, while nothing happens', async () => {
    const reader = makeLog(10).open();
    for (let beat = 0; beat < 3; beat++) expect((await reader.read()).value).toBe(': keep-alive\n\n');
    await reader.cancel();
  });

  test('is silent when it is woken for nothing', async () => {
    const log = makeLog(60_000);
    const reader = log.open();
    const first = reader.read();
    for (let i = 0; i < 5; i++) {
      log.wake();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    log.store(step(1));
    expect((await first).value).toContain('id: 1\nevent: step\n');
    await reader.cancel();
  });

  test('replays what a reader has not seen, follows, and ends after the last event', async () => {
    const log = makeLog(60_000, [step(1), step(2), step(3)]);
    const reader = log.open(1);
    let text = '';
    const reading = (async () => {
      for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
    })();
    await new Promise((resolve) => setTimeout(resolve, 5));
    log.store(cancelled(4));
    await reading;
    expect(text.match(/^id: \d+/gm)).toEqual(['id: 2', 'id: 3', 'id: 4']);
  });

  test('ends at once for one who has seen everything, and when the job is erased', async () => {
    expect(
      (
        await makeLog(60_000, [cancelled(1)])
          .open(1)
          .read()
      ).done,
    ).toBe(true);
    const log = makeLog(60_000);
    const reading = log.open().read();
    log.erase();
    expect((await reading).done).toBe(true);
  });
});
