/**
 * A block of EXIF with what a picture was made from. Pure. Source: Exif 2.32, and TIFF 6.0 for the layout:
 *
 *   MM 0 42, offset of the first directory
 *   directory: count, entries of 12 bytes by rising tag (tag, type, number of values, value or its offset), 0
 *
 * Numbers have their high byte first, as readers expect it of the text below.
 */
import { ascii, hasAt, joined, latin, uint16, uint32, viewOf } from './bytes.ts';

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
const ASCII = 'ASCII\0\0\0';

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

/** Most entries of a directory that are looked at. */
const MOST_ENTRIES = 1000;
const ENTRY = 12;
const CODE = 8;

/**
 * What a block says, in either order of its bytes; empty what it does not say, null where it is no block. For blocks
 * from anywhere: every place is held against what is there. Law: what `exifBlock` wrote comes back.
 */
export function readExif(block: Uint8Array): ExifTexts | null {
  const isLittle = hasAt(block, 0, 'II*\0');
  if (!isLittle && !hasAt(block, 0, 'MM\0*')) return null;
  if (block.length < HEAD) return null;
  const view = viewOf(block);
  const number = (at: number): number => view.getUint32(at, isLittle);

  /** The length and the place of a tag's value in the directory at `at`. */
  function find(at: number, tag: number): { readonly length: number; readonly at: number } | null {
    if (at < HEAD || at + 2 > block.length) return null;
    const fitting = Math.floor((block.length - at - 2) / ENTRY);
    const count = Math.min(view.getUint16(at, isLittle), MOST_ENTRIES, fitting);
    for (let entry = at + 2; entry < at + 2 + count * ENTRY; entry += ENTRY)
      if (view.getUint16(entry, isLittle) === tag) return { length: number(entry + 4), at: number(entry + 8) };
    return null;
  }

  const exif = find(number(4), TAGS.exifDirectory);
  const said = (tag: number): Uint8Array => {
    const found = exif && find(exif.at, tag);
    // a value of four bytes or fewer stands in its entry, and is no text of ours
    if (!found || found.length <= 4 || found.at + found.length > block.length) return new Uint8Array(0);
    return block.subarray(found.at, found.at + found.length);
  };
  return { comment: readComment(said(TAGS.userComment), isLittle), note: latin(said(TAGS.makerNote)) };
}

/** The text of a UserComment, in UTF-16 or ASCII; empty in any other code. */
function readComment(value: Uint8Array, isLittle: boolean): string {
  const text = value.subarray(CODE);
  if (hasAt(value, 0, UNICODE))
    return new TextDecoder(isLittle ? 'utf-16le' : 'utf-16be', { ignoreBOM: true, fatal: false }).decode(text);
  return hasAt(value, 0, ASCII) ? latin(text) : '';
}
