/** Pixels as files: exact where it must be, small where it must be. */
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { encodeImage, encodeSmall, type SizedFile } from '../../containers/onnx/encode.ts';
import type { Pixels } from '../../containers/onnx/pixels.ts';

/** Pixels nothing can compress. */
function noise(width: number, height: number): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, state = 1; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state >>> 24;
  }
  return { data, width, height };
}

describe('an image', () => {
  test('as PNG is the very pixels, whatever the quality', async () => {
    const pixels = noise(33, 17);
    for (const quality of [1, 100]) {
      const { data, info } = await sharp(await encodeImage(pixels, 'png', quality))
        .raw()
        .toBuffer({ resolveWithObject: true });
      expect([info.width, info.height, info.channels]).toEqual([33, 17, 3]);
      expect(data.equals(pixels.data)).toBe(true);
    }
  });

  test.each(['png', 'webp', 'jpeg'] as const)('as %s is the same bytes each time', async (format) => {
    const [one, two] = [await encodeImage(noise(64, 32), format, 80), await encodeImage(noise(64, 32), format, 80)];
    expect(Buffer.from(one).equals(two)).toBe(true);
  });

  test.each(['webp', 'jpeg'] as const)('as %s is smaller at lower quality', async (format) => {
    const [low, high] = [await encodeImage(noise(64, 64), format, 10), await encodeImage(noise(64, 64), format, 95)];
    expect(low.length).toBeLessThan(high.length);
  });
});

describe('a preview', () => {
  /** as the file itself has it, which is what is said of it */
  const sizeOf = async ({ bytes, ...said }: SizedFile) => {
    const { width, height, format } = await sharp(bytes).metadata();
    expect(said).toEqual({ width, height });
    return { width, height, format };
  };

  test('has its longest side limited, keeps its proportions, and is never enlarged', async () => {
    expect(await sizeOf(await encodeSmall(noise(128, 64), { format: 'webp', longestSide: 32, quality: 80 }))).toEqual({
      width: 32,
      height: 16,
      format: 'webp',
    });
    expect(await sizeOf(await encodeSmall(noise(64, 128), { format: 'png', longestSide: 32, quality: 80 }))).toEqual({
      width: 16,
      height: 32,
      format: 'png',
    });
    expect(await sizeOf(await encodeSmall(noise(20, 10), { format: 'jpeg', longestSide: 64, quality: 80 }))).toEqual({
      width: 20,
      height: 10,
      format: 'jpeg',
    });
  });

  test.each(['png', 'webp', 'jpeg'] as const)('as %s fits its limit, losing quality before size', async (format) => {
    const pixels = noise(256, 256);
    const whole = await encodeSmall(pixels, { format, longestSide: 256, quality: 90 });
    const smaller = await encodeSmall(pixels, {
      format,
      longestSide: 256,
      quality: 90,
      maxBytes: whole.bytes.length - 1,
    });
    expect(smaller.bytes.length).toBeLessThan(whole.bytes.length);
    expect((await sizeOf(smaller)).width).toBe(format === 'png' ? 128 : 256);
    const tiny = await encodeSmall(pixels, { format, longestSide: 256, quality: 90, maxBytes: 2000 });
    expect(tiny.bytes.length).toBeLessThanOrEqual(2000);
  });

  test.each(['png', 'webp', 'jpeg'] as const)(
    'as %s keeps the 512 pixels a job asks for, whatever they show',
    async (format) => {
      expect(await sizeOf(await encodeSmall(noise(512, 512), { format, longestSide: 512, quality: 100 }))).toEqual({
        width: 512,
        height: 512,
        format,
      });
    },
  );

  test('that cannot fit ends at one pixel instead of never', async () => {
    expect(
      await sizeOf(await encodeSmall(noise(64, 64), { format: 'png', longestSide: 64, quality: 80, maxBytes: 1 })),
    ).toMatchObject({ width: 1, height: 1 });
  });
});
