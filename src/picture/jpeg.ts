/** A block of EXIF in a JPEG file. Pure. Source: ITU-T T.81, B.1.1; Exif 2.32, 4.7.2 */
import { ascii, type FileBytes, hasAt, joined, MOST_PARTS, uint16, viewOf } from './bytes.ts';

const START = '\xff\xd8';
/** The segment by which JFIF is known: it keeps its place before every other. */
const JFIF = '\xff\xe0';
const EXIF_NAME = 'Exif\0\0';
/** A segment says its length, itself included, in two bytes. */
const MOST = 0xffff - 2;

/**
 * The file with an EXIF segment at its beginning. It comes back as it is where it is no JPEG file, or where the block
 * is longer than a segment may be.
 */
export function withExifSegment(jpeg: Uint8Array, block: Uint8Array): Uint8Array {
  const data = joined(ascii(EXIF_NAME), block);
  if (!hasAt(jpeg, 0, START) || data.length > MOST) return jpeg;
  const isJfif = hasAt(jpeg, 2, JFIF) && jpeg.length > 6;
  const at = isJfif ? 4 + ((jpeg[4]! << 8) | jpeg[5]!) : 2;
  const segment = joined(Uint8Array.of(0xff, 0xe1), uint16(data.length + 2), data);
  return joined(jpeg.subarray(0, at), segment, jpeg.subarray(at));
}

/** Most bytes that a block of EXIF may have in a JPEG file. */
export const MOST_EXIF = MOST - EXIF_NAME.length;

/** The byte after which the pixels come. */
const SCAN = 0xda;

/** The block of EXIF of a JPEG file; null where it has none, or is no JPEG file. Law: the one that was put in. */
export function exifSegmentOf(jpeg: FileBytes): Uint8Array | null {
  if (!hasAt(jpeg, 0, START)) return null;
  let at = 2;
  for (let part = 0; part < MOST_PARTS && at + 4 <= jpeg.length; part++) {
    const head = jpeg.subarray(at, at + 4);
    const end = at + 2 + viewOf(head).getUint16(2);
    if (head[0] !== 0xff || head[1] === SCAN || end < at + 4 || end > jpeg.length) return null;
    if (head[1] === 0xe1 && hasAt(jpeg, at + 4, EXIF_NAME)) return jpeg.subarray(at + 4 + EXIF_NAME.length, end);
    at = end;
  }
  return null;
}
