/** Pixels on disk and back, without loss. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import sharp from 'sharp';
import type { Pixels } from './denoiser.ts';

export async function savePicture(file: string, { data, width, height }: Pixels): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(file);
}

/** The picture in `file`, or null where there is no such file. */
export async function loadPicture(file: string): Promise<Pixels | null> {
  if (!existsSync(file)) return null;
  const { data, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}
