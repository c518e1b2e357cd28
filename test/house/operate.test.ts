/** The page for operators lists every metric and every log line, and none that is not there. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { METRICS } from '../../src/fleet/metrics.ts';
import { read, sources } from './sources.ts';

const PAGE = readFileSync('docs/operate.md', 'utf8');

/** Names in the first cells of the table below a heading. */
function listed(heading: string): string[] {
  const section = PAGE.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) as string;
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...(line.split(' | ')[0] as string).matchAll(/`(\w+)`/g)].map(([, name]) => name as string));
}

test('every metric', () => {
  expect(listed('Metrics').sort()).toEqual(Object.keys(METRICS).sort());
});

test('every log line', () => {
  const logged = ['src', 'durable-objects'].flatMap((folder) =>
    sources(folder).flatMap((path) =>
      [...read(path).matchAll(/logLine\(\s*'(\w+)'/g)].map(([, name]) => name as string),
    ),
  );
  expect(
    listed('Log lines')
      .filter((name) => name !== 'event')
      .sort(),
  ).toEqual([...new Set(logged)].sort());
});
