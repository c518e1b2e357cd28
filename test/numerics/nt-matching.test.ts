import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { actualDensity, stageStarts, targetDensity, truncatedDensity } from '../../src/numerics/densities.ts';
import { contrast, divergenceObjective, shiftRange } from '../../src/numerics/divergence.ts';
import { timestepDensity } from '../../src/numerics/flow.ts';
import { exactDivergence, fitSchedule, gridDivergence } from '../../src/numerics/nt-matching.ts';
import { gaussLegendre } from '../../src/numerics/quadrature.ts';
import { golden, type Matching, maxDifference } from './golden.ts';

const { cases, densities } = golden<Matching>('nt_matching.json');

/** Steps, ends and model shift of K stages, and a candidate inside the bounds. */
const situation = fc.integer({ min: 2, max: 5 }).chain((K) =>
  fc.record({
    steps: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: K, maxLength: K }),
    ends: fc
      .uniqueArray(fc.integer({ min: 5, max: 90 }), { minLength: K - 1, maxLength: K - 1 })
      .map((percents) => [...percents.sort((a, b) => a - b).map((percent) => percent / 100), 1]),
    modelShift: fc.double({ min: 1, max: 5, noNaN: true }),
    shifts: fc.array(fc.double({ min: 0.5, max: 10, noNaN: true }), { minLength: K, maxLength: K }),
    z: fc.array(fc.double({ min: 2, max: 50, noNaN: true }), { minLength: K - 1, maxLength: K - 1 }),
  }),
);

/** One Z for all boundaries, and the same bound for each. */
const everywhere = (z: number, { ends }: { readonly ends: readonly number[] }) => ends.slice(1).map(() => z);
const upTo = (most: number, { ends }: { readonly ends: readonly number[] }) =>
  ends.slice(1).map(() => ({ least: 2, most }));

describe.each(cases)('golden case $name', (goldenCase) => {
  const problem = { steps: goldenCase.N, ends: goldenCase.e, modelShift: goldenCase.h };

  it.each(['start', 'local', 'best_on_grid', 'best_exact_z10', 'best_exact_z100'] as const)(
    'both objectives at %s are the reference values, on the grid to 1e-9, exact to 1e-7',
    (point) => {
      const { h, z, divergence, exact } = goldenCase[point];
      const candidate = { shifts: h, z: everywhere(z, problem) };
      expect(Math.abs(gridDivergence(candidate, problem) - divergence)).toBeLessThanOrEqual(1e-9);
      expect(Math.abs(exactDivergence(candidate, problem) - exact)).toBeLessThanOrEqual(1e-7);
    },
  );

  it.each([
    [10, goldenCase.best_exact_z10.exact],
    [100, goldenCase.best_exact_z100.exact],
  ])('the fit with Z up to %i ends at or below the best known divergence with one Z', (most, best) => {
    const fit = fitSchedule({ ...problem, zRanges: upTo(most, problem) });
    expect(fit.divergence).toBeLessThanOrEqual(best + 1e-6);
    expect(exactDivergence(fit, problem)).toBeCloseTo(fit.divergence, 9);
    expect(fit.starts).toEqual(stageStarts(problem.ends, fit.z));
    const { least, most: mostShift } = shiftRange(problem.modelShift);
    expect(fit.z.every((z) => z >= 2 && z <= most)).toBe(true);
    expect(fit.shifts.every((shift) => shift >= least && shift <= mostShift)).toBe(true);
    expect(fit.evaluations).toBeGreaterThan(0);
  });
});

describe('densities', () => {
  it('are the reference values at its points, to 1e-9', () => {
    const { h: shifts, N: steps, e: ends, base_h: modelShift } = densities;
    const z = everywhere(densities.z, { ends });
    // the reference's points are multiples of 0.05 as floats, and whether 6 * 0.05 lies inside [0, 0.3] is decided
    // there
    const t = densities.t.map((_, i) => i * 0.05);
    expect(maxDifference(t, densities.t)).toBeLessThan(1e-15);
    expect(
      maxDifference(t.map(targetDensity({ shifts, z }, { steps, ends, modelShift })), densities.target),
    ).toBeLessThanOrEqual(1e-9);
    expect(
      maxDifference(t.map(actualDensity({ shifts, z }, { steps, ends, modelShift })), densities.actual),
    ).toBeLessThanOrEqual(1e-9);
  });

  it('each integrate to 1 over [0, 1], whatever the stages', () => {
    const { nodes, weights } = gaussLegendre(24);
    fc.assert(
      fc.property(situation, ({ shifts, z, ...problem }) => {
        const breakpoints = [...stageStarts(problem.ends, z), ...problem.ends].sort((a, b) => a - b);
        const integral = (density: (t: number) => number) =>
          breakpoints
            .slice(1)
            .reduce(
              (sum, right, b) =>
                sum +
                nodes.reduce(
                  (part, node, i) =>
                    part +
                    (right - breakpoints[b]!) *
                      weights[i]! *
                      density(breakpoints[b]! + (right - breakpoints[b]!) * node),
                  0,
                ),
              0,
            );
        return (
          Math.abs(integral(targetDensity({ shifts, z }, problem)) - 1) < 1e-8 &&
          Math.abs(integral(actualDensity({ shifts, z }, problem)) - 1) < 1e-8
        );
      }),
      { seed: 1, numRuns: 50 },
    );
  });

  it('a truncated density is 0 outside its closed interval and the whole density on [0, 1]', () => {
    expect([0.19, 0.61].map((t) => truncatedDensity(t, 3, 0.2, 0.6))).toEqual([0, 0]);
    expect([0.2, 0.6].every((t) => truncatedDensity(t, 3, 0.2, 0.6) > 0)).toBe(true);
    expect(truncatedDensity(0.4, 3, 0, 1)).toBeCloseTo(timestepDensity(0.4, 3), 14);
  });
});

