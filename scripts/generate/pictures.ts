/** The pictures of a job on disk: previews as they came, edges and chosen blocks laid over the first of them. */
import { writeFile } from 'node:fs/promises';
import { extname } from 'node:path';
import sharp from 'sharp';
import type { Picture } from '../../src/job/events.ts';
import type { FollowedEvent } from './client.ts';

const EXTENSION = { png: 'png', webp: 'webp', jpeg: 'jpg' } as const;

/** How dark the ground under the edges is: bright lines must stand out on any picture. */
const DIMMED = 0.35;

const bytesOf = ({ b64_json }: Picture): Buffer => Buffer.from(b64_json, 'base64');

/** `apple.png` → `apple.edges.png`. */
export const beside = (out: string, what: string, extension: string): string =>
  `${out.slice(0, -extname(out).length)}.${what}.${extension}`;

/** A transparent picture over an opaque one, at `width` x `height`; the overlay's pixels stay sharp. */
async function overlay(
  ground: Picture,
  over: Picture,
  { width, height, dim }: { width: number; height: number; dim: number },
): Promise<Buffer> {
  const top = await sharp(bytesOf(over)).resize(width, height, { kernel: 'nearest', fit: 'fill' }).png().toBuffer();
  // in a pipeline of its own: sharp would dim what is laid on top as well
  const bottom = await sharp(bytesOf(ground))
    .removeAlpha()
    .resize(width, height, { fit: 'fill' })
    .linear(dim, 0)
    .png()
    .toBuffer();
  return sharp(bottom)
    .composite([{ input: top }])
    .png()
    .toBuffer();
}

/**
 * Saves what the events of a finished job show beside `out`; resolves to the files' names, in the order of the story.
 */
export async function saveStagePictures(
  events: readonly FollowedEvent[],
  out: string,
  size: { width: number; height: number },
): Promise<string[]> {
  const files: string[] = [];
  const save = async (file: string, bytes: Uint8Array): Promise<void> => {
    await writeFile(file, bytes);
    files.push(file);
  };
  const first = events.flatMap((event) => (event.type === 'preview' && event.data.stage === 1 ? [event.data] : []))[0];
  for (const event of events) {
    if (event.type === 'preview') {
      await save(beside(out, `stage${event.data.stage}`, EXTENSION[event.data.format]), bytesOf(event.data));
    } else if (event.type === 'selection' && first) {
      const { edges } = event.data;
      if (edges) await save(beside(out, 'edges', 'png'), await overlay(first, edges, { ...size, dim: DIMMED }));
      await save(beside(out, 'blocks', 'png'), await overlay(first, event.data.blocks, { ...size, dim: 1 }));
    }
  }
  return files;
}

const GAP = 8;

/** Two pictures of one size side by side, as PNG. */
export async function sideBySide(left: Uint8Array, right: Uint8Array): Promise<Buffer> {
  const { width, height } = await sharp(left).metadata();
  const canvas = sharp({ create: { width: 2 * width + GAP, height, channels: 3, background: '#ffffff' } });
  return canvas
    .composite([
      { input: Buffer.from(left), left: 0, top: 0 },
      { input: Buffer.from(right), left: width + GAP, top: 0 },
    ])
    .png()
    .toBuffer();
}
