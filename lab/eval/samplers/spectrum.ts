/** Latents by frequency: the orthonormal cosine transform of each channel, and the power a frequency holds. Pure. */
import { packLatents, unpackLatents } from '../../../src/numerics/tokens.ts';

interface GridSize {
  readonly channels: number;
  readonly rows: number;
  readonly cols: number;
}

/** [n * n] rows are the orthonormal DCT-II's basis vectors. */
function cosines(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => {
    const k = Math.floor(i / n);
    return Math.sqrt((k === 0 ? 1 : 2) / n) * Math.cos((Math.PI * ((i % n) + 0.5) * k) / n);
  });
}

/** basis · image · otherᵀ of one channel [height * width], or with both transposed. */
function transform(
  image: ArrayLike<number>,
  { height, width }: { height: number; width: number },
  isInverse: boolean,
): Float64Array {
  const [tall, wide] = [cosines(height), cosines(width)];
  const half = new Float64Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let k = 0; k < width; k++) {
      let sum = 0;
      for (let x = 0; x < width; x++)
        sum += image[y * width + x]! * (isInverse ? wide[x * width + k]! : wide[k * width + x]!);
      half[y * width + k] = sum;
    }
  }
  const whole = new Float64Array(height * width);
  for (let k = 0; k < height; k++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let y = 0; y < height; y++)
        sum += half[y * width + x]! * (isInverse ? tall[y * height + k]! : tall[k * height + y]!);
      whole[k * width + x] = sum;
    }
  }
  return whole;
}

/**
 * Noisy latents at `sigma` on the low grid [rows * cols * D] → latents on the grid twice as fine, [4 rows * cols * D]:
 * the cosine coefficients become the low quarter of the fine grid's, doubled so that amplitudes stay, and what is above
 * is noise `white` (as many standard normals as the fine grid has values, those of the low quarter unused). Doubling
 * raises the noise of the low quarter against its signal, so the whole is scaled by 1 / (1 + sigma) and stands at
 * `sigma'` = 2 sigma / (1 + sigma). Laws: white noise at sigma = 1 stays white; a constant c at noise 0 stays c.
 */
export function expandSpectrum(
  packed: Float32Array,
  white: Float32Array,
  sigma: number,
  { channels, rows, cols }: GridSize,
): Float32Array {
  const [height, width] = [2 * rows, 2 * cols];
  const image = unpackLatents(packed, { channels, rows, cols });
  const fine = new Float32Array(4 * image.length);
  const noise = (2 * sigma) / (1 + sigma);
  for (let c = 0; c < channels; c++) {
    const coefficients = transform(
      image.subarray(c * height * width, (c + 1) * height * width),
      { height, width },
      false,
    );
    const grown = Float64Array.from({ length: 4 * height * width }, (_, i) => {
      const k = Math.floor(i / (2 * width));
      const l = i % (2 * width);
      return k < height && l < width
        ? (2 * coefficients[k * width + l]!) / (1 + sigma)
        : noise * white[c * 4 * height * width + i]!;
    });
    fine.set(transform(grown, { height: 2 * height, width: 2 * width }, true), c * 4 * height * width);
  }
  return packLatents(fine, { channels, rows: 2 * rows, cols: 2 * cols });
}

export interface PowerLaw {
  readonly scale: number;
  readonly slope: number;
}

/**
 * Power a coefficient of clean latents [rows * cols * D], fitted as scale * f^-slope: f = √((k / height)² + (l /
 * width)²) in (0, 1), 1 the finest that a side of the grid holds. Least squares in the logarithms of the means over
 * equal bands, each weighed by its coefficients, all pictures together.
 */
export function fitPowerLaw(pictures: readonly Float32Array[], { channels, rows, cols }: GridSize): PowerLaw {
  const [height, width] = [2 * rows, 2 * cols];
  const bands = Math.min(height, width) / 2;
  const sums = new Float64Array(bands);
  const counts = new Float64Array(bands);
  for (const packed of pictures) {
    const image = unpackLatents(packed, { channels, rows, cols });
    for (let c = 0; c < channels; c++) {
      const coefficients = transform(
        image.subarray(c * height * width, (c + 1) * height * width),
        { height, width },
        false,
      );
      for (const [i, value] of coefficients.entries()) {
        const band = Math.floor(Math.hypot(Math.floor(i / width) / height, (i % width) / width) * bands);
        // the corners beyond 1 are no whole bands
        if (band >= bands) continue;
        sums[band]! += value * value;
        counts[band]! += 1;
      }
    }
  }
  // the lowest band holds the means, which no power law describes; a band weighs as many coefficients as it has
  const points = Array.from({ length: bands - 1 }, (_, i) => ({
    x: Math.log((i + 1.5) / bands),
    y: Math.log(sums[i + 1]! / counts[i + 1]!),
    weight: counts[i + 1]!,
  }));
  const weights = points.reduce((sum, { weight }) => sum + weight, 0);
  const mean = (of: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + point.weight * of(point), 0) / weights;
  const [x, y] = [mean((p) => p.x), mean((p) => p.y)];
  const slope = -mean((p) => (p.x - x) * (p.y - y)) / mean((p) => (p.x - x) ** 2);
  return { scale: Math.exp(y + slope * x), slope };
}
