/**
 * From a picture to the tokens that go to full resolution early: grey → Canny → edge pixels in each block → ranking →
 * what each boundary upsamples. Pure.
 */
import { canny } from './canny.ts';
import { greyFromRgb, referenceGrey } from './grey.ts';
import type { Size } from './grid.ts';
import { blockScores, rankTokens, selectStillLow } from './select.ts';

export interface Early {
  /** [height * width] 255 on an edge, 0 elsewhere */
  readonly edges: Uint8Array;
  /** [n] every block by edge pixels, most first, ties to the lower index */
  readonly ranking: Uint32Array;
}

/** Edges and ranking of a grey picture [height * width] in blocks of `block` pixels a side. Throws RangeError. */
export function rankGrey(grey: Uint8Array, { width, height }: Size, block: number): Early {
  const edges = canny(grey, width, height);
  return { edges, ranking: rankTokens(blockScores(edges, width, height, block)) };
}

/**
 * Edges and ranking of RGB bytes `data` [height * width * 3]: a block is the pixels of one token. `isClipped` takes the
 * grey that the published reference hands to Canny, without edges in what is darker than mid-grey. Throws RangeError.
 */
export function rankPicture(
  { data, width, height }: Size & { readonly data: Uint8Array },
  { block, isClipped }: { readonly block: number; readonly isClipped: boolean },
): Early {
  const grey = (isClipped ? referenceGrey : greyFromRgb)(data, width * height);
  return rankGrey(grey, { width, height }, block);
}

/**
 * [K - 2] for each boundary but the last the places, ascending, of the tokens upsampled there among those the stage
 * before hands over. `selected` counts the upsampled ones after each boundary, in all (selectedCounts). Law: together
 * they are the first `selected.at(-1)` tokens of the ranking. Throws RangeError.
 */
export const selectAtBoundaries = (ranking: Uint32Array, selected: readonly number[]): Uint32Array[] =>
  selected.map((count, k) => selectStillLow(ranking, selected[k - 1] ?? 0, count));
