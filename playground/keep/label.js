/**
 * What a picture of this service says that it was made from: the text `ralu` of PNG, the tag MakerNote of EXIF in WebP
 * and JPEG. Pure, and for files from anywhere: every length that a file states is held against what is there.
 *
 * @import { RequestAgain } from '../../src/job/job.ts'
 */

/** Largest file that is read, bytes. */
export const MOST_BYTES = 32 * 2 ** 20;
/** Longest text that is read: two prompts of 32,000 characters are at most 384,000 bytes as escapes. */
const MOST_TEXT = 2 ** 20;
/** Most parts of a file that are looked at, and most entries of a directory of EXIF. */
const MOST_PARTS = 10_000;
const MOST_ENTRIES = 1000;

const TAGS = { exifDirectory: 0x8769, makerNote: 0x927c };
const HEAD_OF_TIFF = 8;
const ENTRY = 12;

/** @typedef {{ name: string, data: Uint8Array }} Part a chunk or a segment of a file */

/** @param {Uint8Array} bytes one character a byte */
const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');

/** Whether `bytes` have this text at `at`. @param {Uint8Array} bytes @param {number} at @param {string} text */
const hasAt = (bytes, at, text) => latin(bytes.subarray(at, at + text.length)) === text;

/** @param {Uint8Array} bytes */
const viewOf = ({ buffer, byteOffset, byteLength }) => new DataView(buffer, byteOffset, byteLength);

/** The chunks of a PNG file, up to the first that is cut off. @param {Uint8Array} png @returns {Part[]} */
function pngParts(png) {
  const parts = [];
  for (let at = 8; at + 12 <= png.length && parts.length < MOST_PARTS; ) {
    const end = at + 8 + viewOf(png).getUint32(at);
    if (end > png.length) break;
    parts.push({ name: latin(png.subarray(at + 4, at + 8)), data: png.subarray(at + 8, end) });
    at = end + 4;
  }
  return parts;
}

/** The chunks of a WebP file, each filled up to an even number of bytes. @param {Uint8Array} webp @returns {Part[]} */
function webpParts(webp) {
  const parts = [];
  for (let at = 12; at + 8 <= webp.length && parts.length < MOST_PARTS; ) {
    const length = viewOf(webp).getUint32(at + 4, true);
    const end = at + 8 + length;
    if (end > webp.length) break;
    parts.push({ name: latin(webp.subarray(at, at + 4)), data: webp.subarray(at + 8, end) });
    at = end + (length % 2);
  }
  return parts;
}

/** The segments of a JPEG file before its pixels. @param {Uint8Array} jpeg @returns {Part[]} */
function jpegParts(jpeg) {
  const parts = [];
  for (let at = 2; at + 4 <= jpeg.length && jpeg[at] === 0xff && parts.length < MOST_PARTS; ) {
    const length = viewOf(jpeg).getUint16(at + 2);
    const end = at + 2 + length;
    const isPixels = jpeg[at + 1] === 0xda;
    if (isPixels || length < 2 || end > jpeg.length) break;
    parts.push({ name: String(jpeg[at + 1]), data: jpeg.subarray(at + 4, end) });
    at = end;
  }
  return parts;
}

/** The text of a chunk tEXt, or of iTXt that is not compressed, by its keyword; null: another. @param {Part} part */
function pngText({ name, data }, keyword = 'ralu') {
  const start = keyword.length + 1;
  if (!hasAt(data, 0, `${keyword}\0`) || data.length > MOST_TEXT) return null;
  if (name === 'tEXt') return latin(data.subarray(start));
  if (name !== 'iTXt' || data[start] !== 0) return null;
  // behind the two bytes of compression: a language and a translated keyword, each up to a zero
  const language = data.indexOf(0, start + 2);
  const translated = language < 0 ? -1 : data.indexOf(0, language + 1);
  return translated < 0 ? null : new TextDecoder().decode(data.subarray(translated + 1));
}

