/** The stage server as a child process of the local stack. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ROOT } from './bundle.ts';

export type Engine = 'native' | 'wasm';

export interface GuardedChild {
  readonly process: ChildProcess;
  /** makes the child kill `pid` when this process is gone */
  ward(pid: number): void;
  /** resolves when the child has ended; SIGTERM first, SIGKILL after `patience` milliseconds */
  stop(patience?: number): Promise<void>;
}

const GUARD = new URL('./guard.ts', import.meta.url).href;

/** A child that dies with this process; see guard.ts. Its messages reach `onLine`, one line at a time. */
function guarded(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  onLine: (line: string, stream: 'stdout' | 'stderr') => void,
): GuardedChild {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // the pipe breaks when the child ends first; its exit tells that better
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stdout }).on('line', (line) => onLine(line, 'stdout'));
  createInterface({ input: child.stderr }).on('line', (line) => onLine(line, 'stderr'));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    process: child,
    ward: (pid) => void child.stdin.write(`${pid}\n`),
    async stop(patience = 500) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), patience);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** A child that does nothing but guard: for a stack whose stage server runs elsewhere. */
export const startGuard = (): GuardedChild => guarded([fileURLToPath(GUARD)], {}, () => undefined);

/**
 * The stage server on a port of the loopback address, and its address once it answers. The token travels by
 * environment: an argument list is readable by every user of the machine. `ready` rejects with the server's last words
 * when it ends before it is ready.
 */
export function startStage(options: {
  engine: Engine;
  port: number;
  token: string;
  models?: string | undefined;
  onLog?: (line: string) => void;
}): { child: GuardedChild; ready: Promise<string> } {
  const args = ['--import', GUARD, 'containers/onnx/main.ts', '--port', String(options.port), '--host', '127.0.0.1'];
  args.push('--token-env', 'STAGE_TOKEN', '--models', options.models ?? 'models', '--engine', options.engine);
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>();
  const lastWords: string[] = [];
  const child = guarded(args, { STAGE_TOKEN: options.token }, (line, stream) => {
    if (stream === 'stdout') {
      const url = readyUrl(line);
      if (url !== null) return resolve(url);
    }
    lastWords.push(line);
    if (lastWords.length > 20) lastWords.shift();
    options.onLog?.(line);
  });
  child.process.once('close', (code, signal) =>
    reject(new Error(`the stage server ended with ${signal ?? code} before it was ready\n${lastWords.join('\n')}`)),
  );
  return { child, ready };
}

/** The address in a stage server's ready line, or null where the line is something else. */
function readyUrl(line: string): string | null {
  try {
    const { event, url } = JSON.parse(line) as { event?: unknown; url?: unknown };
    return event === 'ready' && typeof url === 'string' ? url : null;
  } catch {
    return null;
  }
}
