import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rankGrey, rankPicture, selectAtBoundaries } from '../../src/numerics/early.ts';
import { selectTop } from '../../src/numerics/select.ts';
import { type CannyCase, golden, goldenGrey } from './golden.ts';

/** The picture whose three channels are this grey. */
const asRgb = (grey: Uint8Array) => Uint8Array.from({ length: 3 * grey.length }, (_, i) => grey[Math.floor(i / 3)]!);

describe.each(golden<CannyCase[]>('canny.json').filter(({ low, high }) => low === 100 && high === 200))(
  'of the golden picture $image',
  ({ image, edges: edgeImage, edge_pixels, block, block_scores }) => {
    const { grey, width, height } = goldenGrey(image);
    const size = { width, height };

    it('edges are OpenCV’s, and blocks rank by the edge pixels it counts in them', () => {
      const { edges, ranking } = rankGrey(grey, size, block);
      expect(edges).toEqual(goldenGrey(edgeImage).grey);
      expect(edges.filter((value) => value !== 0)).toHaveLength(edge_pixels);
      const scores = [...ranking].map((index) => block_scores[index]!);
      expect(scores).toEqual([...block_scores].sort((a, b) => b - a));
      for (const [i, index] of ranking.entries())
        if (i > 0 && scores[i] === scores[i - 1]) expect(index).toBeGreaterThan(ranking[i - 1]!);
    });

    it('a grey picture in colour ranks as its grey', () => {
      const picture = { data: asRgb(grey), ...size };
      expect(rankPicture(picture, { block, isClipped: false })).toEqual(rankGrey(grey, size, block));
    });

    it('clipped input sees nothing below mid-grey', () => {
      const dark = { data: asRgb(grey.map((value) => value >> 1)), ...size };
      expect(rankPicture(dark, { block, isClipped: true }).edges.some((value) => value !== 0)).toBe(false);
    });
  },
);

describe('what the boundaries upsample', () => {
  const ranking = fc
    .array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 40 })
    .map((scores) => ({ scores: Uint32Array.from(scores), n: scores.length }));

  it('is the top of the ranking at the first, and at each later one the next best of those still low', () => {
    fc.assert(
      fc.property(ranking, fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 5 }), (given, shares) => {
        const { scores, n } = given;
        const selected = shares.map((share) => Math.floor(share * n)).sort((a, b) => a - b);
        const ranked = Uint32Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b);
        let low = [...scores.keys()];
        const all: number[] = [];
        for (const chosen of selectAtBoundaries(ranked, selected)) {
          // places among the tokens still low → indices of the low grid
          const taken = [...chosen].map((place) => low[place]!);
          low = low.filter((index) => !taken.includes(index));
          all.push(...taken);
          expect(Uint32Array.from(all).sort()).toEqual(selectTop(scores, all.length));
        }
        return all.length === (selected.at(-1) ?? 0);
      }),
      { seed: 1 },
    );
  });
});
