import type { Solver } from '../../../src/numerics/adams-bashforth.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens, plainSigmas } from './canvas.ts';

/** The model as it is: `steps` steps on the full grid along its own schedule, Euler's unless said otherwise. */
export const plain =
  ({ steps, solver }: { readonly steps: number; readonly solver?: Solver }): Sampler =>
  async (denoiser) => {
    const tokens = firstTokens(denoiser, 1);
    return { ...tokens, latents: await denoiser.steps(tokens, plainSigmas(steps, canvasOf(denoiser).shift), solver) };
  };
