/** Commands as child processes, the way a person runs them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const SCRIPTS = new URL('../../scripts/', import.meta.url);

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
  /** resolves as soon as its output holds `text`; rejects when the command ends without */
  says(text: string): Promise<void>;
}

/** `npm run generate` started in `cwd`. */
export const startGenerate = (
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Command => startCommand('generate.ts', args, cwd, env);

/** The command in a file of scripts/, started in `cwd`, its output read as it comes. */
export function startCommand(
  file: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Command {
  const child = spawn(process.execPath, [fileURLToPath(new URL(file, SCRIPTS)), ...args], {
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
        if (stderr.includes(text) || stdout.includes(text)) resolve();
      };
      child.stderr.on('data', look);
      child.stdout.on('data', look);
      look();
      void finished.then(() => reject(new Error(`it ended without saying "${text}":\n${stderr}`)));
    });
  return { process: child, finished, says };
}
