/**
 * SPEED: low resolution while the finer frequencies are still noise, then spectral growth.
 *
 * From the paper: the resolution grows along the trajectory; at the growth the spectrum is kept and what is above it is
 * filled with noise; when to grow follows from the model's power spectrum: as soon as the frequencies that the low grid
 * cannot hold would rise out of the noise. Our reading: the cosine transform of latents; one growth, from half to full
 * size; the power law is fitted to the model's own clean latents; the growth comes at the level sigma' at which (1 -
 * sigma')² P(½) = δ sigma'², P(½) the power at the low grid's finest frequency; steps fall on the model's own schedule
 * on both sides. Source: arXiv 2605.18736.
 */
import { standardNormals } from '../../../src/numerics/normal.ts';
import { stageSigmas } from '../../../src/numerics/schedule.ts';
import { gridIds } from '../../../src/numerics/tokens.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens } from './canvas.ts';
import { expandSpectrum, type PowerLaw } from './spectrum.ts';

/** t at which the low run ends and the full one starts. */
export interface Growth {
  readonly end: number;
  readonly start: number;
}

/**
 * The growth that tolerance δ asks for. The low run's level is the one whose expansion stands at sigma': sigma = sigma'
 * / (2 - sigma').
 */
export function growthFor({ scale, slope }: PowerLaw, tolerance: number): Growth {
  const ratio = Math.sqrt((scale * 0.5 ** -slope) / tolerance);
  return { end: 1 - ratio / (2 + ratio), start: 1 - ratio / (1 + ratio) };
}

export const speed =
  ({
    steps,
    growth: { end, start },
  }: {
    readonly steps: readonly [number, number];
    readonly growth: Growth;
  }): Sampler =>
  async (denoiser) => {
    const { rows, cols, channels, width, shift } = canvasOf(denoiser);
    const low = firstTokens(denoiser, 2);
    const latents = await denoiser.steps(low, stageSigmas({ start: 0, end, steps: steps[0], shift }));
    const white = standardNormals({ seed: denoiser.job.seed, stream: 1, count: rows * cols * width });
    const grown = expandSpectrum(latents, white, 1 - end, { channels, rows: rows / 2, cols: cols / 2 });
    const full = { latents: grown, imgIds: gridIds(rows, cols), scale: new Uint8Array(rows * cols).fill(1) };
    return { ...full, latents: await denoiser.steps(full, stageSigmas({ start, end: 1, steps: steps[1], shift })) };
  };
