/** What random histories with crashes have found once (test/billing/histories.test.ts), each by itself. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import { readRow } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import type { Released, SlotOutcome, SlotRequest } from '../../src/fleet/slots.ts';
import type { JobRecord } from '../../src/job/job.ts';
import type { DispatcherCalls, Remote } from '../../src/job/rpc.ts';
import { call, createJob, openAccount, SMALL, watchAll } from './call.ts';
import { enterJob } from './enter.ts';
import { accountIdOf } from './money.ts';

const LONG = { prompt: 'a purple hippopotamus', ...SMALL, N: [900], e: [1] };
const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
const start = (key: string, idempotencyKey: string) =>
  call('/v1/jobs', {
    method: 'POST',
    key,
    headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
    body: JSON.stringify(LONG),
  });
const inAccount = <T>(
  account: string,
  work: (instance: AccountObject, sql: SqlStorage) => T | Promise<T>,
): Promise<T> =>
  runInDurableObject(env.ACCOUNTS.getByName(account) as DurableObjectStub<AccountObject>, (instance, { storage }) =>
    work(instance, storage.sql),
  );

describe('a job that was erased while its account could not be reached', () => {
  const away = () => Promise.reject(new Error('away for a test'));
  const DEAF = { getByName: () => ({ ended: away, erased: away, confirm: away }) };

  async function erasedUntold() {
    const key = await openAccount();
    const { id } = await (await start(key, 'once')).json<{ id: string }>();
    const row = await runInDurableObject(stubOf(id), ({ rows }) => readRow(rows) as JobRecord);
    await runInDurableObject(stubOf(id), (instance) => {
      Object.defineProperty(instance, 'env', { value: { ...env, ACCOUNTS: DEAF }, configurable: true });
    });
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE', key })).status).toBe(204);
    return { key, id, row };
  }

  test('answers with its end when the account asks, so that it is charged', async () => {
    const { id } = await erasedUntold();
    expect(await stubOf(id).ending()).toMatchObject({ status: 'cancelled', work: null });
  });

  test('does not come again, neither by a late create nor by a repeated request', async () => {
    const { key, id, row } = await erasedUntold();
    const { account, request, plan } = row;
    expect(await stubOf(id).create({ id, account, request, plan, deadlineSeconds: null, webhook: null })).toBeNull();
    const again = await start(key, 'once');
    expect([again.status, again.headers.get('retry-after')]).toEqual([409, '1']);
    expect(await again.json()).toMatchObject({ code: 'job_erased' });
    expect(await stubOf(id).ending()).toMatchObject({ status: 'cancelled' });
  });
});

describe('a job that was erased and comes again to the same object', () => {
  test('begins only when its account says so, whatever it said the first time', async () => {
    const { id } = await createJob({ prompt: 'a purple hippopotamus', ...SMALL, preset: '7x' });
    await watchAll(id);
    const row = await runInDurableObject(stubOf(id), ({ rows }) => readRow(rows) as JobRecord);
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    await expect.poll(() => runInDurableObject(stubOf(id), ({ rows }) => rows.isThere())).toBe(false);
    await stubOf(id).create({ ...row, deadlineSeconds: null, webhook: null });
    await expect
      .poll(() => runInDurableObject(stubOf(id), ({ rows }) => readRow(rows)?.failure?.reason))
      .toBe('not_confirmed');
  });
});

describe('a slot that comes when its job has gone on without', () => {
  /** The first answer comes after so long: a job waits for three seconds. */
  const LATE_MS = 4000;

  test('is given back at once', async () => {
    const { id: other } = await createJob({ prompt: 'a purple hippopotamus', ...SMALL, N: [2], e: [1] });
    await watchAll(other);
    const row = await runInDurableObject(stubOf(other), ({ rows }) => readRow(rows) as JobRecord);
    const id = await newJobId(env.SIGNING_SECRET);
    await enterJob(row.account, id);
    const given: SlotOutcome['kind'][] = [];
    const slow = (dispatcher: Remote<DispatcherCalls>) => ({
      async ask(request: SlotRequest) {
        const answer = await dispatcher.ask(request);
        await new Promise((resolve) => setTimeout(resolve, LATE_MS));
        return answer;
      },
      release(job: string, released: Released) {
        given.push(released.outcome.kind);
        return dispatcher.release(job, released);
      },
    });
    const DISPATCHERS = { getByName: (name: string) => slow(env.DISPATCHERS.getByName(name)) };
    await runInDurableObject(stubOf(id), async (instance) => {
      Object.defineProperty(instance, 'env', { value: { ...env, DISPATCHERS }, configurable: true });
      await instance.create({ ...row, id, deadlineSeconds: null, webhook: null });
    });
    expect((await watchAll(id)).at(-1)?.type).toBe('done');
    expect(given).toEqual([]);
    await expect.poll(() => given, { timeout: LATE_MS }).toEqual(['dropped']);
  });
});

