/**
 * Models at a size that they may not offer: what a picture costs depends on its tokens, not on whether the model was
 * trained at them.
 */
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../local/bundle.ts';
import type { Size } from './size.ts';

interface Manifest {
  readonly facts: { readonly sizes: readonly Size[]; readonly token_pixels: number; readonly max_tokens: number };
}

export const MODELS = join(ROOT, 'models');

/** `MODELS` where every model there offers `size`; else a copy of it in `folder` whose manifests list the size too. */
export async function modelsOffering(size: Size, folder: string): Promise<string> {
  const names = (await readdir(MODELS, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const manifests = await Promise.all(
    names.map(async (name) => ({
      name,
      manifest: JSON.parse(await readFile(join(MODELS, name, 'manifest.json'), 'utf8')) as Manifest,
    })),
  );
  const lacking = manifests.filter(
    ({ manifest }) => !manifest.facts.sizes.some(({ width, height }) => width === size.width && height === size.height),
  );
  if (lacking.length === 0) return MODELS;
  const copy = join(folder, 'models');
  await cp(MODELS, copy, { recursive: true });
  for (const { name, manifest } of lacking) {
    const { sizes, token_pixels, max_tokens } = manifest.facts;
    const tokens = (size.width / token_pixels) * (size.height / token_pixels);
    const facts = { ...manifest.facts, sizes: [...sizes, size], max_tokens: Math.max(max_tokens, tokens) };
    await writeFile(join(copy, name, 'manifest.json'), JSON.stringify({ ...manifest, facts }));
  }
  return copy;
}
