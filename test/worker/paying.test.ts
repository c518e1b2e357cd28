/** The money of an account in its own object: what is held, charged and let go, and by whose limits. */
import { createExecutionContext, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { readEntries } from '../../durable-objects/account/ledger-tables.ts';
import { readTally } from '../../durable-objects/account/tally-table.ts';
import type { AccountObject } from '../../durable-objects/account.ts';
import { readRow } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import {
  type AccountLimits,
  type AccountView,
  DEFAULT_LIMITS,
  type JobEnd,
  type NewKey,
  type Started,
  type Terms,
} from '../../src/account/account.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { newAccountId } from '../../src/account/key.ts';
import { createApp } from '../../src/app.ts';
import { availableOf, balanceOf, LEDGER_ACCOUNTS, sumOf } from '../../src/billing/ledger.ts';
import { MAX_USERS_A_DAY } from '../../src/billing/spending.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { call, createJob, openAccount, SMALL, watchAll } from './call.ts';
import { enterJob } from './enter.ts';

afterEach(() => void vi.useRealTimers());

const DAY = 86_400_000;
const KEY: NewKey = {
  id: '01234567',
  name: 'first',
  hash: '',
  scopes: ['generate'],
  expiresAt: null,
  tflopsPerMinute: null,
  microUsdPerDay: null,
  microUsdPerMonth: null,
};
const PREPAID: Terms = { mode: 'prepaid', creditLimit: 0, stripeCustomer: null };
const WORK = { flops: 1, plainFlops: 1, steps: 1 };
const end = (micro: number | null, status: JobEnd['status'] = 'done'): JobEnd => ({
  status,
  work: null,
  charge: micro === null ? null : { micro, mflop: micro * 10 },
  excess: null,
});

interface Opened {
  readonly id: string;
  run<T>(work: (account: AccountObject, sql: SqlStorage) => T | Promise<T>): Promise<T>;
  /** starts one job that may cost so much; its id, and what came of it */
  start(
    quoted: number,
    user?: string | null,
    key?: string,
  ): Promise<{ readonly id: string; readonly started: Started }>;
  balance(): Promise<{ readonly balance: number; readonly held: number; readonly available: number | null }>;
}

/** A prepaid account with a dollar in it. */
async function open(limits: Partial<AccountLimits> = {}, key: Partial<NewKey> = {}): Promise<Opened> {
  const id = newAccountId();
  const stub = env.ACCOUNTS.getByName(id) as DurableObjectStub<AccountObject>;
  const run: Opened['run'] = (work) => runInDurableObject(stub, (account, state) => work(account, state.storage.sql));
  await run((account) => {
    const wide = { ...DEFAULT_LIMITS, imagesPerMinute: 10_000, concurrentJobs: 1000, ...limits };
    account.open({ id, name: 'test', limits: wide, terms: PREPAID, key: { ...KEY, ...key } });
    account.post({ id: 'first', kind: 'top_up', amount: 1_000_000, job: null, reason: null }, 'admin');
  });
  return {
    id,
    run,
    async start(quoted, user = null, keyId = KEY.id) {
      const job = await newJobId(env.SIGNING_SECRET);
      const price = { model: 'm', tariff: 't', quoted };
      const request = { requestId: job, jobIds: [job], work: WORK, price, user, idempotency: null };
      return { id: job, started: await run((account) => account.start(keyId, request)) };
    },
    balance: () =>
      run((account) => {
        const { balance, held, available } = (account.view() as AccountView).balance;
        return { balance, held, available };
      }),
  };
}

/** Every column is the sum of the entries, debits are credits, and what is held is held for somebody. */
const checkLaws = (account: Opened): Promise<void> =>
  account.run((_, sql) => {
    const sums = sumOf(readEntries(sql, { after: 0, limit: 1000 }));
    for (const name of LEDGER_ACCOUNTS) expect(readTally(sql).columns[name]).toEqual(sums[name]);
    const total = (part: 'debitsPending' | 'debitsPosted' | 'creditsPending' | 'creditsPosted') =>
      LEDGER_ACCOUNTS.reduce((sum, name) => sum + sums[name][part], 0);
    expect(total('debitsPending')).toBe(total('creditsPending'));
    expect(total('debitsPosted')).toBe(total('creditsPosted'));
    const { held } = sql
      .exec<{ held: number }>('SELECT COALESCE(SUM(held), 0) AS held FROM charge WHERE captured IS NULL')
      .one();
    expect(sums.balance.debitsPending).toBe(held);
    expect(availableOf(sums.balance, 0)).toBeGreaterThanOrEqual(0);
    expect(balanceOf(sums.balance)).toBeGreaterThanOrEqual(0);
  });

describe('what is held', () => {
  test('is charged once, in part, and the rest let go, however often the end is told', async () => {
    const account = await open();
    const { id } = await account.start(700_000);
    expect(await account.balance()).toEqual({ balance: 1_000_000, held: 700_000, available: 300_000 });
    const told = await account.run((one) => [one.ended(id, end(500_000)), one.ended(id, end(500_000))]);
    const settled = { captured: 500_000, at: told[0]?.at as number, keyId: KEY.id, user: null, meteredCustomer: null };
    expect(told).toEqual([settled, settled]);
    expect(await account.balance()).toEqual({ balance: 500_000, held: 0, available: 500_000 });
    await checkLaws(account);
  });

  test('bounds the charge: a job never costs more than it was let in for', async () => {
    const account = await open();
    const { id } = await account.start(100);
    expect(await account.run((one) => one.ended(id, end(5000)))).toMatchObject({ captured: 100 });
    await checkLaws(account);
  });

  test('is not there for others: a second request that it would take is refused and takes nothing', async () => {
    const account = await open();
    await account.start(700_000);
    const { started } = await account.start(300_001);
    expect(started).toEqual({ kind: 'out_of_credit', needed: 300_001, available: 300_000 });
    expect(await account.balance()).toEqual({ balance: 1_000_000, held: 700_000, available: 300_000 });
    expect((await account.start(300_000)).started.kind).toBe('new');
    await checkLaws(account);
  });

  test('is taken for all images of a request or for none', async () => {
    const account = await open();
    const jobIds = await Promise.all(Array.from({ length: 3 }, () => newJobId(env.SIGNING_SECRET)));
    const ask = (quoted: number) =>
      account.run((one) => {
        const price = { model: 'm', tariff: 't', quoted };
        return one.start(KEY.id, { requestId: 'r', jobIds, work: WORK, price, user: null, idempotency: null });
      });
    expect(await ask(333_334)).toMatchObject({ kind: 'out_of_credit', needed: 1_000_002 });
    expect(await account.balance()).toMatchObject({ held: 0 });
    // the call comes again after its answer was lost
    expect([(await ask(333_333)).kind, (await ask(333_333)).kind]).toEqual(['new', 'new']);
    expect(await account.balance()).toMatchObject({ held: 999_999 });
    await checkLaws(account);
  });

  test('comes back where the Worker withdraws, and is not charged by whoever comes later', async () => {
    const account = await open();
    const { id } = await account.start(700_000);
    await account.run((one) => one.withdraw([id], true));
    expect(await account.balance()).toEqual({ balance: 1_000_000, held: 0, available: 1_000_000 });
    expect(await account.run((one) => one.confirm(id))).toBe('gone');
    expect(await account.run((one) => one.ended(id, end(100)))).toBe('unlisted');
    await checkLaws(account);
  });
});

test('a job that comes after its hold was let go sends nothing, ends by name, and costs nothing', async () => {
  const { id: first } = await createJob({ prompt: 'a fox', ...SMALL, seed: 5 });
  const { account, request, plan } = await runInDurableObject(
    env.JOBS.getByName(first) as DurableObjectStub<JobObject>,
    ({ rows }) => readRow(rows) as JobRecord,
  );
  const late = await newJobId(env.SIGNING_SECRET);
  const stub = env.ACCOUNTS.getByName(account) as DurableObjectStub<AccountObject>;
  await runInDurableObject(stub, async (object, state) => {
    const [key] = object.keys();
    const price = { model: 'm', tariff: 't', quoted: 100 };
    object.start(key?.id as string, {
      requestId: late,
      jobIds: [late],
      work: WORK,
      price,
      user: null,
      idempotency: null,
    });
    state.storage.sql.exec('UPDATE job SET created_at = created_at - 61000 WHERE id = ?', late);
  });
  expect(await runDurableObjectAlarm(stub)).toBe(true);
  await env.JOBS.getByName(late).create({ id: late, account, request, plan, deadlineSeconds: null, webhook: null });
  const events = await watchAll(late);
  expect(events.map(({ type }) => type)).toEqual(['queued', 'plan', 'failed']);
  expect(events.at(-1)).toMatchObject({ data: { reason: 'not_confirmed', cost: { usd: '0.000000' } } });
  expect(await (await call(`/v1/jobs/${late}`)).json()).toMatchObject({ status: 'failed', receipt: { stages: [] } });
  const entries = await runInDurableObject(stub, (_, state) =>
    readEntries(state.storage.sql, { after: 0, limit: 1000 }).filter(({ job }) => job === late),
  );
  expect(entries.map(({ kind, amount }) => [kind, amount])).toEqual([
    ['hold', 100],
    ['release', 0],
  ]);
});

test('a job whose account is silent waits, sends nothing, and begins once the account has answered', async () => {
  const { id: first } = await createJob({ prompt: 'a fox', ...SMALL, preset: '7x', seed: 6 });
  const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
  const { account, request, plan } = await runInDurableObject(stubOf(first), ({ rows }) => readRow(rows) as JobRecord);
  const id = await newJobId(env.SIGNING_SECRET);
  await enterJob(account, id);
  await runInDurableObject(stubOf(id), (instance) => {
    const silent = { getByName: () => ({ confirm: () => Promise.reject(new Error('away for a test')) }) };
    Object.defineProperty(instance, 'env', { value: { ...env, ACCOUNTS: silent }, configurable: true });
    return instance.create({ id, account, request, plan, deadlineSeconds: null, webhook: null });
  });
  const row = () => runInDurableObject(stubOf(id), ({ rows }) => readRow(rows) as JobRecord);
  await expect.poll(async () => (await row()).busySince, { timeout: 5000 }).not.toBeNull();
  expect(await row()).toMatchObject({ attempt: 0, confirmedAt: null });
  await runInDurableObject(stubOf(id), (instance) => {
    Object.defineProperty(instance, 'env', { value: env, configurable: true });
    instance.rows.update({ notBefore: 0 });
    return instance.alarm();
  });
  expect((await watchAll(id)).at(-1)?.type).toBe('done');
  expect(await row()).toMatchObject({ busySince: null });

  // a wait that has been as long as any may be ends it by name
  const hopeless = await newJobId(env.SIGNING_SECRET);
  await enterJob(account, hopeless);
  await runInDurableObject(stubOf(hopeless), async (instance) => {
    const silent = { getByName: () => ({ confirm: () => Promise.reject(new Error('away for a test')) }) };
    const impatient = { ...env, ACCOUNTS: silent, QUEUE_SECONDS: '0.001' };
    Object.defineProperty(instance, 'env', { value: impatient, configurable: true });
    await instance.create({ id: hopeless, account, request, plan, deadlineSeconds: null, webhook: null });
    await instance.alarm();
    instance.rows.update({ notBefore: 0, busySince: (readRow(instance.rows)?.busySince ?? 0) - 10 });
    await instance.alarm();
  });
  expect((await watchAll(hopeless)).at(-1)).toMatchObject({ type: 'failed', data: { reason: 'not_confirmed' } });
});

test('of a request that came in part, and cannot be asked for again, no job runs on', async () => {
  const key = await openAccount();
  let creates = 0;
  // the way to the second job's object breaks
  const JOBS = {
    getByName(id: string) {
      const real = env.JOBS.getByName(id);
      if (++creates !== 2) return real;
      return { ...real, create: () => Promise.reject(new Error('lost for a test')) };
    },
  };
  const request = new Request('http://ralu.test/v1/images/generations', {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'a fox', n: 2, size: '256x256', ralu: { N: [900], e: [1] } }),
  });
  const response = await createApp().fetch(request, { ...env, JOBS }, createExecutionContext());
  expect(response.status).toBe(500);
  const account = async () =>
    (await call('/v1/account', { key })).json<{ open_jobs: number; billing: { held_usd: string } }>();
  await expect.poll(async () => (await account()).open_jobs, { timeout: 10_000 }).toBe(0);
  expect((await account()).billing.held_usd).toBe('0.000000');
  const { data } = await (await call('/v1/jobs', { key })).json<{ data: { status: string }[] }>();
  for (const { status } of data) expect(['cancelled', 'failed']).toContain(status);
});

