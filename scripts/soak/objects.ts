/**
 * The objects' own classes, and the Worker's way from a request to its jobs. They are found by their paths when they
 * are needed: before that, `cloudflare:workers` has to lead to workers.ts.
 */
import type { FleetMemory } from '../../src/fleet/said.ts';
import type { JobView } from '../../src/job/job.ts';
import type { FitMemo } from '../../src/job/plan.ts';
import type { Draft } from '../../src/job/plan-request.ts';
import type { Planned } from '../../src/job/schedule-request.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import type { ObjectClass } from './platform.ts';

/** `startJobs` of src/http/start-jobs.ts as a history calls it: its context is what it uses of a request. */
export type StartJobs = (
  context: {
    readonly env: object;
    readonly var: {
      readonly caller: {
        readonly account: string;
        readonly keyId: string;
        readonly jurisdiction: null;
        readonly keyHashes: readonly string[];
      };
      readonly requestId: string;
      readonly gate: { readonly fleet: FleetMemory };
    };
    readonly set: (name: string, value: unknown) => void;
    readonly executionCtx: { readonly waitUntil: (work: Promise<unknown>) => void };
    readonly req: { readonly raw: object };
  },
  options: {
    readonly isThere: (models: readonly ModelFacts[]) => boolean;
    readonly draft: (models: readonly ModelFacts[]) => Planned<Draft>;
    readonly memo: FitMemo;
    readonly idempotency: { readonly key: string; readonly digest: string; readonly repetition: number | null } | null;
    readonly deadlineSeconds: number | null;
    readonly user: string | null;
  },
) => Promise<{ readonly jobs: readonly JobView[]; readonly isReplay: boolean }>;

export interface Product {
  /** by the name of their binding */
  readonly classes: Readonly<Record<'ACCOUNTS' | 'JOBS' | 'DIRECTORY' | 'DISPATCHERS', ObjectClass>>;
  /** what the objects of an isolate remember of stage servers */
  readonly heard: FleetMemory;
  readonly startJobs: StartJobs;
}

const load = async (path: string): Promise<Record<string, unknown>> =>
  import(/* @vite-ignore */ new URL(`../../${path}`, import.meta.url).href);

export async function loadProduct(): Promise<Product> {
  const [account, job, directory, dispatcher, isolate, start] = await Promise.all([
    load('durable-objects/account.ts'),
    load('durable-objects/job.ts'),
    load('durable-objects/directory.ts'),
    load('durable-objects/dispatcher.ts'),
    load('durable-objects/isolate.ts'),
    load('src/http/start-jobs.ts'),
  ]);
  return {
    classes: {
      ACCOUNTS: account.AccountObject as ObjectClass,
      JOBS: job.JobObject as ObjectClass,
      DIRECTORY: directory.DirectoryObject as ObjectClass,
      DISPATCHERS: dispatcher.DispatcherObject as ObjectClass,
    },
    heard: isolate.heard as FleetMemory,
    startJobs: start.startJobs as StartJobs,
  };
}
