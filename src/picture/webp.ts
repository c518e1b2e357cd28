/**
 * A block of EXIF in a WebP file. Pure. Source: https://developers.google.com/speed/webp/docs/riff_container
 *
 *   simple     RIFF size WEBP · VP8 or VP8L
 *   extended   RIFF size WEBP · VP8X · … VP8 or VP8L … · EXIF
 *
 * A chunk is four letters, its length, low byte first, and its data, filled up to an even number of bytes.
 */
import { ascii, type FileBytes, hasAt, joined, MOST_PARTS, viewOf } from './bytes.ts';

const HEAD = 12;
/** Flags of VP8X. */
const HAS_EXIF = 0x08;
const HAS_ALPHA = 0x10;

const little32 = (value: number): Uint8Array =>
  Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff);

const chunk = (type: string, data: Uint8Array): Uint8Array =>
  joined(ascii(type), little32(data.length), data, new Uint8Array(data.length % 2));

const isWebp = (file: FileBytes): boolean => hasAt(file, 0, 'RIFF') && hasAt(file, 8, 'WEBP');

/** Width, height and whether there is transparency, as the stream of pixels says; null where it is none. */
function readPixels(webp: Uint8Array): { width: number; height: number; hasAlpha: boolean } | null {
  const view = viewOf(webp);
  const data = HEAD + 8;
  if (hasAt(webp, HEAD, 'VP8 ') && hasAt(webp, data + 3, '\x9d\x01\x2a') && webp.length >= data + 10)
    return {
      width: view.getUint16(data + 6, true) & 0x3fff,
      height: view.getUint16(data + 8, true) & 0x3fff,
      hasAlpha: false,
    };
  if (hasAt(webp, HEAD, 'VP8L') && hasAt(webp, data, '\x2f') && webp.length >= data + 5) {
    const bits = view.getUint32(data + 1, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1, hasAlpha: ((bits >>> 28) & 1) === 1 };
  }
  return null;
}

/** The chunk that says what else is in the file. */
function extended({ width, height, hasAlpha }: NonNullable<ReturnType<typeof readPixels>>): Uint8Array {
  const flags = HAS_EXIF | (hasAlpha ? HAS_ALPHA : 0);
  const sides = [width - 1, height - 1].flatMap((side) => [...little32(side).subarray(0, 3)]);
  return chunk('VP8X', Uint8Array.of(flags, 0, 0, 0, ...sides));
}

/** The file with an EXIF chunk at its end. It comes back as it is where it is no WebP file, or has such a chunk. */
export function withExifChunk(webp: Uint8Array, block: Uint8Array): Uint8Array {
  if (!isWebp(webp)) return webp;
  const exif = chunk('EXIF', block);
  const body = (...parts: readonly Uint8Array[]): Uint8Array => {
    const data = joined(ascii('WEBP'), ...parts);
    return joined(ascii('RIFF'), little32(data.length), data);
  };
  if (hasAt(webp, HEAD, 'VP8X') && webp.length > HEAD + 8) {
    const flagged = webp.slice(HEAD);
    if (flagged[8]! & HAS_EXIF) return webp;
    flagged[8]! |= HAS_EXIF;
    return body(flagged, exif);
  }
  const pixels = readPixels(webp);
  return pixels ? body(extended(pixels), webp.subarray(HEAD), exif) : webp;
}

/** The name that JPEG gives a block, which some programs keep here. */
const JPEG_NAME = 'Exif\0\0';

/** Most bytes of a block that are looked at: two prompts of 32,000 characters are at most 384,000 bytes as escapes. */
const MOST_BLOCK = 2 ** 20;

/** The block of EXIF of a WebP file; null where it has none, or is no WebP file. Law: the one that was put in. */
export function exifChunkOf(webp: FileBytes): Uint8Array | null {
  if (!isWebp(webp)) return null;
  let at = HEAD;
  for (let part = 0; part < MOST_PARTS && at + 8 <= webp.length; part++) {
    const head = webp.subarray(at, at + 8);
    const length = viewOf(head).getUint32(4, true);
    if (at + 8 + length > webp.length) return null;
    if (hasAt(head, 0, 'EXIF')) {
      const data = webp.subarray(at + 8, at + 8 + Math.min(length, MOST_BLOCK));
      return hasAt(data, 0, JPEG_NAME) ? data.subarray(JPEG_NAME.length) : data;
    }
    at += 8 + length + (length % 2);
  }
  return null;
}
