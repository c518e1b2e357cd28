import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FlopFacts, fluxFlopFacts, sd3FlopFacts, stepFlops } from '../../src/numerics/flops.ts';
import { selectedCounts, tokenCounts } from '../../src/numerics/token-counts.ts';

const TERA = 1e12;

/** TFLOPs of a whole 1024² job: steps, text and decode, and the half-size decode where there is a selection. */
function jobTflops(facts: FlopFacts, steps: number[], tokens: number[]): { total: number; withoutAttention: number } {
  const pixels = 1024 ** 2 + (steps.length > 1 ? 512 ** 2 : 0);
  const ends = facts.text + facts.decode_per_pixel * pixels;
  const denoise = (part: 'total' | 'withoutAttention') =>
    steps.reduce((sum, count, k) => sum + count * stepFlops(facts, tokens[k]!)[part], 0);
  return { total: (denoise('total') + ends) / TERA, withoutAttention: (denoise('withoutAttention') + ends) / TERA };
}

const dev = fluxFlopFacts({ textTokens: 512, guidance: true });
const devShort = fluxFlopFacts({ textTokens: 256, guidance: true });
const schnell = fluxFlopFacts({ textTokens: 512, guidance: false });
const sd3 = sd3FlopFacts({ textTokens: 333, cfg: true });
const plain = tokenCounts(4096, null);
const ralu = (ratio: number) => tokenCounts(4096, selectedCounts(1024, [ratio]));

/** The paper's TFLOPs leave attention out; the last column counts it. */
const rows: [string, FlopFacts, number[], number[], number, number | null][] = [
  ['FLUX 50', dev, [50], plain, 2991.0, 3734],
  ['FLUX 10', dev, [10], plain, 610.02, 758.6],
  ['FLUX 7', dev, [7], plain, 431.45, 535.5],
  ['RALU 7x', dev, [2, 3, 5], ralu(0.1), 426.01, 510.7],
  ['RALU 5x, 256 text tokens', devShort, [4, 5, 6], ralu(0.2), 540.47, null],
  ['RALU 5x, 512 text tokens', dev, [4, 5, 6], ralu(0.2), 592.6, 704.5],
  ['RALU 4x', dev, [5, 6, 7], ralu(0.3), 723.7, 861.3],
  ['schnell 4', schnell, [4], plain, 252.88, 312.3],
  ['schnell + RALU', schnell, [1, 1, 2], ralu(0.3), 187.92, 223.5],
  ['SD3 28', sd3, [28], plain, 351.66, null],
  ['SD3 14', sd3, [14], plain, 183.3, null],
  ['SD3 9', sd3, [9], plain, 123.17, null],
  ['SD3 RALU 2x', sd3, [5, 6, 9], ralu(0.3), 181.09, null],
  ['SD3 RALU 3x', sd3, [3, 3, 6], ralu(0.2), 116.61, null],
];

describe.each(rows)('%s', (_, facts, steps, tokens, paper, withAttention) => {
  const tflops = jobTflops(facts, steps, tokens);

  it(`is ${paper} TFLOPs without attention, to 0.5 %`, () => {
    expect(Math.abs(tflops.withoutAttention / paper - 1)).toBeLessThan(0.005);
  });

  if (withAttention === null) return;
  it(`is ${withAttention} TFLOPs with attention, to 0.5 %`, () => {
    expect(Math.abs(tflops.total / withAttention - 1)).toBeLessThan(0.005);
  });
});

describe('the polynomial of a step', () => {
  it('is the formula of the layers: linear parts by token, attention by the square of image and text together', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 0, max: 600 }), (n, textTokens) => {
        const d = 3072;
        const { total, withoutAttention } = stepFlops(fluxFlopFacts({ textTokens, guidance: true }), n);
        const linear =
          2 * 57 * 12 * d * d * (n + textTokens) +
          2 * d * d * (19 * 12 + 38 * 3 + 2) +
          2 * (64 * d * n + 4096 * d * textTokens + 64 * d * n) +
          2 * (256 * d + d * d) * 2 +
          2 * (768 * d + d * d);
        const attention = 4 * (n + textTokens) ** 2 * d * 57;
        return Math.abs(withoutAttention / linear - 1) < 1e-12 && Math.abs(total / (linear + attention) - 1) < 1e-12;
      }),
      { seed: 1 },
    );
  });

  it('costs twice as much with classifier-free guidance, and less without embedded guidance', () => {
    const once = sd3FlopFacts({ textTokens: 333, cfg: false });
    expect(stepFlops(sd3, 4096).total).toBe(2 * stepFlops(once, 4096).total);
    expect(stepFlops(schnell, 4096).total).toBeLessThan(stepFlops(dev, 4096).total);
  });

  it('refuses token counts that are not positive whole numbers', () => {
    expect(() => stepFlops(dev, 0)).toThrow('imageTokens is 0');
    expect(() => stepFlops(dev, Number.NaN)).toThrow('imageTokens is NaN');
    expect(() => fluxFlopFacts({ textTokens: -1, guidance: true })).toThrow('textTokens is -1');
    expect(() => sd3FlopFacts({ textTokens: 1.5, cfg: true })).toThrow('textTokens is 1.5');
  });
});
