/** Money of an account under test: paid in, read, and looked at in its rows. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import type { JobView } from '../../src/job/job.ts';
import { ADMIN_KEY, call, createJob, SMALL } from './call.ts';

export const accountIdOf = (key: string): string => `acct_${key.slice(10, 26)}`;

export const admin = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  call(path, {
    key: ADMIN_KEY,
    method,
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });

/** A prepaid account of its own; resolves to its key. */
export async function openPrepaid(limits: object = {}): Promise<string> {
  const wide = { images_per_minute: 10_000, concurrent_jobs: 1000, tflops_per_image: 1e9, steps_per_image: 1000 };
  const opened = await admin('POST', '/v1/accounts', { name: 'prepaid', limits: { ...wide, ...limits } });
  expect(opened.status).toBe(201);
  return (await opened.json<{ key: { key: string } }>()).key.key;
}

/** The answer of a posting. */
export const postTo = (key: string, body: unknown, headers: Record<string, string> = {}) =>
  admin('POST', `/v1/accounts/${accountIdOf(key)}/ledger`, body, headers);

export async function topUp(key: string, usd: string, id: string = crypto.randomUUID()): Promise<void> {
  expect((await postTo(key, { id, kind: 'top_up', amount_usd: usd })).status).toBe(201);
}

/** A small job once it is done and its account knows. */
export async function runJob(key: string, more: Record<string, unknown> = {}): Promise<JobView> {
  const { id } = await createJob({ prompt: 'a fox', ...SMALL, ...more }, key);
  await settled(key, id);
  return (await call(`/v1/jobs/${id}`, { key })).json<JobView>();
}

/** Resolves once the account knows that a job has ended. */
export async function settled(key: string, id: string): Promise<void> {
  for (let i = 0; i < 400; i++) {
    const [row] = await rowsOf<{ captured: number | null }>(key, 'SELECT captured FROM charge WHERE job = ?', id);
    if (row && row.captured !== null) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`job ${id} was never settled`);
}

/** What a statement in the account's database gives. */
export const rowsOf = <Row extends Record<string, SqlStorageValue>>(
  key: string,
  sql: string,
  ...values: unknown[]
): Promise<Row[]> =>
  runInDurableObject(
    env.ACCOUNTS.getByName(accountIdOf(key)) as unknown as DurableObjectStub<AccountObject>,
    (_, { storage }) => storage.sql.exec<Row>(sql, ...values).toArray(),
  );
