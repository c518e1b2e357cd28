/** How different two pictures of one size look: 1 minus multi-scale structural similarity. Pure. */
import { requireInteger, requireLength } from '../../src/numerics/bounds.ts';

/** weights of the scales, finest first; they sum to 1 */
const WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333] as const;
/** window: Gaussian of 11 taps, standard deviation 1.5, that sum to 1 */
const TAPS = 11;
const SIGMA = 1.5;
/** what keeps quotients of flat windows finite: (0.01 * 255)² and (0.03 * 255)² */
const C1 = 6.5025;
const C2 = 58.5225;
const MIN_SIDE = (TAPS - 1) * 2 ** (WEIGHTS.length - 1) + 1;

/** A grey picture [height * width] on its way down the scales. */
interface Plane {
  readonly data: Float64Array;
  readonly width: number;
  readonly height: number;
}

/**
 * 1 - MS-SSIM of two grey pictures [height * width], in [0, 1]: 0 for equal ones. Sides must be at least 161 pixels.
 * Each scale halves the one before by averaging 2 x 2 pixels. Negative similarities count as 0. Laws: symmetric; 0
 * exactly for a picture and itself. Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image
 * quality assessment", 2003.
 */
export function msSsimDistance(a: Uint8Array, b: Uint8Array, width: number, height: number): number {
  requireInteger('width', width, MIN_SIDE, 2 ** 15);
  requireInteger('height', height, MIN_SIDE, 2 ** 15);
  requireLength('a', a.length, width * height);
  requireLength('b', b.length, width * height);
  let one: Plane = { data: Float64Array.from(a), width, height };
  let two: Plane = { data: Float64Array.from(b), width, height };
  let similarity = 1;
  for (const [scale, weight] of WEIGHTS.entries()) {
    const { whole, contrast } = similarities(one, two);
    similarity *= Math.max(0, scale === WEIGHTS.length - 1 ? whole : contrast) ** weight;
    one = halve(one);
    two = halve(two);
  }
  return Math.min(1, Math.max(0, 1 - similarity));
}

/** Mean similarity of two planes over all windows, and that of contrast and structure alone. */
function similarities(a: Plane, b: Plane): { whole: number; contrast: number } {
  const product = (x: Plane, y: Plane): Plane => ({ ...x, data: x.data.map((value, i) => value * y.data[i]!) });
  const meanA = blur(a).data;
  const meanB = blur(b).data;
  const squareA = blur(product(a, a)).data;
  const squareB = blur(product(b, b)).data;
  const cross = blur(product(a, b)).data;
  let whole = 0;
  let contrast = 0;
  for (let i = 0; i < meanA.length; i++) {
    const means = meanA[i]! * meanB[i]!;
    const squares = meanA[i]! ** 2 + meanB[i]! ** 2;
    const structure = (2 * (cross[i]! - means) + C2) / (squareA[i]! + squareB[i]! - squares + C2);
    contrast += structure / meanA.length;
    whole += (structure * (2 * means + C1)) / (squares + C1) / meanA.length;
  }
  return { whole, contrast };
}

const WINDOW = normalised(
  Float64Array.from({ length: TAPS }, (_, i) => Math.exp(-((i - (TAPS - 1) / 2) ** 2) / (2 * SIGMA ** 2))),
);

function normalised(values: Float64Array): Float64Array {
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}

/** Windowed means where the window fits whole: TAPS - 1 pixels fewer on each side. */
function blur({ data, width, height }: Plane): Plane {
  const narrow = width - TAPS + 1;
  const low = height - TAPS + 1;
  const rows = new Float64Array(narrow * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < narrow; x++) {
      let sum = 0;
      for (let tap = 0; tap < TAPS; tap++) sum += WINDOW[tap]! * data[y * width + x + tap]!;
      rows[y * narrow + x] = sum;
    }
  }
  const out = new Float64Array(narrow * low);
  for (let y = 0; y < low; y++) {
    for (let x = 0; x < narrow; x++) {
      let sum = 0;
      for (let tap = 0; tap < TAPS; tap++) sum += WINDOW[tap]! * rows[(y + tap) * narrow + x]!;
      out[y * narrow + x] = sum;
    }
  }
  return { data: out, width: narrow, height: low };
}

/** Half the sides, rounded down, each pixel the mean of 2 x 2. */
function halve({ data, width, height }: Plane): Plane {
  const half = { width: Math.floor(width / 2), height: Math.floor(height / 2) };
  const out = new Float64Array(half.width * half.height);
  for (let y = 0; y < half.height; y++) {
    for (let x = 0; x < half.width; x++) {
      const at = 2 * y * width + 2 * x;
      out[y * half.width + x] = (data[at]! + data[at + 1]! + data[at + width]! + data[at + width + 1]!) / 4;
    }
  }
  return { data: out, ...half };
}
