/** Standard normals that depend on nothing but seed, stream and index. Pure. */
import { requireInteger } from './bounds.ts';
import { philox } from './philox.ts';

const WORDS = 2 ** 32;

/**
 * `count` standard normals, numbers offset … offset + count - 1 of the stream: value i depends on (seed, stream, i) alone,
 * so neither the order of calls, nor a retry, nor how a stream is split into calls changes it.
 *
 * Value i is the normal quantile of (w + ½) / 2^32, w = word i mod 4 of Philox with key (seed, stream) and counter floor(i / 4); |value| < 6.34.
 * Throws RangeError unless seed and stream are in 0 … 2^32 - 1 and the indices are whole numbers below 2^34.
 */
export function standardNormals({ seed, stream, count, offset = 0 }: { seed: number; stream: number; count: number; offset?: number }): Float32Array {
  requireInteger('seed', seed, 0, WORDS - 1);
  requireInteger('stream', stream, 0, WORDS - 1);
  requireInteger('offset', offset, 0, 4 * WORDS);
  requireInteger('count', count, 0, 4 * WORDS - offset);
  const values = new Float32Array(count);
  const words = new Uint32Array(4);
  const end = offset + count;
  for (let index = offset; index < end; ) {
    philox(words, Math.floor(index / 4), 0, 0, 0, seed, stream);
    for (let lane = index % 4; lane < 4 && index < end; lane++, index++) values[index - offset] = normalQuantile((words[lane]! + 0.5) / WORDS);
  }
  return values;
}

/** Numerator and denominator of a rational approximation, highest power first. */
interface Ratio {
  readonly top: Float64Array;
  readonly bottom: Float64Array;
}

const MIDDLE: Ratio = {
  top: Float64Array.of(
    2509.0809287301226727,
    33430.575583588128105,
    67265.770927008700853,
    45921.953931549871457,
    13731.693765509461125,
    1971.5909503065514427,
    133.14166789178437745,
    3.387132872796366608,
  ),
  bottom: Float64Array.of(5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1),
};
/** sqrt(-log p) up to 5, about 1.6 */
const TAIL: Ratio = {
  top: Float64Array.of(
    7.7454501427834140764e-4,
    0.0227238449892691845833,
    0.24178072517745061177,
    1.27045825245236838258,
    3.64784832476320460504,
    5.7694972214606914055,
    4.6303378461565452959,
    1.42343711074968357734,
  ),
  bottom: Float64Array.of(
    1.05075007164441684324e-9,
    5.475938084995344946e-4,
    0.0151986665636164571966,
    0.14810397642748007459,
    0.68976733498510000455,
    1.6763848301838038494,
    2.05319162663775882187,
    1,
  ),
};
/** sqrt(-log p) beyond 5, about 5 */
const FAR_TAIL: Ratio = {
  top: Float64Array.of(
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    0.0012426609473880784386,
    0.026532189526576123093,
    0.29656057182850489123,
    1.7848265399172913358,
    5.4637849111641143699,
    6.6579046435011037772,
  ),
  bottom: Float64Array.of(
    2.04426310338993978564e-15,
    1.4215117583164458887e-7,
    1.8463183175100546818e-5,
    7.868691311456132591e-4,
    0.0148753612908506148525,
    0.13692988092273580531,
    0.59983220655588793769,
    1,
  ),
};

/**
 * The x with Φ(x) = p, p in (0, 1), relative error about 1e-16: one ratio of polynomials for the middle 85 %, two in sqrt(-log p) for each tail.
 * Source: Wichura, algorithm AS 241 (PPND16), Applied Statistics 37, 1988.
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
