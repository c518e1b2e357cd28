/** The tables in docs/clients.md of what is ignored and what is refused are those that the doors read. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { elsewhere, NOT_HERE } from '../../src/doors/elsewhere.ts';
import { expectPart } from './page.ts';

const FOLDER = join(import.meta.dirname, '../../src/doors');

/** Doors by the first word of their tables' names. */
const DOORS: Readonly<Record<string, string>> = {
  OPENAI: 'OpenAI',
  REPLICATE: 'Replicate',
  FAL: 'fal',
  A1111: 'AUTOMATIC1111',
  BFL: 'BFL',
};

/** Why a field is ignored or refused: a sentence, or one with the values that it is about. */
type Reason = string | { readonly why: string; readonly values?: readonly unknown[] };

/** Every table of the doors whose name ends so: the door and its fields. */
async function tablesOf(kind: 'IGNORED' | 'REFUSED') {
  const modules = await Promise.all(
    readdirSync(FOLDER).map((name) => import(join(FOLDER, name)) as Promise<Readonly<Record<string, unknown>>>),
  );
  return modules.flatMap((module) =>
    Object.entries(module).flatMap(([name, table]) => {
      const [, prefix] = new RegExp(`^(\\w+)_${kind}$`).exec(name) ?? [];
      if (prefix === undefined) return [];
      expect(Object.keys(DOORS), `the door of ${name}`).toContain(prefix);
      return [{ door: DOORS[prefix] as string, fields: table as Readonly<Record<string, Reason>> }];
    }),
  );
}

/** What an answer says before it points to where pictures are drawn. */
const saysOf = (sentence: string): string => sentence.split(': POST')[0] as string;

const ORDER = Object.values(DOORS);
const whyOf = (reason: Reason): string => (typeof reason === 'string' ? reason : reason.why);
const shown = (field: string, reason: Reason): string =>
  typeof reason === 'string' || reason.values === undefined
    ? `\`${field}\``
    : `\`${field}\` ${reason.values.map((value) => `\`${JSON.stringify(value)}\``).join(', ')}`;

/** One row for each reason of a door: the fields that it is the reason of. */
async function rowsOf(kind: 'IGNORED' | 'REFUSED'): Promise<readonly string[]> {
  const tables = (await tablesOf(kind)).toSorted((a, b) => ORDER.indexOf(a.door) - ORDER.indexOf(b.door));
  return tables.flatMap(({ door, fields }) =>
    [...Map.groupBy(Object.entries(fields), ([, reason]) => whyOf(reason))].map(
      ([why, of]) => `| ${door} | ${of.map(([field, reason]) => shown(field, reason)).join(', ')} | ${why} |`,
    ),
  );
}

test('what is ignored', async () => {
  const rows = await rowsOf('IGNORED');
  expect(rows.length).toBeGreaterThan(10);
  expectPart('docs/clients.md', 'ignored', ['| API | fields | why |', '| --- | --- | --- |', ...rows].join('\n'));
});

test('what is refused: fields by their doors, and addresses of OpenAI’s', async () => {
  const rows = await rowsOf('REFUSED');
  const addresses = [...Map.groupBy(Object.entries(NOT_HERE), ([, why]) => why)].map(
    ([why, of]) => `| OpenAI | ${of.map(([path]) => `\`/v1/${path}\``).join(', ')} | ${saysOf(why)} |`,
  );
  const inference = `| Hugging Face | \`/models/{owner}/{name}\` | ${saysOf(elsewhere('/models/o/n')?.detail ?? '')} |`;
  expect(rows.length).toBeGreaterThan(5);
  expectPart(
    'docs/clients.md',
    'refused',
    ['| API | fields and addresses | why |', '| --- | --- | --- |', ...rows, ...addresses, inference].join('\n'),
  );
});
