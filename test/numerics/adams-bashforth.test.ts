import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adamsBashforthStep, type StepBefore } from '../../src/numerics/adams-bashforth.ts';
import { eulerStep } from '../../src/numerics/flow.ts';

/** From sigmas[0] to the last of `sigmas`; the velocity is a function of value and level. */
function walk(start: Float32Array, sigmas: readonly number[], velocityAt: (x: number, sigma: number) => number) {
  const latents = start.slice();
  let before: StepBefore | null = null;
  for (let i = 0; i + 1 < sigmas.length; i++) {
    const velocity = latents.map((x) => velocityAt(x, sigmas[i]!));
    expect(adamsBashforthStep(latents, velocity, sigmas[i]!, sigmas[i + 1]!, before)).toBe(latents);
    before = { velocity, sigma: sigmas[i]! };
  }
  return latents;
}

/** Strictly falling levels in [0, 1], at least 1e-3 apart. */
const levels = fc
  .uniqueArray(fc.integer({ min: 0, max: 1000 }), { minLength: 3, maxLength: 12 })
  .map((list) => list.toSorted((a, b) => b - a).map((level) => level / 1000));
const number = fc.double({ min: -3, max: 3, noNaN: true });

describe('a step of Adams-Bashforth 2', () => {
  it('is exact for a velocity that is linear in sigma, however long the steps, once there is a step before', () => {
    fc.assert(
      fc.property(levels, number, number, number, (sigmas, x, offset, slope) => {
        const velocityAt = (_: number, sigma: number) => offset + slope * sigma;
        const integral = (sigma: number) => offset * sigma + (slope * sigma * sigma) / 2;
        const [first, second] = sigmas as [number, number];
        const afterFirst = Float32Array.of(x);
        eulerStep(afterFirst, Float32Array.of(velocityAt(0, first)), first, second);
        const exact = afterFirst[0]! + integral(sigmas.at(-1)!) - integral(second);
        // velocities are rounded to float32, and weighed by as much as the longest step is longer than the one before
        const rho = sigmas.map((_, i) => (sigmas[i + 2]! - sigmas[i + 1]!) / (sigmas[i + 1]! - sigmas[i]!));
        const weight = 1 + Math.max(...rho.slice(0, -2));
        return Math.abs(walk(Float32Array.of(x), sigmas, velocityAt)[0]! - exact) < 1e-6 * weight * sigmas.length;
      }),
      { seed: 1 },
    );
  });

  it('without a step before is a step of Euler, to the bit', () => {
    const latents = Float32Array.from({ length: 50 }, (_, i) => Math.sin(i));
    const velocity = Float32Array.from({ length: 50 }, (_, i) => Math.cos(3 * i));
    const euler = eulerStep(latents.slice(), velocity, 0.9, 0.35);
    expect(adamsBashforthStep(latents.slice(), velocity, 0.9, 0.35, null)).toEqual(euler);
    const before = { velocity: velocity.map((v) => v + 0.1), sigma: 1 };
    expect(adamsBashforthStep(latents.slice(), velocity, 0.9, 0.35, before)).not.toEqual(euler);
  });

  it('with equal velocities is a step of Euler', () => {
    fc.assert(
      fc.property(levels, number, number, (sigmas, x, v) => {
        const constant = walk(Float32Array.of(x), sigmas, () => v);
        return Math.abs(constant[0]! - (x + (sigmas.at(-1)! - sigmas[0]!) * v)) < 1e-5;
      }),
      { seed: 2 },
    );
  });

  it('converges with the square of the step where Euler converges with the step', () => {
    // dx/dsigma = x: from x at sigma 1 to x / e at sigma 0; steps of two lengths, which take turns
    const even = (steps: number) => Array.from({ length: steps + 1 }, (_, i) => 1 - i / steps);
    const uneven = (steps: number) => even(steps).map((sigma, i) => (i % 2 === 1 ? sigma - 0.3 / steps : sigma));
    const errorOf = (sigmas: readonly number[]) =>
      Math.abs(walk(Float32Array.of(1), sigmas, (x) => x)[0]! - Math.exp(-1));
    const eulerError = (sigmas: readonly number[]) => {
      const x = Float32Array.of(1);
      for (let i = 0; i + 1 < sigmas.length; i++) eulerStep(x, x.slice(), sigmas[i]!, sigmas[i + 1]!);
      return Math.abs(x[0]! - Math.exp(-1));
    };
    for (const grid of [even, uneven]) {
      const order = (error: (sigmas: readonly number[]) => number) => Math.log2(error(grid(16)) / error(grid(32)));
      expect(order(errorOf)).toBeGreaterThan(1.8);
      expect(order(errorOf)).toBeLessThan(2.2);
      expect(order(eulerError)).toBeGreaterThan(0.9);
      expect(order(eulerError)).toBeLessThan(1.1);
    }
  });

  it('refuses velocities of another length, sigmas outside [0, 1] and a step before that began no higher', () => {
    const x = new Float32Array(4);
    const before = { velocity: x, sigma: 1 };
    expect(() => adamsBashforthStep(x, new Float32Array(3), 0.8, 0.5, before)).toThrow('velocity has 3 entries');
    expect(() => adamsBashforthStep(x, x, 0.8, 0.5, { velocity: new Float32Array(5), sigma: 1 })).toThrow(
      'before.velocity has 5 entries; expected 4',
    );
    expect(() => adamsBashforthStep(x, x, 1.1, 0.5, before)).toThrow('sigma is 1.1');
    expect(() => adamsBashforthStep(x, x, 0.8, Number.NaN, before)).toThrow('sigmaNext is NaN');
    expect(() => adamsBashforthStep(x, x, 0.8, 0.5, { velocity: x, sigma: 1.5 })).toThrow('before.sigma is 1.5');
    expect(() => adamsBashforthStep(x, x, 0.8, 0.5, { velocity: x, sigma: 0.8 })).toThrow(
      'before.sigma is 0.8; expected more than 0.8',
    );
  });
});
