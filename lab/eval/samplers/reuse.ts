/**
 * TeaCache-style reuse: the last velocity serves until the change expected since then has added up to a threshold.
 *
 * From the paper: an accumulated relative L1 change decides, the sum starts again at every evaluation, the first and
 * the last step are always evaluated. Our reading: the paper's signal is the first block's modulated input, rescaled by
 * a polynomial fitted to the model so that it foretells the change of the output; outside the model neither exists. The
 * signal here is that change itself as last seen: mean|v - v'| / mean|v'| a unit of sigma between the last two
 * evaluations. Source: TeaCache, arXiv 2411.19108.
 */
import type { Sampler } from '../sampler.ts';
import { moveBy, type StartStage, walkStage } from './advance.ts';
import { canvasOf, firstTokens, plainSigmas } from './canvas.ts';

/** mean|a - b| / mean|b|. */
export function relativeChange(a: Float32Array, b: Float32Array): number {
  let change = 0;
  let size = 0;
  for (let i = 0; i < a.length; i++) {
    change += Math.abs(a[i]! - b[i]!);
    size += Math.abs(b[i]!);
  }
  return change / size;
}

/** Velocities of one stage, evaluated or used again. Law: threshold 0 evaluates every step. */
export const reuseSteps =
  ({ threshold }: { readonly threshold: number }): StartStage =>
  (denoiser) => {
    let last: { readonly velocity: Float32Array; readonly sigma: number } | null = null;
    let rate: number | null = null;
    return async (tokens, at) => {
      if (last && rate !== null && at.index < at.steps - 1) {
        // `sigma` is where the step begins: the change expected there since the last evaluation
        if (rate * (last.sigma - at.sigma) < threshold) return moveBy(tokens, last.velocity, at);
      }
      const advanced = await denoiser.step(tokens, at.sigma, at.next);
      if (last) rate = relativeChange(advanced.velocity, last.velocity) / (last.sigma - at.sigma);
      last = { velocity: advanced.velocity, sigma: at.sigma };
      return advanced;
    };
  };

/** The plain run with reuse. */
export const teaCache =
  ({ steps, threshold }: { readonly steps: number; readonly threshold: number }): Sampler =>
  async (denoiser) => {
    const tokens = firstTokens(denoiser, 1);
    const { latents } = await walkStage(
      tokens,
      plainSigmas(steps, canvasOf(denoiser).shift),
      reuseSteps({ threshold })(denoiser),
    );
    return { ...tokens, latents };
  };
