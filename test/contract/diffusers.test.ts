/**
 * The conformance suite against the Python stage server, with tiny random models in diffusers' own format.
 * `RALU_PYTHON` names a Python that has what containers/diffusers/requirements.lock pins; without it nothing is tested
 * here.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, test } from 'vitest';
import { conformance, type Started } from './conformance.ts';
import { TEST_TOKEN } from './start.ts';

const { RALU_PYTHON, PATH = '' } = process.env;
const FOLDER = 'containers/diffusers';
/** Libraries take long to load on a busy machine. */
const PATIENCE_MS = 180_000;
/** A last line of a log that says why. */
const MAX_EVIDENCE = 2000;

/** Folders that tests/tiny.py writes, one of each family. */
const MODELS = ['flux-dev', 'sd3', 'klein'] as const;

function python(executable: string, args: readonly string[]) {
  const child = spawn(executable, args, {
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

async function startServer(executable: string, model: string): Promise<Started> {
  const { child, exit } = python(executable, ['-m', 'ralu_stage', '--model', model, '--port', '0', '--device', 'cpu']);
  const ready = once(createInterface({ input: child.stdout }), 'line').then(([line]) => String(line));
  const first = await Promise.race([ready, exit]);
  if (typeof first !== 'string') throw new Error(`the server ended with ${first.code}: ${first.logged}`);
  return {
    url: JSON.parse(first).url,
    token: TEST_TOKEN,
    stop: async () => {
      child.kill('SIGTERM');
      const { code, logged } = await exit;
      if (code !== 0) throw new Error(`the server ended with ${code}: ${logged}`);
    },
  };
}

if (RALU_PYTHON) {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ralu-tiny-'));
    const { code, logged } = await python(RALU_PYTHON, ['tests/tiny.py', folder]).exit;
    if (code !== 0) throw new Error(`tests/tiny.py ended with ${code}: ${logged}`);
  }, PATIENCE_MS);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  for (const model of MODELS)
    conformance(`the Python stage server with a tiny ${model}`, () => startServer(RALU_PYTHON, join(folder, model)));
} else {
  test.skip('the Python stage server: RALU_PYTHON names no Python', () => {});
}
