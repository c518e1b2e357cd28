import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { greyFromRgb, referenceGrey } from '../../src/numerics/grey.ts';
import { blockScores, latentScores, rankTokens, selectStillLow, selectTop } from '../../src/numerics/select.ts';

const scores = fc
  .array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 40 })
  .map((values) => Uint32Array.from(values));

describe('grey', () => {
  it('is .299 R + .587 G + .114 B rounded half up, for exact halves too', () => {
    // 299 R + 587 G + 114 B = 500 (mod 1000) exactly: (0, 0, 250) weighs 28.5 and rounds to 29
    expect([
      ...greyFromRgb(Uint8Array.of(0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 250), 6),
    ]).toEqual([0, 255, 76, 150, 29, 29]);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 3, maxLength: 3 }), (rgb) => {
        const thousandths = 299n * BigInt(rgb[0]!) + 587n * BigInt(rgb[1]!) + 114n * BigInt(rgb[2]!);
        return greyFromRgb(rgb, 1)[0] === Number((thousandths + 500n) / 1000n);
      }),
      { seed: 1 },
    );
  });

  it('of a grey pixel is that grey', () => {
    const rgb = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
    expect([...greyFromRgb(rgb, 256)]).toEqual([...Array(256).keys()]);
  });

  it('as the reference has it is black below mid-grey, white at white, and within 1 of clipping the decoder to [0, 1]', () => {
    fc.assert(
      fc.property(fc.double({ min: -1, max: 1, noNaN: true }), (decoded) => {
        const byte = Math.round((decoded + 1) * 127.5);
        const grey = referenceGrey(Uint8Array.of(byte, byte, byte), 1)[0]!;
        return Math.abs(grey - 255 * Math.max(0, decoded)) <= 1 + 1e-9 && (byte > 127 || grey === 0);
      }),
      { seed: 2 },
    );
    expect([...referenceGrey(Uint8Array.of(127, 127, 127, 128, 128, 128, 255, 255, 255), 3)]).toEqual([0, 1, 255]);
    // each channel is clipped before the weighting: red alone is above mid-grey here
    expect([...referenceGrey(Uint8Array.of(255, 100, 100), 1)]).toEqual([76]);
  });

  it('refuses a number of bytes that is not three a pixel', () => {
    expect(() => greyFromRgb(new Uint8Array(8), 3)).toThrow('rgb has 8 entries; expected 9');
    expect(() => referenceGrey(new Uint8Array(8), 3)).toThrow('rgb has 8 entries; expected 9');
  });
});

describe('block scores', () => {
  it('count the pixels that are not 0 in each block, row by row', () => {
    // 4 x 2 pixels in blocks of 2: three on the left, one on the right
    expect([...blockScores(Uint8Array.of(255, 1, 0, 0, 255, 0, 0, 9), 4, 2, 2)]).toEqual([3, 1]);
    expect([...blockScores(new Uint8Array(16 * 32).fill(255), 32, 16)]).toEqual([256, 256]);
  });

  it('add up to all edge pixels', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 96, maxLength: 96, max: 1 }),
        (edges) => blockScores(edges, 12, 8, 4).reduce((a, b) => a + b) === edges.reduce((a, b) => a + b),
      ),
      { seed: 3 },
    );
  });

  it('refuse a block that does not divide the picture, and sizes that disagree', () => {
    expect(() => blockScores(new Uint8Array(24), 6, 4, 4)).toThrow(
      'block is 4; expected a divisor of width 6 and height 4',
    );
    expect(() => blockScores(new Uint8Array(24), 6, 4, 0)).toThrow('block is 0');
    expect(() => blockScores(new Uint8Array(23), 6, 4, 2)).toThrow('edges has 23 entries; expected 24');
  });
});

