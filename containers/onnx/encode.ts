/**
 * Pixels as files. The bytes depend on the pixels and the options alone: sharp writes no metadata unless asked, and no
 * clock enters.
 */
import sharp, { type Sharp } from 'sharp';
import { type ImageFormat, MAX_PREVIEW_BYTES } from '../../src/stage/contract.ts';
import type { Pixels } from './pixels.ts';

const load = ({ data, width, height }: Pixels) => sharp(data, { raw: { width, height, channels: 3 } });

/** How hard WebP tries to be small, 0 to 6. Beyond 2 it takes twice as long for a twentieth of the bytes. */
const EFFORT = { image: 4, small: 2 } as const;

/** `quality` is for the lossy formats; PNG takes none, because sharp would read it as a wish for a palette. */
const as = (image: Sharp, format: ImageFormat, quality: number, effort: number): Sharp => {
  switch (format) {
    case 'png':
      return image.png({ compressionLevel: 6 });
    case 'webp':
      return image.webp({ quality, effort });
    case 'jpeg':
      return image.jpeg({ quality });
  }
};

/** The picture, encoded. Law: a PNG decodes to the very pixels. */
export async function encodeImage(pixels: Pixels, format: ImageFormat, quality: number): Promise<Uint8Array> {
  return as(load(pixels), format, quality, EFFORT.image).toBuffer();
}

const LOWEST_QUALITY = 30;

/** A file, and the size of its picture. */
export interface SizedFile {
  readonly bytes: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * A picture whose longest side is at most `longestSide` (never enlarged) and which is at most `maxBytes` long: where it
 * is not, the quality of a lossy format is lowered first, then the side is halved, until it fits.
 */
export async function encodeSmall(
  pixels: Pixels,
  options: {
    readonly format: ImageFormat;
    readonly longestSide: number;
    readonly quality: number;
    readonly maxBytes?: number;
  },
): Promise<SizedFile> {
  const { format, longestSide, quality, maxBytes = MAX_PREVIEW_BYTES } = options;
  const qualities = format === 'png' || quality <= LOWEST_QUALITY ? [quality] : [quality, LOWEST_QUALITY];
  for (let side = longestSide; ; side = Math.ceil(side / 2)) {
    for (const q of qualities) {
      const { data: bytes, info } = await as(
        load(pixels).resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true }),
        format,
        q,
        EFFORT.small,
      ).toBuffer({ resolveWithObject: true });
      if (bytes.length <= maxBytes || side === 1) return { bytes, width: info.width, height: info.height };
    }
  }
}
