/**
 * Everything upsampled at once, late, by interpolation: K = 2 without NT-Matching, the artefact that RALU starts from.
 *
 * `latents`: the noisy latents themselves are interpolated and the run goes on at the same level, so their noise is no
 * longer white (the paper's mismatch). `clean`: the clean estimate is interpolated and fresh white noise brings it to
 * the same level, which leaves what the paper calls aliasing alone to be seen. `pixels`: as `clean`, but what is
 * interpolated is the clean estimate's picture. Source: RALU, arXiv 2507.08422, remarks 1 and 2 and their figures.
 */

import { standardNormals } from '../../../src/numerics/normal.ts';
import { stageSigmas } from '../../../src/numerics/schedule.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens, fullGrid } from './canvas.ts';
import type { Encoder } from './encode.ts';
import { doubleLatents, doublePixels, type Kernel } from './resize.ts';

export interface LateOptions {
  /** low steps, full steps */
  readonly steps: readonly [number, number];
  /** t at which everything is upsampled */
  readonly end: number;
  readonly kernel: Kernel;
  /** what is interpolated; the picture comes back through an encoder */
  readonly of: 'latents' | 'clean' | { readonly pixels: Encoder };
}

/** The model's own schedule, cut at `end`. */
export const lateUpsampling =
  ({ steps, end, kernel, of }: LateOptions): Sampler =>
  async (denoiser) => {
    const { rows, cols, channels, shift } = canvasOf(denoiser);
    const small = { channels, rows: rows / 2, cols: cols / 2 };
    const low = firstTokens(denoiser, 2);
    const lowSigmas = stageSigmas({ start: 0, end, steps: steps[0], shift });
    const brought = (clean: Float32Array): Float32Array =>
      renoised(clean, 1 - end, { seed: denoiser.job.seed, stream: 1 });
    let latents: Float32Array;
    if (of === 'latents') {
      latents = doubleLatents(await denoiser.steps(low, lowSigmas), small, kernel);
    } else if (of === 'clean') {
      const { clean } = await denoiser.stepsAndClean(low, lowSigmas);
      latents = brought(doubleLatents(clean, small, kernel));
    } else {
      const { picture } = await denoiser.stepsAndPicture(low, lowSigmas);
      latents = brought(denoiser.encode(doublePixels(picture, kernel), of.pixels));
    }
    const full = fullGrid(denoiser, latents);
    return {
      ...full,
      latents: await denoiser.steps(full, stageSigmas({ start: end, end: 1, steps: steps[1], shift })),
    };
  };

/** Clean latents brought to `sigma` with fresh white noise: (1 - sigma) clean + sigma z. */
export function renoised(
  clean: Float32Array,
  sigma: number,
  { seed, stream }: { readonly seed: number; readonly stream: number },
): Float32Array {
  const noise = standardNormals({ seed, stream, count: clean.length });
  return clean.map((value, i) => (1 - sigma) * value + sigma * noise[i]!);
}
