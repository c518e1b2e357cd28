/**
 * A stack in a process group of its own, on a folder and ports it keeps: killed whole with SIGKILL and started again as
 * often as a test likes.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createJob, type FollowedEvent, follow, type Service } from '../../scripts/generate/client.ts';
import { isFree, keptPort } from '../../scripts/local/ports.ts';
import type { Stack } from '../../scripts/local/stack.ts';
import { isLastEvent } from '../../src/job/events.ts';
import type { ChildOptions } from './stack-child.ts';

export interface Rig {
  /**
   * where the Worker answers, and the demo account's key: the same after every restart, there from the first start on
   */
  readonly service: Service;
  /** opens accounts; there from the first start on */
  readonly adminKey: string;
  /** starts the stack; resolves, when it is ready, to what its start took */
  start(): Promise<Stack['startup']>;
  /** SIGKILL to every process of the stack at once; resolves when their ports are free again */
  kill(): Promise<void>;
  /** kills what runs and removes the folder */
  remove(): Promise<void>;
  /** where everything that the stack stores is: the objects' databases and the bucket */
  readonly state: string;
  /** what Worker and stage server logged since the rig was made, most recent last */
  readonly log: readonly string[];
}

const CHILD = fileURLToPath(new URL('./stack-child.ts', import.meta.url));
/** It ends with this process, whatever way that ends: its input is a pipe that is never written to. */
const GUARD = new URL('../../scripts/local/guard.ts', import.meta.url).href;

/**
 * A rig that has not started yet, with the Worker of `bundle`. `stage` names a stage server of the test's own, `stepMs`
 * asks for a paced one in the stack's process; else it is the product's. `vars` replaces what the Worker is configured
 * with.
 */
export async function makeRig(
  options: Pick<ChildOptions, 'stage' | 'stepMs' | 'vars'> & Required<Pick<ChildOptions, 'bundle'>>,
): Promise<Rig> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-e2e-'));
  const port = await keptPort();
  const stagePort = await keptPort();
  const file = join(folder, 'options.json');
  const stack: ChildOptions = {
    ...options,
    persistTo: join(folder, 'state'),
    port,
    stagePort,
    stageToken: 'e2e-token',
  };
  await writeFile(file, JSON.stringify(stack));
  const log: string[] = [];
  const service = { url: `http://127.0.0.1:${port}`, key: '' };
  let child: ChildProcess | null = null;
  let adminKey = '';

  const kill = async (): Promise<void> => {
    if (child?.pid === undefined) return;
    const dead = child;
    child = null;
    const exited = dead.exitCode === null && dead.signalCode === null ? once(dead, 'exit') : Promise.resolve();
    signalGroup(dead.pid as number, 'SIGKILL');
    await exited;
    for (const used of options.stage ? [port] : [port, stagePort]) while (!(await isFree(used))) await pause(5);
  };

  return {
    service,
    log,
    state: join(folder, 'state'),
    get adminKey() {
      return adminKey;
    },
    async start() {
      const args = ['--import', GUARD, CHILD, file];
      const born = spawn(process.execPath, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
      child = born;
      const errors = createInterface({ input: born.stderr });
      errors.on('line', (line) => log.push(line));
      for await (const line of createInterface({ input: born.stdout })) {
        const ready = JSON.parse(line) as Pick<Stack, 'startup' | 'key' | 'adminKey'>;
        service.key = ready.key;
        adminKey = ready.adminKey;
        return ready.startup;
      }
      throw new Error(`the stack ended before it was ready:\n${log.slice(-30).join('\n')}`);
    },
    kill,
    async remove() {
      await kill();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Sends a signal to every process of a group; false where the group is gone. */
export function signalGroup(pgid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-pgid, signal);
  } catch {
    // ESRCH: nobody left
    return false;
  }
}

/** The living processes of a group as `ps` names them. One that has ended and waits to be reaped does not count. */
export function livingIn(pgid: number): string[] {
  const table = execFileSync('ps', ['-A', '-o', 'pgid=,stat=,args='], { encoding: 'utf8' });
  return table.split('\n').filter((row) => {
    const [group, state] = row.trim().split(/\s+/);
    return group === String(pgid) && !state?.startsWith('Z');
  });
}

/** Resolves to what still lives in the group once nothing does, or after `patience` milliseconds. */
export async function afterwards(pgid: number, patience: number): Promise<string[]> {
  const end = performance.now() + patience;
  while (performance.now() < end && livingIn(pgid).length > 0) await pause(50);
  return livingIn(pgid);
}

export interface Watched {
  readonly id: string;
  /** every event as it was first seen, from the first to the last */
  readonly events: Promise<FollowedEvent[]>;
  /** resolves at the first event that fits; rejects when the job ends without */
  seen(fits: (event: FollowedEvent) => boolean): Promise<FollowedEvent>;
  /** whether the watcher has seen the job's last event */
  hasEnded(): boolean;
}

/** A job under way, its events followed across whatever happens to the service, until `signal` says to look away. */
export async function startWatchedJob(
  service: Service,
  body: Readonly<Record<string, unknown>>,
  signal?: AbortSignal,
): Promise<Watched> {
  const { id } = await createJob(service, body);
  const events: FollowedEvent[] = [];
  const waiting: {
    fits: (event: FollowedEvent) => boolean;
    resolve: (event: FollowedEvent) => void;
    reject: (error: Error) => void;
  }[] = [];
  const all = (async () => {
    for await (const event of follow(service, id, signal ? { signal } : {})) {
      events.push(event);
      for (const waiter of waiting) if (waiter.fits(event)) waiter.resolve(event);
    }
    return events;
  })();
  all
    .catch(() => undefined)
    .finally(() => {
      for (const { reject } of waiting)
        reject(new Error(`job ${id} ended after ${events.map(({ type }) => type).join(', ')}`));
    });
  return {
    id,
    events: all,
    hasEnded: () => events.some(({ type }) => isLastEvent(type)),
    seen(fits) {
      const found = events.find(fits);
      if (found) return Promise.resolve(found);
      const { promise, resolve, reject } = Promise.withResolvers<FollowedEvent>();
      waiting.push({ fits, resolve, reject });
      return promise;
    },
  };
}

/** All events of a job as they are stored now. */
export async function storedEvents(service: Service, id: string): Promise<FollowedEvent[]> {
  const events: FollowedEvent[] = [];
  for await (const event of follow(service, id)) events.push(event);
  return events;
}
