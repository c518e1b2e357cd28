/** A minimiser for smooth functions of a few variables inside a box. Pure: same function and start, same answer. */
import { requireLength } from './bounds.ts';

/** The value at `x`; fills `gradient`, which is as long as x. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

/** From `least` to `most`, both included. */
export interface Range {
  readonly least: number;
  readonly most: number;
}

export interface Box {
  readonly start: readonly number[];
  readonly lower: readonly number[];
  readonly upper: readonly number[];
  /** smallest fall of the value worth another step */
  readonly tolerance: number;
}

export interface Minimum {
  readonly x: Float64Array;
  readonly value: number;
  readonly evaluations: number;
}

const MAX_STEPS = 200;
/** share of the fall promised by the slope that a step must keep, and the shortest fraction of a step tried */
const ARMIJO = 1e-4;
const SHORTEST = 2 ** -30;

/**
 * The local minimum of `objective` in the box [lower, upper] reached from `start` (moved into the box first), never
 * above the start's value.
 *
 * Projected BFGS: variables that the gradient holds at a bound stay there, the quasi-Newton step is solved for the
 * others, then halved and clipped into the box until the value falls enough. Where that fails, or the model has gone
 * stale, steepest descent is tried before giving up, so a kink or a flat function ends the search and a flat valley
 * does not. Throws RangeError when the box is empty or the value at the start is not finite; any other value that is
 * not finite is a step too far.
 */
export function minimize(objective: Objective, { start, lower, upper, tolerance }: Box): Minimum {
  const n = start.length;
  requireLength('lower', lower.length, n);
  requireLength('upper', upper.length, n);
  for (let i = 0; i < n; i++)
    if (!(lower[i]! <= upper[i]!))
      throw new RangeError(`lower[${i}] is ${lower[i]}; expected at most upper[${i}], ${upper[i]}`);
  const intoBox = (value: number, i: number) => Math.min(upper[i]!, Math.max(lower[i]!, value));

  let x = Float64Array.from(start, intoBox);
  let gradient = new Float64Array(n);
  let value = objective(x, gradient);
  let evaluations = 1;
  if (!Number.isFinite(value)) throw new RangeError(`objective is ${value} at the start; expected a finite number`);
  let hessian: Float64Array | null = null;

  for (let step = 0; step < MAX_STEPS; step++) {
    const isFree = (i: number) => (gradient[i]! > 0 ? x[i]! > lower[i]! : x[i]! < upper[i]!);
    const direction =
      hessian === null ? gradient.map((slope, i) => (isFree(i) ? -slope : 0)) : newtonStep(hessian, gradient, isFree);

    // halve the step until the value falls by a share of what the slope promises
    const moved = new Float64Array(n);
    const nextGradient = new Float64Array(n);
    let next = x;
    let gain = 0;
    for (let size = 1; size >= SHORTEST && gain === 0; size /= 2) {
      next = x.map((coordinate, i) => intoBox(coordinate + size * direction[i]!, i));
      for (let i = 0; i < n; i++) moved[i] = next[i]! - x[i]!;
      const promised = -dot(gradient, moved);
      if (!(promised > tolerance * ARMIJO)) break;
      const fall = value - objective(next, nextGradient);
      evaluations++;
      if (fall >= ARMIJO * promised) gain = fall;
    }
    if (gain < tolerance) {
      if (hessian === null) break;
      hessian = null;
    }
    if (gain > 0) {
      const turned = nextGradient.map((slope, i) => slope - gradient[i]!);
      hessian = curvatureUpdate(hessian, moved, turned);
      x = next;
      gradient = nextGradient;
      value -= gain;
    }
  }
  return { x, value, evaluations };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/**
 * The BFGS update of `hessian` [n * n] for a step that turned the gradient by `turned`, in place; a missing one begins
 * as the identity scaled to the step's own curvature. Unchanged where the curvature along the step is not positive, so
 * the matrix stays positive definite.
 */
function curvatureUpdate(hessian: Float64Array | null, moved: Float64Array, turned: Float64Array): Float64Array | null {
  const n = moved.length;
  const curvature = dot(moved, turned);
  if (!(curvature > 0)) return hessian;
  const matrix =
    hessian ??
    Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? dot(turned, turned) / curvature : 0));
  const image = moved.map((_, row) => dot(matrix.subarray(row * n, row * n + n), moved));
  const stretch = dot(moved, image);
  for (let row = 0; row < n; row++) {
    for (let col = 0; col < n; col++)
      matrix[row * n + col]! += (turned[row]! * turned[col]!) / curvature - (image[row]! * image[col]!) / stretch;
  }
  return matrix;
}

/**
 * The solution of hessian * step = -gradient over the free variables, 0 elsewhere: elimination without pivots, which a
 * positive definite matrix needs not.
 */
function newtonStep(hessian: Float64Array, gradient: Float64Array, isFree: (i: number) => boolean): Float64Array {
  const n = gradient.length;
  const matrix = hessian.slice();
  const step = gradient.map((slope, i) => (isFree(i) ? -slope : 0));
  for (let i = 0; i < n; i++) {
    if (isFree(i)) continue;
    for (let j = 0; j < n; j++) matrix[i * n + j] = matrix[j * n + i] = 0;
    matrix[i * n + i] = 1;
  }
  for (let pivot = 0; pivot < n; pivot++) {
    for (let row = pivot + 1; row < n; row++) {
      const factor = matrix[row * n + pivot]! / matrix[pivot * n + pivot]!;
      for (let col = pivot; col < n; col++) matrix[row * n + col]! -= factor * matrix[pivot * n + col]!;
      step[row]! -= factor * step[pivot]!;
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let col = row + 1; col < n; col++) step[row]! -= matrix[row * n + col]! * step[col]!;
    step[row]! /= matrix[row * n + row]!;
  }
  return step;
}
