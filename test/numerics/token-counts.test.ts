import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { selectedCounts, tokenCounts } from '../../src/numerics/token-counts.ts';

const lowTokens = fc.integer({ min: 1, max: 2 ** 22 });
const ratio = fc.double({ min: 0, max: 1, noNaN: true });

describe('selected tokens', () => {
  it('are the most whose share is not above the ratio', () => {
    fc.assert(
      fc.property(lowTokens, ratio, (n, r) => {
        const [k] = selectedCounts(n, [r]) as [number];
        return Number.isInteger(k) && k >= 0 && k <= n && k / n <= r && (k === n || (k + 1) / n > r);
      }),
      { seed: 1, numRuns: 1000 },
    );
  });

  it('are k again for the share k / n: no product rounds one away', () => {
    fc.assert(
      fc.property(
        lowTokens.chain((n) => fc.tuple(fc.constant(n), fc.integer({ min: 0, max: n }))),
        ([n, k]) => selectedCounts(n, [k / n])[0] === k,
      ),
      { seed: 2, numRuns: 1000 },
    );
    // 0.29 * 1600 is 463.99… in float64, 0.29 * 40 * 40 is 464
    expect(selectedCounts(1600, [0.29])).toEqual([464]);
    expect(selectedCounts(1600, [0.145])).toEqual([232]);
  });

  it('never fall while the ratios rise', () => {
    fc.assert(
      fc.property(lowTokens, fc.array(ratio, { minLength: 2, maxLength: 6 }), (n, ratios) => {
        const counts = selectedCounts(
          n,
          ratios.sort((a, b) => a - b),
        );
        return counts.every((count, k) => count >= (counts[k - 1] ?? 0));
      }),
      { seed: 3 },
    );
  });

  it('refuse ratios that fall, leave [0, 1] or are NaN, and no tokens', () => {
    expect(() => selectedCounts(10, [0.3, 0.2])).toThrow('ratios[1] is 0.2; expected a number from 0.3 to 1');
    expect(() => selectedCounts(10, [1.1])).toThrow('ratios[0] is 1.1');
    expect(() => selectedCounts(10, [Number.NaN])).toThrow('ratios[0] is NaN');
    expect(() => selectedCounts(0, [0.1])).toThrow('lowTokens is 0');
  });
});

describe('token counts', () => {
  it.each([
    [0.3, 1945],
    [0.2, 1636],
    [0.1, 1330],
    [0, 1024],
    [1, 4096],
  ])('at 1024² and r = %d the mixed stage has %i', (r, mixed) => {
    expect(tokenCounts(4096, selectedCounts(1024, [r]))).toEqual([1024, mixed, 4096]);
  });

  it('follow the number of boundaries for any number of stages', () => {
    expect(tokenCounts(4, null)).toEqual([4]);
    expect(tokenCounts(40, [])).toEqual([10, 40]);
    expect(tokenCounts(40, selectedCounts(10, [0.1, 0.1, 0.55]))).toEqual([10, 13, 13, 25, 40]);
  });

  it('of one stage need no quarter: an odd side is the plain model’s to take', () => {
    expect(tokenCounts(85 * 48, null)).toEqual([4080]);
    expect(tokenCounts(53 * 29, null)).toEqual([1537]);
    expect(() => tokenCounts(53 * 29, [])).toThrow('fullTokens / 4 is 384.25; expected a whole number');
  });

  it('refuse counts that fall, or more than the low tokens, and no tokens', () => {
    expect(() => tokenCounts(40, [3, 2])).toThrow('selected[1] is 2; expected a whole number from 3 to 10');
    expect(() => tokenCounts(40, [11])).toThrow('selected[0] is 11');
    expect(() => tokenCounts(0, null)).toThrow('fullTokens is 0');
  });
});
