/**
 * SelfLift-zero: the clean estimate lifted two ways, as latents and as a picture, and corrected where they disagree.
 *
 * From the paper: low resolution for the first three quarters of the model's own schedule; the latents are lifted by
 * nearest neighbour, and beside that decoded, enlarged and encoded; where the two differ most, in a share rho of the
 * places, the first is drawn towards the second, by weights from 0.5 to 1 with the difference; fresh noise brings the
 * result back to the same level, and the schedule goes on; no evaluation is added. rho is 0.3 for its model of eight
 * steps. Ours: the Lanczos filter for pixels, and the number of steps, for equal work. Source: SelfLift, arXiv
 * 2609.02036, algorithm 1 and equations 3 to 10.
 */
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens, fullGrid, plainSigmas } from './canvas.ts';
import type { Encoder } from './encode.ts';
import { renoised } from './late.ts';
import { doubleLatents, doublePixels } from './resize.ts';

export interface SelfLiftOptions {
  /** of the whole schedule, and how many of them are low */
  readonly steps: number;
  readonly lowSteps: number;
  /** share of the places that are corrected */
  readonly rho: number;
  /** how much of the picture's latents a corrected place takes, from the least different to the most */
  readonly weights: readonly [number, number];
  readonly encoder: Encoder;
}

export const selfLift =
  ({ steps, lowSteps, rho, weights, encoder }: SelfLiftOptions): Sampler =>
  async (denoiser) => {
    const { rows, cols, channels, shift } = canvasOf(denoiser);
    const sigmas = plainSigmas(steps, shift);
    const sigma = sigmas[lowSteps]!;
    const low = firstTokens(denoiser, 2);
    const { clean } = await denoiser.stepsAndClean(low, sigmas.subarray(0, lowSteps + 1));
    const direct = doubleLatents(clean, { channels, rows: rows / 2, cols: cols / 2 }, 'nearest');
    const picture = await denoiser.decode({ ...low, latents: clean });
    const anchor = denoiser.encode(doublePixels(picture, 'lanczos'), encoder);
    const lifted = correctedLift(direct, anchor, { channels, rho, weights });
    const full = fullGrid(denoiser, renoised(lifted, sigma, { seed: denoiser.job.seed, stream: 1 }));
    return { ...full, latents: await denoiser.steps(full, sigmas.subarray(lowSteps)) };
  };

/**
 * [n * D] `direct` drawn towards `anchor` at the latent pixels whose mean difference over the channels is at or above
 * the (1 - rho) quantile: by the first weight where it is the smallest of those, by the second where it is the largest.
 * Laws: rho = 0 leaves `direct`; rho = 1 with weights 1 gives `anchor`.
 */
export function correctedLift(
  direct: Float32Array,
  anchor: Float32Array,
  {
    channels,
    rho,
    weights: [least, most],
  }: { readonly channels: number; readonly rho: number; readonly weights: readonly [number, number] },
): Float32Array {
  if (rho === 0) return direct.slice();
  // packed tokens: token, channel, pixel of the token
  const placeOf = (i: number): number => 4 * Math.floor(i / (4 * channels)) + (i % 4);
  const scores = new Float64Array(direct.length / channels);
  for (let i = 0; i < direct.length; i++) scores[placeOf(i)]! += Math.abs(anchor[i]! - direct[i]!) / channels;
  const ascending = scores.toSorted();
  const at = (1 - rho) * (ascending.length - 1);
  const below = ascending[Math.floor(at)]!;
  const threshold = below + (at % 1) * (ascending[Math.ceil(at)]! - below);
  const [lowest, highest] = [ascending.find((score) => score >= threshold)!, ascending.at(-1)!];
  return direct.map((value, i) => {
    const score = scores[placeOf(i)]!;
    if (score < threshold) return value;
    const weight = least + (highest > lowest ? ((most - least) * (score - lowest)) / (highest - lowest) : 0);
    return value + weight * (anchor[i]! - value);
  });
}
