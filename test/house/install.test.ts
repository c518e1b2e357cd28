import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const read = <T>(name: string): T => JSON.parse(readFileSync(join(import.meta.dirname, '../..', name), 'utf8')) as T;

// onnxruntime-node downloads CUDA's libraries when it is installed. `allowScripts` forbids that, but npm 10 does not
// know the word: it runs whatever the lock file marks with `hasInstallScript`. So take the mark out by hand when an
// update of a package that must not run its script brings it back
test('the lock files mark no install script but those that package.json allows', () => {
  const { allowScripts } = read<{ readonly allowScripts: Readonly<Record<string, boolean>> }>('package.json');
  const marked = ['package-lock.json', 'lab/package-lock.json'].flatMap((lock) => {
    const { packages } = read<{ readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>> }>(
      lock,
    );
    return Object.keys(packages).filter((path) => packages[path]?.hasInstallScript);
  });
  expect(marked).toContain('node_modules/node');
  expect(marked.filter((path) => allowScripts[path.slice(path.lastIndexOf('node_modules/') + 13)] !== true)).toEqual(
    [],
  );
});
