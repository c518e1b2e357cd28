/**
 * Clients in Python, and tools written in it, as processes. `RALU_CLIENTS_PYTHON` names a Python that has what
 * .ci/clients.lock pins; without it the tests that need one are skipped.
 *
 *   describe.skipIf(NO_PYTHON)('openai in Python, where RALU_CLIENTS_PYTHON names one', () => {
 *     test('draws a picture', async () => expect(await runScript('openai_images.py', service)).toEqual([…]));
 *   });
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Service } from '../../scripts/generate/client.ts';
import { noteRun } from './note-run.ts';

const run = promisify(execFile);
const { RALU_CLIENTS_PYTHON, PATH = '' } = process.env;
const SCRIPTS = join(import.meta.dirname, 'python');
const MAX_OUTPUT_BYTES = 8 << 20;
const MAX_EVIDENCE = 6000;

/** Whether there is no Python that has the clients. */
export const NO_PYTHON = RALU_CLIENTS_PYTHON === undefined;

/** Libraries take long to load on a busy machine. */
export const PYTHON_MS = 100_000;

/** What a process gets besides the service. */
interface Options {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** where it runs; a new empty folder when absent */
  readonly cwd?: string;
}

/**
 * What Python writes for these arguments, such as `['-m', 'openapi_python_client', …]`. It reads the service from
 * `RALU_URL` and `RALU_API_KEY`, and finds no settings of whoever runs the test: its home is an empty folder. Rejects
 * with the end of what it wrote when it ends with another code than 0, or takes longer than `timeoutMs`.
 */
export async function runPython(
  { url, key }: Service,
  { args = [], env = {}, timeoutMs = PYTHON_MS, cwd }: Options = {},
): Promise<string> {
  if (RALU_CLIENTS_PYTHON === undefined) throw new RangeError('RALU_CLIENTS_PYTHON names no Python');
  noteRun(modulesOf(args));
  const home = await mkdtemp(join(tmpdir(), 'ralu-python-'));
  const bin = dirname(RALU_CLIENTS_PYTHON);
  try {
    const { stdout } = await run(RALU_CLIENTS_PYTHON, args, {
      cwd: cwd ?? home,
      env: {
        PATH: `${bin}:${PATH}`,
        HOME: home,
        RALU_URL: url,
        RALU_API_KEY: key,
        PYTHONUNBUFFERED: '1',
        DO_NOT_TRACK: '1',
        // it would fetch a list of prices
        LITELLM_LOCAL_MODEL_COST_MAP: 'True',
        ...env,
      },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_OUTPUT_BYTES,
    });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '', killed } = error as { stdout?: string; stderr?: string; killed?: boolean };
    const how = killed ? `took longer than ${timeoutMs} ms` : 'failed';
    throw new Error(`${args.slice(0, 2).join(' ')} ${how}: ${(stdout + stderr).slice(-MAX_EVIDENCE)}`);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** The modules that a call of Python runs: the one after `-m`, or those that the script imports. */
function modulesOf([first = '', second = '']: readonly string[]): readonly string[] {
  if (first === '-m') return [second];
  const source = readFileSync(first, 'utf8');
  return [...source.matchAll(/^\s*(?:from|import) (\w+)/gm)].map(([, name]) => name as string);
}

/** What a script of test/clients/python said: the object of each line. Rejects as `runPython` does. */
export async function runScript(
  script: string,
  service: Service,
  { args = [], ...options }: Options = {},
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const written = await runPython(service, { ...options, args: [join(SCRIPTS, script), ...args] });
  return written
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}
