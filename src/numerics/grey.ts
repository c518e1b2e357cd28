/** Grey bytes for the edge detector. Pure. */
import { requireLength } from './bounds.ts';

/**
 * [count] grey bytes of [count * 3] RGB bytes: .299 R + .587 G + .114 B, rounded half up (in thousandths, so exactly).
 */
export function greyFromRgb(rgb: Uint8Array, count: number): Uint8Array {
  requireLength('rgb', rgb.length, 3 * count);
  const grey = new Uint8Array(count);
  for (let i = 0; i < count; i++)
    grey[i] = (299 * rgb[3 * i]! + 587 * rgb[3 * i + 1]! + 114 * rgb[3 * i + 2]! + 500) / 1000;
  return grey;
}

/**
 * The grey bytes that the published reference hands to Canny, for parity runs: it clips the decoder's output v in [-1,
 * 1] to [0, 1] and scales that by 255. A byte of ours is B = 127.5 (v + 1), so 255 * clip(v, 0, 1) = max(0, 2 B - 255):
 * everything darker than mid-grey becomes black and loses its edges. The map is applied to each channel before the
 * weighting, as clipping is there; B is already rounded, so the result is within 1 of the reference's.
 */
export function referenceGrey(rgb: Uint8Array, count: number): Uint8Array {
  return greyFromRgb(
    rgb.map((byte) => Math.max(0, 2 * byte - 255)),
    count,
  );
}
