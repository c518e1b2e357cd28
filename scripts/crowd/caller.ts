/** An account of a crowd: it starts jobs, waits for their ends through whatever happens, and reads its statement. */
import { setTimeout as pause } from 'node:timers/promises';
import { parseUsd } from '../../src/billing/money.ts';
import type { JobView } from '../../src/job/job.ts';
import { STAND_IN_FACTS } from './stand-in-model.ts';

/** What an account of a crowd may do: anything. */
const LIMITS = {
  ...{ images_per_minute: 100_000, concurrent_jobs: 10_000, tflops_per_minute: 1e9, tflops_per_image: 1e9 },
  steps_per_image: 1000,
};
const CREDIT_USD = '1000';

/** A job as a crowd asks for it: the stand-in's three stages, without previews unless its seed is odd. */
export const BODY = { model: STAND_IN_FACTS.id, preset: 'three', width: 64, height: 64, preview: false } as const;

/** A start that was refused. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  /** seconds that `Retry-After` names; null where it names none */
  readonly retryAfter: number | null;
}

/** How long a service may be away while its answer is wanted. */
const AWAY_MS = 60_000;
const AGAIN_MS = 100;
/** A request that has lasted so long was taken. */
const TAKEN_MS = 1000;
/** How long a start that is told to come again comes again. */
const COME_AGAIN_MS = 300_000;
/** It comes at the latest after so long: what made the wait long may have passed. */
const LONGEST_AGAIN_MS = 20_000;
/** Longest wait that one request asks for. */
const WAIT_SECONDS = 30;

export interface Caller {
  readonly id: string;
  readonly key: string;
  /** of the deployment */
  readonly url: string;
  /** one request, without a second try; a path or a whole address */
  call(path: string, init?: RequestInit): Promise<Response>;
  /** the whole answer of a service that may be away for a while, may fail, and may be killed while it answers */
  surely(path: string, init?: RequestInit): Promise<Response>;
  /** what a request is answered that comes again while the service says when to: `name` makes the repetitions one */
  requestSurely(path: string, body: Readonly<Record<string, unknown>>, name: string): Promise<Response>;
  /** the job, started with this seed, or why not */
  start(
    seed: number,
    body?: Readonly<Record<string, unknown>>,
    headers?: Readonly<Record<string, string>>,
  ): Promise<JobView | Refusal>;
  /** the same, again while the service is away or says when to come again: `name` makes the repetitions one */
  startSurely(seed: number, name: string, body?: Readonly<Record<string, unknown>>): Promise<JobView | Refusal>;
  /** the job as it is when it has ended, or after `patienceMs`; asked again where the service is away */
  ended(id: string, patienceMs: number): Promise<JobView>;
  /** stops the job, unless it has ended by then */
  cancel(id: string): Promise<void>;
  /** the stored events of a job that has ended, as the stream has them */
  events(id: string): Promise<string>;
  /** every job that the account lists */
  listed(): Promise<Pick<JobView, 'id' | 'status' | 'cost'>[]>;
  image(id: string): Promise<Uint8Array>;
  /** micro-dollars: what was spent of the credit, and what is held for jobs under way */
  spent(): Promise<{ readonly spent: number; readonly held: number }>;
}

/** Seconds that an answer names until one may come again; null: none. */
function retryAfterOf({ headers }: Response): number | null {
  const after = headers.get('retry-after');
  return after === null ? null : Number(after);
}

/** What an answer says that is none. */
export async function refusalOf(response: Response): Promise<Refusal> {
  const { code = '' } = (await response.json()) as { readonly code?: string };
  return { status: response.status, code, retryAfter: retryAfterOf(response) };
}

export const isRefusal = (answer: JobView | Refusal): answer is Refusal => 'retryAfter' in answer;
export const isOver = ({ status }: Pick<JobView, 'status'>): boolean =>
  status === 'done' || status === 'failed' || status === 'cancelled';

