/** Stand-in stage servers as this process holds them: started, killed, slowed, stalled, and asked what they counted. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { CONTRACT_VERSION } from '../../src/stage/contract.ts';
import { keptPort } from '../local/ports.ts';
import { DIGEST, ENGINE, type Pace } from './stand-in-model.ts';

export interface StandInOptions {
  readonly port?: number;
  readonly token?: string;
  readonly stepMs?: number;
  readonly digest?: string;
  readonly engine?: string;
  /** stages that may wait */
  readonly queue?: number;
  /** how long a stage goes on with nobody reading */
  readonly orphanMs?: number;
  /** the version of the contract that it speaks */
  readonly contract?: 2 | 3 | 4 | 5 | 6;
}

/** One stage as its server saw it. */
export interface CountedStage {
  readonly id: string;
  requests: number;
  busy: number;
  deletes: number;
  /** answers open now */
  readers: number;
  /** how it ended, each time it ran */
  readonly outcomes: string[];
  /** times that it was computed to its end while nobody read */
  orphans: number;
  /** when its first request came and when it last ended, milliseconds since 1970 */
  firstAt: number;
  endedAt: number;
}

export interface Counted {
  /** stage requests, their bytes, and those turned away as busy or refused otherwise */
  readonly requests: number;
  readonly bytes: number;
  readonly busy: number;
  readonly refused: number;
  readonly deletes: number;
  readonly healthAsked: number;
  readonly modelsAsked: number;
  readonly stages: readonly CountedStage[];
}

/** What the parent says to the child. */
export type ToChild = { readonly pace: Partial<Pace> } | { readonly ask: number };
type FromChild = { readonly ready: string } | { readonly asked: number; readonly counted: Counted };

export interface StandIn {
  readonly url: string;
  readonly token: string;
  /** for the process that runs now, where one does */
  set(pace: Partial<Pace>): void;
  /** since it was made: what a killed process had counted when it was last asked, and what came after */
  counted(): Promise<Counted>;
  /** SIGKILL, resolved when the process has gone */
  kill(): Promise<void>;
  /** SIGTERM: what runs ends, what waits is sent away; resolved when the process has gone */
  drain(): Promise<void>;
  /** another process on the same port, with `changes`; the first must have gone */
  restart(changes?: Omit<StandInOptions, 'port'>): Promise<void>;
}

const CHILD = fileURLToPath(new URL('./stand-in-child.ts', import.meta.url));
const NOTHING: Counted = {
  ...{ requests: 0, bytes: 0, busy: 0, refused: 0, deletes: 0, healthAsked: 0, modelsAsked: 0 },
  stages: [],
};

/** A stand-in that runs, on a port that it keeps. */
export async function startStandIn(given: StandInOptions = {}): Promise<StandIn> {
  let options: Required<StandInOptions> = {
    port: given.port ?? (await keptPort()),
    token: 'stand-in-token',
    stepMs: 5,
    digest: DIGEST,
    engine: ENGINE,
    queue: 16,
    orphanMs: 30_000,
    contract: CONTRACT_VERSION,
    ...given,
  };
  let before = NOTHING;
  let last = NOTHING;
  let asked = 0;
  let child = await born(options);

  async function counted(): Promise<Counted> {
    if (child.connected) {
      const number = ++asked;
      const told = Promise.withResolvers<Counted>();
      const hear = (message: FromChild): void => {
        if ('asked' in message && message.asked === number) told.resolve(message.counted);
      };
      const dies = (): void => told.resolve(last);
      child.on('message', hear);
      child.once('exit', dies);
      child.send({ ask: number } satisfies ToChild);
      last = await told.promise;
      child.off('message', hear);
      child.off('exit', dies);
    }
    return sum(before, last);
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    // what it counted would go with it
    await counted();
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    before = sum(before, last);
    last = NOTHING;
  }

  return {
    url: `http://127.0.0.1:${options.port}`,
    token: options.token,
    set(pace) {
      if (child.connected) child.send({ pace } satisfies ToChild);
    },
    counted,
    kill: () => end('SIGKILL'),
    drain: () => end('SIGTERM'),
    async restart(changes = {}) {
      options = { ...options, ...changes };
      child = await born(options);
    },
  };
}

async function born(options: Required<StandInOptions>): Promise<ChildProcess> {
  const child = fork(CHILD, [JSON.stringify(options)], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  const ready = Promise.withResolvers<void>();
  child.once('message', () => ready.resolve());
  child.once('exit', (code, signal) => ready.reject(new Error(`the stand-in ended with ${signal ?? code}`)));
  await ready.promise;
  return child;
}

/** Two counts of one server as one; a stage that was at both is one stage. */
function sum(a: Counted, b: Counted): Counted {
  const stages = new Map(a.stages.map((stage) => [stage.id, stage]));
  for (const stage of b.stages) {
    const known = stages.get(stage.id);
    const both = known && {
      ...stage,
      requests: known.requests + stage.requests,
      busy: known.busy + stage.busy,
      deletes: known.deletes + stage.deletes,
      outcomes: [...known.outcomes, ...stage.outcomes],
      orphans: known.orphans + stage.orphans,
      firstAt: known.firstAt || stage.firstAt,
      endedAt: Math.max(known.endedAt, stage.endedAt),
    };
    stages.set(stage.id, both ?? stage);
  }
  return {
    requests: a.requests + b.requests,
    bytes: a.bytes + b.bytes,
    busy: a.busy + b.busy,
    refused: a.refused + b.refused,
    deletes: a.deletes + b.deletes,
    healthAsked: a.healthAsked + b.healthAsked,
    modelsAsked: a.modelsAsked + b.modelsAsked,
    stages: [...stages.values()],
  };
}

/** Stages that were computed to their end, by the job they belong to. */
export const jobOfStage = (id: string): string => id.split('.', 1)[0] as string;
/** Which stage of its job it is, from 1. */
export const numberOfStage = (id: string): number => Number(id.split('.')[1]);
