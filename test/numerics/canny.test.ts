import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canny } from '../../src/numerics/canny.ts';
import { blockScores } from '../../src/numerics/select.ts';
import { type CannyCase, golden, goldenGrey } from './golden.ts';

describe.each(golden<CannyCase[]>('canny.json'))(
  'OpenCV edges of $image at $low, $high',
  ({ image, edges, low, high, edge_pixels, block, grid, block_scores }) => {
    const { grey, width, height } = goldenGrey(image);
    const found = canny(grey, width, height, { low, high });

    it('are the same in every pixel', () => {
      const expected = goldenGrey(edges).grey;
      expect(found.length).toBe(expected.length);
      expect(found.findIndex((pixel, i) => pixel !== expected[i])).toBe(-1);
      expect(found.reduce((sum, pixel) => sum + Number(pixel === 255), 0)).toBe(edge_pixels);
    });

    it('have the same score in every block', () => {
      expect([height / block, width / block]).toEqual(grid);
      expect([...blockScores(found, width, height, block)]).toEqual(block_scores);
    });
  },
);

describe('Canny', () => {
  const picture = fc
    .record({ width: fc.integer({ min: 1, max: 24 }), height: fc.integer({ min: 1, max: 24 }) })
    .chain(({ width, height }) =>
      fc.record({
        width: fc.constant(width),
        height: fc.constant(height),
        grey: fc.uint8Array({ minLength: width * height, maxLength: width * height, max: 200 }),
      }),
    );

  it('takes 100 and 200 when nothing is said', () => {
    const { grey, width, height } = goldenGrey('shapes.png');
    expect(canny(grey, width, height)).toEqual(canny(grey, width, height, { low: 100, high: 200 }));
    expect(canny(grey, width, height)).not.toEqual(canny(grey, width, height, { low: 40, high: 120 }));
  });

  it('of image + constant is unchanged while nothing saturates', () => {
    fc.assert(
      fc.property(picture, fc.integer({ min: 0, max: 55 }), ({ grey, width, height }, lift) => {
        const edges = canny(grey, width, height);
        return canny(
          grey.map((value) => value + lift),
          width,
          height,
        ).every((pixel, i) => pixel === edges[i]);
      }),
      { seed: 1 },
    );
  });

  it('writes 0 and 255 only, and with equal thresholds a higher one leaves a subset', () => {
    fc.assert(
      fc.property(picture, fc.integer({ min: 0, max: 500 }), ({ grey, width, height }, threshold) => {
        const more = canny(grey, width, height, { low: threshold, high: threshold });
        const fewer = canny(grey, width, height, { low: threshold + 50, high: threshold + 50 });
        return (
          more.every((pixel) => pixel === 0 || pixel === 255) &&
          fewer.every((pixel, i) => pixel === 0 || more[i] === 255)
        );
      }),
      { seed: 2 },
    );
  });

  it.each([
    [16, 16],
    [1, 1],
    [1, 9],
    [9, 1],
  ])('finds no edge in a flat picture of %i x %i', (width, height) => {
    expect(canny(new Uint8Array(width * height).fill(128), width, height).some((pixel) => pixel !== 0)).toBe(false);
  });

  it('keeps a weak edge that hangs together with a strong one, and only then', () => {
    // a vertical step at column 8: strong (|gradient| 4 * 60) in the rows above 8, weak (4 * 40) below
    const step = (row: number, above: number, below: number) => (row < 8 ? above : below);
    const draw = (above: number, below: number) =>
      Uint8Array.from({ length: 256 }, (_, i) => (i % 16 < 8 ? 0 : step(i >> 4, above, below)));
    const numBelow = (grey: Uint8Array) =>
      canny(grey, 16, 16)
        .subarray(10 * 16)
        .reduce((sum, pixel) => sum + Number(pixel === 255), 0);
    expect(numBelow(draw(60, 40))).toBe(6);
    expect(numBelow(draw(40, 40))).toBe(0);
  });

  it('refuses sizes that disagree and thresholds that are not whole, negative or crossed', () => {
    const grey = new Uint8Array(12);
    expect(() => canny(grey, 4, 4)).toThrow('grey has 12 entries; expected 16');
    expect(() => canny(grey, 0, 3)).toThrow('width is 0');
    expect(() => canny(grey, 4, Number.NaN)).toThrow('height is NaN');
    expect(() => canny(grey, 4, 3, { low: -1 })).toThrow('low is -1');
    expect(() => canny(grey, 4, 3, { low: 10.5 })).toThrow('low is 10.5');
    expect(() => canny(grey, 4, 3, { low: 200, high: 100 })).toThrow('high is 100; expected a whole number from 200');
  });
});
