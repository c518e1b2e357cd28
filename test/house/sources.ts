/** The source files of the repository and what they import. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** Folders of what others wrote: packages, and the explorer of the reference, which is copied out of one. */
const FOREIGN: readonly string[] = ['node_modules', 'explorer'];

/** Files in `folder` whose names end in one of `endings`, as paths from the root. What others wrote is left out. */
export function sources(folder: string, endings: readonly string[] = ['.ts']): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory())
      return FOREIGN.includes(entry.name) || entry.name.startsWith('.') ? [] : sources(path, endings);
    return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : [];
  });
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Names in `folder`. */
export const namesIn = (folder: string): string[] => readdirSync(join(ROOT, folder));

/** Relative imports of a file, those of types included, as paths from the root. */
export const imports = (path: string): string[] =>
  [...read(path).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, target]) =>
    relative(ROOT, normalize(join(ROOT, dirname(path), target as string))),
  );

/** Whether `path` is `place`, or lies in it. */
export const isIn = (path: string, place: string): boolean => path === place || path.startsWith(`${place}/`);
