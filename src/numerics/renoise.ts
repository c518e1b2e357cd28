/**
 * The boundary between two stages: upsample, add the noise that makes the latents white again, hand over in the order
 * of the next stage. Pure.
 */
import { requireLength, requireNumber } from './bounds.ts';
import { normalsAtPlaces, standardNormals } from './normal.ts';
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
 * What numbers the values of a boundary's noise. `place`: each value has a number of its own for its token's place on
 * the final grid. `list`: it is counted along the list of tokens, as the golden runs have it, so another selection
 * gives most tokens other noise.
 */
export type NoiseOrder = 'list' | 'place';

/**
 * The tokens the next stage starts from: x ← signal * Up(x) + noise * z, z drawn from (seed, stream). Depends on
 * nothing else. Law of `order` place: a token that two selections treat alike is the same after both. Throws
 * RangeError.
 */
export function transition({
  seed,
  stream,
  order,
  ...boundary
}: Boundary & { readonly seed: number; readonly stream: number; readonly order: NoiseOrder }): Tokens {
  const upsampled = upsample(boundary);
  const width = tokenWidth(upsampled);
  if (order === 'list')
    return addNoise(boundary, upsampled, (from, count) =>
      standardNormals({ seed, stream, offset: from * width, count: count * width }),
    );
  const numFresh = 4 * boundary.chosen.length;
  // in the order in which the noise is taken: at the last boundary the children come first
  const places = finalPlaces(upsampled.imgIds);
  const inOrder = boundary.isLast ? rotate(places, places.length - 2 * numFresh) : places;
  return addNoise(boundary, upsampled, (from, count) =>
    normalsAtPlaces({ seed, stream, places: inOrder.subarray(2 * from, 2 * (from + count)), width }),
  );
}

/**
 * The same with the white noise given, [n' * D], coloured in place. Its order is that of the tokens before any sorting:
 * those not upsampled here, then four children of each chosen one; at the last boundary the children come first, since
 * what is still low stands first there (so in the golden runs).
 */
export function transitionWithNoise(boundary: Boundary, white: Float32Array): Tokens {
  const upsampled = upsample(boundary);
  const width = tokenWidth(upsampled);
  requireLength('white', white.length, upsampled.latents.length);
  return addNoise(boundary, upsampled, (from, count) => white.subarray(from * width, (from + count) * width));
}

function upsample({ tokens, chosen, mode, isLast }: Boundary): Tokens {
  const upsampled = upsampleTokens(tokens, chosen, mode);
  if (isLast && upsampled.scale.includes(2))
    throw new RangeError(`chosen has ${chosen.length} entries; expected every token of scale 2 at the last boundary`);
  return upsampled;
}

/** [n * 2] row and column of each token on the final grid; a low token stands where its child (0, 0) would. */
function finalPlaces(imgIds: Float32Array): Uint32Array {
  const places = new Uint32Array((imgIds.length / 3) * 2);
  for (let n = 0; n < places.length / 2; n++) {
    places[2 * n] = 2 * imgIds[3 * n + 1]!;
    places[2 * n + 1] = 2 * imgIds[3 * n + 2]!;
  }
  return places;
}

/** `list` with what stands from `first` on put before the rest. */
function rotate(list: Uint32Array, first: number): Uint32Array {
  const rotated = new Uint32Array(list.length);
  rotated.set(list.subarray(first));
  rotated.set(list.subarray(0, first), list.length - first);
  return rotated;
}

/** Tokens whose noise is drawn at a time, a multiple of four: all of it together would be as large as the latents. */
const TOKENS_AT_ONCE = 256;

/** `whiteOf` gives the noise of `count` tokens from the one numbered `from` on, in the order in which it is taken. */
function addNoise(
  { chosen, mode, renoise: { signal, noise, correlation }, referenceVariance, isLast }: Boundary,
  upsampled: Tokens,
  whiteOf: (from: number, count: number) => Float32Array,
): Tokens {
  const width = tokenWidth(upsampled);
  const { latents, imgIds, scale } = upsampled;
  const numFresh = 4 * chosen.length;
  const numKept = scale.length - numFresh;
  const keptNoise = referenceVariance ? noise : noise * Math.sqrt(1 - correlation);
  for (let n = 0; n < numKept; n += TOKENS_AT_ONCE) {
    const white = whiteOf(isLast ? numFresh + n : n, Math.min(TOKENS_AT_ONCE, numKept - n));
    blend(latents, n * width, signal, keptNoise, white);
  }
  for (let n = 0; n < numFresh; n += TOKENS_AT_ONCE) {
    const white = whiteOf(isLast ? n : numKept + n, Math.min(TOKENS_AT_ONCE, numFresh - n));
    blend(latents, (numKept + n) * width, signal, noise, correlatedNoise(white, { width, mode, correlation }));
  }
  return isLast ? sortByPosition({ latents, imgIds: doubleIds(imgIds), scale }) : upsampled;
}

/** `latents` with their values from `at` on scaled by `signal`, and `noise` times `white` added. */
function blend(latents: Float32Array, at: number, signal: number, noise: number, white: Float32Array): Float32Array {
  for (let i = 0; i < white.length; i++) latents[at + i] = signal * latents[at + i]! + noise * white[i]!;
  return latents;
}
