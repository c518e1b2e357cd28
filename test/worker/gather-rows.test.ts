/** An account as the version before stored it: index, charges, ledger and pace in tables of their own. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { ACCOUNT_MIGRATIONS } from '../../durable-objects/account/tables.ts';
import { readTally } from '../../durable-objects/account/tally-table.ts';
import type { AccountObject } from '../../durable-objects/account.ts';
import { migrate } from '../../durable-objects/migrate.ts';
import { DEFAULT_LIMITS, PREPAID } from '../../src/account/account.ts';
import { newAccountId } from '../../src/account/key.ts';
import { dayOf } from '../../src/billing/spending.ts';

/** How many steps the version before had. */
const STEPS_BEFORE = 7;
const NOW = Date.now();
const TODAY = dayOf(NOW);
const stubOf = (id: string) => env.ACCOUNTS.getByName(id) as DurableObjectStub<AccountObject>;

/** An account of the version before with these rows. */
async function storedBefore(...rows: readonly (readonly [string, ...SqlStorageValue[]])[]) {
  const id = newAccountId();
  await runInDurableObject(stubOf(id), (_, { storage: { sql } }) => {
    migrate(sql, ACCOUNT_MIGRATIONS.slice(0, STEPS_BEFORE));
    sql.exec(
      'INSERT INTO account (id, name, limits, created_at, work_arrival, is_listed, terms) VALUES (?, ?, ?, ?, ?, 1, ?)',
      id,
      'old',
      JSON.stringify({ ...DEFAULT_LIMITS, microUsdPerMonth: 130 }),
      NOW - 1000,
      NOW * 1000 + 5e6,
      JSON.stringify(PREPAID),
    );
    for (const [query, ...values] of rows) sql.exec(query, ...values);
  });
  await evictDurableObject(stubOf(id));
  return stubOf(id);
}

const key = (id: string, lineage: string | null, arrival: number) =>
  [
    'INSERT INTO key (id, name, hash, created_at, arrival, work_arrival, lineage, micro_usd_per_day) VALUES (?, ?, ?, 1, ?, 0, ?, 1000)',
    id,
    id,
    `hash of ${id}`,
    arrival,
    lineage,
  ] as const;
const job = (seq: number, id: string, status: string, request = `request ${seq}`) =>
  [
    "INSERT INTO job (seq, id, request_id, key_id, created_at, status, is_created, key_cost) VALUES (?, ?, ?, '0000000b', ?, ?, 1, 7)",
    seq,
    id,
    request,
    NOW,
    status,
  ] as const;
const charge = (id: string, held: number, captured: number | null, meter: string | null = null) =>
  [
    "INSERT INTO charge (job, at, key_id, user, model, tariff, held, captured, mflop, ended_at, meter) VALUES (?, ?, '0000000b', 'ann', 'm', 't', ?, ?, ?, ?, ?)",
    id,
    NOW,
    held,
    captured,
    captured && 5,
    captured && NOW,
    meter,
  ] as const;
const entry = (id: string, kind: string, debit: string, credit: string, amount: number, of: string | null) =>
  [
    'INSERT INTO entry (id, at, kind, debit, credit, amount, job, balance_after, held_after) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)',
    id,
    NOW,
    kind,
    debit,
    credit,
    amount,
    of,
  ] as const;
const ledger = (account: string, ...sums: number[]) =>
  [
    'UPDATE ledger SET debits_pending = ?, debits_posted = ?, credits_pending = ?, credits_posted = ? WHERE account = ?',
    ...sums,
    account,
  ] as const;
const used = (dimension: string, name: string) =>
  [
    'INSERT INTO usage (day, dimension, name, jobs, mflop, captured, held) VALUES (?, ?, ?, 2, 10, 40, 60)',
    TODAY,
    dimension,
    name,
  ] as const;

const stored = () =>
  storedBefore(
    key('0000000a', null, 0),
    key('0000000b', '0000000a', NOW * 1000 + 9e6),
    job(3, 'job_gone', 'done'),
    ['DELETE FROM job'],
    job(4, 'job_open', 'open', 'twice'),
    job(5, 'job_done', 'done'),
    job(6, 'job_free', 'open'),
    charge('job_open', 60, null),
    charge('job_done', 30, 25, 'waiting'),
    charge('job_gone', 20, 15),
    entry('credit', 'top_up', 'funds', 'balance', 1000, null),
    ...[
      ['job_gone', 20, 15],
      ['job_done', 30, 25],
      ['job_open', 60, null],
    ].flatMap(([id, held, captured]) => [
      entry(`hold:${id}`, 'hold', 'balance', 'sales', held as number, id as string),
      ...(captured === null
        ? []
        : [entry(`end:${id}`, 'capture', 'balance', 'sales', captured as number, id as string)]),
    ]),
    ledger('balance', 60, 40, 0, 1000),
    ledger('sales', 0, 0, 60, 40),
    ledger('funds', 0, 1000, 0, 0),
    ...[['day', ''] as const, ['key', '0000000b'] as const, ['model', 'm'] as const, ['user', 'ann'] as const].map(
      ([dimension, name]) => used(dimension, name),
    ),
    ["INSERT INTO pace (model, tflops, ms) VALUES ('m', 2, 500)"],
    [
      "INSERT INTO idempotency (key, digest, request_id, job_ids, created_at) VALUES ('order', 'd', 'twice', '[\"job_open\"]', ?)",
      NOW,
    ],
  );

