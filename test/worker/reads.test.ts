/** No question to an account reads more rows because the account is large. */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeAll, describe, expect, test } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import { type JobQuery, PREPAID, type StartRequest } from '../../src/account/account.ts';
import { newAccountId } from '../../src/account/key.ts';
import { dayOf } from '../../src/billing/spending.ts';

const ID = newAccountId();
const KEY = '0123abcd';
/** the most rows that one question may read */
const MOST = 30;
const REQUESTS = 10_000;
const JOBS = 5_000;
const OPEN = 1_000;
const NOW = Date.now();
const TODAY = dayOf(NOW);

const stub = () => env.ACCOUNTS.getByName(ID) as DurableObjectStub<AccountObject>;
const jobId = (n: number): string => `job_${String(n).padStart(8, '0')}`;

/** How many rows `ask` read or went through in all its statements, and its answer. */
const rowsReadBy = <T>(ask: (account: AccountObject) => T | Promise<T>): Promise<{ read: number; answer: T }> =>
  runInDurableObject(stub(), async (account, { storage: { sql } }) => {
    const cursors: SqlStorageCursor<never>[] = [];
    const exec = sql.exec.bind(sql);
    Object.defineProperty(sql, 'exec', {
      configurable: true,
      value: (query: string, ...values: unknown[]) => {
        const cursor = exec(query, ...values);
        cursors.push(cursor as SqlStorageCursor<never>);
        return cursor;
      },
    });
    try {
      const answer = await ask(account);
      return { read: cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0), answer };
    } finally {
      Reflect.deleteProperty(sql, 'exec');
    }
  });

