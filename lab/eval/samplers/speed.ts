/**
 * SPEED: low resolution while the finer frequencies are still noise, then spectral growth.
 *
 * From the paper and its code: two scales, half and full size, one schedule of the model's own; the frequency omega is
 * noise until the level t at which its error falls to δ, t = 1 / (1 + sqrt(δ / (P (1 + P - δ)))), P the power law of
 * the model's clean latents at the low grid's finest frequency; the growth comes at the first level of the schedule at
 * or below t, by cosine transform, with noise above; the level becomes 2 t / (1 + t), and the next step goes from there
 * to the schedule's next level; δ = 0.01. Ours: the number of steps, for equal work. `pixels` is ours too: the clean
 * estimate grows as a picture, its noise by the paper's expansion. Source: arXiv 2605.18736, equations 5, 6, 9 and 10.
 */
import { standardNormals } from '../../../src/numerics/normal.ts';
import type { Denoiser } from '../denoiser.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens, fullGrid, plainSigmas } from './canvas.ts';
import type { Encoder } from './encode.ts';
import { doublePixels } from './resize.ts';
import { expandSpectrum, type PowerLaw } from './spectrum.ts';

/**
 * The noise level at which the low grid's finest frequency comes out of the noise, by tolerance `delta`. Throws
 * RangeError unless delta is above 0 and below 1.
 */
export function growthLevel({ scale, slope }: PowerLaw, delta: number): number {
  if (!(delta > 0 && delta < 1)) throw new RangeError(`delta is ${delta}; expected a number above 0 and below 1`);
  const power = scale * 0.5 ** -slope;
  return 1 / (1 + Math.sqrt(delta / (power * (1 + power - delta))));
}

/** Low steps of a schedule [steps + 1]: those before its first level at or below `level`, and at least one of each. */
export const lowSteps = (sigmas: ArrayLike<number>, level: number): number => {
  const found = Array.from(sigmas).findIndex((sigma) => sigma <= level);
  return Math.min(sigmas.length - 2, Math.max(1, found));
};

/** The level that latents stand at after they have grown at `sigma`. */
export const grownLevel = (sigma: number): number => (2 * sigma) / (1 + sigma);

export const speed =
  ({
    steps,
    level,
    pixels,
  }: {
    /** of the whole schedule */
    readonly steps: number;
    readonly level: number;
    /** absent: latents grow by the cosine transform, as the paper has it */
    readonly pixels?: Encoder;
  }): Sampler =>
  async (denoiser) => {
    const { rows, cols, channels, width, shift } = canvasOf(denoiser);
    const sigmas = plainSigmas(steps, shift);
    const count = lowSteps(sigmas, level);
    const sigma = sigmas[count]!;
    const small = { channels, rows: rows / 2, cols: cols / 2 };
    const white = standardNormals({ seed: denoiser.job.seed, stream: 1, count: rows * cols * width });
    const low = firstTokens(denoiser, 2);
    const lowSigmas = sigmas.subarray(0, count + 1);
    const grown = pixels
      ? await growPicture(denoiser, { lowSigmas, white, small, pixels })
      : expandSpectrum(await denoiser.steps(low, lowSigmas), white, sigma, small);
    const full = fullGrid(denoiser, grown);
    const fullSigmas = Float64Array.of(grownLevel(sigma), ...sigmas.subarray(count + 1));
    return { ...full, latents: await denoiser.steps(full, fullSigmas) };
  };

/** The low run's clean estimate grown as a picture, and its noise by spectral expansion, at the grown level. */
async function growPicture(
  denoiser: Denoiser,
  {
    lowSigmas,
    white,
    small,
    pixels,
  }: {
    lowSigmas: Float64Array;
    white: Float32Array;
    small: { channels: number; rows: number; cols: number };
    pixels: Encoder;
  },
): Promise<Float32Array> {
  const low = firstTokens(denoiser, 2);
  const sigma = lowSigmas.at(-1)!;
  const { latents, clean } = await denoiser.stepsAndClean(low, lowSigmas);
  const picture = await denoiser.decode({ ...low, latents: clean });
  const grown = denoiser.encode(doublePixels(picture, 'lanczos'), pixels);
  const noise = expandSpectrum(
    latents.map((value, i) => (value - (1 - sigma) * clean[i]!) / sigma),
    white,
    1,
    small,
  );
  const level = grownLevel(sigma);
  return grown.map((value, i) => (1 - level) * value + level * noise[i]!);
}
