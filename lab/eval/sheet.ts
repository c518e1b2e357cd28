/** A sheet of pictures: one line for each way, one column for each prompt. */
import sharp from 'sharp';

export interface SheetLine {
  readonly name: string;
  /** one for each caption; null leaves a gap */
  readonly pictures: readonly (SheetPicture | null)[];
}

export interface SheetPicture {
  /** an image file's bytes */
  readonly bytes: Uint8Array;
  /** false gets a red frame */
  readonly isCorrect: boolean;
}

/** pixels; the side is that of a picture's shorter side on the sheet */
const SIDE = 152;
const GAP = 6;
const LABEL = 132;
const HEAD = 62;
const FRAME = 3;
const MAX_BYTES = 250_000;
const QUALITIES = [84, 76, 68, 60, 50, 40, 30];

/**
 * The sheet as WebP of at most 250 KB: quality falls until it fits. Captions are wrapped and cut after four lines.
 * Throws when even the lowest quality does not fit.
 */
export async function pictureSheet({
  captions,
  lines,
}: {
  readonly captions: readonly string[];
  readonly lines: readonly SheetLine[];
}): Promise<Buffer> {
  const width = LABEL + captions.length * (SIDE + GAP);
  const height = HEAD + lines.length * (SIDE + GAP);
  const left = (column: number): number => LABEL + column * (SIDE + GAP);
  const top = (line: number): number => HEAD + line * (SIDE + GAP);
  const places = lines.flatMap(({ pictures }, line) =>
    pictures.flatMap((picture, column) => (picture ? [{ picture, left: left(column), top: top(line) }] : [])),
  );

  const text = [
    ...captions.map((caption, column) => paragraph(wrap(caption, 22, 4), left(column), 12)),
    ...lines.map(({ name }, line) => paragraph(wrap(name, 18, 6), 4, top(line) + SIDE / 2 - 6)),
    ...places
      .filter(({ picture }) => !picture.isCorrect)
      .map(
        (place) =>
          `<rect x="${place.left + FRAME / 2}" y="${place.top + FRAME / 2}" width="${SIDE - FRAME}" height="${SIDE - FRAME}" fill="none" stroke="#d62828" stroke-width="${FRAME}"/>`,
      ),
  ];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="DejaVu Sans, sans-serif" font-size="12" fill="#222">${text.join('')}</svg>`;
  const pictures = await Promise.all(
    places.map(async ({ picture, ...place }) => ({
      ...place,
      input: await sharp(picture.bytes).resize(SIDE, SIDE, { fit: 'contain', background: '#ffffff' }).png().toBuffer(),
    })),
  );
  const sheet = await sharp({ create: { width, height, channels: 3, background: '#ffffff' } })
    .composite([...pictures, { input: Buffer.from(svg), left: 0, top: 0 }])
    .png()
    .toBuffer();
  for (const quality of QUALITIES) {
    const bytes = await sharp(sheet).webp({ quality, effort: 6 }).toBuffer();
    if (bytes.length <= MAX_BYTES) return bytes;
  }
  throw new Error(`a sheet of ${captions.length} x ${lines.length} pictures does not fit ${MAX_BYTES} bytes`);
}

const paragraph = (lines: readonly string[], x: number, y: number): string =>
  lines.map((line, i) => `<text x="${x}" y="${y + 14 * i}">${asXml(line)}</text>`).join('');
const asXml = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** Lines of at most `columns` characters, broken between words; at most `most` of them. */
function wrap(text: string, columns: number, most: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.length <= most ? lines : [...lines.slice(0, most - 1), `${lines[most - 1]} …`];
}
