/** Second-order steps at no extra evaluation: the velocity of the step before tells where this one is going. Pure. */
import { requireLength, requireNumber } from './bounds.ts';
import { eulerStep } from './flow.ts';

/** How a stage steps: Euler, or Adams-Bashforth of second order, which begins every stage with a step of Euler. */
export const SOLVERS = ['euler', 'ab2'] as const;
export type Solver = (typeof SOLVERS)[number];

/** Where the step before began, and the velocity there. */
export interface StepBefore {
  readonly velocity: Float32Array;
  readonly sigma: number;
}

/**
 * `latents`, moved in place by one step of Adams-Bashforth 2 from `sigma` to `sigmaNext`: the velocity is carried on
 * along its line through the two evaluations, with weights 1 + rho / 2 and -rho / 2, where rho is this step over the
 * step before. Where there is none before, `before` is null and the step is Euler's. Laws: exact, to rounding, for a
 * velocity that is linear in sigma; with equal velocities it is Euler's. Throws RangeError for velocities of another
 * length, a sigma outside [0, 1], or one that did not fall since the step before.
 */
export function adamsBashforthStep(
  latents: Float32Array,
  velocity: Float32Array,
  sigma: number,
  sigmaNext: number,
  before: StepBefore | null,
): Float32Array {
  if (!before) return eulerStep(latents, velocity, sigma, sigmaNext);
  requireLength('velocity', velocity.length, latents.length);
  requireLength('before.velocity', before.velocity.length, latents.length);
  requireNumber('sigma', sigma, 0, 1);
  requireNumber('sigmaNext', sigmaNext, 0, 1);
  requireNumber('before.sigma', before.sigma, 0, 1);
  if (!(before.sigma > sigma)) throw new RangeError(`before.sigma is ${before.sigma}; expected more than ${sigma}`);
  const step = sigmaNext - sigma;
  const half = step / (sigma - before.sigma) / 2;
  for (let i = 0; i < latents.length; i++)
    latents[i] = latents[i]! + step * ((1 + half) * velocity[i]! - half * before.velocity[i]!);
  return latents;
}
