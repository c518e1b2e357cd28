import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unshiftSigma } from '../../src/numerics/flow.ts';
import { buildSchedule, renoiseCoefficients, stageSigmas } from '../../src/numerics/schedule.ts';
import { golden, maxDifference, type Schedules } from './golden.ts';

const z = fc.double({ min: 2, max: 100, noNaN: true });
const middle = fc.double({ min: 0.01, max: 0.99, noNaN: true });

describe.each(Object.entries(golden<Schedules>('schedules.json')))(
  'golden schedule %s',
  (_, { N, e, h, z: goldenZ, starts, sigmas, renoise }) => {
    const schedule = buildSchedule({ steps: N, ends: e, shifts: h, z: e.slice(1).map(() => goldenZ) });

    it('has the reference starts, sigmas and renoise coefficients to 1e-9', () => {
      expect(
        maxDifference(
          schedule.stages.map(({ start }) => start),
          starts,
        ),
      ).toBeLessThanOrEqual(1e-9);
      for (const [k, stage] of schedule.stages.entries())
        expect(maxDifference(stage.sigmas, sigmas[k]!)).toBeLessThanOrEqual(1e-9);
      expect(schedule.renoise).toHaveLength(renoise.length);
      for (const [k, { start, signal, noise }] of schedule.renoise.entries()) {
        expect(
          maxDifference([start, signal, noise], [renoise[k]!.start, renoise[k]!.signal, renoise[k]!.noise]),
        ).toBeLessThanOrEqual(1e-9);
      }
    });
  },
);

describe('renoise coefficients', () => {
  it('satisfy signal * e = start, noise = 1 - start, and restart below the end', () => {
    fc.assert(
      fc.property(middle, z, (end, Z) => {
        const { start, signal, noise } = renoiseCoefficients(end, Z);
        return Math.abs(signal * end - start) < 1e-14 && Math.abs(noise - (1 - start)) < 1e-14 && start < end;
      }),
      { seed: 1 },
    );
  });

  it('make upsampled and untouched values white: a²(1-e)²J + b²(I - cJ) = b²I, a²(1-e)² + b²(1-c) = b²', () => {
    fc.assert(
      fc.property(middle, z, (end, Z) => {
        const { signal, noise, correlation } = renoiseCoefficients(end, Z);
        const carried = signal ** 2 * (1 - end) ** 2;
        return (
          Math.abs(carried - noise ** 2 * correlation) < 1e-14 &&
          Math.abs(carried + noise ** 2 * (1 - correlation) - noise ** 2) < 1e-14
        );
      }),
      { seed: 2 },
    );
  });

  it('refuse an end outside (0, 1] and a z below 2, NaN included', () => {
    expect(() => renoiseCoefficients(0, 4)).toThrow('end is 0');
    expect(() => renoiseCoefficients(1.1, 4)).toThrow('end is 1.1');
    expect(() => renoiseCoefficients(Number.NaN, 4)).toThrow('end is NaN');
    expect(() => renoiseCoefficients(0.3, 1.99)).toThrow('z is 1.99');
    expect(() => renoiseCoefficients(0.3, Number.NaN)).toThrow('z is NaN');
    expect(() => renoiseCoefficients(0.3, Number.POSITIVE_INFINITY)).toThrow('z is Infinity');
  });
});

