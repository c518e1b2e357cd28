/** The rows that a dispatcher's line costs: a model of what is asked at every moment, then examples with numbers. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LineNow, makeLineRows } from '../../src/fleet/line-rows.ts';

const T = 1_700_000_000_000;
const NEW = { isLine: false, writtenAt: null };

/** Rows of one line that grows at `growth` and is looked at every second for `seconds`; alarms are set when sooner. */
function rowsOf(seconds: number, growth: readonly number[], renewMs: number | null): number {
  const rows = makeLineRows(NEW);
  let written = 0;
  let alarm: number | null = null;
  for (let at = 0; at <= seconds; at++) {
    const now = T + at * 1000;
    if (alarm !== null && alarm <= now) alarm = null;
    const arrivals = growth.filter((when) => when <= at).length;
    const renewed = renewMs === null ? T : now - (now % renewMs);
    const line: LineNow = {
      jobs: arrivals,
      arrivals,
      outcomes: at,
      leaseEndsAt: arrivals > 0 ? renewed + 30_000 : null,
    };
    if (rows.isDue(line, now) && arrivals > 0) {
      rows.written(line, now);
      written++;
    }
    const look = rows.lookAt(line, now);
    if (look !== null && (alarm === null || alarm > look)) {
      alarm = look;
      written++;
    }
  }
  return written;
}

test('a line that does not grow costs three rows in ten minutes, and one in ten seconds', () => {
  expect([9, 29, 60, 600].map((seconds) => rowsOf(seconds, [0], 10_000))).toEqual([1, 2, 3, 4]);
});

test('one that grows is written once a minute at most, whatever comes', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(600), { minLength: 1, maxLength: 200 }), (growth) => {
      expect(rowsOf(600, growth, 10_000)).toBeLessThanOrEqual(10 + 1 + 3);
    }),
    { numRuns: 30 },
  );
});

test('who waited once is not read back as waiting: a written line that is empty is written at once', () => {
  const line = (jobs: number, outcomes = 0): LineNow => ({ jobs, arrivals: 1, outcomes, leaseEndsAt: null });
  const rows = makeLineRows({ isLine: true, writtenAt: null });
  expect(rows.isDue(line(0), T)).toBe(true);
  rows.written(line(0), T);
  expect(rows.isDue(line(0), T + 3_600_000)).toBe(false);
});

test('while nobody waits what was learnt is written once in five minutes, by whichever dispatcher', () => {
  const line = (outcomes: number): LineNow => ({ jobs: 0, arrivals: 0, outcomes, leaseEndsAt: null });
  const rows = makeLineRows(NEW);
  expect(rows.isDue(line(0), T)).toBe(false);
  expect(rows.isDue(line(1), T)).toBe(true);
  rows.written(line(1), T);
  expect(rows.isDue(line(5), T + 299_999)).toBe(false);
  expect(rows.isDue(line(5), T + 300_000)).toBe(true);
  const next = makeLineRows({ isLine: false, writtenAt: T });
  expect(next.isDue(line(1), T + 299_999)).toBe(false);
  expect(next.isDue(line(1), T + 300_000)).toBe(true);
});

test('a line that ends within ten seconds is never written', () => {
  const rows = makeLineRows(NEW);
  rows.written({ jobs: 0, arrivals: 0, outcomes: 0, leaseEndsAt: null }, T);
  for (let i = 0; i < 20; i++) {
    const at = T + i * 12_000;
    expect(rows.isDue({ jobs: 3, arrivals: 3 * i, outcomes: 0, leaseEndsAt: null }, at)).toBe(false);
    expect(rows.isDue({ jobs: 3, arrivals: 3 * i, outcomes: 0, leaseEndsAt: null }, at + 9_999)).toBe(false);
    expect(rows.isDue({ jobs: 0, arrivals: 3 * i, outcomes: 0, leaseEndsAt: null }, at + 10_000)).toBe(false);
  }
});

test('a lease is looked for when it ends, then ever more seldom, and anew in the next line', () => {
  const rows = makeLineRows(NEW);
  const lookAt = (now: number, leaseEndsAt: number | null) =>
    rows.lookAt({ jobs: 1, arrivals: 1, outcomes: 0, leaseEndsAt }, now);
  expect(lookAt(T, T + 30_000)).toBe(T + 30_000);
  expect(lookAt(T + 30_000, T + 50_000)).toBe(T + 150_000);
  expect(lookAt(T + 150_000, T + 170_000)).toBe(T + 630_000);
  expect(lookAt(T + 630_000, T + 640_000)).toBe(T + 1_230_000);
  expect(lookAt(T + 640_000, null)).toBe(null);
  expect(lookAt(T + 650_000, T + 680_000)).toBe(T + 680_000);
});
