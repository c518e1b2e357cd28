import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { read, sources } from './sources.ts';

const PICTURES = ['.png', '.webp', '.jpg', '.svg'];

/** Pictures that a page shows, as paths from the root. */
const shownBy = (page: string): string[] =>
  [...read(page).matchAll(/(?:\]\(|src="|srcset=")([^)"#\s:]+)/g)]
    .map(([, target]) => normalize(join(dirname(page), target as string)))
    .filter((target) => PICTURES.some((ending) => target.endsWith(ending)));

test('a picture under docs is there because a page shows it, and every picture that a page shows is there', () => {
  const shown = ['README.md', ...sources('docs', ['.md'])].flatMap(shownBy);
  expect(shown.length).toBeGreaterThan(10);
  expect(sources('docs', PICTURES).toSorted()).toEqual([...new Set(shown)].toSorted());
});
