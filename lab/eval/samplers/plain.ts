import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens, plainSigmas } from './canvas.ts';

/** The model as it is: `steps` Euler steps on the full grid along its own schedule. */
export const plain =
  ({ steps }: { readonly steps: number }): Sampler =>
  async (denoiser) => {
    const tokens = firstTokens(denoiser, 1);
    return { ...tokens, latents: await denoiser.steps(tokens, plainSigmas(steps, canvasOf(denoiser).shift)) };
  };