describe('a limit of spending', () => {
  test.each([
    ['of an account a day', { microUsdPerDay: 150 }, {}, null, { whose: 'account', period: 'day' }],
    ['of an account a month', { microUsdPerMonth: 150 }, {}, null, { whose: 'account', period: 'month' }],
    ['of a key a day', {}, { microUsdPerDay: 150 }, null, { whose: 'key', period: 'day' }],
    ['of a key a month', {}, { microUsdPerMonth: 150 }, null, { whose: 'key', period: 'month' }],
    ['of a user a day', { microUsdPerUserDay: 150 }, {}, 'ann', { whose: 'user', period: 'day' }],
    ['of a user a month', { microUsdPerUserMonth: 150 }, {}, 'ann', { whose: 'user', period: 'month' }],
  ] as const)('%s counts what is held and what was charged', async (_, limits, key, user, refusal) => {
    const account = await open(limits, key);
    const { id } = await account.start(100, user);
    expect((await account.start(100, user)).started).toEqual({
      kind: 'over_spend_limit',
      ...refusal,
      needed: 100,
      spent: 100,
      limit: 150,
    });
    await account.run((one) => one.ended(id, end(40)));
    expect((await account.start(100, user)).started.kind).toBe('new');
    expect((await account.start(11, user)).started).toMatchObject({ kind: 'over_spend_limit', spent: 140 });
    expect((await account.start(10, user)).started.kind).toBe('new');
    await checkLaws(account);
  });

  test('of one user is not another’s, and the account’s own holds for all of them', async () => {
    const account = await open({ microUsdPerUserDay: 100, microUsdPerDay: 250 });
    expect((await account.start(100, 'ann')).started.kind).toBe('new');
    expect((await account.start(100, 'bob')).started.kind).toBe('new');
    expect((await account.start(100, 'eve')).started).toMatchObject({ whose: 'account', spent: 200 });
  });

  test('begins anew with the day and the month, and a job counts where it was begun', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 10, 30, 23, 59, 59) });
    const account = await open({ microUsdPerDay: 100, microUsdPerMonth: 150 });
    const { id } = await account.start(100);
    expect((await account.start(1)).started).toMatchObject({ period: 'day' });
    vi.setSystemTime(Date.UTC(2026, 11, 1));
    expect((await account.start(100)).started.kind).toBe('new');
    await account.run((one) => one.ended(id, end(70)));
    const usage = await account.run((one) =>
      one.usage({ from: '2026-11-01', to: '2026-12-31', groupBy: 'day', after: null, limit: 10 }),
    );
    expect(usage?.rows).toEqual([
      { group: '2026-11-30', jobs: 1, mflop: 700, captured: 70, held: 0 },
      { group: '2026-12-01', jobs: 0, mflop: 0, captured: 0, held: 100 },
    ]);
    // what the old month’s job turned out to cost leaves the new month alone
    vi.setSystemTime(Date.UTC(2026, 11, 1) + DAY);
    expect((await account.start(51)).started).toMatchObject({ period: 'month', spent: 100 });
    expect((await account.start(50)).started.kind).toBe('new');
  });

  test('is one for all users that come after the first ten thousand of a day', async () => {
    const account = await open({ microUsdPerUserDay: 100 });
    await account.start(1, 'first');
    await account.run((_, sql) => {
      sql.exec("UPDATE usage SET jobs = ? WHERE dimension = 'users'", MAX_USERS_A_DAY);
    });
    expect((await account.start(60, 'late-1')).started.kind).toBe('new');
    expect((await account.start(60, 'late-2')).started).toMatchObject({ whose: 'user', spent: 60 });
    expect((await account.start(60, 'first')).started.kind).toBe('new');
  });
});