describe('the exact divergence', () => {
  it('is what the grid form tends to: within a grid step of it', () => {
    fc.assert(
      fc.property(
        situation,
        ({ shifts, z, ...problem }) =>
          Math.abs(exactDivergence({ shifts, z }, problem) ** 2 - gridDivergence({ shifts, z }, problem) ** 2) < 0.02,
      ),
      { seed: 2, numRuns: 50 },
    );
  });

  it('is exact to 1e-9 for every shift in its range, for models whose own shift is 1 to 25.3', () => {
    const { nodes, weights } = gaussLegendre(48);
    fc.assert(
      fc.property(
        situation,
        fc.constantFrom(1, 3, 7.5, 25.3),
        fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
        ({ steps, ends, z }, modelShift, places) => {
          const problem = { steps, ends, modelShift };
          const { least, most } = shiftRange(modelShift);
          const shifts = steps.map(() => least * (most / least) ** places.next().value);
          const target = targetDensity({ shifts, z }, problem);
          const actual = actualDensity({ shifts, z }, problem);
          // six times as fine between the breakpoints
          const breakpoints = [...stageStarts(ends, z), ...ends].sort((a, b) => a - b);
          let fine = 0;
          for (const [b, right] of breakpoints.slice(1).entries())
            for (let part = 0; part < 6; part++)
              for (let i = 0; i < nodes.length; i++) {
                const width = (right - breakpoints[b]!) / 6;
                const t = breakpoints[b]! + width * (part + nodes[i]!);
                fine += width * weights[i]! * contrast(target(t), actual(t));
              }
          return Math.abs(exactDivergence({ shifts, z }, problem) - Math.sqrt(fine)) < 1e-9;
        },
      ),
      { seed: 5, numRuns: 30 },
    );
  });

  it('has the gradient that central differences give, away from places where two breakpoints meet', () => {
    let numCompared = 0;
    fc.assert(
      fc.property(situation, ({ shifts, z, ...problem }) => {
        const starts = stageStarts(problem.ends, z);
        if (starts.some((start) => problem.ends.some((end) => Math.abs(start - end) < 1e-3))) return true;
        numCompared++;
        const objective = divergenceObjective(problem);
        const x = Float64Array.of(...shifts, ...z).map(Math.log);
        const gradient = new Float64Array(x.length);
        const value = objective(x, gradient);
        const scratch = new Float64Array(x.length);
        return gradient.every((slope, i) => {
          const beside = (step: number) =>
            objective(
              x.map((coordinate, j) => (i === j ? coordinate + step : coordinate)),
              scratch,
            );
          return Math.abs((beside(1e-5) - beside(-1e-5)) / 2e-5 - slope) < 1e-6 * (1 + value);
        });
      }),
      { seed: 3, numRuns: 60 },
    );
    expect(numCompared).toBeGreaterThan(20);
  });

  it('is never above sqrt(log 2), and above 0 wherever the two densities differ', () => {
    fc.assert(
      fc.property(situation, ({ shifts, z, ...problem }) => {
        const divergence = exactDivergence({ shifts, z }, problem);
        return divergence > 0 && divergence < Math.sqrt(Math.LN2);
      }),
      { seed: 4, numRuns: 50 },
    );
  });
});

