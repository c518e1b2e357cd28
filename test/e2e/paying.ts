/** Accounts that pay, and what they see of their money, through the front door. */
import { setTimeout as pause } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import type { CostView } from '../../src/billing/charge.ts';
import { parseUsd } from '../../src/billing/money.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { JobView } from '../../src/job/job.ts';

/** A dollar a TFLOP: the pictures of small models cost amounts that can be told apart. */
export const TARIFF = { version: 'test-1', nano_usd_per_tflop: 1e9, minimum_micro_usd: 50 } as const;

/** how long an account may take to hear of an end */
const ENDED_MS = 15_000;

/** Where the Worker is, and what opens accounts there. */
export interface Front {
  readonly url: string;
  readonly adminKey: string;
}

export interface Payer {
  readonly id: string;
  readonly key: string;
  call(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body: unknown): Promise<Response>;
  create(body: Readonly<Record<string, unknown>>): Promise<JobView>;
  job(id: string): Promise<JobView>;
  events(id: string, onEvent?: (event: JobEvent) => Promise<void> | void): Promise<readonly JobEvent[]>;
  /** the job once it has ended and its account has heard; what other jobs hold is nothing by then */
  ended(id: string, patienceMs?: number): Promise<JobView>;
  /** micro-dollars: posted, and held for jobs under way */
  balance(): Promise<{ readonly balance: number; readonly held: number }>;
}

const signed = (text: string): number => (text.startsWith('-') ? -parseUsd(text.slice(1)) : parseUsd(text));

async function answer<T>(response: Response): Promise<T> {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** An account that may owe `creditUsd`; null: as much as it likes. A meter bills `customer`. */
export async function openPayer(
  front: () => Front,
  creditUsd: string | null = null,
  customer: string | null = null,
): Promise<Payer> {
  const { url, adminKey } = front();
  const opened = await answer<{ account: { id: string }; key: { key: string } }>(
    await fetch(new URL('/v1/accounts', url), {
      method: 'POST',
      headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        name: 'payer',
        limits: { images_per_minute: 1000, concurrent_jobs: 100, tflops_per_image: 1e9, steps_per_image: 1000 },
        billing: { mode: 'postpaid', credit_limit_usd: creditUsd, stripe_customer: customer },
      }),
    }),
  );
  const headers = { authorization: `Bearer ${opened.key.key}` };
  const call: Payer['call'] = (path, init = {}) =>
    fetch(new URL(path, front().url), { ...init, headers: { ...headers, ...init.headers } });
  const post: Payer['post'] = (path, body) =>
    call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const balance: Payer['balance'] = async () => {
    const { billing } = await answer<{ billing: { balance_usd: string; held_usd: string } }>(await call('/v1/account'));
    return { balance: signed(billing.balance_usd), held: signed(billing.held_usd) };
  };
  const job: Payer['job'] = async (id) => answer<JobView>(await call(`/v1/jobs/${id}`));
  const events: Payer['events'] = async (id, onEvent) => {
    const response = await call(`/v1/jobs/${id}/events`);
    const seen: JobEvent[] = [];
    const parser = createParser({
      onEvent: ({ event, data }) => seen.push({ type: event, data: JSON.parse(data) } as JobEvent),
    });
    let told = 0;
    for await (const text of (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())) {
      parser.feed(text);
      for (; told < seen.length; told++) await onEvent?.(seen[told] as JobEvent);
    }
    return seen;
  };
  return {
    id: opened.account.id,
    key: opened.key.key,
    call,
    post,
    create: async (body) => answer<JobView>(await post('/v1/jobs', body)),
    job,
    events,
    balance,
    async ended(id, patienceMs = ENDED_MS) {
      await events(id);
      const end = performance.now() + patienceMs;
      while ((await balance()).held !== 0) {
        if (performance.now() > end) throw new Error(`something is still held after ${patienceMs} ms`);
        await pause(20);
      }
      return job(id);
    },
  };
}

/** What a job cost, micro-dollars. Throws where it is not told. */
export function paidOf({ cost, receipt }: Pick<JobView, 'cost' | 'receipt'>): number {
  const { usd } = cost as CostView;
  if (usd === null || usd !== receipt?.cost?.usd) throw new Error(`cost is ${JSON.stringify(cost)}`);
  return parseUsd(usd);
}
