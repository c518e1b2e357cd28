/** The squared divergence of NT-Matching without a grid, and its gradient. Pure. */

import { requirePositive } from './bounds.ts';
import type { MatchingProblem } from './densities.ts';
import { timestepCdf, timestepDensity } from './flow.ts';
import type { Objective, Range } from './minimize.ts';
import { gaussLegendre } from './quadrature.ts';

/**
 * Where the shifts are sought for a model whose own shift is H: from min(0.5, H / 4) to max(10, 5 H). The reference's
 * fixed [0.5, 10] pins every shift once H nears 10; the best ones of the published presets stay below 4.7 H. Throws
 * RangeError.
 */
export function shiftRange(modelShift: number): Range {
  requirePositive('modelShift', modelShift);
  return { least: Math.min(0.5, modelShift / 4), most: Math.max(10, 5 * modelShift) };
}

/**
 * Points between two breakpoints: they leave an error below 1e-9 in the divergence for every shift in shiftRange and Z
 * up to 100. The density of shift h has its pole at -1 / (h - 1), so the points must grow with the root of h: 16 serve
 * up to h = 15, and 128, enough to h = 960, are the most.
 */
const numNodes = (modelShift: number): number =>
  16 * Math.min(8, Math.ceil(Math.sqrt(shiftRange(modelShift).most / 15)));

/**
 * The Jensen-Shannon integrand ½ p log(p / m) + ½ q log(q / m), m = (p + q) / 2. Its derivative by p is ½ log(p / m),
 * by q ½ log(q / m).
 */
export function contrast(p: number, q: number): number {
  const middle = (p + q) / 2;
  return (p * Math.log(p / middle) + q * Math.log(q / middle)) / 2;
}

/**
 * The Jensen-Shannon divergence of target and actual (densities.ts) as a function of x = (log h_1 … log h_K,
 * log Z_1 … log Z_(K-1)), with its gradient. In logarithms the valley is rounder and its directions are of one size.
 *
 * Gauss-Legendre between the breakpoints 0, every start, every end, 1: there the target is the model's density times a
 * constant and the actual density a sum over the stages that cover the interval, so one pass over the nodes gathers the
 * value and every integral its gradient needs. A start moves with its Z: the truncations that begin there change, and
 * so does the place where the integrand jumps. Law: the gradient equals central differences.
 */
