import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canBeStaged, describeSizes, hasTokenGrid, makesSize, tokenGrid } from '../../src/numerics/grid.ts';

describe('the token grid of a size', () => {
  it('is there where both sides are whole tokens, and can be staged where both are an even number of them', () => {
    const count = fc.integer({ min: 1, max: 300 });
    fc.assert(
      fc.property(count, count, fc.constantFrom(8, 16, 32), (rows, cols, side) => {
        const size = { width: cols * side, height: rows * side };
        expect(tokenGrid(size, side)).toEqual({ rows, cols });
        return hasTokenGrid(size, side) && canBeStaged(size, side) === (rows % 2 === 0 && cols % 2 === 0);
      }),
      { seed: 1 },
    );
  });

  it.each([
    [1360, 768, true, false],
    [848, 480, true, false],
    [768, 1360, true, false],
    [1280, 720, true, false],
    [1024, 1024, true, true],
    [1000, 1024, false, false],
    [1024, 1000, false, false],
    [0, 1024, false, false],
  ])('%i x %i: a grid %s, stages %s', (width, height, hasGrid, isStaged) => {
    expect([hasTokenGrid({ width, height }, 16), canBeStaged({ width, height }, 16)]).toEqual([hasGrid, isStaged]);
  });

  it('is refused by name, value and rule where there is none', () => {
    expect(() => tokenGrid({ width: 1000, height: 1024 }, 16)).toThrow(
      "size is 1000x1024; expected multiples of 16 pixels, a token's side",
    );
  });
});

describe('the sizes of a model', () => {
  const LISTED = { width: 848, height: 480 };
  const RULE = { multiple: 32, min_pixels: 256 ** 2, max_pixels: 1024 ** 2, max_aspect: 3 };
  const facts = { sizes: [LISTED], size_rule: RULE };

  it('are those of the list, and with a rule all that it allows', () => {
    const side = fc.oneof(
      fc.integer({ min: 1, max: 2048 }),
      fc.integer({ min: 1, max: 64 }).map((n) => 32 * n),
    );
    fc.assert(
      fc.property(side, side, (width, height) => {
        const isAllowed =
          Number.isInteger(width / 32) &&
          Number.isInteger(height / 32) &&
          width * height >= 256 * 256 &&
          width * height <= 1024 * 1024 &&
          width <= 3 * height &&
          height <= 3 * width;
        return (
          makesSize({ width, height }, { ...facts, sizes: [] }) === isAllowed &&
          !makesSize({ width, height }, { sizes: [], size_rule: null })
        );
      }),
      { seed: 2, numRuns: 2000 },
    );
    expect(makesSize(LISTED, facts)).toBe(true);
    expect(makesSize(LISTED, { ...facts, sizes: [] })).toBe(false);
  });

  it.each([
    [256, 256, true],
    [1024, 1024, true],
    [1760, 592, false],
    [1760, 576, false],
    [1728, 576, true],
    [576, 1728, true],
    [224, 288, false],
    [1056, 1024, false],
  ])('%i x %i at the edges of the rule: %s', (width, height, isMade) => {
    expect(makesSize({ width, height }, facts)).toBe(isMade);
  });

  it('are said in words', () => {
    expect(describeSizes({ sizes: [LISTED, { width: 64, height: 64 }], size_rule: null })).toBe('848x480, 64x64');
    expect(describeSizes(facts)).toBe(
      '848x480, or any size with sides that are multiples of 32, 65536 to 1048576 pixels, and the longer side at most 3 times the shorter',
    );
  });
});
