/**
 * A block of EXIF with what a picture was made from. Pure. Source: Exif 2.32, and TIFF 6.0 for the layout:
 *
 *   MM 0 42, offset of the first directory
 *   directory: count, entries of 12 bytes by rising tag (tag, type, number of values, value or its offset), 0
 *
 * Numbers have their high byte first, as readers expect it of the text below.
 */
import { ascii, joined, uint16, uint32 } from './bytes.ts';

/** What the block holds. */
export interface ExifTexts {
  /** for people and their tools: the tag UserComment, in UTF-16 */
  readonly comment: string;
  /** for programs, ASCII alone: the tag MakerNote */
  readonly note: string;
}

const TAGS = { exifDirectory: 0x8769, version: 0x9000, makerNote: 0x927c, userComment: 0x9286 } as const;
const TYPES = { uint32: 4, undefined: 7 } as const;
const HEAD = 8;
const VERSION = '0232';
/** How UserComment says that UTF-16 follows. */
const UNICODE = 'UNICODE\0';

interface Entry {
  readonly tag: number;
  readonly value: Uint8Array;
}

const directorySize = (count: number): number => 2 + 12 * count + 4;

function utf16(text: string): Uint8Array {
  const bytes = new Uint8Array(2 * text.length);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i));
  return bytes;
}

/** A directory at `at` of entries without a type of their own, and their values behind it, each at an even place. */
function directory(entries: readonly Entry[], at: number): Uint8Array {
  let place = at + directorySize(entries.length);
  const rows: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  for (const { tag, value } of entries) {
    const isShort = value.length <= 4;
    const shown = isShort ? joined(value, new Uint8Array(4 - value.length)) : uint32(place);
    rows.push(joined(uint16(tag), uint16(TYPES.undefined), uint32(value.length), shown));
    if (isShort) continue;
    const padded = value.length % 2 === 0 ? value : joined(value, Uint8Array.of(0));
    values.push(padded);
    place += padded.length;
  }
  return joined(uint16(entries.length), ...rows, uint32(0), ...values);
}

/** The block, from its byte order on: what a chunk EXIF of WebP holds, and a segment of JPEG behind its name. */
export function exifBlock({ comment, note }: ExifTexts): Uint8Array {
  const exifAt = HEAD + directorySize(1);
  const pointer = joined(uint16(TAGS.exifDirectory), uint16(TYPES.uint32), uint32(1), uint32(exifAt));
  const exif = directory(
    [
      { tag: TAGS.version, value: ascii(VERSION) },
      { tag: TAGS.makerNote, value: ascii(note) },
      { tag: TAGS.userComment, value: joined(ascii(UNICODE), utf16(comment)) },
    ],
    exifAt,
  );
  return joined(ascii('MM\0*'), uint32(HEAD), uint16(1), pointer, uint32(0), exif);
}
