import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitSteps, mostSpeed, type StepsProblem } from '../../src/numerics/fit-steps.ts';
import { fitSchedule } from '../../src/numerics/nt-matching.ts';

const workOf = ({ costs }: Pick<StepsProblem, 'costs'>, steps: readonly number[]): number =>
  costs.reduce((sum, cost, k) => sum + cost * steps[k]!, 0);
const isWithin = (problem: StepsProblem, steps: readonly number[]): boolean =>
  problem.plain / workOf(problem, steps) >= problem.speed;
const hasRoom = (problem: StepsProblem, [first, ...later]: readonly number[]): boolean =>
  isWithin(problem, [first! + 1, ...later]);
const divergenceAt = (
  { ends, modelShift, zRanges }: Omit<StepsProblem, 'costs' | 'plain' | 'speed'>,
  steps: readonly number[],
): number => fitSchedule({ steps, ends, modelShift, zRanges }).divergence;

/** Every N that fills the budget, found in the box of all that could. */
function everyN(problem: StepsProblem): number[][] {
  const { costs, plain, speed } = problem;
  const box = costs.reduce<number[][]>(
    (lists, cost) =>
      lists.flatMap((list) => Array.from({ length: Math.floor(plain / speed / cost) + 1 }, (_, i) => [...list, i + 1])),
    [[]],
  );
  return box.filter((steps) => isWithin(problem, steps) && !hasRoom(problem, steps));
}

/** Stages, what their steps cost, the shift of the model and where Z may lie. */
const stages = (fewest: number, most: number) =>
  fc.integer({ min: fewest, max: most }).chain((K) =>
    fc.record({
      costs: fc
        .array(fc.double({ min: 1, max: 4, noNaN: true }), { minLength: K, maxLength: K })
        .map((costs) => costs.sort((a, b) => a - b)),
      ends: fc
        .uniqueArray(fc.integer({ min: 10, max: 70 }), { minLength: K - 1, maxLength: K - 1 })
        .map((percents) => [...percents.sort((a, b) => a - b).map((percent) => percent / 100), 1]),
      modelShift: fc.double({ min: 1, max: 5, noNaN: true }),
      zRanges: fc.array(
        fc.double({ min: 2, max: 10, noNaN: true }).map((most) => ({ least: 2, most })),
        { minLength: K - 1, maxLength: K - 1 },
      ),
    }),
  );

/** Like a small model's: a quarter of the work a step on the low grid, and Z near 2. */
const THREE = {
  costs: [0.25, 0.32, 1],
  plain: 50,
  ends: [0.2, 0.3, 1],
  modelShift: 3,
  zRanges: [
    { least: 2, most: 2 },
    { least: 2, most: 3.43 },
  ],
};
const TWO = { costs: [0.25, 1], plain: 50, ends: [0.2, 1], modelShift: 3, zRanges: [{ least: 2, most: 4 }] };

