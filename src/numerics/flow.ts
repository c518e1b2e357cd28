/**
 * The flow: x = (1 - sigma) * clean + sigma * noise, velocity = noise - clean, sigma from 1 (noise) to 0 (image).
 * The paper's clock is t = 1 - sigma. A shift h moves where the steps fall; h = 1 moves nothing. Pure.
 */
import { requireLength, requireNumber } from './bounds.ts';

/**
 * Shifted noise level h u / (1 + (h - 1) u) of the even level u in [0, 1], shift h > 0. Law: unshiftSigma undoes it.
 */
export function shiftSigma(u: number, h: number): number {
  return (h * u) / (1 + (h - 1) * u);
}

/** Even level u = sigma / (h - (h - 1) sigma) whose shift by h is `sigma`. */
export function unshiftSigma(sigma: number, h: number): number {
  return sigma / (h - (h - 1) * sigma);
}

/**
 * Density f_h(t) = h / (1 + (h - 1) t)² of the timesteps that shift h visits, t in [0, 1] from noise to image. Law: its
 * integral over [0, 1] is 1.
 */
export function timestepDensity(t: number, h: number): number {
  const divisor = 1 + (h - 1) * t;
  return h / (divisor * divisor);
}

/**
 * Distribution F_h(t) = h t / (1 + (h - 1) t) of timestepDensity; the same curve as shiftSigma, read on the other
 * clock.
 */
export function timestepCdf(t: number, h: number): number {
  return shiftSigma(t, h);
}

/**
 * Clean estimate x - sigma * velocity, a new array. At the level the velocity was evaluated at, and anywhere along that
 * Euler step, this is Tweedie's.
 */
export function cleanEstimate(latents: Float32Array, velocity: Float32Array, sigma: number): Float32Array {
  requireLength('velocity', velocity.length, latents.length);
  requireNumber('sigma', sigma, 0, 1);
  const clean = new Float32Array(latents.length);
  for (let i = 0; i < clean.length; i++) clean[i] = latents[i]! - sigma * velocity[i]!;
  return clean;
}

/** `latents`, moved in place by one Euler step x += (sigmaNext - sigma) * velocity. */
export function eulerStep(
  latents: Float32Array,
  velocity: Float32Array,
  sigma: number,
  sigmaNext: number,
): Float32Array {
  requireLength('velocity', velocity.length, latents.length);
  requireNumber('sigma', sigma, 0, 1);
  requireNumber('sigmaNext', sigmaNext, 0, 1);
  const step = sigmaNext - sigma;
  for (let i = 0; i < latents.length; i++) latents[i] = latents[i]! + step * velocity[i]!;
  return latents;
}