/**
 * The tag MakerNote of a block of EXIF, in either order of bytes; null where it has none. Source: TIFF 6.0, section 2.
 *
 * @param {Uint8Array} block from its order of bytes on
 */
function makerNote(block) {
  const isLittle = hasAt(block, 0, 'II*\0');
  if (!isLittle && !hasAt(block, 0, 'MM\0*')) return null;
  const view = viewOf(block);
  /** Length and value, or its place, of an entry in the directory at `at`. @param {number} at @param {number} tag */
  const find = (at, tag) => {
    if (at < HEAD_OF_TIFF || at + 2 > block.length) return null;
    const count = Math.min(view.getUint16(at, isLittle), MOST_ENTRIES, Math.floor((block.length - at - 2) / ENTRY));
    for (let i = 0; i < count; i++) {
      const entry = at + 2 + i * ENTRY;
      if (view.getUint16(entry, isLittle) === tag)
        return { length: view.getUint32(entry + 4, isLittle), value: view.getUint32(entry + 8, isLittle) };
    }
    return null;
  };
  if (block.length < HEAD_OF_TIFF) return null;
  const exif = find(view.getUint32(4, isLittle), TAGS.exifDirectory);
  const note = exif && find(exif.value, TAGS.makerNote);
  if (!note || note.length > MOST_TEXT || note.value + note.length > block.length) return null;
  return latin(block.subarray(note.value, note.value + note.length));
}

/** @param {Uint8Array} file */
const isPng = (file) => hasAt(file, 0, '\x89PNG\r\n\x1a\n');
/** @param {Uint8Array} file */
const isWebp = (file) => hasAt(file, 0, 'RIFF') && hasAt(file, 8, 'WEBP');
/** @param {Uint8Array} file */
const isJpeg = (file) => hasAt(file, 0, '\xff\xd8');

/** Whether a file begins as a PNG, WebP or JPEG picture does. @param {Uint8Array} file */
export const isPicture = (file) => isPng(file) || isWebp(file) || isJpeg(file);

const EXIF = 'Exif\0\0';
/** A block without the name that JPEG gives it, which some programs keep in WebP. @param {Uint8Array} data */
const withoutName = (data) => (hasAt(data, 0, EXIF) ? data.subarray(EXIF.length) : data);

/** The texts in which a file may say it. @param {Uint8Array} file @returns {(string | null)[]} null: no picture file */
function texts(file) {
  if (isPng(file)) return pngParts(file).map((part) => pngText(part));
  if (isWebp(file))
    return webpParts(file).map(({ name, data }) => (name === 'EXIF' ? makerNote(withoutName(data)) : null));
  if (isJpeg(file))
    return jpegParts(file).map(({ data }) => (hasAt(data, 0, EXIF) ? makerNote(withoutName(data)) : null));
  return [];
}

/** @param {string} text @returns {unknown} null: no JSON */
function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {unknown} value */
const isCount = (value) => Number.isSafeInteger(value) && Number(value) >= 0;

/**
 * The request that a text tells; null where it is none. @param {string} text @returns {RequestAgain | null}
 */
function requestOf(text) {
  const label = /** @type {any} */ (parseJson(text));
  const request = label?.ralu === 1 ? label.request : null;
  if (typeof request !== 'object' || request === null) return null;
  const { prompt, model, width, height, seed, preset, r } = request;
  const isOurs =
    [prompt, model].every((value) => typeof value === 'string' && value !== '') &&
    [width, height, seed].every(isCount) &&
    ['string', 'undefined'].includes(typeof preset) &&
    (r === undefined || (Array.isArray(r) && r.every((share) => typeof share === 'number')));
  return isOurs ? request : null;
}

/**
 * The request that a picture says it was made from: a body of `POST /v1/jobs`. Null where it says nothing, where its
 * words are no such request, and where the file is no PNG, WebP or JPEG.
 *
 * @param {Uint8Array} file
 * @returns {RequestAgain | null}
 */
export function readLabel(file) {
  for (const text of texts(file)) {
    const request = text === null ? null : requestOf(text);
    if (request) return request;
  }
  return null;
}
