/** Which low-resolution tokens are upsampled first: those with most edge pixels, or most latent detail. Pure. */
import { requireInteger, requireLength, requirePositive } from './bounds.ts';

/** What tells the tokens that go early: edges of the decoded picture, detail of the clean latents, or nothing. */
export const SELECTIONS = ['canny', 'latent', 'none'] as const;
export type Selection = (typeof SELECTIONS)[number];

/**
 * [height / block * width / block] edge pixels (not 0) in each block, row by row. Throws RangeError unless block
 * divides both sides.
 */
export function blockScores(edges: Uint8Array, width: number, height: number, block = 16): Uint32Array {
  requireLength('edges', edges.length, width * height);
  requireInteger('block', block, 1, Math.min(width, height));
  if (width % block !== 0 || height % block !== 0)
    throw new RangeError(`block is ${block}; expected a divisor of width ${width} and height ${height}`);
  const cols = width / block;
  const scores = new Uint32Array(cols * (height / block));
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y / block) * cols;
    for (let x = 0; x < width; x++) if (edges[y * width + x] !== 0) scores[row + Math.floor(x / block)]!++;
  }
  return scores;
}

/**
 * [n] detail within each token of the clean latents [n * D]: the variance over its four latent pixels, summed over the
 * channels. Law: 0 where the four are alike, whatever they are. Throws RangeError unless n > 0 tokens of D = 4 *
 * channels values fill the latents.
 */
export function latentScores(clean: Float32Array, numTokens: number): Float64Array {
  requirePositive('numTokens', numTokens);
  const width = clean.length / numTokens;
  if (!Number.isInteger(width / 4) || width === 0)
    throw new RangeError(
      `clean has ${clean.length} entries for ${numTokens} tokens; expected a multiple of 4 for each`,
    );
  const scores = new Float64Array(numTokens);
  for (let at = 0; at < clean.length; at += 4) {
    const four = clean.subarray(at, at + 4);
    const mean = four.reduce((sum, x) => sum + x, 0) / 4;
    scores[Math.floor(at / width)]! += four.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 4;
  }
  return scores;
}

/** [n] all indices by score, highest first, ties to the lower index. */
export function rankTokens(scores: Uint32Array | Float64Array): Uint32Array {
  return Uint32Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
}

/**
 * [k] indices of the k highest scores, ties to the lower index, ascending. Throws RangeError unless k is a whole number
 * from 0 to n.
 */
export function selectTop(scores: Uint32Array, k: number): Uint32Array {
  requireInteger('k', k, 0, scores.length);
  return rankTokens(scores).subarray(0, k).toSorted();
}

/**
 * [to - from] positions, ascending, of the tokens ranked from … to - 1 among the tokens still low when those ranked
 * before `from` have been upsampled. Tokens still low always come first and in the order of the grid, so these are the
 * indices that a boundary of four stages or more upsamples. `ranking` is rankTokens' of the low grid; with from = 0
 * this is selectTop. Throws RangeError unless 0 <= from <= to <= n.
 */
export function selectStillLow(ranking: Uint32Array, from: number, to: number): Uint32Array {
  requireInteger('from', from, 0, ranking.length);
  requireInteger('to', to, from, ranking.length);
  const done = ranking.subarray(0, from).toSorted();
  const chosen = ranking.subarray(from, to).toSorted();
  let numBefore = 0;
  return chosen.map((index) => {
    while (numBefore < done.length && done[numBefore]! < index) numBefore++;
    return index - numBefore;
  });
}
