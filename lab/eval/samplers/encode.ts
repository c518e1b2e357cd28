/**
 * From pixels back to latents: the encoder that a stage server does not have, as a linear map from the square of pixels
 * behind a latent pixel to its channels, fitted to pictures that the model's own decoder drew. Pure.
 *
 * Latents of an autoencoder need not resize as pictures do: averaged or interpolated they may decode to something else.
 * A rival that resizes goes through pixels then: decode, resize, encode.
 */
import { Matrix, solve } from 'ml-matrix';
import type { Rgb } from '../../../src/job/job.ts';
import { requireLength } from '../../../src/numerics/bounds.ts';
import { packLatents, unpackLatents } from '../../../src/numerics/tokens.ts';

/** Plain JSON, to be stored with the calibration it belongs to. */
export interface Encoder {
  /** side of the square of image pixels behind a latent pixel */
  readonly side: number;
  /** [channels][1 + 3 * side * side] the constant, then (y, x, rgb) in [-1, 1] */
  readonly weights: readonly (readonly number[])[];
  /** [channels] share of the variance that it explains on pictures it was not fitted to, at most 1 */
  readonly explained: readonly number[];
}

/** A picture and the clean latents [n * D] that it was decoded from. */
export interface Decoded {
  readonly latents: Float32Array;
  readonly picture: Rgb;
}

/** Every third picture is kept back, to tell how well the encoder does on what it has not seen. */
const HELD_OUT = 3;
/** Of the mean square of a pixel: keeps the fit determined where some pixels never differ. */
const RIDGE = 1e-4;

/**
 * The least-squares encoder of `pictures`, which have `channels` channels of latents. With fewer than three pictures
 * none is kept back, and `explained` is of those that it was fitted to. Throws RangeError where there is none.
 */
export function fitEncoder(pictures: readonly Decoded[], channels: number): Encoder {
  const [first] = pictures;
  if (!first) throw new RangeError('pictures has 0 entries; expected at least one to fit an encoder to');
  const side = Math.round(Math.sqrt((first.picture.width * first.picture.height) / (first.latents.length / channels)));
  const heldOut = pictures.filter((_, i) => i % HELD_OUT === HELD_OUT - 1);
  const fitted = pictures.filter((_, i) => i % HELD_OUT !== HELD_OUT - 1);
  const width = 1 + 3 * side * side;
  const squares = new Float64Array(width * width);
  const products = new Float64Array(width * channels);
  let count = 0;
  for (const { latents, picture } of fitted) {
    const image = unpackLatents(latents, { channels, ...gridOf(picture, side) });
    const size = image.length / channels;
    for (const [at, patch] of patchesOf(picture, side).entries()) {
      for (let k = 0; k < width; k++) {
        const value = patch[k]!;
        for (let l = k; l < width; l++) squares[k * width + l]! += value * patch[l]!;
        for (let c = 0; c < channels; c++) products[k * channels + c]! += value * image[c * size + at]!;
      }
      count += 1;
    }
  }
  for (let k = 0; k < width; k++) {
    squares[k * width + k]! += k === 0 ? 0 : RIDGE * count;
    for (let l = 0; l < k; l++) squares[k * width + l] = squares[l * width + k]!;
  }
  const solved = solve(Matrix.from1DArray(width, width, squares), Matrix.from1DArray(width, channels, products));
  const weights = Array.from({ length: channels }, (_, c) => solved.getColumn(c));
  const fit = { side, weights };
  return { ...fit, explained: explainedBy(fit, heldOut.length > 0 ? heldOut : fitted, channels) };
}

/**
 * [n * D] packed latents of a picture, whose sides are multiples of two latent pixels. Law: what the fit explains
 * wholly it gives back.
 */
export function encodePixels(picture: Rgb, { side, weights }: Pick<Encoder, 'side' | 'weights'>): Float32Array {
  const patches = patchesOf(picture, side);
  const image = new Float32Array(weights.length * patches.length);
  for (const [c, weight] of weights.entries()) {
    for (const [at, patch] of patches.entries()) {
      let sum = 0;
      for (let k = 0; k < patch.length; k++) sum += weight[k]! * patch[k]!;
      image[c * patches.length + at] = sum;
    }
  }
  return packLatents(image, { channels: weights.length, ...gridOf(picture, side) });
}

/** Floating-point operations of encoding an image pixel, 2 per multiply-add. */
export const encodeFlopsPerPixel = ({ side, weights }: Pick<Encoder, 'side' | 'weights'>): number =>
  weights.reduce((sum, weight) => sum + 2 * weight.length, 0) / side ** 2;

/** [channels] 1 - squared error / variance over `pictures`; 1 where a channel has neither. */
function explainedBy(
  fit: Pick<Encoder, 'side' | 'weights'>,
  pictures: readonly Decoded[],
  channels: number,
): readonly number[] {
  const pairs = pictures.map(({ latents, picture }) => {
    const grid = { channels, ...gridOf(picture, fit.side) };
    return { real: unpackLatents(latents, grid), found: unpackLatents(encodePixels(picture, fit), grid) };
  });
  return Array.from({ length: channels }, (_, c) => {
    const channel = (image: Float32Array) =>
      image.subarray((c * image.length) / channels, ((c + 1) * image.length) / channels);
    let [count, sum, square, error] = [0, 0, 0, 0];
    for (const { real, found } of pairs) {
      const estimate = channel(found);
      for (const [i, value] of channel(real).entries()) {
        count += 1;
        sum += value;
        square += value * value;
        error += (value - estimate[i]!) ** 2;
      }
    }
    const variance = square - sum ** 2 / count;
    return variance > 0 ? 1 - error / variance : error > 0 ? 0 : 1;
  });
}

const gridOf = ({ width, height }: Rgb, side: number): { rows: number; cols: number } => ({
  rows: height / side / 2,
  cols: width / side / 2,
});

/** The squares of a picture, row by row: each [1 + 3 * side * side], 1 and then the pixels in [-1, 1]. */
function patchesOf({ data, width, height }: Rgb, side: number): readonly Float32Array[] {
  requireLength('picture', data.length, 3 * width * height);
  const cols = width / side;
  return Array.from({ length: cols * (height / side) }, (_, at) => {
    const patch = new Float32Array(1 + 3 * side * side).fill(1, 0, 1);
    const top = Math.floor(at / cols) * side;
    const left = (at % cols) * side;
    for (let y = 0; y < side; y++) {
      const from = 3 * ((top + y) * width + left);
      for (let i = 0; i < 3 * side; i++) patch[1 + 3 * side * y + i] = data[from + i]! / 127.5 - 1;
    }
    return patch;
  });
}
