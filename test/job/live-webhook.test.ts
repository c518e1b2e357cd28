/** When a webhook is called while its request goes on, and that nothing waits for it or comes after the end. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { makeLiveWebhook } from '../../durable-objects/job/live-webhook.ts';
import type { Look } from '../../durable-objects/job/webhook-parts.ts';
import type { JobEvent } from '../../src/job/events.ts';
import { WEBHOOK_EVENTS, type WebhookEvent } from '../../src/job/webhook.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1000 });
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const stage = (stage: number): JobEvent => ({
  type: 'stage',
  data: { stage, stages: 9, tokens: 64, steps: 4, attempt: 1 },
});

interface Called {
  readonly id: string;
  readonly at: number;
  readonly signal: AbortSignal;
  readonly answer: (status: number | null) => Promise<void>;
}

/** A request that goes on, and a receiver that answers when it is told to. */
function told(events: readonly WebhookEvent[]) {
  const request = { numLines: 0, numPictures: 0, isOver: false };
  const calls: Called[] = [];
  const open = new Set<Called>();
  let most = 0;
  const webhook = {
    url: 'https://example.com/',
    door: 'replicate',
    origin: '',
    events,
    tries: 0,
    state: 'waiting',
  } as const;
  const live = makeLiveWebhook({
    job: 'job_1',
    webhook: () => webhook,
    teller: {
      look: async () => ({ ...request, record: { id: 'job_1', webhook }, jobs: [] }) as unknown as Look,
      call: (_, id, signal) =>
        new Promise((resolve) => {
          const call: Called = {
            id,
            at: Date.now(),
            signal,
            async answer(status) {
              open.delete(call);
              resolve(status);
              await vi.advanceTimersByTimeAsync(0);
            },
          };
          // as `callWebhook` does it
          signal.addEventListener('abort', () => void call.answer(null));
          calls.push(call);
          open.add(call);
          most = Math.max(most, open.size);
        }),
    },
    background: () => undefined,
  });
  const happen = async (event: JobEvent): Promise<void> => {
    request.numLines += 1;
    live.note([event]);
    await vi.advanceTimersByTimeAsync(0);
  };
  return { live, request, calls, happen, most: () => most };
}

