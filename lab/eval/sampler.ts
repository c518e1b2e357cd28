/** What every way of sampling is: a function from a denoiser to a picture's latents. */
import type { Tokens } from '../../src/numerics/tokens.ts';
import type { Denoiser, Pixels } from './denoiser.ts';

/** What a sampler made: the clean full grid, row by row, scale 1. */
export interface Sampled extends Tokens {
  /** tokens of the half-size grid that were upsampled before the others; absent where none were */
  readonly early?: Uint32Array;
  /** pictures of the clean estimate after each stage but the last, as it came; absent where none were asked for */
  readonly previews?: readonly Pixels[];
}

/** Makes a picture's latents: deterministic in the denoiser's model and job. */
export type Sampler = (denoiser: Denoiser) => Promise<Sampled>;