describe('the steps under a budget', () => {
  it('are the best of all that fill it, where there are few', () => {
    fc.assert(
      fc.property(stages(2, 3), fc.double({ min: 1, max: 2.5, noNaN: true }), (given, slack) => {
        const problem = {
          ...given,
          plain:
            workOf(
              given,
              given.costs.map(() => 1),
            ) * slack,
          speed: 1,
        };
        const all = everyN(problem);
        fc.pre(all.length <= 12);
        const { steps, divergence } = fitSteps(problem);
        const divergences = all.map((candidate) => divergenceAt(problem, candidate));
        return (
          divergence === Math.min(...divergences) &&
          all.some((candidate, i) => candidate.join() === steps.join() && divergences[i] === divergence)
        );
      }),
      { seed: 1, numRuns: 25 },
    );
  });

  it.each([7, 8, 11])('are the best of all three-stage N at %d times less work', (speed) => {
    const problem = { ...THREE, speed };
    const all = everyN(problem);
    expect(all.length).toBeGreaterThan(12);
    const { divergence } = fitSteps(problem);
    expect(divergence).toBeLessThanOrEqual(Math.min(...all.map((steps) => divergenceAt(problem, steps))));
  });

  it.each([1, 1.3, 2, 3])('are the best of all two-stage N at %d times less work', (speed) => {
    const problem = { ...TWO, speed };
    const all = everyN(problem);
    expect(all.length).toBeGreaterThan(12);
    expect(fitSteps(problem).divergence).toBe(Math.min(...all.map((steps) => divergenceAt(problem, steps))));
  });

  it('match no worse than any of a grid of N, where there are too many to list: 3840', () => {
    const problem = { ...THREE, speed: 1 };
    const { divergence } = fitSteps(problem);
    const some = [4, 12, 20, 28].flatMap((second) =>
      [20, 26, 32, 38].map((last) => {
        const first = Math.floor((50 - 0.32 * second - last) / 0.25);
        return [first, second, last];
      }),
    );
    expect(some.every((steps) => isWithin(problem, steps) && !hasRoom(problem, steps))).toBe(true);
    expect(divergence).toBeLessThanOrEqual(Math.min(...some.map((steps) => divergenceAt(problem, steps))));
  });

  it('at the speed of an N match no worse than it', () => {
    fc.assert(
      fc.property(
        stages(2, 2),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 8 }),
        fc.double({ min: 50, max: 500, noNaN: true }),
        (given, first, last, plain) => {
          const steps = [first, last];
          const problem = { ...given, plain, speed: plain / workOf(given, steps) };
          fc.pre(everyN(problem).length <= 12);
          return fitSteps(problem).divergence <= divergenceAt(problem, steps);
        },
      ),
      { seed: 2, numRuns: 40 },
    );
  });

  it('stay within the budget and leave no room for one more of the first stage, however many there are', () => {
    fc.assert(
      fc.property(stages(2, 3), fc.double({ min: 0, max: 1, noNaN: true }), (given, place) => {
        const most = mostSpeed({ ...given, plain: 200 });
        const problem = { ...given, plain: 200, speed: most ** place };
        const { steps } = fitSteps(problem);
        return (
          steps.every((count) => Number.isInteger(count) && count >= 1) &&
          isWithin(problem, steps) &&
          !hasRoom(problem, steps)
        );
      }),
      { seed: 3, numRuns: 25 },
    );
  });

  it('do not depend on the unit of work, nor on anything but the problem', () => {
    for (const problem of [
      { ...TWO, speed: 7 },
      { ...THREE, speed: 7 },
    ]) {
      const once = fitSteps(problem);
      expect(fitSteps(problem)).toEqual(once);
      expect(fitSteps({ ...problem, costs: problem.costs.map((cost) => cost * 1024), plain: 50 * 1024 })).toEqual(once);
    }
  });

  it('come with their fit, and are one for each stage at the largest speed', () => {
    const { steps, ...fit } = fitSteps({ ...THREE, speed: mostSpeed(THREE) });
    expect(steps).toEqual([1, 1, 1]);
    const { ends, modelShift, zRanges } = THREE;
    expect(fit).toEqual(fitSchedule({ steps, ends, modelShift, zRanges }));
  });

  it('are refused for a budget that has none, naming it', () => {
    expect(() => fitSteps({ ...TWO, speed: 40.1 })).toThrow('speed is 40.1; expected a number from 0.0002 to 40');
    expect(() => fitSteps({ ...TWO, speed: Number.NaN })).toThrow('speed is NaN');
    expect(() => fitSteps({ ...TWO, speed: 1, plain: 0 })).toThrow('plain is 0; expected a finite number above 0');
    expect(() => fitSteps({ ...TWO, speed: 1, costs: [0, 1] })).toThrow('costs[0] is 0');
    expect(() => fitSteps({ ...TWO, speed: 1, costs: [2, 1] })).toThrow('costs[1] is 1; expected a number from 2');
    expect(() => fitSteps({ ...TWO, speed: 1, costs: [1] })).toThrow('costs has 1 entries; expected 2');
    expect(() => fitSteps({ ...TWO, speed: 1, zRanges: [] })).toThrow('zRanges has 0 entries; expected 1');
    expect(() => fitSteps({ ...TWO, speed: 1, ends: [0.2, 0.9] })).toThrow('ends[1] is 0.9');
    expect(() => fitSteps({ ...TWO, speed: 1, modelShift: 0 })).toThrow('modelShift is 0');
  });
});
