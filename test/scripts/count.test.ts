/** The last line of .ci/run. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const COUNT = fileURLToPath(new URL('../../.ci/count.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'ralu-count-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const report = (name: string, text: string): string => {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
};
const vitest = (passed: number, failed: number): string =>
  report(
    `${passed}-${failed}.json`,
    JSON.stringify({ numPassedTests: passed, numFailedTests: failed, testResults: [] }),
  );
const pytest = (attributes: string): string =>
  report(
    'pytest.xml',
    `<?xml version="1.0"?><testsuites name="pytest tests"><testsuite name="pytest" ${attributes} time="1.5"><testcase name="a" time="1" /></testsuite></testsuites>`,
  );

const count = (status: number, ...files: readonly string[]): readonly [string, number | null] => {
  const run = spawnSync(process.execPath, [COUNT, String(status), ...files], { encoding: 'utf8' });
  return [`${run.stdout.trim()}${run.stderr}`, run.status];
};

test('sums the reports of Vitest and pytest', () => {
  const green = pytest('errors="0" failures="0" skipped="1" tests="47"');
  expect(count(0, vitest(200, 0), green, vitest(3, 0))).toEqual(['249 passed, 0 failed', 0]);
});

test('counts failures and errors of either', () => {
  const red = pytest('errors="1" failures="2" skipped="0" tests="10"');
  expect(count(1, vitest(200, 4), red)).toEqual(['207 passed, 7 failed', 1]);
});

test('has a failure where a check before the tests failed, or a suite broke outside any test', () => {
  expect(count(1)).toEqual(['0 passed, 1 failed', 1]);
  expect(count(1, vitest(200, 0))).toEqual(['200 passed, 1 failed', 1]);
});

test('has a failure where a report is missing, empty or cut off, whatever the status says', () => {
  expect(count(0, vitest(200, 0), join(folder, 'none.json'))).toEqual(['200 passed, 1 failed', 1]);
  for (const text of [
    '',
    '{}',
    '{"numPassedTests": 3',
    '<testsuites><testsuite errors="0" failures="0" skipped="0" tests="3">',
  ])
    expect(count(0, report('broken', text)), text).toEqual(['0 passed, 1 failed', 1]);
});