test('work that failed beyond what it was let in for counts against the budget of work, and is not paid', async () => {
  const account = await open({ tflopsPerMinute: 100 });
  const { id } = await account.start(1000);
  const failed: JobEnd = { ...end(0, 'failed'), excess: { mflop: 99e6, plainMflop: 10e6 } };
  await account.run((one) => [one.ended(id, failed), one.ended(id, failed)]);
  const tenTera = { flops: 10e12, plainFlops: 10e12, steps: 1 };
  const started = await account.run(async (one) => {
    const jobIds = [await newJobId(env.SIGNING_SECRET)];
    return one.start(KEY.id, { requestId: 'r', jobIds, work: tenTera, price: null, user: null, idempotency: null });
  });
  // 1 of 100 is left, and 10 are asked for: nine hundredths of a minute
  expect(started).toMatchObject({ kind: 'out_of_budget', whose: 'account' });
  expect((started as Extract<Started, { kind: 'out_of_budget' }>).retryMs).toBeGreaterThan(5000);
  expect((started as Extract<Started, { kind: 'out_of_budget' }>).retryMs).toBeLessThanOrEqual(5400);
  expect(await account.balance()).toMatchObject({ balance: 1_000_000, held: 0 });
});

describe('money that is written', () => {
  const post = (account: Opened, posting: Partial<Parameters<AccountObject['post']>[0]>) =>
    account.run((one) =>
      one.post({ id: 'x', kind: 'top_up', amount: 100, job: null, reason: null, ...posting }, 'admin'),
    );

  test('is written once for each id, and another posting under the same id is a conflict', async () => {
    const account = await open();
    expect(await post(account, {})).toMatchObject({ kind: 'posted', isNew: true });
    expect(await post(account, {})).toMatchObject({ kind: 'posted', isNew: false });
    expect(await post(account, { amount: 101 })).toEqual({ kind: 'conflict' });
    expect(await account.balance()).toMatchObject({ balance: 1_000_100 });
    await checkLaws(account);
  });

  test('is given back for a job up to what it was charged, in as many parts as one likes', async () => {
    const account = await open();
    const { id } = await account.start(500);
    await account.run((one) => one.ended(id, end(300)));
    const refund = (key: string, amount: number) => post(account, { id: key, kind: 'refund', job: id, amount });
    expect(await refund('r1', 301)).toEqual({ kind: 'not_charged', refundable: 300 });
    expect(await refund('r1', 200)).toMatchObject({ kind: 'posted' });
    expect(await refund('r2', 101)).toEqual({ kind: 'not_charged', refundable: 100 });
    expect(await refund('r2', 100)).toMatchObject({ kind: 'posted' });
    expect(await account.balance()).toMatchObject({ balance: 1_000_000 });
    await checkLaws(account);
  });

  test('takes by an adjustment what is there and not held, and no more', async () => {
    const account = await open();
    await account.start(400_000);
    const take = (amount: number) => post(account, { id: `a${amount}`, kind: 'adjustment', amount });
    expect(await take(-600_001)).toEqual({ kind: 'not_enough', available: 600_000 });
    expect(await take(-600_000)).toMatchObject({ kind: 'posted', entry: { debit: 'balance', credit: 'adjustments' } });
    expect(await account.balance()).toEqual({ balance: 400_000, held: 400_000, available: 0 });
    await checkLaws(account);
  });

  test('is never changed or removed', async () => {
    const account = await open();
    await account.run((_, sql) => {
      expect(() => sql.exec('UPDATE entry SET amount = 5')).toThrow('append-only');
      expect(() => sql.exec('DELETE FROM entry')).toThrow('append-only');
    });
  });
});