describe('stage sigmas', () => {
  const stage = fc.record({
    a: fc.double({ min: 0, max: 0.98, noNaN: true }),
    b: fc.double({ min: 0.01, max: 1, noNaN: true }),
    steps: fc.integer({ min: 1, max: 60 }),
    shift: fc.double({ min: 0.5, max: 10, noNaN: true }),
  });

  it('fall strictly from exactly 1 - start to exactly 1 - end, evenly once unshifted', () => {
    fc.assert(
      fc.property(stage, ({ a, b, steps, shift }) => {
        const end = a + b * (1 - a);
        const sigmas = stageSigmas({ start: a, end, steps, shift });
        const even = Array.from(sigmas, (sigma) => unshiftSigma(sigma, shift));
        const stride = (even.at(-1)! - even[0]!) / steps;
        return (
          sigmas.length === steps + 1 &&
          sigmas[0] === 1 - a &&
          sigmas[steps] === 1 - end &&
          sigmas.every((sigma, i) => i === 0 || sigma < sigmas[i - 1]!) &&
          even.every((level, i) => Math.abs(level - (even[0]! + i * stride)) < 1e-12)
        );
      }),
      { seed: 3 },
    );
  });

  it('refuse a start at or above the end, no steps, half a step, and a shift that is not above 0', () => {
    const good = { start: 0.1, end: 0.5, steps: 3, shift: 2 };
    expect(() => stageSigmas({ ...good, start: 0.5 })).toThrow('start is 0.5; expected less than end, 0.5');
    expect(() => stageSigmas({ ...good, start: Number.NaN })).toThrow('start is NaN');
    expect(() => stageSigmas({ ...good, end: 1.5 })).toThrow('end is 1.5');
    expect(() => stageSigmas({ ...good, steps: 0 })).toThrow('steps is 0');
    expect(() => stageSigmas({ ...good, steps: 1.5 })).toThrow('steps is 1.5');
    expect(() => stageSigmas({ ...good, shift: 0 })).toThrow('shift is 0');
    expect(() => stageSigmas({ ...good, shift: Number.POSITIVE_INFINITY })).toThrow('shift is Infinity');
  });
});

describe('the whole schedule', () => {
  it.each([1, 2, 3, 4, 5])(
    'of %i stages starts at pure noise, ends at exactly 0, and restarts each stage where its renoise leads',
    (K) => {
      const steps = Array.from({ length: K }, (_, k) => k + 1);
      const ends = Array.from({ length: K }, (_, k) => (k + 1) / K);
      const z = steps.slice(1).map((_, k) => 5 + k);
      const { stages, renoise } = buildSchedule({ steps, ends, shifts: steps.map(() => 2), z });
      expect(stages).toHaveLength(K);
      expect(renoise).toHaveLength(K - 1);
      expect(stages[0]!.sigmas[0]).toBe(1);
      expect(stages.at(-1)!.sigmas.at(-1)).toBe(0);
      for (const [k, { start }] of renoise.entries())
        expect([stages[k + 1]!.start, stages[k + 1]!.sigmas[0], start]).toEqual([
          start,
          1 - start,
          renoiseCoefficients(ends[k]!, z[k]!).start,
        ]);
    },
  );

  it('refuses bad steps, ends, shifts and z, naming each', () => {
    const good = { steps: [2, 3], ends: [0.3, 1], shifts: [3, 2], z: [4] };
    expect(() => buildSchedule({ ...good, steps: [], ends: [], shifts: [] })).toThrow('steps has 0 entries');
    expect(() => buildSchedule({ ...good, steps: [2, 0] })).toThrow('steps[1] is 0');
    expect(() => buildSchedule({ ...good, steps: [2, Number.NaN] })).toThrow('steps[1] is NaN');
    expect(() => buildSchedule({ ...good, ends: [1] })).toThrow('ends has 1 entries; expected 2');
    expect(() => buildSchedule({ ...good, ends: [0, 1] })).toThrow('ends[0] is 0; expected above 0 and at most 1');
    expect(() => buildSchedule({ ...good, ends: [1, 1] })).toThrow('ends[1] is 1; expected above 1');
    expect(() => buildSchedule({ ...good, ends: [0.3, 0.9] })).toThrow(
      'ends[1] is 0.9; expected the last end to be exactly 1',
    );
    expect(() => buildSchedule({ ...good, ends: [Number.NaN, 1] })).toThrow('ends[0] is NaN');
    expect(() => buildSchedule({ ...good, shifts: [3] })).toThrow('shifts has 1 entries');
    expect(() => buildSchedule({ ...good, shifts: [3, -1] })).toThrow('shifts[1] is -1');
    expect(() => buildSchedule({ ...good, z: [1] })).toThrow('z[0] is 1');
    expect(() => buildSchedule({ ...good, z: [] })).toThrow('z has 0 entries; expected 1');
    expect(() => buildSchedule({ steps: [5], ends: [1], shifts: [3], z: [4] })).toThrow('z has 1 entries; expected 0');
  });
});
