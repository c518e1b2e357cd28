import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { doublePicture } from '../../src/numerics/enlarge.ts';

const sides = { width: fc.integer({ min: 1, max: 9 }), height: fc.integer({ min: 1, max: 9 }) };
const pictures = fc.record(sides).chain(({ width, height }) =>
  fc.record({
    width: fc.constant(width),
    height: fc.constant(height),
    rgb: fc.uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 }),
  }),
);

const mirrored = (rgb: Uint8Array, width: number): Uint8Array =>
  rgb.map((_, i) => {
    const x = Math.floor(i / 3) % width;
    return rgb[i + 3 * (width - 1 - 2 * x)]!;
  });
const transposed = (rgb: Uint8Array, width: number, height: number): Uint8Array =>
  rgb.map((_, i) => {
    const [x, y] = [Math.floor(i / 3) % height, Math.floor(i / 3 / height)];
    return rgb[(x * width + y) * 3 + (i % 3)]!;
  });

describe('doublePicture', () => {
  it('keeps a constant picture constant', () => {
    fc.assert(
      fc.property(fc.record({ ...sides, value: fc.nat(255) }), ({ width, height, value }) => {
        const doubled = doublePicture(new Uint8Array(width * height * 3).fill(value), width, height);
        expect(doubled).toEqual(new Uint8Array(width * height * 12).fill(value));
      }),
    );
  });

  it('gives the mirrored picture the mirrored result, and the transposed one the transposed', () => {
    fc.assert(
      fc.property(pictures, ({ rgb, width, height }) => {
        const doubled = doublePicture(rgb, width, height);
        expect(doublePicture(mirrored(rgb, width), width, height)).toEqual(mirrored(doubled, 2 * width));
        expect(doublePicture(transposed(rgb, width, height), height, width)).toEqual(
          transposed(doubled, 2 * width, 2 * height),
        );
      }),
    );
  });

  it('continues a ramp: a new pixel lies a quarter of an old one from the old centre', () => {
    const ramp = Uint8Array.from({ length: 8 * 3 }, (_, i) => 40 + 16 * Math.floor(i / 3));
    const doubled = doublePicture(ramp, 8, 1);
    // away from the borders, which repeat
    for (let x = 3; x < 13; x++) expect(doubled[x * 3]).toBe(40 + 16 * ((x + 0.5) / 2 - 0.5));
  });

  it('clips what overshoots at an edge', () => {
    const edge = Uint8Array.from({ length: 6 * 3 }, (_, i) => (i < 9 ? 0 : 255));
    const doubled = Array.from(doublePicture(edge, 6, 1)).filter((_, i) => i % 3 === 0);
    expect(doubled.slice(0, 12)).toEqual([0, 0, 0, 0, 0, 52, 203, 255, 255, 255, 255, 255]);
  });

  it('refuses bytes that are no picture of that size', () => {
    expect(() => doublePicture(new Uint8Array(11), 2, 2)).toThrow('rgb has 11 bytes; expected 12');
  });
});
