/**
 * What colours latents have, roughly: a linear map from one latent pixel to a few picture pixels, fitted once to the
 * model's own decoder. Looking at a running stage then costs a matrix product, no decoding.
 *
 *   [1, channels + 1] · [channels + 1, side * side * 3] → side x side pixels, RGB in 0..255
 */
import { requireInteger } from '../../src/numerics/bounds.ts';
import { standardNormals } from '../../src/numerics/normal.ts';
import { unpackLatents } from '../../src/numerics/tokens.ts';
import type { Pixels } from './pixels.ts';

export interface Colours {
  readonly channels: number;
  /** picture pixels that a latent pixel becomes, on each side */
  readonly side: number;
  /** [channels + 1, side * side * 3]; the last row is what zeros show */
  readonly weights: Float64Array;
}

interface Facts {
  readonly channels: number;
  readonly token_pixels: number;
}
type Decode = (latents: Float32Array, rows: number, cols: number) => Promise<Uint8Array>;

/** Most pixels a side that are fitted for a latent pixel. */
const MOST_SIDE = 4;
/** The latents that are decoded for the fit: a grid of tokens, in patches of one colour, with this deviation. */
const GRID = 16;
/** Latent pixels a side of a patch: more than a decoder looks around itself for most of what it shows. */
const PATCH = 4;
const DEVIATION = 0.5;
/** Latent pixels an unknown that have to be left where the clipped ones are not counted. */
const LEAST = 8;
/** Added to the diagonal, so that a channel that shows nothing has no colour. */
const RIDGE = 1;

/**
 * The map that comes closest, by least squares, to what `decode` gives for seeded patches of colour; where a pixel is
 * clipped, what the decoder meant is not known, and the latent pixel is left out unless too few are left. The same each
 * time. Rejects with what `decode` rejects with, and with a RangeError where a latent pixel is no whole number of
 * picture pixels.
 */
export async function fitColours(decode: Decode, { channels, token_pixels }: Facts): Promise<Colours> {
  const latents = patches(channels);
  const rgb = await decode(latents, GRID, GRID);
  const cell = requireInteger('token_pixels / 2', token_pixels / 2, 1, token_pixels);
  const side = divisorOf(cell, MOST_SIDE);
  const inputs = unpackLatents(latents, { channels, rows: GRID, cols: GRID });
  const count = 4 * GRID * GRID;
  const numInputs = channels + 1;
  const numOutputs = 3 * side * side;
  const products = new Float64Array(numInputs * numInputs);
  const sums = new Float64Array(numInputs * numOutputs);
  const input = new Float64Array(numInputs).fill(1);
  const outputs = Array.from({ length: count }, (_, at) => meansOf(rgb, at, { cell, side }));
  const isOpen = outputs.map((output) => output.every((value) => value > 0 && value < 255));
  const isEnough = isOpen.filter(Boolean).length >= LEAST * numInputs;
  for (const [at, output] of outputs.entries()) {
    if (isEnough && !isOpen[at]) continue;
    for (let c = 0; c < channels; c++) input[c] = inputs[c * count + at] as number;
    for (let i = 0; i < numInputs; i++) {
      const x = input[i] as number;
      for (let j = 0; j < numInputs; j++) products[i * numInputs + j]! += x * (input[j] as number);
      for (let j = 0; j < numOutputs; j++) sums[i * numOutputs + j]! += x * (output[j] as number);
    }
  }
  for (let i = 0; i < numInputs; i++) products[i * numInputs + i]! += RIDGE;
  return { channels, side, weights: solve(products, sums, numInputs, numOutputs) };
}

/**
 * The picture of latents [rows * cols * D] on a whole grid, about as large as `longestSide` and not much smaller where
 * the map has the pixels for it.
 */