describe('the fit', () => {
  it.each([2, 3, 4, 5])('of %i stages stays in its bounds and is no worse than the reference start', (K) => {
    const problem = {
      steps: Array.from({ length: K }, () => 4),
      ends: Array.from({ length: K }, (_, k) => (k + 1) / K),
      modelShift: 3,
    };
    const fit = fitSchedule(problem);
    expect(fit.shifts).toHaveLength(K);
    expect(fit.divergence).toBeLessThanOrEqual(
      exactDivergence({ shifts: problem.steps.map(() => 3), z: everywhere(2, problem) }, problem),
    );
    expect(fit.z.every((z) => z >= 2 && z <= 10)).toBe(true);
  });

  it('gives the same answer every time', () => {
    const problem = { steps: [2, 3, 5], ends: [0.2, 0.3, 1], modelShift: 3 };
    expect(fitSchedule(problem)).toEqual(fitSchedule(problem));
  });

  it('rests on its bounds where they bind, each boundary on its own, and inside [2, 10] by default', () => {
    const problem = { steps: [8, 10, 14], ends: [0.3, 0.45, 1], modelShift: 3.1582 };
    expect(fitSchedule({ ...problem, zRanges: upTo(2, problem) }).z).toEqual([2, 2]);
    expect(
      fitSchedule({
        ...problem,
        zRanges: [
          { least: 2, most: 3 },
          { least: 2, most: 4 },
        ],
      }).z,
    ).toEqual([3, 4]);
    expect(
      fitSchedule({
        ...problem,
        zRanges: [
          { least: 2, most: 10 },
          { least: 8, most: 9 },
        ],
      }).z,
    ).toEqual([10, 8]);
    expect(fitSchedule(problem).z[0]).toBe(10);
  });

  it('keeps a Z that is given, and finds the shifts for it', () => {
    const problem = { steps: [2, 3, 5], ends: [0.2, 0.3, 1], modelShift: 3 };
    const given = fitSchedule({
      ...problem,
      zRanges: [
        { least: 4, most: 4 },
        { least: 5.3, most: 5.3 },
      ],
    });
    expect(given.z).toEqual([4, 5.3]);
    for (const factor of [0.98, 1.02])
      for (const k of [0, 1, 2]) {
        const shifts = given.shifts.map((shift, i) => (i === k ? shift * factor : shift));
        expect(exactDivergence({ shifts, z: given.z }, problem)).toBeGreaterThan(given.divergence);
      }
  });

  it.each([
    ['FLUX at 1536²', 7.5, 0.034],
    ['FLUX at 2048²', 25.3, 0.1303],
  ])('finds shifts inside the range that follows the model’s own, %s', (_, modelShift, reached) => {
    const problem = { steps: [2, 3, 5], ends: [0.2, 0.3, 1], modelShift };
    const { least, most } = shiftRange(modelShift);
    const fit = fitSchedule(problem);
    expect(fit.divergence).toBeLessThan(reached);
    expect(fit.shifts.every((shift) => shift > least * 1.01 && shift < most / 1.01)).toBe(true);
  });

  it('gets past the kinks where breakpoints meet, to the far end of a flat valley', () => {
    const problem = { steps: [6, 5, 7, 3], ends: [0.33, 0.52, 0.62, 1], modelShift: 3.158 };
    const known = exactDivergence({ shifts: [3.79, 2.31, 2.68, 0.86], z: everywhere(100, problem) }, problem);
    expect(fitSchedule({ ...problem, zRanges: upTo(100, problem) }).divergence).toBeLessThanOrEqual(known);
  });

  it('a wider bound on Z never gives a worse divergence', () => {
    const problem = { steps: [4, 5, 6], ends: [0.3, 0.45, 1], modelShift: 3 };
    const reached = [2, 5, 10, 100].map((most) => fitSchedule({ ...problem, zRanges: upTo(most, problem) }).divergence);
    expect(reached.every((value, i) => i === 0 || value <= reached[i - 1]! + 1e-9)).toBe(true);
  });

  it('refuses one stage, bad steps, ends, model shift, ranges and candidates, naming each', () => {
    const problem = { steps: [2, 3], ends: [0.3, 1], modelShift: 3 };
    expect(() => fitSchedule({ steps: [2], ends: [1], modelShift: 3 })).toThrow(
      'steps has 1 entry; expected at least 2',
    );
    expect(() => fitSchedule({ ...problem, steps: [2, -1] })).toThrow('steps[1] is -1');
    expect(() => fitSchedule({ ...problem, ends: [0.3, 0.2] })).toThrow('ends[1] is 0.2');
    expect(() => fitSchedule({ ...problem, modelShift: Number.NaN })).toThrow('modelShift is NaN');
    expect(() => fitSchedule({ ...problem, zRanges: [{ least: 1.5, most: 3 }] })).toThrow('zRanges[0].least is 1.5');
    expect(() => fitSchedule({ ...problem, zRanges: [{ least: 4, most: 3 }] })).toThrow('zRanges[0].most is 3');
    expect(() => fitSchedule({ ...problem, zRanges: [] })).toThrow('zRanges has 0 entries; expected 1');
    expect(() => exactDivergence({ shifts: [3, 3], z: [4, 4] }, problem)).toThrow('z has 2 entries; expected 1');
    expect(() => exactDivergence({ shifts: [3], z: [4] }, problem)).toThrow('shifts has 1 entries; expected 2');
    expect(() => exactDivergence({ shifts: [3, 0], z: [4] }, problem)).toThrow('shifts[1] is 0');
    expect(() => gridDivergence({ shifts: [3, 3], z: [1] }, problem)).toThrow('z[0] is 1');
    expect(() => gridDivergence({ shifts: [3, 3], z: [Number.NaN] }, problem)).toThrow('z[0] is NaN');
  });
});
