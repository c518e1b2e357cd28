/** A picture at twice its size. Pure. */

/** Taps of Catmull-Rom a quarter of a pixel right of the second one, in 128ths: they sum to 1. */
const TAPS = [-9, 111, 29, -3] as const;
const UNIT = 128;

/**
 * RGB bytes [2 * height, 2 * width, 3] of RGB bytes [height, width, 3], by Catmull-Rom along both axes; the borders
 * repeat. A new pixel lies a quarter of an old one from the nearest old centre, so the taps are the same everywhere and
 * whole numbers: the bytes are the same on every machine. Laws: a constant picture stays constant; a mirrored picture
 * gives the mirrored result. Throws RangeError when the bytes are not height * width * 3. Source: Keys, "Cubic
 * convolution interpolation for digital image processing", 1981, a = -1/2.
 */
export function doublePicture(rgb: Uint8Array, width: number, height: number): Uint8Array {
  if (rgb.length !== width * height * 3)
    throw new RangeError(`rgb has ${rgb.length} bytes; expected ${width * height * 3}, ${width} x ${height} x 3`);
  const across = taps(width);
  const down = taps(height);
  // rows first, in 128ths
  const wide = new Int32Array(height * 2 * width * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < 2 * width; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < 4; k++)
          sum += across.weights[(x & 1) * 4 + k]! * rgb[(y * width + across.places[x * 4 + k]!) * 3 + c]!;
        wide[(y * 2 * width + x) * 3 + c] = sum;
      }
    }
  }
  const line = 2 * width * 3;
  const doubled = new Uint8Array(4 * rgb.length);
  for (let y = 0; y < 2 * height; y++) {
    for (let i = 0; i < line; i++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += down.weights[(y & 1) * 4 + k]! * wide[down.places[y * 4 + k]! * line + i]!;
      doubled[y * line + i] = Math.min(255, Math.max(0, Math.round(sum / UNIT ** 2)));
    }
  }
  return doubled;
}

/**
 * `places` [2 * size, 4] the old pixels that each new one is made of; `weights` [2, 4] theirs, of even and of odd new
 * pixels.
 */
function taps(size: number): { readonly places: Uint32Array; readonly weights: readonly number[] } {
  const places = new Uint32Array(2 * size * 4);
  for (let i = 0; i < 2 * size; i++) {
    // an even pixel lies left of its old one's centre, an odd one right of it
    const first = (i >> 1) - ((i & 1) === 0 ? 2 : 1);
    for (let k = 0; k < 4; k++) places[i * 4 + k] = Math.min(size - 1, Math.max(0, first + k));
  }
  return { places, weights: [...TAPS.toReversed(), ...TAPS] };
}
