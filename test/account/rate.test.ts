import fc from 'fast-check';
import { expect, test } from 'vitest';
import { admit, DEFAULT_LIMITS } from '../../src/account/account.ts';
import { giveBack, takeRequests } from '../../src/account/rate.ts';

// an interval is cut to whole microseconds, here by at most a fiftieth
const rates = fc.record({ limit: fc.integer({ min: 1, max: 1000 }), windowMs: fc.integer({ min: 100, max: 100_000 }) });
const START = 1_795_000_000_000;

test('a refusal is exact: after the wait it passes, and a millisecond sooner it does not', () => {
  fc.assert(
    fc.property(
      rates,
      fc.array(fc.record({ wait: fc.integer({ min: 0, max: 5000 }), count: fc.integer({ min: 1, max: 10 }) }), {
        maxLength: 60,
      }),
      (rate, requests) => {
        let arrival = 0;
        let now = START;
        for (const { wait, count } of requests) {
          now += wait;
          const taken = takeRequests(rate, arrival, now, count);
          if (taken.ok) arrival = taken.arrival;
          else if (Number.isFinite(taken.retryMs)) {
            expect(takeRequests(rate, arrival, now + taken.retryMs, count).ok).toBe(true);
            expect(takeRequests(rate, arrival, now + taken.retryMs - 1, count).ok).toBe(false);
          } else expect(count).toBeGreaterThan(rate.limit);
        }
      },
    ),
  );
});

test('never more than limit · (1 + T / window) requests pass in a time T', () => {
  fc.assert(
    fc.property(rates, fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 200 }), (rate, waits) => {
      let arrival = 0;
      let now = START;
      let passed = 0;
      for (const wait of waits) {
        now += wait;
        const taken = takeRequests(rate, arrival, now, 1);
        if (taken.ok) {
          arrival = taken.arrival;
          passed += 1;
        }
        expect(passed).toBeLessThanOrEqual(rate.limit * (1 + (now - START) / rate.windowMs) * 1.02);
      }
    }),
  );
});

test('a quiet key has the whole limit at once, and `remaining` says how many still pass', () => {
  fc.assert(
    fc.property(rates, (rate) => {
      let arrival = 0;
      for (let left = rate.limit; left > 0; left--) {
        const taken = takeRequests(rate, arrival, START, 1);
        expect(taken).toMatchObject({ ok: true, remaining: left - 1 });
        if (taken.ok) arrival = taken.arrival;
      }
      expect(takeRequests(rate, arrival, START, 1).ok).toBe(false);
      expect(takeRequests(rate, arrival, START, 0)).toMatchObject({ ok: true, remaining: 0 });
      expect(takeRequests(rate, arrival, START + rate.windowMs, 0)).toMatchObject({
        remaining: rate.limit,
        resetMs: 0,
      });
    }),
  );
});

test('more images than the limit never pass', () => {
  expect(takeRequests({ limit: 5, windowMs: 1000 }, 0, START, 6)).toMatchObject({
    ok: false,
    retryMs: Number.POSITIVE_INFINITY,
    remaining: 5,
  });
});

test('giving back undoes taking', () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 10 }), (rate, count) => {
      const { arrival } = takeRequests(rate, 0, START, 1) as { arrival: number };
      const taken = takeRequests(rate, arrival, START, count);
      if (taken.ok) expect(giveBack(rate, taken.arrival, count)).toBe(arrival);
    }),
  );
});

test('jobs under way are counted before the rate, and a refusal takes nothing', () => {
  const limits = { ...DEFAULT_LIMITS, concurrentJobs: 3 };
  const fresh = {
    limits,
    keyTflopsPerMinute: null,
    arrivals: { key: 0, keyWork: 0, accountWork: 0 },
    work: { flops: 0, plainFlops: 0, steps: 1 },
  };
  expect(admit({ ...fresh, open: 2, count: 2 }, START).refusal).toMatchObject({
    kind: 'too_many_jobs',
    open: 2,
    limit: 3,
    rate: { remaining: limits.imagesPerMinute },
  });
  expect(admit({ ...fresh, open: 2, count: 1 }, START)).toMatchObject({
    refusal: null,
    rate: { remaining: limits.imagesPerMinute - 1 },
  });
});
