/** Texts in a PNG file. Pure. Source: PNG, third edition, https://www.w3.org/TR/png-3/#11textinfo */
import { ascii, type FileBytes, hasAt, joined, latin, MOST_PARTS, uint32, viewOf } from './bytes.ts';

/** A text without zero bytes, and its keyword, which has 1 to 79 ASCII characters. */
export interface PngText {
  readonly keyword: string;
  readonly text: string;
}

const SIGNATURE = '\x89PNG\r\n\x1a\n';
/** The signature, and the chunk IHDR that always comes first: length, type, 13 bytes, check sum. */
const HEAD = SIGNATURE.length + 25;

/** Longest keyword, characters. */
const MOST_KEYWORD = 79;

/** CRC-32 of each byte, by the polynomial of PNG. */
const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

const crc32 = (bytes: Uint8Array): number =>
  ~bytes.reduce((crc, byte) => (crc >>> 8) ^ CRCS[(crc ^ byte) & 0xff]!, -1) >>> 0;

function chunk(type: string, data: Uint8Array): Uint8Array {
  const checked = joined(ascii(type), data);
  return joined(uint32(data.length), checked, uint32(crc32(checked)));
}

/** Printable Latin-1 and line feeds: what a chunk tEXt may hold. */
const LATIN_1 = /^[\n\x20-\x7e\xa1-\xff]*$/;

/** A text as tEXt where Latin-1 will do, which every reader knows; else as iTXt in UTF-8, not compressed. */
function textChunk({ keyword, text }: PngText): Uint8Array {
  if (LATIN_1.test(text)) return chunk('tEXt', ascii(`${keyword}\0${text}`));
  // no compression, its method, and no language or translated keyword
  const head = ascii(`${keyword}\0\0\0\0\0`);
  return chunk('iTXt', joined(head, new TextEncoder().encode(text)));
}

/**
 * The file with these texts before its pixels, in their order. Bytes that are no PNG file come back as they are. Law:
 * the pixels are the same.
 */
export function withTexts(png: Uint8Array, texts: readonly PngText[]): Uint8Array {
  if (!hasAt(png, 0, SIGNATURE) || !hasAt(png, SIGNATURE.length, '\0\0\0\rIHDR')) return png;
  return joined(png.subarray(0, HEAD), ...texts.map(textChunk), png.subarray(HEAD));
}

/** Longest chunk that is read as a text: two prompts of 32,000 characters are at most 384,000 bytes as escapes. */
const MOST_TEXT = 2 ** 20;

/**
 * The texts of a PNG file in their order: every tEXt, and every iTXt that is not compressed; none where it is no PNG
 * file. Each is read when it is asked for. For files from anywhere: what is cut off, or too long, is left out. Law:
 * what `withTexts` wrote comes back.
 */
export function* textsIn(png: FileBytes): Generator<PngText, void> {
  if (!hasAt(png, 0, SIGNATURE)) return;
  let at = SIGNATURE.length;
  for (let part = 0; part < MOST_PARTS && at + 12 <= png.length; part++) {
    const head = png.subarray(at, at + 8);
    const length = viewOf(head).getUint32(0);
    const [begin, end] = [at + 8, at + 8 + length];
    if (end > png.length) break;
    const type = latin(head.subarray(4));
    const isText = (type === 'tEXt' || type === 'iTXt') && length <= MOST_TEXT;
    const text = isText ? textOf(type, png.subarray(begin, end)) : null;
    if (text) yield text;
    at += 12 + length;
  }
}

/** The text of a chunk; null where it is not as such a chunk is to be. */
function textOf(type: 'tEXt' | 'iTXt', data: Uint8Array): PngText | null {
  const end = data.indexOf(0);
  if (end < 1 || end > MOST_KEYWORD) return null;
  const keyword = latin(data.subarray(0, end));
  if (type === 'tEXt') return { keyword, text: latin(data.subarray(end + 1)) };
  if (data[end + 1] !== 0) return null;
  // behind the two bytes of compression: a language and a translated keyword, each up to a zero
  const language = data.indexOf(0, end + 3);
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
  if (translated < 0) return null;
  const text = new TextDecoder('utf-8', { ignoreBOM: true, fatal: false }).decode(data.subarray(translated + 1));
  return { keyword, text };
}
