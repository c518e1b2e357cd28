/**
 * TaylorSeer: the velocity of skipped steps is forecast from evaluated ones. The sum is the product's own
 * (src/numerics/taylor.ts); an interval of 1 is for the evaluation alone.
 *
 * From the paper: the formula, the interval, the order. Our reading: the velocity in place of every block's features,
 * and the warm-up as RALU's W, which its paper does not define. `newton` is ours: divided differences over sigma, exact
 * wherever the velocity is a polynomial in sigma. Source: TaylorSeer, arXiv 2503.06923, eq. 5-7.
 */
import {
  type Differences,
  type EvaluatedSteps,
  forecastVelocity,
  isEvaluated,
  rememberVelocity,
} from '../../../src/numerics/taylor.ts';
import type { Sampler } from '../sampler.ts';
import { type Advance, type At, moveBy, type StartStage, walkStage } from './advance.ts';
import { canvasOf, firstTokens, plainSigmas } from './canvas.ts';
import { type DividedDifferences, divide, extrapolate } from './divided-differences.ts';

export interface TaylorOptions extends EvaluatedSteps {
  /** highest difference used, as far as evaluations reach */
  readonly order: number;
  readonly form: 'taylor' | 'newton';
}

/** What evaluations leave behind, and the velocity it promises for a later step. */
interface Memory {
  remember(velocity: Float32Array, at: At): void;
  forecast(at: At): Float32Array;
}

function overSteps(order: number): Memory {
  let known: Differences | null = null;
  return {
    remember(velocity, { index }) {
      known = rememberVelocity(known, velocity, index, order);
    },
    forecast: ({ index }) => forecastVelocity(known!, index),
  };
}

function overSigma(order: number): Memory {
  let known: DividedDifferences = [];
  return {
    remember(velocity, { sigma }) {
      known = divide(known, velocity, sigma, order);
    },
    forecast: ({ sigma }) => extrapolate(known, sigma),
  };
}

/** Velocities of one stage, evaluated or forecast. */
export const taylorSteps =
  (options: TaylorOptions): StartStage =>
  (denoiser): Advance => {
    const memory = options.form === 'newton' ? overSigma(options.order) : overSteps(options.order);
    return async (tokens, at) => {
      if (!isEvaluated(at.index, options)) return moveBy(tokens, memory.forecast(at), at);
      const advanced = await denoiser.step(tokens, at.sigma, at.next);
      memory.remember(advanced.velocity, at);
      return advanced;
    };
  };

/** The plain run with forecasts. Law: interval 1 is the plain run to the bit. */
export const taylorSeer =
  ({ steps, ...options }: TaylorOptions & { readonly steps: number }): Sampler =>
  async (denoiser) => {
    const tokens = firstTokens(denoiser, 1);
    const { latents } = await walkStage(
      tokens,
      plainSigmas(steps, canvasOf(denoiser).shift),
      taylorSteps(options)(denoiser),
    );
    return { ...tokens, latents };
  };
