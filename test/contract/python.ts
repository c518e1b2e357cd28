/** The Python stage server as a process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Started } from './conformance.ts';

/** The Python that has the server's packages; tests that need one are skipped where it is not named. */
export const { RALU_PYTHON } = process.env;

export const PACKAGE = fileURLToPath(new URL('../../containers/diffusers', import.meta.url));

const TOKEN = 'a-token-for-tests';

export interface PythonServer extends Started {
  /** what it wrote on standard error, most recent last */
  readonly log: readonly string[];
  readonly process: ReturnType<typeof spawn>;
}

/**
 * `args` run by Python in the package's folder, once they have printed the address where they listen. Rejects, with
 * what was logged, when they end before that. `stop` sends SIGTERM and resolves to the end.
 */
export async function startPython(args: readonly string[]): Promise<PythonServer> {
  if (RALU_PYTHON === undefined) throw new RangeError('RALU_PYTHON is not set; expected the path of a Python');
  const child = spawn(RALU_PYTHON, args, {
    cwd: PACKAGE,
    env: { ...process.env, STAGE_TOKEN: TOKEN, PYTHONWARNINGS: 'ignore' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit');
  const log: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
  for await (const line of createInterface({ input: child.stdout })) {
    const { url } = JSON.parse(line) as { url: string };
    return {
      url,
      token: TOKEN,
      log,
      process: child,
      stop: async () => {
        child.kill('SIGTERM');
        await ended;
      },
    };
  }
  throw new Error(`${args.join(' ')} ended before it was ready:\n${log.slice(-20).join('\n')}`);
}
