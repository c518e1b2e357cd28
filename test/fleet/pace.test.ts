/** How fast a server works: laws of the average, and how it is forgotten. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addWork, type Pace, paceAt } from '../../src/fleet/pace.ts';

const anyWork = fc.record({
  ms: fc.double({ min: 1, max: 1e6, noNaN: true }),
  tflops: fc.double({ min: 0.01, max: 1e3, noNaN: true }),
});
const paceOf = (works: readonly { ms: number; tflops: number }[], now = 0) =>
  works.reduce<Pace | null>((pace, work) => addWork(pace, work, now), null);

describe('a pace', () => {
  test('lies between the slowest and the fastest of what it is made of', () => {
    fc.assert(
      fc.property(fc.array(anyWork, { minLength: 1, maxLength: 20 }), (works) => {
        const paces = works.map(({ ms, tflops }) => ms / tflops);
        const pace = paceAt(paceOf(works), 0) as number;
        expect(pace).toBeGreaterThanOrEqual(Math.min(...paces) * (1 - 1e-9));
        expect(pace).toBeLessThanOrEqual(Math.max(...paces) * (1 + 1e-9));
      }),
    );
  });

  test('of equal work is that of each, however much it is', () => {
    expect(paceAt(paceOf(Array.from({ length: 50 }, () => ({ ms: 60, tflops: 0.5 }))), 0)).toBeCloseTo(120, 9);
  });

  test('follows a server that becomes slower: after four stages it is three quarters of the way', () => {
    const before = Array.from({ length: 30 }, () => ({ ms: 60, tflops: 1 }));
    const slow = Array.from({ length: 4 }, () => ({ ms: 6000, tflops: 1 }));
    const pace = paceAt(paceOf([...before, ...slow]), 0) as number;
    expect(pace).toBeCloseTo(60 + (6000 - 60) * (1 - 0.7 ** 4), 1);
  });

  test('gets worse with work that came to nothing, never better', () => {
    fc.assert(
      fc.property(fc.array(anyWork, { minLength: 1, maxLength: 20 }), fc.nat(1e6), (works, ms) => {
        const pace = paceOf(works);
        const wasted = paceAt(addWork(pace, { ms, tflops: 0 }, 0), 0) as number;
        expect(wasted).toBeGreaterThanOrEqual((paceAt(pace, 0) as number) * (1 - 1e-9));
      }),
    );
  });

  test('is not known of nothing, and forgotten two minutes after the last work', () => {
    expect(paceAt(null, 0)).toBe(null);
    const pace = addWork(null, { ms: 60, tflops: 1 }, 1000);
    expect(paceAt(pace, 121_000)).toBe(60);
    expect(paceAt(pace, 121_001)).toBe(null);
  });

  test('of a server that only wasted time is none, for twice as long, and two minutes at most', () => {
    const refused = addWork(null, { ms: 5, tflops: 0 }, 1000);
    expect(paceAt(refused, 1010)).toBe(Number.POSITIVE_INFINITY);
    expect(paceAt(refused, 1011)).toBe(null);
    const silent = addWork(null, { ms: 60_000, tflops: 0 }, 1000);
    expect(paceAt(silent, 121_000)).toBe(Number.POSITIVE_INFINITY);
    expect(paceAt(silent, 121_001)).toBe(null);
    expect(paceAt(addWork(silent, { ms: 100, tflops: 1 }, 2000), 2000)).toBe(42_100);
  });
});
