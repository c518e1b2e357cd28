/** Standard normals that depend on nothing but seed, stream and index. Pure. */
import { requireInteger } from './bounds.ts';
import { philox } from './philox.ts';

const WORDS = 2 ** 32;

/**
 * `count` standard normals, numbers offset … offset + count - 1 of the stream: value i depends on (seed, stream, i)
 * alone, so neither the order of calls, nor a retry, nor how a stream is split into calls changes it.
 *
 * Value i is the normal quantile of (w + ½) / 2^32, w = word i mod 4 of Philox with key (seed, stream) and counter
 * floor(i / 4); |value| < 6.34. Throws RangeError unless seed and stream are in 0 … 2^32 - 1 and the indices are whole
 * numbers below 2^34.
 */
export function standardNormals({
  seed,
  stream,
  count,
  offset = 0,
}: {
  seed: number;
  stream: number;
  count: number;
  offset?: number;
}): Float32Array {
  requireInteger('seed', seed, 0, WORDS - 1);
  requireInteger('stream', stream, 0, WORDS - 1);
  requireInteger('offset', offset, 0, 4 * WORDS);
  requireInteger('count', count, 0, 4 * WORDS - offset);
  const values = new Float32Array(count);
  const words = new Uint32Array(4);
  const end = offset + count;
  for (let index = offset; index < end; ) {
    philox(words, Math.floor(index / 4), 0, 0, 0, seed, stream);
    for (let lane = index % 4; lane < 4 && index < end; lane++, index++)
      values[index - offset] = normalQuantile((words[lane]! + 0.5) / WORDS);
  }
  return values;
}

/**
 * [n * width] standard normals, `width` for each place: value i of the place (row, col) depends on (seed, stream, row,
 * col, i) alone, so it does not depend on which other places are asked for, or in what order.
 *
 *   places  [n * 2] row and column of each, whole numbers 0 … 2^32 - 1
 *
 * Value i is the normal quantile of (w + ½) / 2^32, w = word i mod 4 of Philox with key (seed, stream) and counter
 * (floor(i / 4), row, col, 0). Throws RangeError.
 */
export function normalsAtPlaces({
  seed,
  stream,
  places,
  width,
}: {
  seed: number;
  stream: number;
  places: Uint32Array;
  width: number;
}): Float32Array {
  requireInteger('seed', seed, 0, WORDS - 1);
  requireInteger('stream', stream, 0, WORDS - 1);
  requireInteger('width', width, 1, 2 ** 16);
  const values = new Float32Array((places.length / 2) * width);
  const words = new Uint32Array(4);
  for (let place = 0, at = 0; place < places.length; place += 2) {
    for (let i = 0; i < width; i += 4) {
      philox(words, i / 4, places[place]!, places[place + 1]!, 0, seed, stream);
      for (let lane = 0; lane < 4 && i + lane < width; lane++)
        values[at++] = normalQuantile((words[lane]! + 0.5) / WORDS);
    }
  }
  return values;
}

/** Numerator and denominator of a rational approximation, highest power first. */
interface Ratio {
  readonly top: Float64Array;
  readonly bottom: Float64Array;
}

const MIDDLE: Ratio = {
  top: Float64Array.from([
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946, 1971.5909503065513,
    133.14166789178438, 3.3871328727963665,
  ]),
  bottom: Float64Array.from([
    5226.495278852854, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751, 687.1870074920579,
    42.31333070160091, 1,
  ]),
};
/** sqrt(-log p) up to 5, about 1.6 */
const TAIL: Ratio = {
  top: Float64Array.from([
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045,
    5.769497221460691, 4.630337846156546, 1.4234371107496835,
  ]),
  bottom: Float64Array.from([
    1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851,
    1.6763848301838038, 2.053191626637759, 1,
  ]),
};
/** sqrt(-log p) beyond 5, about 5 */
const FAR_TAIL: Ratio = {
  top: Float64Array.from([
    2.0103343992922881e-7, 0.000027115555687434876, 0.0012426609473880784, 0.026532189526576124, 0.29656057182850487,
    1.7848265399172913, 5.463784911164114, 6.657904643501103,
  ]),
  bottom: Float64Array.from([
    2.0442631033899397e-15, 1.421511758316446e-7, 0.000018463183175100548, 0.0007868691311456133, 0.014875361290850615,
    0.1369298809227358, 0.599832206555888, 1,
  ]),
};

/**
 * The x with Φ(x) = p, p in (0, 1), relative error about 1e-16: one ratio of polynomials for the middle 85 %, two in
 * sqrt(-log p) for each tail. Source: Wichura, algorithm AS 241 (PPND16), Applied Statistics 37, 1988.
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * evaluate(MIDDLE, 0.180625 - q * q);
  const depth = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  const x = depth <= 5 ? evaluate(TAIL, depth - 1.6) : evaluate(FAR_TAIL, depth - 5);
  return q < 0 ? -x : x;
}

function evaluate({ top, bottom }: Ratio, r: number): number {
  let above = 0;
  let below = 0;
  for (let i = 0; i < 8; i++) {
    above = above * r + top[i]!;
    below = below * r + bottom[i]!;
  }
  return above / below;
}