describe('selection', () => {
  it('ranks by score, ties to the lower index', () => {
    expect([...rankTokens(Uint32Array.of(3, 5, 5, 0, 3))]).toEqual([1, 2, 0, 4, 3]);
    expect([...rankTokens(new Uint32Array(4))]).toEqual([0, 1, 2, 3]);
  });

  it('of the top k is ascending, and nothing left out scores more, or the same at a lower index', () => {
    fc.assert(
      fc.property(scores, fc.nat(40), (values, wanted) => {
        const k = Math.min(wanted, values.length);
        const chosen = selectTop(values, k);
        const left = [...values.keys()].filter((n) => !chosen.includes(n));
        return (
          chosen.length === k &&
          chosen.every(
            (n, i) =>
              (i === 0 || n > chosen[i - 1]!) &&
              left.every((m) => values[m]! < values[n]! || (values[m] === values[n] && m > n)),
          )
        );
      }),
      { seed: 4 },
    );
  });

  it('of none is empty and of all is everyone', () => {
    expect([...selectTop(Uint32Array.of(7), 0)]).toEqual([]);
    expect([...selectTop(Uint32Array.of(7), 1)]).toEqual([0]);
    expect([...selectTop(Uint32Array.of(1, 9, 4), 3)]).toEqual([0, 1, 2]);
  });

  it('among those still low gives their places once the earlier ones are gone', () => {
    const ranking = rankTokens(Uint32Array.of(0, 9, 5, 7, 1, 6));
    expect([...selectStillLow(ranking, 0, 2)]).toEqual([1, 3]);
    // left: tokens 0, 2, 4, 5 at places 0 … 3; the next two in rank are 5 and 2
    expect([...selectStillLow(ranking, 2, 4)]).toEqual([1, 3]);
    expect([...selectStillLow(ranking, 4, 4)]).toEqual([]);
    expect([...selectStillLow(ranking, 4, 6)]).toEqual([0, 1]);
  });

  it('refuses counts that are not whole or out of range, NaN included', () => {
    expect(() => selectTop(new Uint32Array(3), 4)).toThrow('k is 4; expected a whole number from 0 to 3');
    expect(() => selectTop(new Uint32Array(3), Number.NaN)).toThrow('k is NaN');
    expect(() => selectTop(new Uint32Array(3), 1.5)).toThrow('k is 1.5');
    expect(() => selectStillLow(new Uint32Array(3), 2, 1)).toThrow('to is 1');
    expect(() => selectStillLow(new Uint32Array(3), -1, 1)).toThrow('from is -1');
  });
});

describe('detail of clean latents', () => {
  const finite = fc.float({ min: -8, max: 8, noNaN: true });

  it('is nothing where a token is flat in each channel: no order but the lower index', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(finite, finite), { minLength: 1, maxLength: 20 }), (tokens) => {
        const clean = Float32Array.from(tokens.flatMap((token) => token.flatMap((x) => [x, x, x, x])));
        const scores = latentScores(clean, tokens.length);
        return scores.every((score) => score === 0) && rankTokens(scores).every((index, i) => index === i);
      }),
      { seed: 11 },
    );
  });

  it('is the variance over four latent pixels, summed over channels', () => {
    expect([...latentScores(Float32Array.of(1, 1, 3, 3, 0, 0, 0, 4, 5, 5, 5, 5, 2, 2, 2, 2), 2)]).toEqual([4, 0]);
  });

  it('puts the one token with detail first, wherever it is and however bright the others are', () => {
    fc.assert(
      fc.property(fc.nat(15), fc.array(finite, { minLength: 16, maxLength: 16 }), (at, levels) => {
        const clean = Float32Array.from(levels.flatMap((x) => Array<number>(16).fill(x)));
        clean.set([1, -1, 1, -1], at * 16 + 4);
        return rankTokens(latentScores(clean, 16))[0] === at;
      }),
      { seed: 12 },
    );
  });

  it('refuses latents that are not tokens of four pixels a channel', () => {
    expect(() => latentScores(new Float32Array(10), 2)).toThrow('clean has 10 entries for 2 tokens');
    expect(() => latentScores(new Float32Array(0), 2)).toThrow(RangeError);
    expect(() => latentScores(new Float32Array(8), 0)).toThrow('numTokens is 0');
  });
});
