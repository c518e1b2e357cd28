/**
 * MrFlow: the whole picture at low resolution, enlarged as pixels, and a last step at full size.
 *
 * From the paper and its code: the low run ends in a clean picture and walks the schedule of its own size; the picture
 * is enlarged twice, encoded, and brought to a low level, 0.12 to 0.15, with fresh noise; one full step from there to
 * 0. Not the paper's: its enlarger is Real-ESRGAN, a network trained on photographs; here it is a Lanczos filter. The
 * number of low steps is ours, for equal work. Source: MrFlow, arXiv 2607.01642.
 */
import { modelShift } from '../../../src/job/model-shift.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens, fullGrid, plainSigmas } from './canvas.ts';
import type { Encoder } from './encode.ts';
import { renoised } from './late.ts';
import { doublePixels } from './resize.ts';

export interface MrFlowOptions {
  readonly lowSteps: number;
  /** the level that the enlarged picture is brought to */
  readonly sigma: number;
  readonly encoder: Encoder;
}

export const mrFlow =
  ({ lowSteps, sigma, encoder }: MrFlowOptions): Sampler =>
  async (denoiser) => {
    const { rows, cols } = canvasOf(denoiser);
    const lowShift = modelShift(denoiser.facts.shift, (rows * cols) / 4);
    const low = firstTokens(denoiser, 2);
    const { picture } = await denoiser.stepsAndPicture(low, plainSigmas(lowSteps, lowShift));
    const clean = denoiser.encode(doublePixels(picture, 'lanczos'), encoder);
    const full = fullGrid(denoiser, renoised(clean, sigma, { seed: denoiser.job.seed, stream: 1 }));
    return { ...full, latents: await denoiser.steps(full, [sigma, 0]) };
  };
