/** What a picture says it was made from. */
import exifReader from 'exif-reader';
import { decode } from 'fast-png';
import sharp from 'sharp';
import { z } from 'zod';
import type { Again } from '../../src/job/label.ts';

const schema = z.object({
  ralu: z.literal(1),
  model_digest: z.string(),
  request: z.looseObject({ prompt: z.string(), output_format: z.enum(['png', 'webp', 'jpeg']) }),
}) satisfies z.ZodType<Again>;

/** What a picture says of itself; null and empty where it says nothing. */
export interface Label {
  readonly again: z.infer<typeof schema> | null;
  /** the settings as AUTOMATIC1111 writes them */
  readonly parameters: string;
}

/** Reads PNG, JPEG or WebP. Rejects where the bytes are no picture. */
export async function readLabel(file: Uint8Array): Promise<Label> {
  const { format, comments = [], exif } = await sharp(file).metadata();
  // sharp takes Latin-1 for UTF-8, and the other reader knows no UTF-8
  const latin = format === 'png' ? Object.entries(decode(file).text) : [];
  const texts = new Map([...comments.map(({ keyword, text }) => [keyword, text] as const), ...latin]);
  const photo = exif && readExif(exif);
  const note = photo ? (photo.MakerNote?.toString('latin1') ?? '') : (texts.get('ralu') ?? '');
  const parameters = photo ? readComment(photo.UserComment) : (texts.get('parameters') ?? '');
  const read = schema.safeParse(parseJson(note));
  return { again: read.success ? read.data : null, parameters };
}

/** The tags of a photograph; none where the block cannot be read. */
function readExif(block: Buffer): Readonly<Partial<Record<'MakerNote' | 'UserComment', Buffer>>> {
  try {
    return exifReader(block).Photo ?? {};
  } catch {
    return {};
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const CODE = 8;
/** The text of a UserComment in UTF-16; empty in any other code. */
function readComment(comment: Buffer | undefined): string {
  if (comment?.toString('latin1', 0, CODE) !== 'UNICODE\0') return '';
  return Buffer.from(comment.subarray(CODE)).swap16().toString('utf16le');
}