describe('a webhook of a request under way', () => {
  test('is called at once when the first stage begins, then at most twice a second with all that is new', async () => {
    const { calls, happen } = told(['start', 'logs']);
    await happen(stage(1));
    expect(calls.map(({ id, at }) => [id, at])).toEqual([['job_1-1-0', 1000]]);
    await calls[0]?.answer(204);
    for (const n of [2, 3, 4]) await happen(stage(n));
    await vi.advanceTimersByTimeAsync(499);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls.map(({ id, at }) => [id, at])).toEqual([
      ['job_1-1-0', 1000],
      ['job_1-4-0', 1500],
    ]);
  });

  test('is called for what it asked for, and for nothing else', async () => {
    for (const [events, expected] of [
      [['start'], 1],
      [['logs'], 2],
      [['output'], 1],
      [['completed'], 0],
    ] as const) {
      const { live, request, calls, happen } = told(events);
      await happen(stage(1));
      await calls.at(-1)?.answer(204);
      await vi.advanceTimersByTimeAsync(1000);
      await happen(stage(2));
      await calls.at(-1)?.answer(204);
      if (events[0] !== 'logs') {
        request.numPictures = 1;
        for (let looks = 0; looks < 3; looks++) live.pictures(1);
        await vi.advanceTimersByTimeAsync(5000);
      }
      expect(calls.length, events.join()).toBe(expected);
    }
  });

  test('hears of pictures of other jobs as they are made, of each once whoever tells it, and only where it asked', async () => {
    for (const [events, expected] of [
      [
        ['output', 'completed'],
        ['job_1-0-1', 'job_1-0-2'],
      ],
      [['logs', 'completed'], []],
    ] as const) {
      const { live, request, calls } = told(events);
      for (let made = 1; made <= 2; made++) {
        request.numPictures = made;
        for (let times = 0; times < 3; times++) live.pictureMade();
        live.pictures(made);
        await vi.advanceTimersByTimeAsync(0);
        await calls.at(-1)?.answer(204);
        await vi.advanceTimersByTimeAsync(5000);
      }
      // the letter of the end is on its way, or was taken
      request.isOver = true;
      request.numPictures = 3;
      live.pictureMade();
      await vi.advanceTimersByTimeAsync(5000);
      expect(calls.map(({ id }) => id)).toEqual(expected);
    }
  });

  test('that does not answer holds nothing up: the end waits a second for it, and not a moment where it is idle', async () => {
    const { live, calls, happen } = told(WEBHOOK_EVENTS);
    await live.end();
    await happen(stage(1));
    let isOver = false;
    const end = live.end().then(() => {
      isOver = true;
    });
    await vi.advanceTimersByTimeAsync(999);
    expect([isOver, calls[0]?.signal.aborted]).toEqual([false, false]);
    await vi.advanceTimersByTimeAsync(1);
    await end;
    expect(calls[0]?.signal.aborted).toBe(true);
  });

  test('that wants no more is not called again, and one that fails hears the next news', async () => {
    for (const [status, expected] of [
      [410, 1],
      [500, 2],
      [null, 2],
    ] as const) {
      const { calls, happen } = told(['logs']);
      await happen(stage(1));
      await calls[0]?.answer(status);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(calls).toHaveLength(1);
      await happen(stage(2));
      await vi.advanceTimersByTimeAsync(500);
      expect(calls, String(status)).toHaveLength(expected);
    }
  });

  test('is not called where the request is over, or erased meanwhile', async () => {
    const { live, request, calls, happen } = told(['logs']);
    request.isOver = true;
    await happen(stage(1));
    expect(calls).toHaveLength(0);
    request.isOver = false;
    await happen(stage(2));
    live.drop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls).toHaveLength(0);
  });

  test('whatever happens: one call at a time, half a second apart, in order, and none after the end', async () => {
    const acts = fc.array(
      fc.oneof(
        fc.record({ act: fc.constant('event' as const), stage: fc.integer({ min: 2, max: 9 }) }),
        fc.record({ act: fc.constantFrom('picture' as const, 'elsewhere' as const) }),
        fc.record({ act: fc.constant('answer' as const), status: fc.constantFrom(204, 500, null) }),
        fc.record({ act: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 900 }) }),
      ),
      { maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(acts, async (happenings) => {
        const { live, request, calls, happen, most } = told(WEBHOOK_EVENTS);
        await happen(stage(1));
        for (const each of happenings) {
          if (each.act === 'event') await happen(stage(each.stage));
          if (each.act === 'picture') live.pictures(++request.numPictures);
          if (each.act === 'elsewhere') {
            request.numPictures++;
            live.pictureMade();
          }
          if (each.act === 'answer') await calls.at(-1)?.answer(each.status);
          if (each.act === 'wait') await vi.advanceTimersByTimeAsync(each.ms);
        }
        const end = live.end();
        await vi.advanceTimersByTimeAsync(1000);
        await end;
        const before = calls.length;
        await vi.advanceTimersByTimeAsync(60_000);
        expect(calls.length).toBe(before);
        expect(most()).toBe(1);
        const news = calls.map(({ id }) => id.split('-').slice(1).map(Number) as [number, number]);
        for (let i = 1; i < calls.length; i++) {
          expect((calls[i]?.at ?? 0) - (calls[i - 1]?.at ?? 0)).toBeGreaterThanOrEqual(500);
          expect(news[i]).not.toEqual(news[i - 1]);
          for (const part of [0, 1]) expect(news[i]?.[part]).toBeGreaterThanOrEqual(news[i - 1]?.[part] as number);
        }
      }),
      { numRuns: 100 },
    );
  });
});
