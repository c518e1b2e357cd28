/**
 * The boundary between two stages: upsample, add the noise that makes the latents white again, hand over in the order
 * of the next stage. Pure.
 */
import { requireLength, requireNumber } from './bounds.ts';
import { standardNormals } from './normal.ts';
import type { Renoise } from './schedule.ts';
import { sortByPosition, type Tokens, tokenWidth } from './tokens.ts';
import { doubleIds, type UpsampleMode, upsampleTokens } from './upsample.ts';

/**
 * `white`, coloured in place: covariance I - cJ (J of ones) within each group of four values that upsampling made
 * equal.
 *
 *   white   [parent * 4 * D]   standard normals of the four children of each parent; D = `width`, a multiple of 4
 *   c       `correlation`, in [0, 1/4]
 *   groups  latent mode: the four slots of a channel within a child
 *           token mode: the same slot of the four children
 *
 * I - cJ has eigenvalues 1 (three times) and 1 - 4c along the group's mean, so subtracting k times the group's sum, k =
 * (1 - sqrt(1 - 4c)) / 4, gives the exact distribution without a matrix. Law: with a, b of renoiseCoefficients, a² (1 -
 * e)² J + b² (I - cJ) = b² I. Source: RALU, arXiv 2507.08422, eq. 4-7. Throws RangeError.
 */
export function correlatedNoise(
  white: Float32Array,
  { width, mode, correlation }: { width: number; mode: UpsampleMode; correlation: number },
): Float32Array {
  requireNumber('correlation', correlation, 0, 0.25);
  if (!(width > 0) || width % 4 !== 0 || white.length % (4 * width) !== 0)
    throw new RangeError(`white has ${white.length} entries; expected four tokens of ${width} values a parent`);
  const k = (1 - Math.sqrt(1 - 4 * correlation)) / 4;
  // a group is four values `stride` apart; `stride` groups lie side by side
  const stride = mode === 'latent' ? 1 : width;
  for (let block = 0; block < white.length; block += 4 * stride) {
    for (let i = block; i < block + stride; i++) {
      const shared = k * (white[i]! + white[i + stride]! + white[i + 2 * stride]! + white[i + 3 * stride]!);
      for (let member = i; member < i + 4 * stride; member += stride) white[member] = white[member]! - shared;
    }
  }
  return white;
}

export interface Boundary {
  readonly tokens: Tokens;
  /** strictly ascending indices of the tokens to upsample; at the last boundary every token still low */
  readonly chosen: Uint32Array;
  readonly mode: UpsampleMode;
  readonly renoise: Renoise;
  /**
   * unit variance for the values that are not upsampled, as the reference has it: 1 + c times the right one for what
   * they carry. Off: variance 1 - c
   */
  readonly referenceVariance: boolean;
  /** whether the last stage comes next: ids are then counted in full tokens and the tokens sorted by (row, col) */
  readonly isLast: boolean;
}

/**
 * The tokens the next stage starts from: x ← signal * Up(x) + noise * z, z drawn from (seed, stream). Depends on
 * nothing else. Throws RangeError.
 */
export function transition({
  seed,
  stream,
  ...boundary
}: Boundary & { readonly seed: number; readonly stream: number }): Tokens {
  const count = boundary.tokens.latents.length + 3 * boundary.chosen.length * tokenWidth(boundary.tokens);
  return transitionWithNoise(boundary, standardNormals({ seed, stream, count }));
}

/**
 * The same with the white noise given, [n' * D], coloured in place. Its order is that of the tokens before any sorting:
 * those not upsampled here, then four children of each chosen one; at the last boundary the children come first, since
 * what is still low stands first there (so in the golden runs).
 */
export function transitionWithNoise(
  { tokens, chosen, mode, renoise, referenceVariance, isLast }: Boundary,
  white: Float32Array,
): Tokens {
  const width = tokenWidth(tokens);
  const upsampled = upsampleTokens(tokens, chosen, mode);
  if (isLast && upsampled.scale.includes(2))
    throw new RangeError(`chosen has ${chosen.length} entries; expected every token of scale 2 at the last boundary`);
  const { latents, imgIds, scale } = upsampled;
  requireLength('white', white.length, latents.length);
  const numFresh = 4 * chosen.length * width;
  const numKept = latents.length - numFresh;
  const fresh = correlatedNoise(isLast ? white.subarray(0, numFresh) : white.subarray(numKept), {
    width,
    mode,
    correlation: renoise.correlation,
  });
  const kept = isLast ? white.subarray(numFresh) : white.subarray(0, numKept);
  const keptNoise = referenceVariance ? renoise.noise : renoise.noise * Math.sqrt(1 - renoise.correlation);
  for (let i = 0; i < numKept; i++) latents[i] = renoise.signal * latents[i]! + keptNoise * kept[i]!;
  for (let i = 0; i < numFresh; i++)
    latents[numKept + i] = renoise.signal * latents[numKept + i]! + renoise.noise * fresh[i]!;
  return isLast ? sortByPosition({ latents, imgIds: doubleIds(imgIds), scale }) : upsampled;
}
