/**
 * The Python stage server as a process. `RALU_PYTHON` names a Python that has what .ci/requirements.lock pins; without
 * it the tests that need one are skipped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Started } from './conformance.ts';
import { TEST_TOKEN } from './start.ts';

export const { RALU_PYTHON } = process.env;

/** Libraries take long to load on a busy machine. */
export const PATIENCE_MS = 180_000;

const FOLDER = 'containers/diffusers';
const MAX_EVIDENCE = 2000;

export interface PythonServer extends Started {
  readonly process: ChildProcess;
}

function run(args: readonly string[]) {
  if (RALU_PYTHON === undefined) throw new RangeError('RALU_PYTHON names no Python');
  const { PATH = '' } = process.env;
  const child = spawn(RALU_PYTHON, args, {
    cwd: FOLDER,
    env: { PATH, PYTHONPATH: '.', HF_HUB_OFFLINE: '1', OMP_NUM_THREADS: '1', STAGE_TOKEN: TEST_TOKEN },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let logged = '';
  child.stderr.on('data', (chunk) => {
    logged = (logged + chunk).slice(-MAX_EVIDENCE);
  });
  const exit = once(child, 'exit').then(([code]) => ({ code: code as number | null, logged }));
  return { child, exit };
}

/**
 * A server once it says that it is ready. Rejects with the end of its log when it ends before. `stop` sends SIGTERM,
 * and rejects when the server then ends with another code than 0.
 */
export async function startPython(args: readonly string[]): Promise<PythonServer> {
  const { child, exit } = run(args);
  const ready = once(createInterface({ input: child.stdout }), 'line').then(([line]) => String(line));
  const first = await Promise.race([ready, exit]);
  if (typeof first !== 'string') throw new Error(`the server ended with ${first.code}: ${first.logged}`);
  return {
    url: JSON.parse(first).url,
    token: TEST_TOKEN,
    process: child,
    stop: async () => {
      child.kill('SIGTERM');
      const { code, logged } = await exit;
      if (code !== 0) throw new Error(`the server ended with ${code}: ${logged}`);
    },
  };
}

/** The server with models in diffusers' format, on the CPU; port 0 is a free one. */
export const startStage = (models: readonly string[], port = 0): Promise<PythonServer> =>
  startPython([
    '-m',
    'ralu_stage',
    ...models.flatMap((model) => ['--model', model]),
    '--port',
    String(port),
    '--device',
    'cpu',
  ]);

/** A new folder with a tiny random model of each family, in folders of the names that tests/tiny.py has. */
export async function makeTinyModels(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-tiny-'));
  const { code, logged } = await run(['tests/tiny.py', folder]).exit;
  if (code !== 0) throw new Error(`tests/tiny.py ended with ${code}: ${logged}`);
  return folder;
}
