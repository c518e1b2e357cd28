import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { minimize, type Objective } from '../../src/numerics/minimize.ts';
import { gaussLegendre } from '../../src/numerics/quadrature.ts';

const rosenbrock: Objective = (x, gradient) => {
  const [a, b] = [x[0]!, x[1]!];
  gradient[0] = -2 * (1 - a) - 400 * a * (b - a * a);
  gradient[1] = 200 * (b - a * a);
  return (1 - a) ** 2 + 100 * (b - a * a) ** 2;
};

describe('the minimiser', () => {
  it('follows a curved flat valley to its end', () => {
    const { x, value } = minimize(rosenbrock, { start: [-1.2, 1], lower: [-5, -5], upper: [5, 5], tolerance: 1e-14 });
    expect(value).toBeLessThan(1e-10);
    expect(Math.hypot(x[0]! - 1, x[1]! - 1)).toBeLessThan(1e-4);
  });

  it('ends on the bounds that cut off the valley', () => {
    const { x } = minimize(rosenbrock, { start: [-1.2, 1], lower: [-5, -5], upper: [0.5, 5], tolerance: 1e-14 });
    expect(x[0]).toBe(0.5);
    expect(x[1]).toBeCloseTo(0.25, 6);
  });

  it('finds the box point nearest to any target, for any convex quadratic', () => {
    const numbers = (min: number, max: number) =>
      fc.array(fc.double({ min, max, noNaN: true }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(numbers(-3, 3), numbers(0.1, 20), numbers(-1, 1), (target, stiffness, start) => {
        const bowl: Objective = (x, gradient) =>
          x.reduce((sum, coordinate, i) => {
            gradient[i] = 2 * stiffness[i]! * (coordinate - target[i]!);
            return sum + stiffness[i]! * (coordinate - target[i]!) ** 2;
          }, 0);
        const { x } = minimize(bowl, { start, lower: [-1, -1, -1], upper: [1, 1, 1], tolerance: 1e-14 });
        return x.every((coordinate, i) => Math.abs(coordinate - Math.max(-1, Math.min(1, target[i]!))) < 1e-5);
      }),
      { seed: 1 },
    );
  });

  it('comes to a kink and stops there', () => {
    const kink: Objective = (x, gradient) => {
      gradient[0] = Math.sign(x[0]! - 0.3);
      return Math.abs(x[0]! - 0.3);
    };
    expect(minimize(kink, { start: [5], lower: [-9], upper: [9], tolerance: 1e-9 }).x[0]).toBeCloseTo(0.3, 6);
  });

  it('stays where it is on a flat function, after one evaluation', () => {
    const flat: Objective = (_, gradient) => {
      gradient.fill(0);
      return 7;
    };
    expect(minimize(flat, { start: [1, 2], lower: [0, 0], upper: [3, 3], tolerance: 1e-9 })).toEqual({
      x: Float64Array.of(1, 2),
      value: 7,
      evaluations: 1,
    });
  });

  it('climbs out of a region of negative curvature, and treats NaN on the way as a step too far', () => {
    const well: Objective = (x, gradient) => {
      gradient[0] = Math.sin(x[0]!);
      return x[0]! > 3.2 ? Number.NaN : -Math.cos(x[0]!);
    };
    expect(minimize(well, { start: [3], lower: [-9], upper: [9], tolerance: 1e-12 }).value).toBeCloseTo(-1, 9);
    const cliff: Objective = (x, gradient) => {
      gradient[0] = -1;
      return x[0]! > 0.5 ? Number.NaN : -x[0]!;
    };
    expect(minimize(cliff, { start: [0], lower: [-9], upper: [9], tolerance: 1e-9 }).x[0]).toBeCloseTo(0.5, 6);
  });

  it('moves a start outside the box into it, and a box of one point is the answer', () => {
    expect(minimize(rosenbrock, { start: [9, -9], lower: [2, 3], upper: [2, 3], tolerance: 1e-9 }).x).toEqual(
      Float64Array.of(2, 3),
    );
  });

  it('refuses an empty box, bounds of another length, and a start whose value is not finite', () => {
    const nan: Objective = () => Number.NaN;
    expect(() => minimize(nan, { start: [0], lower: [0], upper: [1], tolerance: 1e-9 })).toThrow(
      'objective is NaN at the start',
    );
    expect(() => minimize(nan, { start: [0], lower: [1], upper: [0], tolerance: 1e-9 })).toThrow(
      'lower[0] is 1; expected at most upper[0], 0',
    );
    expect(() => minimize(nan, { start: [0], lower: [Number.NaN], upper: [0], tolerance: 1e-9 })).toThrow(RangeError);
    expect(() => minimize(nan, { start: [0, 1], lower: [0], upper: [1, 1], tolerance: 1e-9 })).toThrow(
      'lower has 1 entries; expected 2',
    );
  });
});

describe('Gauss-Legendre quadrature', () => {
  it.each([1, 2, 5, 16, 33])('of %i points is exact up to degree 2n - 1 and ascends inside (0, 1)', (count) => {
    const { nodes, weights } = gaussLegendre(count);
    for (let degree = 0; degree < 2 * count; degree++) {
      expect(nodes.reduce((sum, node, i) => sum + weights[i]! * node ** degree, 0)).toBeCloseTo(1 / (degree + 1), 13);
    }
    expect(nodes.every((node, i) => node > (nodes[i - 1] ?? 0) && node < 1)).toBe(true);
  });
});
