import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  amplitudeRanges,
  boundaryAmplitudes,
  restartAmplitude,
  WANTED_AMPLITUDE,
  zBound,
} from '../../src/numerics/restart-amplitude.ts';
import { renoiseCoefficients } from '../../src/numerics/schedule.ts';

const width = fc.double({ min: 0.5, max: 500, noNaN: true });
const end = fc.double({ min: 0.01, max: 0.99, noNaN: true });
const strength = fc.double({ min: 2, max: 100, noNaN: true });

/** Three stages on a square grid of `side` latent pixels, a tenth of the low tokens early. */
const threeStages = (side: number, ends: readonly number[]) => ({
  side,
  ends,
  selected: [Math.floor(side ** 2 / 160)],
  lowTokens: side ** 2 / 16,
});

describe('the amplitude at a restart', () => {
  it('is width times the weight of the picture over the weight of the noise', () => {
    fc.assert(
      fc.property(width, end, strength, (w, e, z) => {
        const { start, noise } = renoiseCoefficients(e, z);
        return Math.abs(restartAmplitude(w, e, z) / ((w * start) / noise) - 1) < 1e-12;
      }),
      { seed: 1 },
    );
  });

  it('under the bound of Z is the wanted one, and the bound doubles with the width', () => {
    fc.assert(
      fc.property(width, end, strength, (w, e, z) => {
        const wanted = restartAmplitude(w, e, z);
        return (
          Math.abs(zBound(w, e, wanted) / z - 1) < 1e-12 &&
          Math.abs(zBound(2 * w, e, wanted) / zBound(w, e, wanted) - 2) < 1e-12
        );
      }),
      { seed: 2 },
    );
  });

  it('of FLUX 7x at 1024² as published is 2.0 and 1.0 at the first restart and 3.5 at the last', () => {
    const [first, last] = boundaryAmplitudes(threeStages(128, [0.2, 0.3, 1]), [6.261, 6.261]);
    expect(first?.upsampled?.reached).toBeCloseTo(2.0, 1);
    expect(first?.kept?.reached).toBeCloseTo(1.0, 1);
    expect(last).toEqual({ upsampled: { reached: expect.closeTo(3.5, 1), wanted: WANTED_AMPLITUDE.last }, kept: null });
  });

  it('at 256² is .72 at the last restart with Z = 7.6, and 2.74 with Z = 2', () => {
    const at = (z: number) => boundaryAmplitudes(threeStages(32, [0.2, 0.3, 1]), [z, z])[1]?.upsampled?.reached;
    expect(at(7.6)).toBeCloseTo(0.72, 2);
    expect(at(2)).toBeCloseTo(2.74, 2);
  });

  it('is stated for the kinds of tokens that a boundary has', () => {
    const kinds = (selected: readonly number[], ends = [0.2, 0.3, 0.5, 1]) =>
      boundaryAmplitudes(
        { side: 32, ends, selected, lowTokens: 64 },
        ends.slice(1).map(() => 2),
      ).map(({ upsampled, kept }) => [upsampled !== null, kept !== null]);
    expect(kinds([0, 6])).toEqual([
      [false, true],
      [true, true],
      [true, false],
    ]);
    expect(kinds([64, 64])).toEqual([
      [true, false],
      [true, false],
      [true, false],
    ]);
    expect(kinds([], [0.3, 1])).toEqual([[true, false]]);
    expect(boundaryAmplitudes({ side: 32, ends: [1], selected: [], lowTokens: 64 }, [])).toEqual([]);
  });

  it('refuses a width, end, Z, amplitude or count that cannot be, naming it', () => {
    expect(() => restartAmplitude(0, 0.3, 2)).toThrow('width is 0');
    expect(() => restartAmplitude(10, 1, 2)).toThrow('end is 1; expected a number above 0 and below 1');
    expect(() => restartAmplitude(10, Number.NaN, 2)).toThrow('end is NaN');
    expect(() => restartAmplitude(10, 0.3, 1.9)).toThrow('z is 1.9');
    expect(() => zBound(10, 0.3, 0)).toThrow('wanted is 0');
    expect(() => amplitudeRanges(threeStages(0, [0.2, 0.3, 1]))).toThrow('side is 0');
    expect(() => amplitudeRanges({ ...threeStages(32, [0.2, 0.3, 1]), selected: [] })).toThrow(
      'selected has 0 entries',
    );
    expect(() => amplitudeRanges({ ...threeStages(32, [0.2, 0.3, 1]), selected: [65] })).toThrow('selected[0] is 65');
    expect(() => boundaryAmplitudes(threeStages(32, [0.2, 0.3, 1]), [2])).toThrow('z has 1 entries; expected 2');
  });
});

describe('the range of Z', () => {
  it('keeps every wanted amplitude wherever Z = 2 does, lies in [2, 10], and is tight below 10', () => {
    let numTight = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: 80 }),
        fc.uniqueArray(fc.integer({ min: 5, max: 90 }), { minLength: 2, maxLength: 2 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (tokens, percents, ratio) => {
          const ends = [...percents.sort((a, b) => a - b).map((percent) => percent / 100), 1];
          const restarts = {
            side: 4 * tokens,
            ends,
            selected: [Math.floor(ratio * tokens ** 2)],
            lowTokens: tokens ** 2,
          };
          const ranges = amplitudeRanges(restarts);
          const margins = boundaryAmplitudes(
            restarts,
            ranges.map(({ most }) => most),
          ).map(({ upsampled, kept }) =>
            Math.min(...[upsampled, kept].flatMap((kind) => (kind ? [kind.reached / kind.wanted] : []))),
          );
          return ranges.every(({ least, most }, k) => {
            const isTight = Math.abs(margins[k]! - 1) < 1e-12;
            if (isTight) numTight++;
            return least === 2 && (most === 2 ? margins[k]! <= 1 + 1e-12 : isTight || (most === 10 && margins[k]! > 1));
          });
        },
      ),
      { seed: 3, numRuns: 300 },
    );
    expect(numTight).toBeGreaterThan(100);
  });
});
