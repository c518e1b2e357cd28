import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canBeStaged, hasTokenGrid, tokenGrid } from '../../src/numerics/grid.ts';

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
