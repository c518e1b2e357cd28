/** `npm run generate` as a child process, the way a person runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../../scripts/generate.ts', import.meta.url));

/** The stage server's threads as they are where nothing is said; the other tests of this folder use one. */
export const ALL_CORES = { STAGE_THREADS: String(availableParallelism()) } as const;

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Command {
  /** leads a process group of its own */
  readonly process: ChildProcess;
  readonly finished: Promise<Finished>;
  /** resolves as soon as standard error holds `text`; rejects when the command ends without */
  says(text: string): Promise<void>;
}

/** The command started in `cwd`, its output read as it comes. */
export function startGenerate(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Command {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    cwd,
    env: { ...process.env, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  const finished = new Promise<Finished>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
  const says = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (stderr.includes(text)) resolve();
      };
      child.stderr.on('data', look);
      look();
      void finished.then(() => reject(new Error(`it ended without saying "${text}":\n${stderr}`)));
    });
  return { process: child, finished, says };
}
