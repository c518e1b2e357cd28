import fc from 'fast-check';
import { expect, test } from 'vitest';
import { admit, DEFAULT_LIMITS } from '../../src/account/account.ts';
import { flopsPerMinute, imageOverLimit, takeWork } from '../../src/account/budget.ts';

const START = 1_795_000_000_000;
const flops = fc.double({ min: 1, max: 1e18, noNaN: true });
const requests = fc.array(fc.record({ wait: fc.integer({ min: 0, max: 90_000 }), flops }), { maxLength: 60 });

test('a refusal says when to come back, and then it passes', () => {
  fc.assert(
    fc.property(flops, requests, (perMinute, asked) => {
      let [arrival, now] = [0, START];
      for (const { wait, flops } of asked) {
        now += wait;
        const spent = takeWork(perMinute, arrival, now, flops);
        if (spent.ok) arrival = spent.arrival;
        else {
          expect(spent.retryMs).toBeGreaterThan(0);
          expect(takeWork(perMinute, arrival, now + spent.retryMs, flops).ok).toBe(true);
        }
      }
    }),
  );
});

test('over a time T no more than the budget · (1 + T / minute) begins, and one request beyond it', () => {
  fc.assert(
    fc.property(flops, requests, (perMinute, asked) => {
      let [arrival, now, begun, largest] = [0, START, 0, 0];
      for (const { wait, flops } of asked) {
        now += wait;
        const spent = takeWork(perMinute, arrival, now, flops);
        if (!spent.ok) continue;
        arrival = spent.arrival;
        begun += flops;
        largest = Math.max(largest, flops);
        expect(begun).toBeLessThanOrEqual((perMinute * (1 + (now - START) / 60_000) + largest) * (1 + 1e-6));
      }
    }),
  );
});

test('a request larger than the whole budget passes where all of it is there, and is paid in full', () => {
  const spent = takeWork(1e12, 0, START, 5e12);
  expect(spent).toMatchObject({ ok: true, cost: 300_000_000, state: { limit: 1, remaining: 0, resetMs: 300_000 } });
  const { arrival } = spent as { arrival: number };
  expect(takeWork(1e12, arrival, START, 1e12)).toMatchObject({ ok: false, retryMs: 300_000 });
  expect(takeWork(1e12, arrival, START, 1e11)).toMatchObject({ ok: false, retryMs: 246_000 });
});

test('a budget that is not stated is as many plain pictures as there may be images', () => {
  const plain = { plainFlops: 3.7e15 };
  expect(flopsPerMinute(DEFAULT_LIMITS, plain)).toBe(60 * 3.7e15);
  expect(flopsPerMinute({ ...DEFAULT_LIMITS, tflopsPerMinute: 5 }, plain)).toBe(5e12);
  // so twenty jobs of 1000 steps are not twenty images: they are four hundred
  const work = { flops: 20 * 3.7e15, plainFlops: 3.7e15, steps: 1000 };
  const arrivals = { key: 0, keyWork: 0, accountWork: 0 };
  const limits = { ...DEFAULT_LIMITS, stepsPerImage: 1000, tflopsPerImage: 1e9 };
  let now: typeof arrivals = arrivals;
  const refusals = Array.from({ length: 20 }, () => {
    const admitted = admit({ limits, keyTflopsPerMinute: null, arrivals: now, open: 0, count: 1, work }, START);
    if (admitted.refusal === null) now = admitted.arrivals;
    return admitted.refusal?.kind ?? null;
  });
  expect(refusals.filter((kind) => kind === null)).toHaveLength(3);
  expect(new Set(refusals.slice(3))).toEqual(new Set(['out_of_budget']));
});

test('one image has its own bounds: steps, and four plain pictures where no work is stated', () => {
  const work = { flops: 2e12, plainFlops: 1e12, steps: 50 };
  expect(imageOverLimit(DEFAULT_LIMITS, work, 1)).toBeNull();
  expect(imageOverLimit(DEFAULT_LIMITS, { ...work, steps: 201 }, 1)).toEqual({ what: 'steps', asked: 201, limit: 200 });
  expect(imageOverLimit(DEFAULT_LIMITS, { ...work, flops: 4.1e12 }, 1)).toEqual({
    what: 'TFLOPs',
    asked: 4.1,
    limit: 4,
  });
  // of each of the images
  expect(imageOverLimit(DEFAULT_LIMITS, { ...work, flops: 8e12 }, 2)).toBeNull();
  expect(imageOverLimit({ ...DEFAULT_LIMITS, tflopsPerImage: 1 }, work, 1)).toMatchObject({ what: 'TFLOPs', limit: 1 });
  // a model that states no work
  expect(imageOverLimit(DEFAULT_LIMITS, { flops: 0, plainFlops: 0, steps: 1 }, 1)).toBeNull();
});
