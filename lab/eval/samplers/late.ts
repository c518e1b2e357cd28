/**
 * Everything upsampled at once, late, by interpolation: K = 2 without NT-Matching, the artefact that RALU starts from.
 *
 * `latents`: the noisy latents themselves are interpolated and the run goes on at the same level, so their noise is no
 * longer white (the paper's mismatch). `clean`: the clean estimate is interpolated and fresh white noise brings it to
 * the same level, which leaves what the paper calls aliasing alone to be seen. Source: RALU, arXiv 2507.08422, remarks
 * 1 and 2 and their figures.
 */

import { standardNormals } from '../../../src/numerics/normal.ts';
import { stageSigmas } from '../../../src/numerics/schedule.ts';
import { gridIds, type Tokens } from '../../../src/numerics/tokens.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens } from './canvas.ts';
import { doubleLatents, type Kernel } from './resize.ts';

export interface LateOptions {
  /** low steps, full steps */
  readonly steps: readonly [number, number];
  /** t at which everything is upsampled */
  readonly end: number;
  readonly kernel: Kernel;
  readonly of: 'latents' | 'clean';
}

/** The model's own schedule, cut at `end`. */
export const lateUpsampling =
  ({ steps, end, kernel, of }: LateOptions): Sampler =>
  async (denoiser) => {
    const { rows, cols, channels, shift } = canvasOf(denoiser);
    const small = { channels, rows: rows / 2, cols: cols / 2 };
    const low = firstTokens(denoiser, 2);
    const lowSigmas = stageSigmas({ start: 0, end, steps: steps[0], shift });
    const onFull = (latents: Float32Array): Tokens => ({
      latents,
      imgIds: gridIds(rows, cols),
      scale: new Uint8Array(rows * cols).fill(1),
    });
    let full: Tokens;
    if (of === 'latents') {
      full = onFull(doubleLatents(await denoiser.steps(low, lowSigmas), small, kernel));
    } else {
      const sigma = 1 - end;
      const { clean } = await denoiser.stepsAndClean(low, lowSigmas);
      full = onFull(
        renoised(doubleLatents(clean, small, kernel), sigma, {
          seed: denoiser.job.seed,
          stream: 1,
        }),
      );
    }
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
