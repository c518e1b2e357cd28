/** When a job asks for thumbnails of its stage, and what it does with them. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Told } from '../../durable-objects/job/progress.ts';
import { makeThumbnails } from '../../durable-objects/job/thumbnails.ts';
import type { StageThumbnail } from '../../src/stage/thumbnail.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1000 }));
afterEach(() => void vi.useRealTimers());

const thumbnailOf = (step: number): StageThumbnail => ({
  ...{ step, format: 'webp', width: 8, height: 4 },
  bytes: Uint8Array.of(step),
});

/** A stage server that answers when it is told to, and a watcher who may look away. */
function watched() {
  const shown: Told[] = [];
  const asked: PromiseWithResolvers<StageThumbnail | null>[] = [];
  const crowd = { isThere: true };
  const thumbnails = makeThumbnails({ areWanted: () => crowd.isThere, show: (told) => void shown.push(told) });
  const signals: AbortSignal[] = [];
  const ask = (signal: AbortSignal) => {
    signals.push(signal);
    const answer = Promise.withResolvers<StageThumbnail | null>();
    asked.push(answer);
    return answer.promise;
  };
  const answer = async (with_: StageThumbnail | null): Promise<void> => {
    asked.at(-1)?.resolve(with_);
    await vi.advanceTimersByTimeAsync(0);
  };
  const steps = () => shown.map(({ event }) => event.type === 'thumbnail' && event.data.step);
  return { thumbnails, ask, asked, signals, answer, shown, steps, crowd };
}

describe('thumbnails', () => {
  test('are asked for after a step, one at a time, at most four a second, and told as they are', async () => {
    const { thumbnails, ask, asked, answer, shown, steps } = watched();
    thumbnails.begin(2, ask);
    thumbnails.look();
    expect(asked.length).toBe(0);
    thumbnails.stepDone(1);
    await vi.advanceTimersByTimeAsync(1000);
    thumbnails.stepDone(2);
    expect(asked.length).toBe(1);
    await answer(thumbnailOf(2));
    expect(shown).toEqual([
      {
        event: {
          type: 'thumbnail',
          data: { stage: 2, step: 2, format: 'webp', width: 8, height: 4, b64_json: 'Ag==' },
        },
        at: 2000,
      },
    ]);
    for (let step = 3; step <= 60; step++) {
      thumbnails.stepDone(step);
      if (asked.length > steps().length) await answer(thumbnailOf(step));
      await vi.advanceTimersByTimeAsync(10);
    }
    // within 580 ms
    expect(steps()).toEqual([2, 3, expect.any(Number), expect.any(Number)]);
  });

  test('of stages that take no time are at most four a second too', async () => {
    const { thumbnails, ask, asked, answer, steps } = watched();
    for (let stage = 1; stage <= 40; stage++) {
      const before = asked.length;
      thumbnails.begin(stage, ask);
      thumbnails.stepDone(1);
      if (asked.length > before) await answer(thumbnailOf(1));
      await vi.advanceTimersByTimeAsync(25);
    }
    expect(asked.length).toBe(4);
    expect(steps().length).toBe(4);
    // nobody knows how long it has been since
    vi.setSystemTime(0);
    thumbnails.begin(1, ask);
    thumbnails.stepDone(1);
    expect(asked.length).toBe(5);
  });

  test('are not asked for while nobody looks, nor of a server that makes none', async () => {
    const { thumbnails, ask, asked, crowd } = watched();
    crowd.isThere = false;
    thumbnails.begin(1, ask);
    thumbnails.stepDone(1);
    expect(asked.length).toBe(0);
    crowd.isThere = true;
    thumbnails.begin(2, null);
    thumbnails.stepDone(1);
    thumbnails.look();
    expect(asked.length).toBe(0);
  });

  test('are not waited for when their stage is over, or is sent once more', async () => {
    const { thumbnails, ask, signals, answer, steps } = watched();
    thumbnails.begin(1, ask);
    thumbnails.stepDone(1);
    thumbnails.begin(1, ask);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    await vi.advanceTimersByTimeAsync(260);
    thumbnails.stepDone(1);
    thumbnails.end();
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    await answer(thumbnailOf(1));
    expect(steps()).toEqual([]);
  });

  test('come to whoever begins to look in the middle of a stage, without a step between', async () => {
    const { thumbnails, ask, asked, answer, crowd } = watched();
    crowd.isThere = false;
    thumbnails.begin(1, ask);
    thumbnails.stepDone(7);
    crowd.isThere = true;
    thumbnails.look();
    await answer(thumbnailOf(7));
    expect(thumbnails.newest()?.event).toMatchObject({ type: 'thumbnail', data: { step: 7 } });
    // the next one who looks gets that one: nothing is newer
    await vi.advanceTimersByTimeAsync(1000);
    thumbnails.look();
    expect(asked.length).toBe(1);
  });

  test('that do not come are left out, and the next step has another', async () => {
    const { thumbnails, ask, asked, answer, shown, steps } = watched();
    thumbnails.begin(1, ask);
    thumbnails.stepDone(1);
    await answer(null);
    expect([shown, thumbnails.newest()]).toEqual([[], null]);
    thumbnails.stepDone(2);
    expect(asked.length).toBe(1);
    await vi.advanceTimersByTimeAsync(260);
    thumbnails.stepDone(3);
    await answer(thumbnailOf(3));
    expect(steps()).toEqual([3]);
  });

  test('of a stage that is over, or older than what was shown, are dropped', async () => {
    const { thumbnails, ask, answer, steps } = watched();
    thumbnails.begin(1, ask);
    thumbnails.stepDone(1);
    thumbnails.end();
    await answer(thumbnailOf(1));
    await vi.advanceTimersByTimeAsync(260);
    thumbnails.begin(2, ask);
    thumbnails.stepDone(4);
    await answer(thumbnailOf(4));
    await vi.advanceTimersByTimeAsync(1000);
    thumbnails.stepDone(5);
    await answer(thumbnailOf(3));
    expect(steps()).toEqual([4]);
    thumbnails.end();
    expect(thumbnails.newest()).toBeNull();
  });

  test('are asked for less often the longer a stage takes: a quarter of an hour needs a few hundred', async () => {
    const { thumbnails, ask, asked, answer } = watched();
    thumbnails.begin(1, ask);
    for (let step = 1; step <= 9000; step++) {
      const before = asked.length;
      thumbnails.stepDone(step);
      if (asked.length > before) await answer(thumbnailOf(step));
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(asked.length).toBeGreaterThan(300);
    expect(asked.length).toBeLessThan(600);
  });
});