describe('a request whose job never came', () => {
  const price = { model: 'm', tariff: 't', quoted: 700 };
  const idempotency = { key: 'again', digest: 'd', repetition: null };
  const work = { flops: 1, plainFlops: 1, steps: 1 };

  async function entered() {
    const key = await openAccount();
    const account = accountIdOf(key);
    const id = await newJobId(env.SIGNING_SECRET);
    const begin = (instance: AccountObject, quoted: number, other = { id, key: idempotency.key }) =>
      instance.start(instance.keys()[0]?.id as string, {
        requestId: 'r',
        jobIds: [other.id],
        work,
        price: { ...price, quoted },
        user: null,
        idempotency: { ...idempotency, key: other.key },
      });
    expect(await inAccount(account, (instance) => begin(instance, 700))).toMatchObject({ kind: 'new' });
    return { account, id, begin };
  }

  test('says when it comes again what was held for it, whatever it would cost by now', async () => {
    const { account, id, begin } = await entered();
    const again = await inAccount(account, (instance) => begin(instance, 900));
    expect(again).toMatchObject({ kind: 'again', jobIds: [id], held: [700] });
    expect(await inAccount(account, (instance) => instance.view()?.balance.held)).toBe(700);
  });

  test('has another minute from when it comes again: its job is created then, and begins', async () => {
    const { account, id, begin } = await entered();
    const alarmAfter = (ms: number) =>
      inAccount(account, async (instance, sql) => {
        sql.exec('UPDATE job SET created_at = created_at - ?', ms);
        await instance.alarm();
      });
    await alarmAfter(59_000);
    expect(await inAccount(account, (instance) => begin(instance, 700))).toMatchObject({ kind: 'again' });
    await alarmAfter(2_000);
    expect(await inAccount(account, (instance) => instance.confirm(id))).toBe('held');
  });

  test('is let go where nobody knows any more that it came again', async () => {
    const { account, id, begin } = await entered();
    await inAccount(account, (instance) => begin(instance, 700));
    await evictDurableObject(env.ACCOUNTS.getByName(account) as DurableObjectStub<AccountObject>);
    await inAccount(account, async (instance, sql) => {
      sql.exec('UPDATE job SET created_at = created_at - 61000');
      await instance.alarm();
    });
    expect(await inAccount(account, (instance) => instance.confirm(id))).toBe('gone');
    expect(await inAccount(account, (instance) => instance.view()?.balance.held)).toBe(0);
  });

  test('is not taken for lost where it is entered while the alarm asks for others', async () => {
    const { account, id, begin } = await entered();
    const later = await newJobId(env.SIGNING_SECRET);
    await inAccount(account, async (instance, sql) => {
      sql.exec('UPDATE job SET created_at = created_at - 61000');
      const ending = async (name: string) => {
        if (name !== id) return null;
        await new Promise((resolve) => setTimeout(resolve, 20));
        begin(instance, 700, { id: later, key: 'another' });
        return null;
      };
      const JOBS = { getByName: (name: string) => ({ ending: () => ending(name) }) };
      Object.defineProperty(instance, 'env', { value: { ...env, JOBS }, configurable: true });
      await instance.alarm();
    });
    expect(await inAccount(account, (instance) => instance.confirm(id))).toBe('gone');
    expect(await inAccount(account, (instance) => instance.confirm(later))).toBe('held');
  });

  test('leaves no hold behind when the content of its account is erased', async () => {
    const { account, id } = await entered();
    await inAccount(account, (instance) => instance.eraseContent('admin'));
    await expect
      .poll(() => inAccount(account, (instance) => instance.view()?.isErasing), { timeout: 15_000 })
      .toBe(false);
    expect(await inAccount(account, (instance) => instance.view()?.balance)).toMatchObject({ held: 0, balance: 0 });
    expect(await inAccount(account, (instance) => instance.confirm(id))).toBe('gone');
  });
});
