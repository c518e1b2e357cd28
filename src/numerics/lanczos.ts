/** A picture at another size, by Lanczos. Pure. */
import type { Size } from './grid.ts';

/** Lobes of the filter on each side of its middle. */
const LOBES = 3;
/** Weights are whole numbers that sum to this, so that the bytes do not hang on the last digit of a sine. */
const UNIT = 2 ** 16;

/** sinc(x) sinc(x / 3) within three lobes, 0 outside; sinc(x) = sin(πx) / πx. */
function lanczos(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= LOBES) return 0;
  const angle = Math.PI * x;
  return (LOBES * Math.sin(angle) * Math.sin(angle / LOBES)) / angle ** 2;
}

/** The part of a line of pixels that is wanted: where it begins, and how long it is; no whole numbers. */
interface Part {
  readonly start: number;
  readonly length: number;
}

/** The largest part of a picture, in its middle, that has the aspect ratio of `to`. */
export function middleOf(from: Size, to: Size): { readonly across: Part; readonly down: Part } {
  const scale = Math.min(from.width / to.width, from.height / to.height);
  const part = (whole: number, wanted: number): Part => ({
    start: (whole - wanted * scale) / 2,
    length: wanted * scale,
  });
  return { across: part(from.width, to.width), down: part(from.height, to.height) };
}

/** Which old pixels each new one along a line is made of, and how much of each. */
interface Taps {
  /** [size] the first old pixel */
  readonly first: Uint32Array;
  /** [size, count] in `UNIT`ths; each row sums to `UNIT` */
  readonly weights: Int32Array;
  readonly count: number;
}

/** The taps of `size` new pixels over a part of `whole` old ones. Old pixels beyond the border do not count. */
function taps(whole: number, { start, length }: Part, size: number): Taps {
  const scale = length / size;
  // a smaller picture is made of all old pixels: the filter is as wide as they are many
  const stretch = Math.max(1, scale);
  const count = Math.min(whole, Math.ceil(2 * LOBES * stretch) + 1);
  const first = new Uint32Array(size);
  const weights = new Int32Array(size * count);
  const row = new Float64Array(count);
  for (let i = 0; i < size; i++) {
    const centre = start + (i + 0.5) * scale;
    const begin = Math.max(0, Math.min(whole - count, Math.ceil(centre - LOBES * stretch - 0.5)));
    let sum = 0;
    for (let k = 0; k < count; k++) {
      row[k] = lanczos((begin + k + 0.5 - centre) / stretch);
      sum += row[k]!;
    }
    first[i] = begin;
    // what rounding leaves goes to the largest
    let left = UNIT;
    let largest = 0;
    for (let k = 0; k < count; k++) {
      const weight = Math.round((row[k]! / sum) * UNIT);
      weights[i * count + k] = weight;
      left -= weight;
      if (row[k]! > row[largest]!) largest = k;
    }
    weights[i * count + largest]! += left;
  }
  return { first, weights, count };
}

/**
 * RGB bytes [to.height, to.width, 3] of RGB bytes [from.height, from.width, 3]: the middle of the picture at the other
 * size, larger or smaller, by Lanczos of three lobes along both axes. Where the aspect ratios differ, what does not fit
 * is cut off on both sides alike, and nothing is stretched. Weights are whole numbers: the bytes are the same on every
 * machine whose sines agree to 16 bits. Laws: a picture at its own size is itself; a constant picture stays constant; a
 * mirrored picture gives the mirrored result, to one level. Throws RangeError when the bytes are not height * width *
 * 3, or a side is not positive. Source: Duchon, "Lanczos filtering in one and two dimensions", 1979; Pillow's
 * `ImageOps.fit` with LANCZOS gives the same to two levels.
 */
export function fitPicture(rgb: Uint8Array, from: Size, to: Size): Uint8Array {
  if (rgb.length !== from.width * from.height * 3)
    throw new RangeError(
      `rgb has ${rgb.length} bytes; expected ${from.width * from.height * 3}, ${from.width} x ${from.height} x 3`,
    );
  if (!(to.width > 0 && to.height > 0))
    throw new RangeError(`the size is ${to.width}x${to.height}; expected positive sides`);
  const { across, down } = middleOf(from, to);
  const wide = resizeRows(rgb, from, taps(from.width, across, to.width), to.width);
  return resizeColumns(wide, to, taps(from.height, down, to.height));
}

/**
 * No pixel is darker than black or lighter than white, between the axes either: rings along one make no rings along
 * the other.
 */
const clip = (level: number): number => Math.max(0, Math.min(255 * UNIT, level));

/** [height, width, 3] in `UNIT`ths: each row of the picture at the new width. */
function resizeRows(rgb: Uint8Array, from: Size, { first, weights, count }: Taps, width: number): Int32Array {
  const wide = new Int32Array(from.height * width * 3);
  let at = 0;
  for (let y = 0; y < from.height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      let [red, green, blue] = [0, 0, 0];
      let old = (y * from.width + first[x]!) * 3;
      for (let k = x * count; k < (x + 1) * count; k++, old += 3) {
        const weight = weights[k]!;
        red += weight * rgb[old]!;
        green += weight * rgb[old + 1]!;
        blue += weight * rgb[old + 2]!;
      }
      wide[at] = clip(red);
      wide[at + 1] = clip(green);
      wide[at + 2] = clip(blue);
    }
  }
  return wide;
}

/** Bytes [to.height, to.width, 3] of rows in `UNIT`ths. */
function resizeColumns(wide: Int32Array, to: Size, { first, weights, count }: Taps): Uint8Array {
  const line = to.width * 3;
  const bytes = new Uint8ClampedArray(to.height * line);
  // whole numbers below 2⁵³: sums of them are exact
  const sums = new Float64Array(line);
  for (let y = 0; y < to.height; y++) {
    sums.fill(0);
    for (let k = 0; k < count; k++) {
      const weight = weights[y * count + k]!;
      if (weight === 0) continue;
      const old = (first[y]! + k) * line;
      for (let i = 0; i < line; i++) sums[i]! += weight * wide[old + i]!;
    }
    for (let i = 0; i < line; i++) bytes[y * line + i] = Math.round(sums[i]! / UNIT ** 2);
  }
  return new Uint8Array(bytes.buffer);
}
