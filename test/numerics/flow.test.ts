import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cleanEstimate,
  eulerStep,
  shiftSigma,
  timestepCdf,
  timestepDensity,
  unshiftSigma,
} from '../../src/numerics/flow.ts';
import { gaussLegendre } from '../../src/numerics/quadrature.ts';

const level = fc.double({ min: 0, max: 1, noNaN: true });
const shift = fc.double({ min: 0.5, max: 10, noNaN: true });

describe('shift algebra', () => {
  it('unshift undoes shift', () => {
    fc.assert(
      fc.property(level, shift, (u, h) => Math.abs(unshiftSigma(shiftSigma(u, h), h) - u) < 1e-14),
      { seed: 1 },
    );
  });

  it('shift keeps both ends, and shift 1 keeps every level', () => {
    fc.assert(
      fc.property(shift, (h) => shiftSigma(0, h) === 0 && Math.abs(shiftSigma(1, h) - 1) < 1e-15),
      { seed: 2 },
    );
    expect(shiftSigma(0.3, 1)).toBe(0.3);
    expect(shiftSigma(0.5, 3)).toBe(0.75);
  });

  it('the density of timesteps integrates to 1 and is the slope of its distribution', () => {
    const { nodes, weights } = gaussLegendre(40);
    fc.assert(
      fc.property(shift, level, (h, t) => {
        const integral = (end: number) =>
          nodes.reduce((sum, node, i) => sum + end * weights[i]! * timestepDensity(end * node, h), 0);
        return Math.abs(integral(1) - 1) < 1e-12 && Math.abs(integral(t) - timestepCdf(t, h)) < 1e-12;
      }),
      { seed: 3 },
    );
  });
});

describe('Euler steps', () => {
  const values = fc.float32Array({
    minLength: 1,
    maxLength: 20,
    noNaN: true,
    noDefaultInfinity: true,
    min: -4,
    max: 4,
  });

  it('the exact velocity carries noise to the clean latents in one step or many, and the clean estimate is the same all along', () => {
    fc.assert(
      fc.property(values, (clean) => {
        const noise = clean.map((_, i) => Math.sin(i + 1));
        const velocity = noise.map((value, i) => value - clean[i]!);
        const latents = noise.slice();
        for (const [sigma, next] of [
          [1, 0.6],
          [0.6, 0.25],
          [0.25, 0],
        ] as const) {
          if (cleanEstimate(latents, velocity, sigma).some((value, i) => Math.abs(value - clean[i]!) > 1e-5))
            return false;
          if (eulerStep(latents, velocity, sigma, next) !== latents) return false;
        }
        return latents.every((value, i) => Math.abs(value - clean[i]!) <= 1e-5);
      }),
      { seed: 4 },
    );
  });

  it('a velocity of another length, or a sigma that is NaN or outside [0, 1], is refused by name', () => {
    const x = new Float32Array(4);
    expect(() => eulerStep(x, new Float32Array(3), 1, 0.5)).toThrow(
      new RangeError('velocity has 3 entries; expected 4'),
    );
    expect(() => cleanEstimate(x, new Float32Array(3), 1)).toThrow(RangeError);
    expect(() => eulerStep(x, x, Number.NaN, 0)).toThrow('sigma is NaN; expected a number from 0 to 1');
    expect(() => eulerStep(x, x, 1, -0.1)).toThrow('sigmaNext is -0.1');
    expect(() => cleanEstimate(x, x, 1.5)).toThrow('sigma is 1.5');
  });
});
