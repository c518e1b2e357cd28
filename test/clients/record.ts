/**
 * Setup of each file of the clients' tests: notes which tests passed, and which clients they ran. test/ran makes the
 * table of docs/clients.md from it.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, type RunnerTestCase, type RunnerTestSuite } from 'vitest';
import { notedOf } from './note-run.ts';
import { type Ran, type RanTest, RECORDS } from './records.ts';

/** `@fal-ai/client` of `from '@fal-ai/client'`; what is relative, or Node's, is no package. */
const importsOf = (source: string): readonly string[] =>
  [...source.matchAll(/^import .*from '((?:@[\w-]+\/)?[\w-][\w.-]*)[^']*';$/gm)]
    .map(([, name]) => name as string)
    .filter((name) => name !== 'vitest' && name !== 'node')
    .map((name) => `npm:${name}`);

// biome-ignore lint/correctness/noEmptyPattern: Vitest reads the names of fixtures from the pattern
afterAll(({}, suite) => {
  const file = 'filepath' in suite ? (suite.filepath as string) : '';
  const imports = importsOf(readFileSync(file, 'utf8'));
  const tests: RanTest[] = [];
  let isWhole = true;
  const visit = (task: RunnerTestCase | RunnerTestSuite, outer: readonly string[]): void => {
    const names = [...outer, task.name];
    if (task.type === 'suite') {
      for (const inner of task.tasks) visit(inner, names);
      return;
    }
    if (task.mode === 'skip' || task.mode === 'todo') return;
    if (task.result?.state !== 'pass') {
      isWhole = false;
      return;
    }
    const noted = notedOf(names.join(' > '));
    tests.push({ title: names[0] as string, name: task.name, packages: [...imports, ...noted] });
  };
  for (const task of suite.tasks) visit(task, []);
  mkdirSync(RECORDS, { recursive: true });
  const ran: Ran = { file: basename(file), isWhole, tests };
  writeFileSync(join(RECORDS, `${basename(file)}.json`), JSON.stringify(ran));
});
