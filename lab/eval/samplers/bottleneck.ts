/**
 * Bottleneck Sampling: high → low → high resolution.
 *
 * From the paper: three stages, full resolution first and last, a lower one between; at each change the clean estimate
 * is resized and noise is put back; each stage has its own shifted timesteps. Our reading, where its text leaves it
 * open: sizes are halved by means of four latent pixels and doubled bilinearly, as latents or as a picture; going down
 * keeps the level, going up raises it as SD3's resolution shift does, sigma → 2 sigma / (1 + sigma), which gives every
 * coarse structure its signal-to-noise ratio back after four times the pixels; a stage's shift is the one the model
 * states for its number of tokens. Steps and ends are ours, chosen for equal work. Source: arXiv 2503.18940.
 */

import { modelShift } from '../../../src/job/model-shift.ts';
import type { Solver } from '../../../src/numerics/adams-bashforth.ts';
import { shiftSigma } from '../../../src/numerics/flow.ts';
import { stageSigmas } from '../../../src/numerics/schedule.ts';
import { gridIds } from '../../../src/numerics/tokens.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens } from './canvas.ts';
import type { Encoder } from './encode.ts';
import { renoised } from './late.ts';
import { doubleLatents, doublePixels, halveLatents } from './resize.ts';

export interface BottleneckOptions {
  /** full, low, full */
  readonly steps: readonly [number, number, number];
  /** t at the end of the first and the second stage */
  readonly ends: readonly [number, number];
  /** Euler's steps unless said otherwise; a stage begins with nothing remembered */
  readonly solver?: Solver;
  /** absent: sizes change as latents; else going up the clean estimate is doubled as a picture */
  readonly pixels?: Encoder;
}

/** t at which the last stage starts. */
export const bottleneckRestart = (end: number): number => 1 - shiftSigma(1 - end, 2);

export const bottleneck =
  ({ steps, ends, solver, pixels }: BottleneckOptions): Sampler =>
  async (denoiser) => {
    const { rows, cols, channels, shift } = canvasOf(denoiser);
    const { seed } = denoiser.job;
    const small = { channels, rows: rows / 2, cols: cols / 2 };
    const lowShift = modelShift(denoiser.facts.shift, (rows * cols) / 4);
    const full = firstTokens(denoiser, 1);

    const first = await denoiser.stepsAndClean(
      full,
      stageSigmas({ start: 0, end: ends[0], steps: steps[0], shift }),
      solver,
    );
    const shrunk = halveLatents(first.clean, { channels, rows, cols });
    const low = {
      latents: renoised(shrunk, 1 - ends[0], { seed, stream: 1 }),
      imgIds: gridIds(small.rows, small.cols),
      scale: new Uint8Array(small.rows * small.cols).fill(2),
    };

    const lowSigmas = stageSigmas({ start: ends[0], end: ends[1], steps: steps[1], shift: lowShift });
    const grown = pixels
      ? denoiser.encode(
          doublePixels((await denoiser.stepsAndPicture(low, lowSigmas, solver)).picture, 'bilinear'),
          pixels,
        )
      : doubleLatents((await denoiser.stepsAndClean(low, lowSigmas, solver)).clean, small, 'bilinear');
    const start = bottleneckRestart(ends[1]);
    const last = { ...full, latents: renoised(grown, 1 - start, { seed, stream: 2 }) };
    const sigmas = stageSigmas({ start, end: 1, steps: steps[2], shift });
    return { ...last, latents: await denoiser.steps(last, sigmas, solver) };
  };
