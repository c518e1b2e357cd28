/** A thumbnail of a stage that runs, as its server sends it. Whoever stands in the server's place may send anything. */
import {
  type ImageFormat,
  imageFormat,
  MAX_THUMBNAIL_BYTES,
  SIZE_HEADER,
  STEP_HEADER,
  THUMBNAIL_SIDE,
} from './contract.ts';
import { readAtMost } from './read-at-most.ts';

export interface StageThumbnail {
  /** the step that it shows, from 1 */
  readonly step: number;
  readonly format: ImageFormat;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/** How files begin. Of WebP that is `RIFF`, four bytes of length, `WEBP`. */
const BEGINNINGS: Readonly<Record<ImageFormat, readonly (readonly [at: number, bytes: readonly number[]])[]>> = {
  png: [[0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]]],
  webp: [
    [0, [0x52, 0x49, 0x46, 0x46]],
    [8, [0x57, 0x45, 0x42, 0x50]],
  ],
  jpeg: [[0, [0xff, 0xd8, 0xff]]],
};

/**
 * The thumbnail in an answer; null where it holds none that may be shown: another status or type, too many bytes or
 * pixels, no step, or a file that does not begin as its type does. Throws what the body throws when it breaks, and the
 * signal's reason.
 */
export async function readThumbnail(response: Response, signal: AbortSignal): Promise<StageThumbnail | null> {
  const { status, headers, body } = response;
  const format = imageFormat.safeParse(/^image\/(\w+)$/.exec(headers.get('content-type') ?? '')?.[1]);
  const step = Number(/^[1-9]\d{0,3}$/.exec(headers.get(STEP_HEADER) ?? '')?.[0]);
  const [, width = 0, height = 0] = (/^([1-9]\d?)x([1-9]\d?)$/.exec(headers.get(SIZE_HEADER) ?? '') ?? []).map(Number);
  const isSmall = width > 0 && Math.max(width, height) <= THUMBNAIL_SIDE;
  if (status !== 200 || !format.success || !step || !isSmall) {
    await body?.cancel();
    return null;
  }
  const bytes = await readAtMost(body, MAX_THUMBNAIL_BYTES, signal);
  const isOfType = BEGINNINGS[format.data].every(([at, begin]) => begin.every((byte, i) => bytes?.[at + i] === byte));
  return bytes && isOfType ? { step, format: format.data, width, height, bytes } : null;
}