export function divergenceObjective({ steps, ends, modelShift }: MatchingProblem): Objective {
  const numStages = steps.length;
  const { nodes, weights } = gaussLegendre(numNodes(modelShift));
  const totalSteps = steps.reduce((sum, count) => sum + count);
  const share = Float64Array.from(steps, (count) => count / totalSteps);
  // where the overlap before each stage ends; the first stage has an empty one
  const before = Float64Array.of(0, ...ends.slice(0, -1));

  // one entry a stage: shift, start, and mass of f_h over the stage; length of the overlap, and mass of f_H over it
  const shift = new Float64Array(numStages);
  const start = new Float64Array(numStages);
  const mass = new Float64Array(numStages);
  const overlap = new Float64Array(numStages);
  const overlapMass = new Float64Array(numStages);
  // integrals over the stage of ½ log(actual / middle) times f_h and times its derivative by h; over the overlap of ½
  // log(target / middle) times f_H
  const byDensity = new Float64Array(numStages);
  const byShift = new Float64Array(numStages);
  const byOverlap = new Float64Array(numStages);
  const breakpoints = new Float64Array(2 * numStages);
  const covering = new Uint32Array(numStages);
  const inverse = new Float64Array(numStages);

  return (x, gradient) => {
    let targetMass = 1;
    for (let k = 0; k < numStages; k++) {
      shift[k] = Math.exp(x[k]!);
      start[k] = k === 0 ? 0 : before[k]! / (Math.exp(x[numStages + k - 1]!) * (1 - before[k]!) + before[k]!);
      mass[k] = timestepCdf(ends[k]!, shift[k]!) - timestepCdf(start[k]!, shift[k]!);
      overlap[k] = before[k]! - start[k]!;
      overlapMass[k] = timestepCdf(before[k]!, modelShift) - timestepCdf(start[k]!, modelShift);
      targetMass += overlap[k]!;
      breakpoints[2 * k] = start[k]!;
      breakpoints[2 * k + 1] = ends[k]!;
    }
    breakpoints.sort();
    byDensity.fill(0);
    byShift.fill(0);
    byOverlap.fill(0);
    let divergence = 0;
    let byTarget = 0;

    for (let b = 1; b < breakpoints.length; b++) {
      const left = breakpoints[b - 1]!;
      const width = breakpoints[b]! - left;
      const inside = left + width / 2;
      let numCovering = 0;
      let targetScale = 1 / targetMass;
      for (let k = 0; k < numStages; k++) {
        if (start[k]! > inside || inside > ends[k]!) continue;
        covering[numCovering++] = k;
        if (inside < before[k]!) targetScale += overlap[k]! / overlapMass[k]! / targetMass;
      }

      let byInterval = 0;
      for (let i = 0; i < nodes.length; i++) {
        const t = left + width * nodes[i]!;
        const target = targetScale * timestepDensity(t, modelShift);
        let actual = 0;
        for (let j = 0; j < numCovering; j++) {
          const k = covering[j]!;
          inverse[k] = 1 / (1 + (shift[k]! - 1) * t);
          actual += (share[k]! / mass[k]!) * shift[k]! * inverse[k]! * inverse[k]!;
        }
        const halfWeight = (width * weights[i]!) / 2;
        const targetSlope = halfWeight * Math.log((2 * target) / (target + actual));
        const actualSlope = halfWeight * Math.log((2 * actual) / (target + actual));
        divergence += target * targetSlope + actual * actualSlope;
        byInterval += target * targetSlope;
        for (let j = 0; j < numCovering; j++) {
          const k = covering[j]!;
          const scaled = actualSlope * inverse[k]! * inverse[k]!;
          byDensity[k]! += scaled * shift[k]!;
          byShift[k]! += scaled * inverse[k]! * (1 - t - shift[k]! * t);
        }
      }
      byTarget += byInterval;
      for (let k = 0; k < numStages; k++)
        if (start[k]! < inside && inside < before[k]!) byOverlap[k]! += byInterval / targetScale;
    }

    // the integrand at `t` seen from one side: a stage counts where it covers that side
    const contrastBeside = (t: number, isAfter: boolean) => {
      const reaches = (from: number, to: number) => (isAfter ? from <= t && t < to : from < t && t <= to);
      let targetScale = 1;
      let actual = 0;
      for (let k = 0; k < numStages; k++) {
        if (reaches(start[k]!, ends[k]!)) actual += (share[k]! / mass[k]!) * timestepDensity(t, shift[k]!);
        if (reaches(start[k]!, before[k]!)) targetScale += overlap[k]! / overlapMass[k]!;
      }
      return contrast((targetScale / targetMass) * timestepDensity(t, modelShift), actual);
    };
    for (let k = 0; k < numStages; k++) {
      const perMass = share[k]! / mass[k]!;
      const massByShift = cdfByShift(ends[k]!, shift[k]!) - cdfByShift(start[k]!, shift[k]!);
      gradient[k] = shift[k]! * perMass * (byShift[k]! - (massByShift / mass[k]!) * byDensity[k]!);
      if (k === 0) continue;
      const s = start[k]!;
      const byStart =
        (perMass / mass[k]!) * timestepDensity(s, shift[k]!) * byDensity[k]! +
        (byTarget +
          (((overlap[k]! / overlapMass[k]!) * timestepDensity(s, modelShift) - 1) / overlapMass[k]!) * byOverlap[k]!) /
          targetMass +
        contrastBeside(s, false) -
        contrastBeside(s, true);
      // by log Z: Z ds/dZ = -s (1 - s)
      gradient[numStages + k - 1] = -byStart * s * (1 - s);
    }
    return divergence;
  };
}

/** Derivative of timestepCdf(t, h) by h: t (1 - t) / (1 + (h - 1) t)². */
function cdfByShift(t: number, h: number): number {
  return (t * (1 - t) * timestepDensity(t, h)) / h;
}