describe('a key in the place of another', () => {
  test('goes on with its month: replacing a key gives nobody a new one', async () => {
    const account = await open({}, { microUsdPerMonth: 150 });
    await account.start(100);
    const next = { id: '89abcdef', hash: 'h', overlapMs: 3_600_000 };
    await account.run((one) => one.rotateKey(KEY.id, next, 'admin'));
    expect((await account.start(51, null, next.id)).started).toMatchObject({ whose: 'key', spent: 100 });
    expect((await account.start(50, null, next.id)).started.kind).toBe('new');
    // the old one, which opens a while longer, has spent what its successor has
    expect((await account.start(1)).started).toMatchObject({ whose: 'key', spent: 150 });
  });
});

describe('a request that is repeated', () => {
  const ask = (account: Opened, jobIds: readonly string[], quoted: number) =>
    account.run((one) =>
      one.start(KEY.id, {
        requestId: `r-${jobIds[0]}`,
        jobIds,
        work: WORK,
        price: { model: 'm', tariff: 't', quoted },
        user: null,
        idempotency: { key: 'order', digest: 'd', repetition: null },
      }),
    );
  const ids = () => Promise.all([newJobId(env.SIGNING_SECRET), newJobId(env.SIGNING_SECRET)]);

  test('keeps the job that came, and enters the one that never did, so no picture is paid twice', async () => {
    const account = await open();
    const [first, lost] = await ids();
    await ask(account, [first, lost], 100);
    await account.run((one) => [one.confirm(first), one.ended(first, end(60))]);
    await account.run((one) => one.withdraw([lost], true));
    const [, fresh] = await ids();
    const again = await ask(account, [await newJobId(env.SIGNING_SECRET), fresh], 200);
    expect(again).toMatchObject({ kind: 'again', jobIds: [first, fresh], requestId: `r-${first}`, held: [100, 200] });
    expect(await account.balance()).toMatchObject({ balance: 999_940, held: 200 });
    // once more: both are there
    expect(await ask(account, await ids(), 300)).toMatchObject({ kind: 'again', jobIds: [first, fresh] });
    expect(await account.balance()).toMatchObject({ held: 200 });
    await checkLaws(account);
  });

  test('begins anew where none of its jobs came', async () => {
    const account = await open();
    const lost = await ids();
    await ask(account, lost, 100);
    await account.run((one) => one.withdraw(lost, true));
    const fresh = await ids();
    expect(await ask(account, fresh, 200)).toMatchObject({ kind: 'new', jobIds: fresh });
    expect(await account.balance()).toMatchObject({ held: 400 });
  });
});

test('whom a meter bills is told by the terms of the time at which a job was begun', async () => {
  const account = await open();
  const terms = (stripeCustomer: string | null) =>
    account.run((one) => one.change({ terms: { mode: 'postpaid', creditLimit: null, stripeCustomer } }, 'admin'));
  await account.run((one) =>
    one.post({ id: 'out', kind: 'adjustment', amount: -1_000_000, job: null, reason: null }, 'admin'),
  );
  expect(await terms('cus_1')).toBe('changed');
  const { id } = await account.start(100);
  expect(await terms('cus_2')).toBe('changed');
  const told = await account.run((one) => [one.ended(id, end(60)), one.ended(id, end(60))]);
  expect(told).toMatchObject([{ meteredCustomer: 'cus_1' }, { meteredCustomer: 'cus_1' }]);
  // what it owes goes through the meter: nobody may be made to pay it ahead as well
  expect(await account.run((one) => one.change({ terms: { mode: 'prepaid', creditLimit: 0 } }, 'admin'))).toBe(
    'not_settled',
  );
});
