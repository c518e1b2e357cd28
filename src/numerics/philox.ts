/**
 * Philox 4x32-10, a counter-based generator: the same counter and key give the same four words, in any order, on any
 * machine. Pure. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; vectors of Random123's
 * kat_vectors.
 */

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Weyl sequence of the key: golden ratio and sqrt(3) - 1, times 2^32 */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/**
 * Fills `out` [4] with the words of 128-bit counter (c0 … c3, least significant first) under key (k0, k1), and returns
 * it. Words in and out are 0 … 2^32 - 1.
 */
export function philox(
  out: Uint32Array,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
): Uint32Array {
  let [x0, x1, x2, x3, key0, key1] = [c0 | 0, c1 | 0, c2 | 0, c3 | 0, k0 | 0, k1 | 0];
  for (let round = 0; round < ROUNDS; round++) {
    const next0 = highWord(MULTIPLIER_1, x2) ^ x1 ^ key0;
    const next2 = highWord(MULTIPLIER_0, x0) ^ x3 ^ key1;
    x1 = Math.imul(MULTIPLIER_1, x2);
    x3 = Math.imul(MULTIPLIER_0, x0);
    x0 = next0;
    x2 = next2;
    key0 = (key0 + WEYL_0) | 0;
    key1 = (key1 + WEYL_1) | 0;
  }
  out[0] = x0;
  out[1] = x1;
  out[2] = x2;
  out[3] = x3;
  return out;
}

/** Upper 32 bits of the unsigned 64-bit product, from 16-bit halves: every partial sum stays below 2^32. */
function highWord(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const cross = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (cross >>> 16)) | 0;
}
