/** Every row of the table of threats names tests that are there. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const PAGE = readFileSync('docs/security.md', 'utf8');

/** `worker/keys: "a", "b…"` → the file, and how the titles begin. */
function namedIn(cell: string): { readonly file: string; readonly titles: readonly string[] }[] {
  return [...cell.matchAll(/([\w-]+\/[\w-]+): ("[^"]+"(?:, "[^"]+")*)/g)].map(([, file, titles]) => ({
    file: `test/${file}.test.ts`,
    titles: [...(titles as string).matchAll(/"([^"]+?)…?"/g)].map(([, title]) => title as string),
  }));
}

test('the tests that the page of threats names are there, and each threat has one', () => {
  const rows = PAGE.split('\n').filter((line) => /^\| [^-]/.test(line) && !/^\| (threat|fault) \|/.test(line));
  expect(rows.length).toBeGreaterThan(40);
  for (const row of rows) {
    const named = namedIn(row.split(' | ').at(-1) as string);
    expect(named, row).not.toEqual([]);
    for (const { file, titles } of named) {
      const source = readFileSync(file, 'utf8');
      for (const title of titles) expect(source.includes(`'${title}`), `${file}: ${title}`).toBe(true);
    }
  }
});
