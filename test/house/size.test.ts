import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** What a clone carries for the model. */
const WHOLE_LIMIT = 40e6;
const FILE_LIMIT = 16 * 2 ** 20;

test('the models fit into a clone: 40 MB in all, 16 MiB a file', () => {
  const folder = join(import.meta.dirname, '../../models');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => ({ name, stats: statSync(join(folder, name)) }))
    .filter(({ stats }) => stats.isFile());
  expect(files.filter(({ stats }) => stats.size > FILE_LIMIT).map(({ name }) => name)).toEqual([]);
  const whole = files.reduce((sum, { stats }) => sum + stats.size, 0);
  expect(whole).toBeGreaterThan(1e6);
  expect(whole).toBeLessThanOrEqual(WHOLE_LIMIT);
});