beforeAll(async () => {
  await runInDurableObject(stub(), (account, { storage: { sql } }) => {
    const free = { tflopsPerMinute: null, microUsdPerDay: 1e12, microUsdPerMonth: 1e12 };
    const limits = {
      imagesPerMinute: 1e6,
      concurrentJobs: 1e6,
      tflopsPerMinute: null,
      tflopsPerImage: null,
      stepsPerImage: 200,
      microUsdPerDay: 1e12,
      microUsdPerMonth: 1e12,
      microUsdPerUserDay: 1e12,
      microUsdPerUserMonth: null,
    };
    const key = { id: KEY, name: 'k', hash: 'h', scopes: ['generate'] as const, expiresAt: null, ...free };
    account.open({ id: ID, name: 'large', limits, terms: PREPAID, key });
    account.post({ id: 'credit', kind: 'top_up', amount: 1e9, job: null, reason: null }, 'admin');
    // the first thousand jobs are open, the others ended in turn; every request but the last ten has one of its own
    sql.exec(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO job (id, seq, request_id, idempotency, key_id, created_at, status, is_created, model, tariff, held, captured, ended_at)
       SELECT printf('job_%08d', i), i, 'request ' || (i % 4990), 'key ' || i, ?2, ?3 - ?1 + i,
         CASE WHEN i <= ?4 THEN 'open' WHEN i % 3 = 0 THEN 'failed' WHEN i % 3 = 1 THEN 'cancelled' ELSE 'done' END, i % 2, 'm', 't', 1, IIF(i <= ?4, NULL, 0), ?3 FROM n`,
      JOBS,
      KEY,
      NOW,
      OPEN,
    );
    sql.exec(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO idempotency (key, digest, request_id, job_ids, created_at) SELECT 'key ' || i, 'd', 'request ' || i, json_array(printf('job_%08d', i)), ?2 - i FROM n`,
      REQUESTS,
      NOW,
    );
    // a year of usage, by 3 models and by 500 customers
    sql.exec(
      `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 364), m (model) AS (VALUES ('a'), ('b'), ('c'))
       INSERT INTO usage (day, dimension, name, jobs, mflop, captured, held) SELECT date(?1, '-' || i || ' days'), 'all',
         date(?1, '-' || i || ' days') || '/' || ?2 || '/' || model, 1, 1, 1, 0 FROM n, m`,
      TODAY,
      KEY,
    );
    sql.exec(
      `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 28), u (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM u WHERE i < 499)
       INSERT INTO usage (day, dimension, name, jobs, mflop, captured, held) SELECT date(?1, '-' || n.i || ' days'), 'user', printf('user %04d', u.i), 1, 1, 1, 0 FROM n, u`,
      TODAY,
    );
    sql.exec(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
       INSERT INTO entry (id, at, kind, debit, credit, amount, job, balance_after, held_after) SELECT 'hold:' || printf('job_%08d', i), ?2, 'hold', 'balance', 'sales', 1,
         printf('job_%08d', i), 0, 0 FROM n`,
      JOBS,
      NOW,
    );
    sql.exec(
      `UPDATE tally SET place = ?, open = ?, columns = json_set(columns, '$.balance[0]', ?, '$.sales[2]', ?)`,
      JOBS,
      OPEN,
      OPEN,
      OPEN,
    );
  });
}, 60_000);

const request = (n: number, more: Partial<StartRequest> = {}): StartRequest => ({
  requestId: `new ${n}`,
  jobIds: [jobId(90_000_000 + n)],
  work: { flops: 1, plainFlops: 1e9, steps: 1 },
  price: { model: 'a', tariff: 't', quoted: 10 },
  user: null,
  idempotency: null,
  ...more,
});
const list = (query: Partial<JobQuery>): JobQuery => ({
  before: null,
  limit: 10,
  status: null,
  requestId: null,
  ...query,
});

describe(`an account with ${JOBS} jobs, ${OPEN} of them open, and ${REQUESTS} idempotency keys`, () => {
  test('reads at most 30 rows to start a job, let it begin, hear its end and forget it', async () => {
    // what was spent so far is counted once, after rows were written behind the back of the account
    await runInDurableObject(stub(), (account) => account.start(KEY, request(0)));
    const [id] = request(1).jobIds as [string];
    const started = await rowsReadBy((account) => account.start(KEY, request(1)));
    expect(started.answer.kind).toBe('new');
    expect(started.read).toBeLessThanOrEqual(MOST);
    const confirmed = await rowsReadBy((account) => account.confirm(id));
    expect(confirmed.answer).toBe('held');
    expect(confirmed.read).toBeLessThanOrEqual(MOST);
    const work = { model: 'a', tflops: 1, ms: 10 };
    const end = { status: 'done', work, charge: { micro: 5, mflop: 7 }, excess: null } as const;
    const ended = await rowsReadBy((account) => account.ended(id, end));
    expect(ended.answer).toMatchObject({ captured: 5 });
    expect(ended.read).toBeLessThanOrEqual(MOST);
    expect((await rowsReadBy((account) => account.ended(id, end))).read).toBeLessThanOrEqual(MOST);
    expect((await rowsReadBy((account) => account.erased(id))).read).toBeLessThanOrEqual(MOST);
  });

  test('reads as few for a request with an idempotency key and a customer, and for the same once more', async () => {
    const idempotency = { key: 'mine', digest: 'd', repetition: null };
    const asked = request(2, { idempotency, user: 'user 0007' });
    const started = await rowsReadBy((account) => account.start(KEY, asked));
    expect(started.answer.kind).toBe('new');
    expect(started.read).toBeLessThanOrEqual(MOST);
    const again = await rowsReadBy((account) => account.start(KEY, { ...asked, jobIds: [jobId(91_000_000)] }));
    expect(again.answer).toMatchObject({ kind: 'again', jobIds: asked.jobIds });
    expect(again.read).toBeLessThanOrEqual(MOST);
    const gone = await rowsReadBy((account) => account.erased(asked.jobIds[0] as string));
    expect(gone.read).toBeLessThanOrEqual(MOST);
    const { answer } = await rowsReadBy((account) => account.start(KEY, { ...asked, jobIds: [jobId(92_000_000)] }));
    expect(answer.kind).toBe('new');
  });

  test.each([
    ['the newest of all', {}, jobId(JOBS)],
    ['those after a place', { before: 3000 }, jobId(2999)],
    ['those that failed', { before: JOBS + 1, status: 'failed' }, jobId(4998)],
    ['those that are done', { before: JOBS + 1, status: 'done' }, jobId(JOBS)],
    ['the open ones', { before: JOBS + 1, status: 'open' }, jobId(OPEN)],
    ['those of a request', { requestId: 'request 7' }, jobId(4997)],
    ['those of a request with a status', { requestId: 'request 7', status: 'open' }, jobId(7)],
    ['none of a request that there is not', { requestId: 'another' }, undefined],
  ] as const)('lists %s from an index', async (_, query, first) => {
    const { read, answer } = await rowsReadBy((account) => account.jobs(list({ before: JOBS + 1, ...query })));
    expect(answer[0]?.id).toBe(first);
    expect(read).toBeLessThanOrEqual(MOST);
  });

  test('lists every job once, in order, from page to page', async () => {
    const { answer } = await rowsReadBy((account) => {
      const seen: number[] = [];
      for (let before = JOBS + 1; before > 1; ) {
        const page = account.jobs(list({ before, limit: 100 }));
        seen.push(...page.map(({ seq }) => seq));
        before = page.at(-1)?.seq ?? 0;
      }
      return seen;
    });
    expect(answer).toEqual(Array.from({ length: JOBS }, (_, i) => JOBS - i));
  });

  test.each([
    ['the account itself', (account: AccountObject) => account.view()],
    ['how a key stands', (account: AccountObject) => account.standing(KEY)],
    ['whose a job is', (account: AccountObject) => account.isOwnJob(KEY, jobId(4000))],
    ['the pace', (account: AccountObject) => account.pace('a')],
    ['what a meter has of a minute', (account: AccountObject) => account.meterMinute(NOW)],
    ['a page of the ledger', (account: AccountObject) => account.statement({ after: 2500, limit: 10 })],
    [
      'a day by model',
      (account: AccountObject) => account.usage({ from: TODAY, to: TODAY, groupBy: 'model', after: null, limit: 10 }),
    ],
    [
      'two days by day',
      (account: AccountObject) =>
        account.usage({ from: dayOf(NOW - 86_400_000), to: TODAY, groupBy: 'day', after: null, limit: 10 }),
    ],
    [
      'a posting',
      (account: AccountObject) =>
        account.post({ id: 'more', kind: 'top_up', amount: 1, job: null, reason: null }, 'admin'),
    ],
  ] as const)('tells %s from few rows', async (_, ask) => {
    const { read, answer } = await rowsReadBy<unknown>(ask);
    expect(answer).not.toBeNull();
    expect(read).toBeLessThanOrEqual(MOST);
  });

  test('finds an entry whose job never came without reading the others again and again', async () => {
    const [id] = request(3).jobIds as [string];
    await runInDurableObject(stub(), (account, { storage: { sql } }) => {
      account.start(KEY, request(3));
      sql.exec("UPDATE job SET created_at = created_at - 121000 WHERE status = 'open'");
      // all that were entered before are known to have come
      sql.exec("UPDATE job SET is_created = 1 WHERE status = 'open' AND id <> ?", id);
    });
    for (let round = 0; round < 5; round++) await runDurableObjectAlarm(stub());
    const { answer, read } = await rowsReadBy((account) => account.jobs(list({ status: 'open', limit: 1 })));
    expect(answer[0]?.id).not.toBe(id);
    expect(read).toBeLessThanOrEqual(MOST);
    // the next round has nothing left to look at but what five minutes are for
    const next = await rowsReadBy((account) => account.alarm());
    expect(next.read).toBeLessThanOrEqual(MOST);
  });
});
