/** The renderer of the API reference, served from our own files. */
import { cp, mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the page at /docs looks for it. */
const PLACE = fileURLToPath(new URL('../../playground/reference/explorer', import.meta.url));

/** Copies the explorer and its licence out of their package to where they are served. Twice is as good as once. */
export async function placeExplorer(): Promise<void> {
  const folder = join(createRequire(import.meta.url).resolve('openapi-explorer/package.json'), '..');
  await mkdir(PLACE, { recursive: true });
  await Promise.all([
    cp(join(folder, 'dist/browser/openapi-explorer.min.js'), join(PLACE, 'openapi-explorer.js')),
    cp(join(folder, 'LICENSE'), join(PLACE, 'LICENSE.txt')),
  ]);
}
