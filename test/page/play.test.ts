/** The order in which the events of several runs are played. */
import { expect, test } from 'vitest';
import { timelineOf } from '../../playground/session/timeline.js';
import { play } from '../../playground/show/play.js';
import type { SeenEvent } from '../../src/job/events.ts';

const event = (at: number, type = 'queued'): SeenEvent =>
  ({ at, type, seq: 1, data: { job_id: 'job_1', stage: null, position: null, eta_ms: null } }) as unknown as SeenEvent;

test('each run begins at its own start, what came before that with it, and events of one moment keep their order', () => {
  const one = [event(90), event(100), event(150), event(150)];
  const other = [event(1000), event(1020), event(1100)];
  const timeline = timelineOf([one, other], (events) => events[events === one ? 1 : 0]?.at ?? 0);
  expect(timeline.map(({ which, ms }) => [which, ms])).toEqual([
    [0, 0],
    [0, 0],
    [1, 0],
    [1, 20],
    [0, 50],
    [0, 50],
    [1, 100],
  ]);
  expect(timeline[4]?.event).toBe(one[2]);
});

test('what is played ends with everything that was told, and at once where it is stopped', async () => {
  const timeline = timelineOf([[event(0), event(10)], [event(0)]], () => 0);
  const draws: number[][] = [];
  await play(timeline, {
    slowness: 1,
    draw: (runs) => draws.push(runs.map(({ at }) => at)),
    signal: new AbortController().signal,
  });
  expect(draws).toEqual([
    [0, 0],
    [0, 0],
    [10, 0],
  ]);
  let count = 0;
  await play(timeline, { slowness: 1, draw: () => count++, signal: AbortSignal.abort() });
  expect(count).toBe(0);
});