/** A prepaid account with credit for a crowd. */
export async function openCaller(
  deployment: { readonly url: string; readonly adminKey: string },
  name = 'crowd',
): Promise<Caller> {
  const admin = { authorization: `Bearer ${deployment.adminKey}`, 'content-type': 'application/json' };
  const ask = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(new URL(path, deployment.url), {
      method: 'POST',
      headers: admin,
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const { account, key } = (await ask('/v1/accounts', { name, limits: LIMITS, billing: { mode: 'prepaid' } })) as {
    account: { id: string };
    key: { key: string };
  };
  const credit = { kind: 'top_up', id: 'credit', amount_usd: CREDIT_USD, reason: 'to spend in a crowd' };
  await ask(`/v1/accounts/${account.id}/ledger`, credit);

  const call: Caller['call'] = (path, init = {}) =>
    fetch(new URL(path, deployment.url), { ...init, headers: { authorization: `Bearer ${key.key}`, ...init.headers } });

  async function surely(path: string, init: RequestInit = {}): Promise<Response> {
    let end = performance.now() + AWAY_MS;
    for (;;) {
      const begin = performance.now();
      try {
        const response = await call(path, init);
        const { status, headers } = response;
        const body = await response.arrayBuffer();
        if (status < 500 || status === 503 || performance.now() > end) return new Response(body, { status, headers });
      } catch (error) {
        if (performance.now() > end) throw error;
        // it was there, and was killed while it made us wait
        if (performance.now() - begin > TAKEN_MS) end = performance.now() + AWAY_MS;
      }
      await pause(AGAIN_MS);
    }
  }

  const posted = (body: Readonly<Record<string, unknown>>, headers: Readonly<Record<string, string>>) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const jobOf = (seed: number, body: Readonly<Record<string, unknown>>) => ({
    ...BODY,
    prompt: 'a red apple',
    seed,
    preview: seed % 2 === 1,
    ...body,
  });
  const answerOf = async (response: Response): Promise<JobView | Refusal> =>
    response.ok ? ((await response.json()) as JobView) : refusalOf(response);
  const requestSurely: Caller['requestSurely'] = async (path, body, name) => {
    const end = performance.now() + COME_AGAIN_MS;
    for (;;) {
      const response = await surely(path, posted(body, { 'idempotency-key': name }));
      const after = retryAfterOf(response);
      if (response.ok || after === null || performance.now() > end) return response;
      await pause(Math.min(after * 1000, LONGEST_AGAIN_MS));
    }
  };
  const json = async <T>(path: string): Promise<T> => {
    const response = await surely(path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };

  return {
    id: account.id,
    key: key.key,
    url: deployment.url,
    call,
    surely,
    requestSurely,
    start: async (seed, body = {}, headers = {}) =>
      answerOf(await call('/v1/jobs', posted(jobOf(seed, body), headers))),
    startSurely: async (seed, name, body = {}) => answerOf(await requestSurely('/v1/jobs', jobOf(seed, body), name)),
    async ended(id, patienceMs) {
      const end = performance.now() + patienceMs;
      for (;;) {
        const left = Math.max(0, end - performance.now());
        const seconds = Math.min(WAIT_SECONDS, Math.ceil(left / 1000));
        const job = await json<JobView>(`/v1/jobs/${id}?wait=${seconds}`);
        if (isOver(job) || performance.now() >= end) return job;
      }
    },
    async cancel(id) {
      await surely(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    },
    events: async (id) => (await surely(`/v1/jobs/${id}/events`)).text(),
    async listed() {
      const jobs: Pick<JobView, 'id' | 'status' | 'cost'>[] = [];
      for (let after: string | null = null; ; ) {
        const page: { data: JobView[]; next_cursor: string | null } = await json(
          `/v1/jobs?limit=50${after === null ? '' : `&after=${after}`}`,
        );
        jobs.push(...page.data);
        if (page.next_cursor === null) return jobs;
        after = page.next_cursor;
      }
    },
    image: async (id) => new Uint8Array(await (await surely(`/v1/jobs/${id}/image`)).arrayBuffer()),
    async spent() {
      const { billing } = await json<{ billing: { balance_usd: string; held_usd: string } }>('/v1/account');
      return { spent: parseUsd(CREDIT_USD) - parseUsd(billing.balance_usd), held: parseUsd(billing.held_usd) };
    },
  };
}
