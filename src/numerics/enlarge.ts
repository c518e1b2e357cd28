/** A picture at twice its size. Pure. */

/**
 * Taps of Catmull-Rom a quarter of a pixel right of an old pixel's centre, in 128ths, on the one before it, itself, and
 * the two behind it. They sum to 1; a quarter of a pixel left they are the mirrored ones.
 */
const [BEFORE, OWN, NEXT, SECOND] = [-9, 111, 29, -3] as const;
/** Both axes together make 128² parts: half of them, and how many bits they are. */
const [HALF, BITS] = [2 ** 13, 14] as const;

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
  const line = 2 * width * 3;
  // rows first, in 128ths; each old pixel makes two new ones of itself and the two on either side
  const wide = new Int32Array(height * line);
  for (let x = 0; x < width; x++) {
    const [first, before, own, next, last] = around(x, width).map((place) => place * 3) as Five;
    for (let y = 0; y < height; y++) {
      for (let i = y * width * 3, c = 0; c < 3; c++, i++) {
        const left = rgb[i + before]!;
        const middle = rgb[i + own]!;
        const right = rgb[i + next]!;
        const to = y * line + 2 * own + c;
        wide[to] = SECOND * rgb[i + first]! + NEXT * left + OWN * middle + BEFORE * right;
        wide[to + 3] = BEFORE * left + OWN * middle + NEXT * right + SECOND * rgb[i + last]!;
      }
    }
  }
  // clamped as it is stored
  const doubled = new Uint8ClampedArray(4 * rgb.length);
  for (let y = 0; y < height; y++) {
    const [first, before, own, next, last] = around(y, height).map((place) => place * line) as Five;
    for (let i = 0; i < line; i++) {
      const above = wide[i + before]!;
      const middle = wide[i + own]!;
      const below = wide[i + next]!;
      const to = 2 * own + i;
      const upper = SECOND * wide[i + first]! + NEXT * above + OWN * middle + BEFORE * below;
      const lower = BEFORE * above + OWN * middle + NEXT * below + SECOND * wide[i + last]!;
      doubled[to] = (upper + HALF) >> BITS;
      doubled[to + line] = (lower + HALF) >> BITS;
    }
  }
  return new Uint8Array(doubled.buffer);
}

type Five = [number, number, number, number, number];

/** The places of a pixel and the two on either side of it; beyond a border is the border. */
const around = (place: number, size: number): number[] =>
  [-2, -1, 0, 1, 2].map((offset) => Math.min(size - 1, Math.max(0, place + offset)));
