/** A fleet for one test: stand-in stage servers behind proxies, a deployment that has them all, and a caller. */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, inject, onTestFailed } from 'vitest';
import { type Caller, isRefusal, openCaller } from '../../../scripts/crowd/caller.ts';
import { type Deployment, type FleetEntry, makeDeployment } from '../../../scripts/crowd/deployment.ts';
import { startProxy, type TestProxy } from '../../../scripts/crowd/proxy.ts';
import {
  type Counted,
  jobOfStage,
  type StandIn,
  type StandInOptions,
  startStandIn,
} from '../../../scripts/crowd/stand-in.ts';
import type { WorkerBundle } from '../../../scripts/local/bundle.ts';
import type { JobView } from '../../../src/job/job.ts';

export interface ServerOptions extends StandInOptions {
  /** more fields of the entry in BACKENDS */
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface Fleet {
  readonly servers: readonly StandIn[];
  /** in front of each server, in their order; the deployment knows these */
  readonly proxies: readonly TestProxy[];
  readonly entries: readonly FleetEntry[];
  readonly deployment: Deployment;
  readonly caller: Caller;
  counted(): Promise<Counted[]>;
  stop(): Promise<void>;
}

/** Lines of the deployment's log that a failed test shows. */
const LINES = 30;

/** The last lines that a deployment logged. */
export const logged = ({ deployment }: Pick<Fleet, 'deployment'>): string => deployment.log.slice(-LINES).join('\n');

/** The fleet, running. The servers are called `a`, `b`, `c` … `bundle`: the Worker, where it is not the usual one. */
export async function startFleet(
  options: readonly ServerOptions[],
  vars: Readonly<Record<string, string>> = {},
  bundle: WorkerBundle = inject('bundle'),
): Promise<Fleet> {
  const servers = await Promise.all(options.map(startStandIn));
  const proxies = await Promise.all(servers.map(({ url }) => startProxy(url)));
  const entries = servers.map(({ token }, i) => ({
    id: String.fromCharCode(97 + i),
    url: (proxies[i] as TestProxy).url,
    token,
    fields: options[i]?.fields ?? {},
  }));
  const deployment = await makeDeployment({ bundle, fleet: entries, vars });
  // in a hook there is no test to fail: see logged()
  if (expect.getState().currentTestName !== undefined) onTestFailed(() => console.log(logged({ deployment })));
  const stop = async (): Promise<void> => {
    await deployment.remove();
    await Promise.all([...servers, ...proxies].map((each) => ('kill' in each ? each.kill() : each.close())));
  };
  try {
    await deployment.start();
    return {
      ...{ servers, proxies, entries, deployment, stop },
      caller: await openCaller(deployment),
      counted: () => Promise.all(servers.map((server) => server.counted())),
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A job that ended, with the milliseconds from its request to the answer that says so. */
export interface Ended extends JobView {
  readonly ms: number;
}

/** A machine that does much else takes its time. */
export const PATIENCE_MS = 120_000;

interface RunOptions {
  readonly patienceMs?: number;
  /** of its start */
  readonly headers?: Readonly<Record<string, string>>;
}

/** One job from its start to its end. Throws where it is not taken. */
export async function runJob(
  caller: Caller,
  seed: number,
  body: Readonly<Record<string, unknown>> = {},
  { patienceMs = PATIENCE_MS, headers = {} }: RunOptions = {},
): Promise<Ended> {
  const begin = performance.now();
  const job = await caller.start(seed, body, headers);
  if (isRefusal(job)) throw new Error(`the job was not taken: ${JSON.stringify(job)}`);
  const ended = await caller.ended(job.id, patienceMs);
  return { ...ended, ms: performance.now() - begin };
}

/** So many jobs at once, with seeds from `first` up. */
export const runJobs = (
  caller: Caller,
  count: number,
  body: Readonly<Record<string, unknown>> = {},
  first = 1,
  options: RunOptions = {},
): Promise<Ended[]> => Promise.all(Array.from({ length: count }, (_, i) => runJob(caller, first + i, body, options)));

/** Micro-dollars that the jobs say they cost. */
export const costOf = (jobs: readonly JobView[]): number =>
  jobs.reduce((sum, { cost }) => sum + Math.round(Number(cost?.usd ?? 0) * 1e6), 0);

/** The account's money once nothing is held for its jobs any more, or after ten seconds. */
export async function settled({ caller }: Fleet): Promise<{ readonly spent: number; readonly held: number }> {
  for (let i = 0; ; i++) {
    const money = await caller.spent();
    if (money.held === 0 || i === 100) return money;
    await pause(100);
  }
}

/** How many of the jobs ended in each way. */
export function endsOf(jobs: readonly JobView[]): Record<string, number> {
  const ends: Record<string, number> = {};
  for (const { status, error } of jobs) {
    const end = error ? `${status}: ${error.reason}` : status;
    ends[end] = (ends[end] ?? 0) + 1;
  }
  return ends;
}

/** Stages that each server computed to their end. */
export const stagesDone = (counts: readonly Counted[]): number[] =>
  counts.map(({ stages }) => stages.filter(({ outcomes }) => outcomes.includes('done')).length);

/** The servers, by their places, at which stages of a job were computed to their end. */
export const placesOf = (counts: readonly Counted[], job: string): number[] =>
  counts.flatMap(({ stages }, place) =>
    stages.some(({ id, outcomes }) => jobOfStage(id) === job && outcomes.includes('done')) ? [place] : [],
  );

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
