/** Euler steps whose velocity need not be asked of the model each time. */
import { eulerStep } from '../../../src/numerics/flow.ts';
import type { Tokens } from '../../../src/numerics/tokens.ts';
import type { Denoiser } from '../denoiser.ts';

export interface Advanced {
  readonly latents: Float32Array;
  readonly velocity: Float32Array;
}

/** One step of a stage: number `index` of `steps`, from `sigma` to `next`. */
export interface At {
  readonly index: number;
  readonly steps: number;
  readonly sigma: number;
  readonly next: number;
}

/**
 * Moves tokens one step. It may remember what came before, so every stage gets a new one: velocities of another grid
 * are no use.
 */
export type Advance = (tokens: Tokens, at: At) => Promise<Advanced>;
export type StartStage = (denoiser: Denoiser) => Advance;

/** Asks the model at every step. */
export const everyStep: StartStage =
  (denoiser) =>
  (tokens, { sigma, next }) =>
    denoiser.step(tokens, sigma, next);

/** The tokens moved by a velocity already known; a copy. */
export const moveBy = (tokens: Tokens, velocity: Float32Array, { sigma, next }: At): Advanced => ({
  latents: eulerStep(tokens.latents.slice(), velocity, sigma, next),
  velocity,
});

/**
 * Latents after a stage along `sigmas` [steps + 1], and its last velocity. Levels are rounded to float32 first, as they
 * travel.
 */
export async function walkStage(tokens: Tokens, sigmas: ArrayLike<number>, advance: Advance): Promise<Advanced> {
  const levels = Float32Array.from(sigmas);
  const steps = levels.length - 1;
  let state: Advanced = { latents: tokens.latents, velocity: new Float32Array(0) };
  for (let index = 0; index < steps; index++)
    state = await advance(
      { ...tokens, latents: state.latents },
      { index, steps, sigma: levels[index]!, next: levels[index + 1]! },
    );
  return state;
}
