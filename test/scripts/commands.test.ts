/** Every command as a child process, the way a person runs it: `--help`, and arguments that make no sense. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const COMMANDS: readonly (readonly [typed: string, file: string, flags: readonly string[]])[] = [
  ['npm run generate', 'scripts/generate.ts', ['--preset', '--seed', '--out', '--compare', '--stage', '--url']],
  ['npm start', 'scripts/start.ts', ['--port', '--engine', '--stage', '--stage-token']],
  ['npm run smoke', 'scripts/smoke.ts', ['--url', '--key', '--stage', '--model', '--seconds']],
  ['npm run admin', 'scripts/admin.ts', ['--url', '--admin-key', '--json', '--running', '--scopes', '--overlap-hours']],
  ['npm run bench', 'scripts/bench.ts', ['--engine', '--side', '--rounds']],
  ['npm run record', 'scripts/record.ts', ['--prompt', '--seed', '--preset', '--rounds', '--out']],
  ['npm run shots', 'scripts/shots.ts', ['--prompt', '--seed', '--out']],
  ['npm run soak', 'scripts/soak.ts', ['--histories', '--seed']],
  ['npm run stage', 'containers/onnx/main.ts', ['--port', '--token-env', '--models', '--device']],
];

const run = (file: string, ...args: readonly string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) =>
    execFile(process.execPath, [file, ...args], { cwd: ROOT, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    ),
  );

describe.concurrent.each(COMMANDS)('%s', (typed, file, flags) => {
  test('--help says how it is typed and what it takes', async ({ expect }) => {
    const { code, stdout, stderr } = await run(file, '--help');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.startsWith(`${typed} -- `)).toBe(true);
    for (const flag of [...flags, '--help']) expect(stdout).toContain(`\n  ${flag}`);
  }, 60_000);

  test('a flag that does not exist is one sentence and exit code 2', async ({ expect }) => {
    const { code, stdout, stderr } = await run(file, '--colour', 'red');
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain("Unknown option '--colour'");
    expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(2);
  }, 60_000);
});

test('a value that makes no sense is told with its flag and rule', async () => {
  const { code, stderr } = await run('scripts/start.ts', '--port', '80000');
  expect([code, stderr]).toEqual([
    2,
    'start: --port must be a whole number from 1 to 65535, got "80000"\nSee npm start -- --help\n',
  ]);
}, 60_000);
