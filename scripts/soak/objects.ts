/**
 * The objects' own classes, and the Worker's way from a request to its jobs. They are found by their paths when they
 * are needed: before that, `cloudflare:workers` has to lead to workers.ts.
 */
import type { JobView } from '../../src/job/job.ts';
import type { FitMemo } from '../../src/job/plan.ts';
import type { Draft } from '../../src/job/plan-request.ts';
import type { Planned } from '../../src/job/schedule-request.ts';
import type { ObjectClass } from './platform.ts';

/** `startJobs` of src/http/start-jobs.ts as a history calls it. */
export type StartJobs = (
  env: object,
  caller: { readonly account: string; readonly keyId: string; readonly scopes: readonly string[] },
  options: {
    readonly draft: () => Promise<Planned<Draft>>;
    readonly memo: FitMemo;
    readonly requestId: string;
    readonly idempotency: { readonly key: string; readonly digest: string; readonly repetition: number | null } | null;
    readonly deadlineSeconds: number | null;
    readonly user: string | null;
  },
) => Promise<{ readonly jobs: readonly JobView[]; readonly isReplay: boolean }>;

export interface Product {
  /** by the name of their binding */
  readonly classes: Readonly<Record<'ACCOUNTS' | 'JOBS' | 'DIRECTORY', ObjectClass>>;
  readonly startJobs: StartJobs;
}

const load = async (path: string): Promise<Record<string, unknown>> =>
  import(/* @vite-ignore */ new URL(`../../${path}`, import.meta.url).href);

export async function loadProduct(): Promise<Product> {
  const [account, job, directory, start] = await Promise.all([
    load('durable-objects/account.ts'),
    load('durable-objects/job.ts'),
    load('durable-objects/directory.ts'),
    load('src/http/start-jobs.ts'),
  ]);
  return {
    classes: {
      ACCOUNTS: account.AccountObject as ObjectClass,
      JOBS: job.JobObject as ObjectClass,
      DIRECTORY: directory.DirectoryObject as ObjectClass,
    },
    startJobs: start.startJobs as StartJobs,
  };
}