test('what it had is there, gathered, and agrees with itself', async () => {
  await runInDurableObject(await stored(), async (account, { storage: { sql } }) => {
    expect(account.view()).toMatchObject({
      openJobs: 2,
      balance: { balance: 960, held: 60, available: 900 },
    });
    const { arrivals, workArrival, place } = readTally(sql);
    expect({ arrivals, workArrival, place }).toEqual({
      arrivals: { '0000000b': [NOW * 1000 + 9e6, 0] },
      workArrival: NOW * 1000 + 5e6,
      place: 6,
    });
    expect(account.pace('m')).toBe(250);
    const list = (status: 'open' | 'done' | null) =>
      account.jobs({ before: null, limit: 10, status, requestId: null }).map(({ id, seq }) => [id, seq]);
    expect(list(null)).toEqual([
      ['job_free', 6],
      ['job_done', 5],
      ['job_open', 4],
    ]);
    expect(list('done')).toEqual([['job_done', 5]]);
    expect(sql.exec('SELECT job, held, captured, meter FROM charge ORDER BY job').toArray()).toEqual([
      { job: 'job_done', held: 30, captured: 25, meter: 'waiting' },
      { job: 'job_gone', held: 20, captured: 15, meter: null },
      { job: 'job_open', held: 60, captured: null, meter: null },
    ]);
    const differences = (await account.reconcile(0))?.differences ?? [];
    expect(differences.map(({ kind, subject }) => `${kind} ${subject}`).sort()).toEqual([
      'job_missing job_done',
      'job_missing job_free',
      'job_missing job_open',
      'waits_for_meter job_done',
    ]);
    expect(() => sql.exec('DELETE FROM entry')).toThrow('append-only');
    expect(() => sql.exec('UPDATE entry SET amount = 1')).toThrow('append-only');
  });
});

test('its open job ends, its idempotency key answers, and limits count what was spent before', async () => {
  await runInDurableObject(await stored(), async (account, { storage: { sql } }) => {
    const start = (id: string, quoted: number, idempotencyKey: string | null = null) =>
      account.start('0000000b', {
        requestId: id,
        jobIds: [id],
        work: { flops: 0, plainFlops: 1, steps: 1 },
        price: { model: 'm', tariff: 't', quoted },
        user: 'ann',
        idempotency: idempotencyKey === null ? null : { key: idempotencyKey, digest: 'd', repetition: null },
      });
    expect(start('job_again', 1, 'order')).toMatchObject({ kind: 'again', jobIds: ['job_open'], held: [60] });
    // 40 charged and 60 held of the 130 of this month
    expect(start('job_much', 31)).toMatchObject({ kind: 'over_spend_limit', whose: 'account', spent: 100 });
    expect(start('job_more', 30)).toMatchObject({ kind: 'new' });
    const end = { status: 'done', work: null, charge: { micro: 10, mflop: 3 }, excess: null } as const;
    for (let told = 0; told < 2; told++)
      expect(account.ended('job_open', end)).toMatchObject({ captured: 10, user: 'ann' });
    expect(start('job_next', 51)).toMatchObject({ kind: 'over_spend_limit', spent: 80 });
    account.erased('job_open');
    expect(account.recall('0000000b', { key: 'order', digest: 'd', repetition: null })).toBeNull();
    const days = { from: TODAY, to: TODAY, after: null, limit: 10 };
    for (const [groupBy, group] of [
      ['day', TODAY],
      ['key', '0000000b'],
      ['model', 'm'],
      ['user', 'ann'],
    ] as const)
      expect(account.usage({ ...days, groupBy })?.rows).toEqual([
        { group, jobs: 3, mflop: 13, captured: 50, held: 30 },
      ]);
    expect((await account.reconcile(6))?.differences).toEqual([]);
    expect(sql.exec('SELECT seq, id FROM entry ORDER BY seq DESC LIMIT 2').toArray()).toEqual([
      { seq: 8, id: 'end:job_open' },
      { seq: 7, id: 'hold:job_more' },
    ]);
  });
});
