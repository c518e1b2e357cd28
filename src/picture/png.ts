/** Texts in a PNG file. Pure. Source: PNG, third edition, https://www.w3.org/TR/png-3/#11textinfo */
import { ascii, hasAt, joined, uint32 } from './bytes.ts';

/** A text without zero bytes, and its keyword, which has 1 to 79 ASCII characters. */
export interface PngText {
  readonly keyword: string;
  readonly text: string;
}

const SIGNATURE = '\x89PNG\r\n\x1a\n';
/** The signature, and the chunk IHDR that always comes first: length, type, 13 bytes, check sum. */
const HEAD = SIGNATURE.length + 25;

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
