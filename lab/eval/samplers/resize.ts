/**
 * Latents and pictures on a grid twice as fine, and latents on half of it: separable filters, pixel centres at halves,
 * borders replicated. Pure.
 */
import { packLatents, unpackLatents } from '../../../src/numerics/tokens.ts';
import type { Pixels } from '../denoiser.ts';

/** Names of the filters, from no smoothing to the sharpest cut. */
export type Kernel = 'nearest' | 'bilinear' | 'bicubic' | 'lanczos';
export const KERNELS: readonly Kernel[] = ['nearest', 'bilinear', 'bicubic', 'lanczos'];

interface GridSize {
  readonly channels: number;
  readonly rows: number;
  readonly cols: number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/**
 * Weight at distance x >= 0, in pixels of the coarse grid. Bicubic is Catmull-Rom's, a = -½; Lanczos has three lobes.
 */
const WEIGHTS: Readonly<
  Record<Exclude<Kernel, 'nearest'>, { readonly reach: number; readonly at: (x: number) => number }>
> = {
  bilinear: { reach: 1, at: (x) => Math.max(0, 1 - x) },
  bicubic: {
    reach: 2,
    at: (x) => (x < 1 ? 1.5 * x ** 3 - 2.5 * x ** 2 + 1 : x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0),
  },
  lanczos: { reach: 3, at: (x) => (x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * Offsets and weights, summing to 1, that give the fine pixel a quarter of a coarse one before (phase 0) or after
 * (phase 1) the coarse centre.
 */
function taps(kernel: Kernel, phase: 0 | 1): readonly { readonly offset: number; readonly weight: number }[] {
  if (kernel === 'nearest') return [{ offset: 0, weight: 1 }];
  const { reach, at } = WEIGHTS[kernel];
  const centre = phase === 0 ? -0.25 : 0.25;
  const all = Array.from({ length: 2 * reach + 1 }, (_, i) => ({
    offset: i - reach,
    weight: at(Math.abs(i - reach - centre)),
  })).filter(({ weight }) => weight !== 0);
  const sum = all.reduce((total, { weight }) => total + weight, 0);
  return all.map(({ offset, weight }) => ({ offset, weight: weight / sum }));
}

/**
 * Lines of `length` values `step` apart, each twice as long: [lines][length] → [lines][2 length]; `start` gives the
 * first value of a line.
 */
function doubleLines(
  source: Float32Array,
  target: Float32Array,
  {
    length,
    step,
    starts,
    targets,
  }: { length: number; step: number; starts: readonly number[]; targets: readonly number[] },
  kernel: Kernel,
): void {
  const phases = [taps(kernel, 0), taps(kernel, 1)];
  for (const [line, start] of starts.entries()) {
    for (let i = 0; i < 2 * length; i++) {
      let sum = 0;
      for (const { offset, weight } of phases[i & 1]!)
        sum += weight * source[start + Math.min(length - 1, Math.max(0, (i >> 1) + offset)) * step]!;
      target[targets[line]! + i * step] = sum;
    }
  }
}

interface ImageSize {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** [channels][2 height][2 width] of [channels][height][width]. */
function doubleImage(image: Float32Array, { channels, height, width }: ImageSize, kernel: Kernel): Float32Array {
  const tall = new Float32Array(2 * image.length);
  const columns = Array.from({ length: channels * width }, (_, n) => ({ c: Math.floor(n / width), x: n % width }));
  doubleLines(
    image,
    tall,
    {
      length: height,
      step: width,
      starts: columns.map(({ c, x }) => c * height * width + x),
      targets: columns.map(({ c, x }) => c * 2 * height * width + x),
    },
    kernel,
  );
  const wide = new Float32Array(2 * tall.length);
  const lines = Array.from({ length: channels * 2 * height }, (_, n) => n);
  doubleLines(
    tall,
    wide,
    { length: width, step: 1, starts: lines.map((n) => n * width), targets: lines.map((n) => n * 2 * width) },
    kernel,
  );
  return wide;
}

/**
 * [2 rows * 2 cols * D] packed latents of [rows * cols * D]. Law: a constant stays itself; `nearest` is src/numerics'
 * latent mode.
 */
export function doubleLatents(packed: Float32Array, { channels, rows, cols }: GridSize, kernel: Kernel): Float32Array {
  const image = unpackLatents(packed, { channels, rows, cols });
  const fine = doubleImage(image, { channels, height: 2 * rows, width: 2 * cols }, kernel);
  return packLatents(fine, { channels, rows: 2 * rows, cols: 2 * cols });
}

/**
 * A picture twice as wide and twice as high. Law: as doubleLatents does it, then cut to whole numbers from 0 to 255.
 */
export function doublePixels({ data, width, height }: Pixels, kernel: Kernel): Pixels {
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let i = 0; i < planes.length; i++) planes[i] = data[3 * (i % size) + Math.floor(i / size)]!;
  const fine = doubleImage(planes, { channels: 3, height, width }, kernel);
  // rounds half to even and cuts at the ends
  const bytes = new Uint8ClampedArray(fine.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = fine[(i % 3) * 4 * size + Math.floor(i / 3)]!;
  return { data: new Uint8Array(bytes.buffer), width: 2 * width, height: 2 * height };
}

/** [rows / 2 * cols / 2 * D] packed latents, each pixel the mean of four. Law: undoes doubleLatents' `nearest`. */
export function halveLatents(packed: Float32Array, { channels, rows, cols }: GridSize): Float32Array {
  const image = unpackLatents(packed, { channels, rows, cols });
  const small = new Float32Array(image.length / 4);
  for (let i = 0; i < small.length; i++) {
    const y = Math.floor(i / cols);
    const at = 2 * y * 2 * cols + 2 * (i % cols);
    small[i] = (image[at]! + image[at + 1]! + image[at + 2 * cols]! + image[at + 2 * cols + 1]!) / 4;
  }
  return packLatents(small, { channels, rows: rows / 2, cols: cols / 2 });
}
