import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { fitPicture, middleOf } from '../../src/numerics/lanczos.ts';
import { maxDifference } from './golden.ts';

const side = fc.integer({ min: 1, max: 12 });
const size = fc.record({ width: side, height: side });
const pictures = size.chain((from) =>
  fc.record({
    from: fc.constant(from),
    rgb: fc.uint8Array({ minLength: from.width * from.height * 3, maxLength: from.width * from.height * 3 }),
    to: fc.record({ width: fc.integer({ min: 1, max: 30 }), height: fc.integer({ min: 1, max: 30 }) }),
  }),
);

const mirrored = (rgb: Uint8Array, width: number): Uint8Array =>
  rgb.map((_, i) => rgb[i + 3 * (width - 1 - 2 * (Math.floor(i / 3) % width))]!);

describe('fitPicture', () => {
  it('leaves a picture at its own size as it is', () => {
    fc.assert(
      fc.property(pictures, ({ rgb, from }) => {
        expect(fitPicture(rgb, from, from)).toEqual(rgb);
      }),
    );
  });

  it('keeps a constant picture constant, at whatever size', () => {
    fc.assert(
      fc.property(pictures, fc.nat(255), ({ rgb, from, to }, value) => {
        const fitted = fitPicture(rgb.fill(value), from, to);
        expect(fitted).toEqual(new Uint8Array(to.width * to.height * 3).fill(value));
      }),
    );
  });

  it('gives the mirrored picture the mirrored result, to one level', () => {
    fc.assert(
      fc.property(pictures, ({ rgb, from, to }) => {
        const there = mirrored(fitPicture(rgb, from, to), to.width);
        expect(maxDifference(fitPicture(mirrored(rgb, from.width), from, to), there)).toBeLessThanOrEqual(1);
      }),
    );
  });

  // tools: Pillow 13.0.0, `ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)`, of 24 x 16 pixels:
  // waves, a ramp and a chessboard with noise. Pillow rounds to bytes between the axes
  it.each([
    { width: 96, height: 64 },
    { width: 70, height: 30 },
    { width: 33, height: 64 },
    { width: 10, height: 7 },
  ])('to $width x $height is what Pillow makes, to two levels', (to) => {
    const golden = (name: string) => decode(readFileSync(new URL(`../golden/${name}`, import.meta.url)));
    const { data, width, height } = golden('lanczos.png');
    const fitted = fitPicture(Uint8Array.from(data), { width, height }, to);
    const theirs = golden(`lanczos.${to.width}x${to.height}.png`).data;
    expect(maxDifference(fitted, theirs)).toBeLessThanOrEqual(2);
    const mean = fitted.reduce((sum, level, i) => sum + Math.abs(level - theirs[i]!), 0) / fitted.length;
    expect(mean).toBeLessThan(0.5);
  });

  it('cuts off what does not fit, on both sides alike', () => {
    expect(middleOf({ width: 256, height: 128 }, { width: 1792, height: 1024 })).toEqual({
      across: { start: 16, length: 224 },
      down: { start: 0, length: 128 },
    });
    // left third red, middle green, right third blue: only the middle is left
    const stripes = Uint8Array.from({ length: 90 * 30 * 3 }, (_, i) =>
      i % 3 === Math.floor((Math.floor(i / 3) % 90) / 30) ? 200 : 0,
    );
    const fitted = fitPicture(stripes, { width: 90, height: 30 }, { width: 10, height: 10 });
    expect([...fitted.subarray(15, 18)]).toEqual([0, 200, 0]);
  });

  it('refuses bytes that are no picture of that size, and a size that is none', () => {
    const one = { width: 1, height: 1 };
    expect(() => fitPicture(new Uint8Array(4), one, one)).toThrow('rgb has 4 bytes; expected 3, 1 x 1 x 3');
    expect(() => fitPicture(new Uint8Array(3), one, { width: 0, height: 1 })).toThrow('the size is 0x1');
  });
});
