/**
 * A deployment to kill and to reconfigure: the Worker in workerd in a process group of its own, on a folder and a port
 * that it keeps, with the stage servers of others.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openInspector } from '../bench/inspector.ts';
import type { WorkerBundle } from '../local/bundle.ts';
import { isFree, keptPort } from '../local/ports.ts';
import type { StackOptions } from '../local/stack.ts';

/** An entry of BACKENDS, with the token that its secret holds. */
export interface FleetEntry {
  readonly id: string;
  readonly url: string;
  readonly token: string;
  /** more fields of the entry */
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface Deployment {
  readonly url: string;
  /** there from the first start on */
  readonly adminKey: string;
  /** where everything that it stores is */
  readonly folder: string;
  /** the lines that the Worker logged last, most recent last */
  readonly log: readonly string[];
  /** lines of the log that are events of this name, read */
  logged(event: string): Record<string, unknown>[];
  /** starts it with the fleet and the variables that hold now; resolves when it is ready */
  start(): Promise<void>;
  /** how often it was started */
  starts(): number;
  /** what holds from the next start on */
  configure(changes: {
    readonly fleet?: readonly FleetEntry[];
    readonly vars?: Readonly<Record<string, string>>;
  }): void;
  /** processor time of all of its runtimes so far, milliseconds; 0 where the system does not tell */
  cpuMs(): number;
  /** memory of its runtime that is resident now, bytes; 0 where the system does not tell, or none runs */
  residentBytes(): number;
  /**
   * JavaScript heap and buffers of the isolate that runs Worker and objects, garbage collected before, bytes: what a
   * platform bounds. Null where it is away.
   */
  heldBytes(): Promise<number | null>;
  /** SIGKILL to every process of it at once; resolves when its port is free again */
  kill(): Promise<void>;
  /** kills what runs and removes the folder */
  remove(): Promise<void>;
}

const CHILD = fileURLToPath(new URL('./stack-child.ts', import.meta.url));
/** It ends with this process, whatever way that ends: its input is a pipe that is never written to. */
const GUARD = new URL('../local/guard.ts', import.meta.url).href;
const START_MS = 120_000;
/** Longest wait for an answer while its memory is looked at. */
const LOOK_MS = 5_000;
const MIB = 2 ** 20;
/** Most lines of the log that are kept, and how many go at once. */
const LOG_LINES = { most: 50_000, dropped: 5_000 } as const;

/** The variables that make a deployment of this fleet. */
export const fleetVars = (fleet: readonly FleetEntry[]): Record<string, string> => ({
  BACKENDS: JSON.stringify(fleet.map(({ id, url, fields }) => ({ id, url, models: ['*'], ...fields }))),
  ...Object.fromEntries(
    fleet.map(({ id, token }) => [`BACKEND_TOKEN_${id.toUpperCase().replaceAll('-', '_')}`, token]),
  ),
});

/** A deployment that has not started yet. */
export async function makeDeployment(given: {
  readonly bundle: WorkerBundle;
  readonly fleet: readonly FleetEntry[];
  readonly vars?: Readonly<Record<string, string>>;
}): Promise<Deployment> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-crowd-'));
  const port = await keptPort();
  const inspectorPort = await keptPort();
  const url = `http://127.0.0.1:${port}`;
  const file = join(folder, 'options.json');
  const log: string[] = [];
  let { fleet, vars = {} } = given;
  let child: ChildProcess | null = null;
  let adminKey = '';
  let cpuMs = 0;
  let starts = 0;

  async function kill(): Promise<void> {
    if (child?.pid === undefined) return;
    const dead = child;
    child = null;
    cpuMs += runtimeCpuMs(dead.pid as number);
    const exited = dead.exitCode === null && dead.signalCode === null ? once(dead, 'exit') : Promise.resolve();
    killGroup(dead.pid as number);
    await exited;
    while (!(await isFree(port))) await pause(5);
  }
  const onExit = (): void => void (child?.pid !== undefined && killGroup(child.pid));
  process.once('exit', onExit);

  return {
    url,
    folder: join(folder, 'state'),
    log,
    get adminKey() {
      return adminKey;
    },
    logged: (event) =>
      log.flatMap((line) => {
        if (!line.startsWith(`{"event":"${event}"`)) return [];
        return [JSON.parse(line) as Record<string, unknown>];
      }),
    async start() {
      const options: StackOptions = {
        bundle: given.bundle,
        persistTo: join(folder, 'state'),
        port,
        inspectorPort,
        // its address is in none of the variables
        stage: { url: 'http://127.0.0.1:9', token: 'none' },
        vars: { ...fleetVars(fleet), ...vars },
      };
      await writeFile(file, JSON.stringify(options));
      const args = ['--import', GUARD, CHILD, file];
      const born = spawn(process.execPath, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
      child = born;
      starts += 1;
      createInterface({ input: born.stderr }).on('line', (line) => {
        if (log.push(line) > LOG_LINES.most) log.splice(0, LOG_LINES.dropped);
      });
      const late = setTimeout(() => killGroup(born.pid as number), START_MS);
      try {
        for await (const line of createInterface({ input: born.stdout })) {
          ({ adminKey } = JSON.parse(line) as { adminKey: string });
          return;
        }
      } finally {
        clearTimeout(late);
      }
      throw new Error(`the deployment ended before it was ready:\n${log.slice(-30).join('\n')}`);
    },
    configure(changes) {
      if (changes.fleet) ({ fleet } = changes as { fleet: readonly FleetEntry[] });
      if (changes.vars) vars = { ...vars, ...changes.vars };
    },
    starts: () => starts,
    cpuMs: () => cpuMs + (child?.pid === undefined ? 0 : runtimeCpuMs(child.pid)),
    residentBytes: () => (child?.pid === undefined ? 0 : runtimeBytes(child.pid)),
    async heldBytes() {
      const wake = async (): Promise<void> =>
        void (await (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(LOOK_MS) })).arrayBuffer());
      try {
        const inspector = await openInspector(inspectorPort, wake);
        return MIB * (await inspector.held().finally(inspector.close));
      } catch {
        return null; // it is being killed, or has just been
      }
    },
    kill,
    async remove() {
      await kill();
      process.off('exit', onExit);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** What `of` says of each workerd process of a group, added up; 0 where the system has no `/proc`. */
function sumOfRuntimes(pgid: number, of: (pid: string) => number): number {
  try {
    const table = execFileSync('ps', ['-A', '-o', 'pgid=,pid=,comm='], { encoding: 'utf8' });
    return table.split('\n').reduce((sum, row) => {
      const [group, pid, name] = row.trim().split(/\s+/);
      return group === String(pgid) && pid && name?.startsWith('workerd') ? sum + of(pid) : sum;
    }, 0);
  } catch {
    return 0; // no /proc, or the process has just ended
  }
}

/** Processor time; a tick is 10 ms on Linux. */
const runtimeCpuMs = (pgid: number): number =>
  sumOfRuntimes(pgid, (pid) => {
    // the name stands in parentheses and may hold spaces; utime and stime are the 12th and 13th field after it
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return 10 * (Number(fields[11]) + Number(fields[12]));
  });

/** Memory that is resident and its own: a page is 4 KiB on Linux. */
const runtimeBytes = (pgid: number): number =>
  sumOfRuntimes(pgid, (pid) => {
    const [, resident, shared] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ').map(Number);
    return 4096 * ((resident ?? 0) - (shared ?? 0));
  });

function killGroup(pgid: number): void {
  try {
    process.kill(-pgid, 'SIGKILL');
  } catch {
    // ESRCH: nobody left
  }
}
