/** `npm run eval` as a child process, from the root of the repository, the way a person runs it. */
import { execFile } from 'node:child_process';
import { expect, test } from 'vitest';
import { ROOT } from '../../scripts/local/bundle.ts';

const run = (...args: readonly string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) =>
    execFile('npm', ['run', '--silent', 'eval', '--', ...args], { cwd: ROOT, timeout: 60_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout: out, stderr: err }),
    ),
  );

test('--help says how it is typed and what it takes', async () => {
  const { code, stdout } = await run('--help');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^npm run eval -- /m);
  for (const flag of ['--rows', '--ablations', '--report', '--help']) expect(stdout).toContain(`\n  ${flag}`);
});

test('a usage error is one sentence and exit code 2, and arguments arrive as they were typed', async () => {
  const { code, stderr } = await run('--size', 'as big as it gets');
  expect(code).toBe(2);
  expect(stderr).toContain('eval: --size must look like 256x256, got "as big as it gets"\nSee npm run eval -- --help');
  expect(stderr).not.toMatch(/^ +at /m);
});
