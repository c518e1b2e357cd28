/** What a picture file says in words. Pure, for files from anywhere; no pixel is decoded. */
import { type FileBytes, hasAt } from './bytes.ts';
import { readExif } from './exif.ts';
import { exifSegmentOf } from './jpeg.ts';
import { type PngText, textsIn } from './png.ts';
import { exifChunkOf } from './webp.ts';

/** The name that a UserComment has among the texts of a file, as AUTOMATIC1111 lists it. */
export const COMMENT = 'exif comment';
/** The name of the note for programs, in every format. */
const NOTE = 'ralu';

/** Most texts of one file, and most characters of them all. */
const MOST_TEXTS = 100;
const MOST_CHARACTERS = 2 ** 20;

/**
 * The texts of a file by their names: of PNG its keywords, of JPEG and WebP `exif comment` and `ralu`. Null where it
 * begins as no PNG, JPEG or WebP file does. Of two texts of one name the last counts. What is beyond a hundred texts,
 * or a million characters, is left out.
 */
export function textsOf(file: FileBytes): ReadonlyMap<string, string> | null {
  const all = allTexts(file);
  if (!all) return null;
  const texts = new Map<string, string>();
  let left = MOST_CHARACTERS;
  let count = 0;
  for (const [name, text] of all) {
    left -= text.length;
    if (left < 0) break;
    texts.set(name, text);
    if (++count === MOST_TEXTS) break;
  }
  return texts;
}

function* named(texts: Iterable<PngText>): Generator<readonly [name: string, text: string]> {
  for (const { keyword, text } of texts) yield [keyword, text];
}

function allTexts(file: FileBytes): Iterable<readonly [name: string, text: string]> | null {
  if (hasAt(file, 0, '\x89PNG\r\n\x1a\n')) return named(textsIn(file));
  const isJpeg = hasAt(file, 0, '\xff\xd8');
  if (!isJpeg && !(hasAt(file, 0, 'RIFF') && hasAt(file, 8, 'WEBP'))) return null;
  const block = isJpeg ? exifSegmentOf(file) : exifChunkOf(file);
  const said = block && readExif(block);
  const both = [[COMMENT, said?.comment ?? ''] as const, [NOTE, said?.note ?? ''] as const];
  return both.filter(([, text]) => text !== '');
}
