import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Differences,
  evaluatedSteps,
  forecastVelocity,
  isEvaluated,
  rememberVelocity,
} from '../../src/numerics/taylor.ts';

/** What is remembered once these steps were evaluated. */
function rememberAll(places: readonly number[], velocityAt: (step: number) => number, order: number): Differences {
  let known: Differences | null = null;
  for (const step of places) known = rememberVelocity(known, Float32Array.of(velocityAt(step)), step, order);
  return known!;
}

const forecastAt = (known: Differences, step: number) => forecastVelocity(known, step)[0]!;

/** Rising steps, and one after them. */
const evaluations = (minLength: number) =>
  fc
    .uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength, maxLength: 8 })
    .map((list) => list.toSorted((a, b) => a - b))
    .chain((places) => fc.tuple(fc.constant(places), fc.integer({ min: 1, max: 5 })))
    .map(([places, ahead]) => ({ places, step: places.at(-1)! + ahead, last: places.at(-1)! }));
const number = fc.double({ min: -3, max: 3, noNaN: true });

describe('the evaluated steps', () => {
  it.each([
    [4, { warmup: 3, interval: 2 }, [0, 1, 2]],
    [5, { warmup: 3, interval: 2 }, [0, 1, 2, 4]],
    [6, { warmup: 2, interval: 2 }, [0, 1, 3, 5]],
    [9, { warmup: 1, interval: 3 }, [0, 3, 6]],
    [8, { warmup: 2, interval: 3 }, [0, 1, 4, 7]],
    [3, { warmup: 5, interval: 2 }, [0, 1, 2]],
    [3, null, [0, 1, 2]],
  ])('of %i with %o are %j', (steps, cache, expected) => {
    expect(evaluatedSteps(steps, cache)).toEqual(expected);
  });

  it('are the warm-up, and after it one of every interval, the last of each', () => {
    const counts = fc.record({ steps: fc.integer({ min: 1, max: 200 }), warmup: fc.integer({ min: 1, max: 20 }) });
    fc.assert(
      fc.property(counts, fc.integer({ min: 2, max: 20 }), ({ steps, warmup }, interval) => {
        const found = evaluatedSteps(steps, { warmup, interval });
        expect(found.slice(0, warmup)).toEqual(Array.from({ length: Math.min(steps, warmup) }, (_, i) => i));
        expect(found.length).toBe(Math.min(steps, warmup) + Math.floor(Math.max(0, steps - warmup) / interval));
        for (const [i, step] of found.entries()) {
          expect(isEvaluated(step, { warmup, interval })).toBe(true);
          if (i >= warmup) expect(step - found[i - 1]!).toBe(interval);
        }
      }),
      { seed: 1 },
    );
  });
});

describe('a forecast', () => {
  it('of order 0 is the velocity evaluated last, in an array of its own', () => {
    const velocity = Float32Array.of(1, -2);
    const known = rememberVelocity(rememberVelocity(null, Float32Array.of(9, 9), 0, 0), velocity, 1, 0);
    const forecast = forecastVelocity(known, 5);
    expect(forecast).toEqual(velocity);
    expect(forecast).not.toBe(velocity);
  });

  it('is exact where the velocity is linear in the step, at any spacing and any order, once two are known', () => {
    fc.assert(
      fc.property(evaluations(2), number, number, fc.integer({ min: 1, max: 4 }), ({ places, step }, a, b, order) => {
        const velocityAt = (k: number) => a + b * k;
        // at orders over 1 the higher differences are rounding alone, which distances of 1 and 5 steps ahead enlarge
        const tolerance = 1e-4 * 60 ** Math.max(0, Math.min(order, places.length - 1) - 1);
        const error = forecastAt(rememberAll(places, velocityAt, Math.min(order, 2)), step) - velocityAt(step);
        return Math.abs(error) < tolerance;
      }),
      { seed: 2 },
    );
  });

  it('is the sum of the differences by their powers over factorials: of k², evenly spaced, short by distance · j', () => {
    for (const [distance, j] of [
      [1, 1],
      [2, 1],
      [3, 2],
    ] as const) {
      const known = rememberAll([0, distance, 2 * distance], (k) => k * k, 2);
      expect(known.differences.map(([d]) => d)).toEqual([4 * distance ** 2, 3 * distance, 2]);
      expect(forecastAt(known, 2 * distance + j)).toBeCloseTo((2 * distance + j) ** 2 - distance * j, 4);
    }
  });

  it('divides by the distance between evaluations, and uses no difference that is not known', () => {
    const known = rememberAll([0, 1, 4], (k) => [5, 7, 0, 0, 13][k]!, 3);
    expect(known.differences.map(([d]) => d)).toEqual([13, 2, 0]);
    expect(rememberAll([0], () => 3, 4).differences.map(([d]) => d)).toEqual([3]);
    expect(rememberAll([0, 1, 2, 3], (k) => k ** 3, 1).differences.map(([d]) => d)).toEqual([27, 19]);
  });

  it('refuses velocities of another length, a step that does not follow, and an order that is no count', () => {
    const known = rememberVelocity(null, new Float32Array(4), 2, 2);
    expect(() => rememberVelocity(known, new Float32Array(3), 3, 2)).toThrow('velocity has 3 entries; expected 4');
    expect(() => rememberVelocity(known, new Float32Array(4), 2, 2)).toThrow('step is 2; expected more than 2');
    expect(() => rememberVelocity(null, new Float32Array(4), 0, 1.5)).toThrow('order is 1.5');
  });
});