export function paint(
  { channels, side, weights }: Colours,
  latents: Float32Array,
  { rows, cols, longestSide }: { readonly rows: number; readonly cols: number; readonly longestSide: number },
): Pixels {
  const latentSide = 2 * Math.max(rows, cols);
  let part = side;
  // the smallest that reaches it
  for (let smaller = side - 1; smaller > 0; smaller--)
    if (side % smaller === 0 && smaller * latentSide >= longestSide) part = smaller;
  const map = part === side ? weights : averaged(weights, { channels, side, part });
  const values = unpackLatents(latents, { channels, rows, cols });
  const count = 4 * rows * cols;
  const width = 2 * cols * part;
  const data = new Uint8ClampedArray(count * part * part * 3);
  const numOutputs = 3 * part * part;
  const pixel = new Float64Array(numOutputs);
  for (let at = 0; at < count; at++) {
    pixel.set(map.subarray(channels * numOutputs));
    for (let c = 0; c < channels; c++) {
      const value = values[c * count + at] as number;
      for (let j = 0; j < numOutputs; j++) pixel[j]! += value * (map[c * numOutputs + j] as number);
    }
    const left = (at % (2 * cols)) * part;
    const top = Math.floor(at / (2 * cols)) * part;
    for (let y = 0; y < part; y++)
      data.set(pixel.subarray(y * part * 3, (y + 1) * part * 3), 3 * ((top + y) * width + left));
  }
  return { data: new Uint8Array(data.buffer), width, height: 2 * rows * part };
}

/** Seeded latents [GRID * GRID * D] in patches of one value a channel. */
function patches(channels: number): Float32Array {
  const values = standardNormals({ seed: 0, stream: 0, count: (channels * (2 * GRID) ** 2) / PATCH ** 2 });
  const across = (2 * GRID) / PATCH;
  const latents = new Float32Array(4 * channels * GRID * GRID);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < 2 * GRID; y++)
      for (let x = 0; x < 2 * GRID; x++) {
        const patch = Math.floor(y / PATCH) * across + Math.floor(x / PATCH);
        const slot = ((y >> 1) * GRID + (x >> 1)) * 4 * channels + c * 4 + (y & 1) * 2 + (x & 1);
        latents[slot] = DEVIATION * (values[c * across * across + patch] as number);
      }
  return latents;
}

/** Mean colours [side * side * 3] of the parts of a latent pixel's picture, `cell` pixels a side. */
function meansOf(rgb: Uint8Array, at: number, { cell, side }: { cell: number; side: number }): Float64Array {
  const step = cell / side;
  const width = 2 * GRID * cell;
  const top = Math.floor(at / (2 * GRID)) * cell;
  const left = (at % (2 * GRID)) * cell;
  const means = new Float64Array(3 * side * side);
  for (let y = 0; y < cell; y++)
    for (let x = 0; x < cell; x++) {
      const part = Math.floor(y / step) * side + Math.floor(x / step);
      const pixel = 3 * ((top + y) * width + left + x);
      for (let c = 0; c < 3; c++) means[3 * part + c]! += (rgb[pixel + c] as number) / step ** 2;
    }
  return means;
}

/** The map to `part` x `part` pixels, each the mean of those that it stands for. */
function averaged(
  weights: Float64Array,
  { channels, side, part }: { channels: number; side: number; part: number },
): Float64Array {
  const step = side / part;
  const map = new Float64Array((channels + 1) * part * part * 3);
  for (let i = 0; i <= channels; i++)
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++)
        for (let c = 0; c < 3; c++)
          map[(i * part * part + Math.floor(y / step) * part + Math.floor(x / step)) * 3 + c]! +=
            (weights[(i * side * side + y * side + x) * 3 + c] as number) / step ** 2;
  return map;
}

/** X [n, m] of A X = B, A [n, n] symmetric and positive definite; both are overwritten. */
function solve(a: Float64Array, b: Float64Array, n: number, m: number): Float64Array {
  // eliminate below the diagonal
  for (let pivot = 0; pivot < n; pivot++)
    for (let row = pivot + 1; row < n; row++) {
      const share = (a[row * n + pivot] as number) / (a[pivot * n + pivot] as number);
      for (let k = pivot; k < n; k++) a[row * n + k]! -= share * (a[pivot * n + k] as number);
      for (let j = 0; j < m; j++) b[row * m + j]! -= share * (b[pivot * m + j] as number);
    }
  // substitute from the last row up
  for (let row = n - 1; row >= 0; row--)
    for (let j = 0; j < m; j++) {
      let value = b[row * m + j] as number;
      for (let k = row + 1; k < n; k++) value -= (a[row * n + k] as number) * (b[k * m + j] as number);
      b[row * m + j] = value / (a[row * n + row] as number);
    }
  return b;
}

/** The largest divisor of a whole number that is at most `most`. */
function divisorOf(value: number, most: number): number {
  for (let divisor = most; divisor > 1; divisor--) if (value % divisor === 0) return divisor;
  return 1;
}
