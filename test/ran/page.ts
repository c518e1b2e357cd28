/** Parts of pages that tests write: between two comments of a name. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

/**
 * The part of the page between `<!-- begin NAME -->` and `<!-- end NAME -->` is `text`; with `RALU_WRITE_DOCS` it is
 * made so. Throws a RangeError where the page has no such part.
 */
export function expectPart(page: string, name: string, text: string): void {
  const path = join(ROOT, page);
  const whole = readFileSync(path, 'utf8');
  const [begin, end] = [`<!-- begin ${name} -->\n`, `\n<!-- end ${name} -->`];
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0 || to < from) throw new RangeError(`${page} has no part ${name}`);
  if (process.env.RALU_WRITE_DOCS) writeFileSync(path, whole.slice(0, from + begin.length) + text + whole.slice(to));
  else expect(whole.slice(from + begin.length, to), `RALU_WRITE_DOCS=1 writes ${page}`).toBe(text);
}
