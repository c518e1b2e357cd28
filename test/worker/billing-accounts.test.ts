/** Billing of accounts: limits and terms, the books compared, the ledger kept elsewhere and put back. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { removeLetters } from '../../durable-objects/job/outbox-tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { call, createJob, post, SMALL } from './call.ts';
import { accountIdOf, admin, openPrepaid, postTo, rowsOf, runJob, settled, topUp } from './money.ts';

interface Difference {
  readonly kind: string;
  readonly subject: string;
  readonly expected: string;
  readonly found: string;
}
interface Problem {
  readonly code: string;
  readonly detail: string;
}

const pathOf = (key: string): string => `/v1/accounts/${accountIdOf(key)}`;
const jobOf = (id: string) => env.JOBS.getByName(id) as unknown as DurableObjectStub<JobObject>;
const LONG = { N: [900], e: [1] };

/** Every difference that reconciling names. */
async function differences(key: string): Promise<Difference[]> {
  const response = await admin('POST', `${pathOf(key)}/reconcile`);
  expect(response.status).toBe(200);
  return (await response.json<{ data: (Difference & { says: string })[] }>()).data.map(({ says: _, ...rest }) => rest);
}

describe('limits of spending', () => {
  test('are opened, shown and changed as decimal text, each by itself', async () => {
    const key = await openPrepaid({ usd_per_day: '5', usd_per_user_month: '0.5' });
    const limits = async () => (await (await admin('GET', pathOf(key))).json<{ limits: object }>()).limits;
    const month = { usd_per_month: null, usd_per_user_day: null, usd_per_user_month: '0.500000' };
    expect(await limits()).toMatchObject({ usd_per_day: '5.000000', ...month });
    await admin('PATCH', pathOf(key), { limits: { usd_per_day: null, usd_per_user_day: '0.25' } });
    expect(await limits()).toMatchObject({ ...month, usd_per_day: null, usd_per_user_day: '0.250000' });
    const shown = await limits();
    await admin('PATCH', pathOf(key), { limits: shown });
    expect(await limits()).toEqual(shown);
  });

  test.each(['5.0000001', '-1', '', 'many', 5])('of %j are refused', async (amount) => {
    const response = await admin('PATCH', '/v1/accounts/acct_ffffffffffffffff', { limits: { usd_per_day: amount } });
    expect([response.status, (await response.json<Problem>()).detail]).toEqual([
      400,
      expect.stringContaining('limits.usd_per_day: got'),
    ]);
  });

  test('of a key are made, shown, kept by the key in its place, and held to', async () => {
    const key = await openPrepaid();
    await topUp(key, '10');
    const made = await post('/v1/account/keys', { name: 'poor', usd_per_day: '0', usd_per_month: '7' }, key);
    const poor = await made.json<{ id: string; key: string }>();
    const refused = await post('/v1/jobs', { prompt: 'a fox', ...SMALL }, poor.key);
    expect([refused.status, (await refused.json<Problem>()).code]).toEqual([402, 'spend_limit']);
    const next = await (await post(`/v1/account/keys/${poor.id}/rotate`, {}, key)).json<{ id: string }>();
    const { data } = await (await call('/v1/account/keys', { key })).json<{ data: { id: string }[] }>();
    for (const id of [poor.id, next.id])
      expect(data.find((each) => each.id === id)).toMatchObject({ usd_per_day: '0.000000', usd_per_month: '7.000000' });
  });

  test('of an account and of each user are held to', async () => {
    const key = await openPrepaid({ usd_per_user_day: '0' });
    await topUp(key, '10');
    const ann = await post('/v1/jobs', { prompt: 'a fox', ...SMALL, user: 'ann' }, key);
    expect([ann.status, (await ann.json<Problem>()).detail]).toEqual([
      402,
      expect.stringContaining('This user may spend 0.000000 USD a day'),
    ]);
    expect((await post('/v1/jobs', { prompt: 'a fox', ...SMALL }, key)).status).toBe(202);
    await admin('PATCH', pathOf(key), { limits: { usd_per_month: '0' } });
    const all = await post('/v1/jobs', { prompt: 'a fox', ...SMALL }, key);
    expect((await all.json<Problem>()).detail).toContain('The account may spend 0.000000 USD a month');
  });
});

describe('terms', () => {
  const billing = async (key: string) => (await (await admin('GET', pathOf(key))).json<{ billing: object }>()).billing;

  test('of another mode are refused while anything is left, owed or held, since nobody pays in both ways', async () => {
    const key = await openPrepaid();
    await topUp(key, '3', 'first');
    const refused = await admin('PATCH', pathOf(key), { billing: { mode: 'postpaid' } });
    expect([refused.status, (await refused.json<Problem>()).code]).toEqual([409, 'account_not_settled']);
    expect(await billing(key)).toMatchObject({ mode: 'prepaid', balance_usd: '3.000000' });
    await postTo(key, { id: 'out', kind: 'adjustment', amount_usd: '-3', reason: 'paid back' });
    expect((await admin('PATCH', pathOf(key), { billing: { mode: 'postpaid' } })).status).toBe(200);
  });

  test('are merged over what is, begin anew with another mode, and are in the audit trail', async () => {
    const key = await openPrepaid();
    await admin('PATCH', pathOf(key), { billing: { mode: 'postpaid', credit_limit_usd: '20' } });
    await admin('PATCH', pathOf(key), { billing: { stripe_customer: 'cus_1' } });
    expect(await billing(key)).toEqual({
      mode: 'postpaid',
      balance_usd: '0.000000',
      held_usd: '0.000000',
      available_usd: '20.000000',
      credit_limit_usd: '20.000000',
      stripe_customer: 'cus_1',
    });
    await admin('PATCH', pathOf(key), { billing: { mode: 'prepaid' } });
    expect(await billing(key)).toMatchObject({ credit_limit_usd: '0.000000', stripe_customer: null });
    await admin('PATCH', pathOf(key), { billing: { mode: 'prepaid', credit_limit_usd: '0', stripe_customer: null } });
    const { data } = await (await admin('GET', `${pathOf(key)}/audit`)).json<{
      data: { act: string; detail: { mode?: string; creditLimit?: number } }[];
    }>();
    expect(
      data.filter(({ act }) => act === 'account_changed').map(({ detail }) => [detail.mode, detail.creditLimit]),
    ).toEqual([
      ['postpaid', 20_000_000],
      ['postpaid', 20_000_000],
      ['prepaid', 0],
      ['prepaid', 0],
    ]);
  });

  test.each([
    [{ credit_limit_usd: '1' }, 'billing.credit_limit_usd: got "1"; belongs to a postpaid account'],
    [{ credit_limit_usd: null }, 'billing.credit_limit_usd: got null; belongs to a postpaid account'],
    [{ stripe_customer: 'cus_1' }, 'billing.stripe_customer: got "cus_1"; belongs to a postpaid account'],
    [{ stripe_customer: 'bob' }, 'billing.stripe_customer: got "bob"; must be the id of a customer at Stripe'],
    [{ mode: 'free' }, 'billing.mode: got "free"'],
  ])('of a prepaid account with %j are refused: %s', async (terms, sentence) => {
    const key = await openPrepaid();
    const responses = [
      await admin('PATCH', pathOf(key), { billing: terms }),
      await admin('POST', '/v1/accounts', { name: 'x', billing: terms }),
    ];
    for (const response of responses)
      expect([response.status, (await response.json<Problem>()).detail]).toEqual([
        400,
        expect.stringContaining(sentence),
      ]);
  });
});

describe('reconciling', () => {
  test('finds nothing where jobs ran, were cancelled and refunded, and one is under way', async () => {
    const key = await openPrepaid();
    await topUp(key, '10');
    const { id, cost } = await runJob(key);
    await postTo(key, { kind: 'refund', job: id, amount_usd: cost?.usd });
    const cancelled = await createJob({ prompt: 'a fox', ...LONG }, key);
    await call(`/v1/jobs/${cancelled.id}/cancel`, { key, method: 'POST' });
    await settled(key, cancelled.id);
    const open = await createJob({ prompt: 'a fox', ...LONG }, key);
    expect(await differences(key)).toEqual([]);
    await call(`/v1/jobs/${open.id}/cancel`, { key, method: 'POST' });
  });

  /** An account with one job that was charged; the amounts as they are told. */
  async function charged() {
    const key = await openPrepaid();
    await topUp(key, '10', 'first');
    const { id } = await runJob(key);
    const [row] = await rowsOf<{ held: number; captured: number }>(
      key,
      'SELECT held, captured FROM charge WHERE job = ?',
      id,
    );
    const { held, captured } = row as { held: number; captured: number };
    const usd = (micro: number): string => (micro / 1e6).toFixed(6);
    return { key, id, held, captured, usd };
  }
  const edit = async (key: string, ...statements: string[]): Promise<void> => {
    for (const statement of statements) await rowsOf(key, statement);
  };
  /** Entries are never changed, so a test that changes one takes the guard away. */
  const UNGUARD = ['DROP TRIGGER entry_is_not_changed', 'DROP TRIGGER entry_is_not_removed'];

  test('names a column that is not the sum of its entries', async () => {
    const { key, captured, usd } = await charged();
    await edit(
      key,
      "UPDATE tally SET columns = json_set(columns, '$.balance[1]', json_extract(columns, '$.balance[1]') + 5)",
    );
    expect(await differences(key)).toEqual([
      { kind: 'columns', subject: 'balance, debits posted', expected: usd(captured), found: usd(captured + 5) },
      { kind: 'unbalanced', subject: 'posted', expected: '0.000000', found: '0.000005' },
    ]);
  });

  test('names a hold whose charge is gone, and usage that does not add up any more', async () => {
    const { key, id, held, captured, usd } = await charged();
    await edit(key, 'UPDATE job SET held = NULL');
    const found = await differences(key);
    expect(found).toContainEqual({ kind: 'hold_without_charge', subject: id, expected: usd(held), found: 'none' });
    for (const dimension of ['day', 'key', 'model'])
      expect(found).toContainEqual({
        kind: 'usage',
        subject: `${dimension}, captured`,
        expected: '0.000000',
        found: usd(captured),
      });
  });

  test('names a charge that its entries do not bear out, and that its receipt does not', async () => {
    const { key, id, captured, usd } = await charged();
    await edit(key, 'UPDATE job SET captured = captured - 1, held = held + 1');
    const kinds = (await differences(key)).map(({ kind, subject }) => [kind, subject]);
    for (const kind of ['charge_without_hold', 'charge_without_end', 'charge_is_not_receipt'])
      expect(kinds).toContainEqual([kind, id]);
    expect(await differences(key)).toContainEqual({
      kind: 'charge_is_not_receipt',
      subject: id,
      expected: usd(captured),
      found: usd(captured - 1),
    });
  });

  test('names a capture above its hold, and one without any', async () => {
    const { key, id, held, usd } = await charged();
    await edit(key, ...UNGUARD, `UPDATE entry SET amount = ${held + 7} WHERE kind = 'capture'`);
    expect(await differences(key)).toContainEqual({
      kind: 'captured_above_hold',
      subject: id,
      expected: usd(held),
      found: usd(held + 7),
    });
    await edit(key, "DELETE FROM entry WHERE kind = 'hold'");
    expect((await differences(key)).map(({ kind, subject }) => [kind, subject])).toContainEqual([
      'end_without_hold',
      `end:${id}`,
    ]);
  });

  test('names refunds that were not counted, and a charge that waits for the meter', async () => {
    const { key, id, captured, usd } = await charged();
    await postTo(key, { kind: 'refund', job: id, amount_usd: '0.000002' });
    await edit(key, "UPDATE job SET refunded = 0, meter = 'waiting'");
    expect(await differences(key)).toEqual([
      { kind: 'refunded', subject: id, expected: '0.000002', found: '0.000000' },
      { kind: 'waits_for_meter', subject: id, expected: usd(captured), found: 'none' },
    ]);
  });

  test('names a hold whose job the account does not have', async () => {
    const key = await openPrepaid();
    await topUp(key, '10');
    const { id, cost } = await createJob({ prompt: 'a fox', ...LONG }, key);
    await edit(key, `UPDATE job SET status = NULL WHERE id = '${id}'`);
    expect(await differences(key)).toEqual([
      { kind: 'hold_without_job', subject: id, expected: 'none', found: cost?.quote_usd },
    ]);
    await call(`/v1/jobs/${id}/cancel`, { key, method: 'POST' });
  });

  test('names an open job whose hold was let go', async () => {
    const key = await openPrepaid();
    await topUp(key, '10');
    const { id, cost } = await createJob({ prompt: 'a fox', ...LONG }, key);
    await edit(
      key,
      `UPDATE job SET is_created = 1 WHERE id = '${id}'`,
      `UPDATE job SET captured = 0 WHERE id = '${id}'`,
    );
    expect(await differences(key)).toContainEqual({
      kind: 'job_without_hold',
      subject: id,
      expected: cost?.quote_usd,
      found: 'a hold that was resolved',
    });
    await call(`/v1/jobs/${id}/cancel`, { key, method: 'POST' });
  });

  test('names a job that has ended while its hold is open, and says whether its letter waits', async () => {
    const key = await openPrepaid();
    await topUp(key, '10');
    const { id, cost } = await createJob({ prompt: 'a fox', ...LONG }, key);
    // the job cannot reach its account
    await runInDurableObject(jobOf(id), async (instance) => {
      const ACCOUNTS = { getByName: () => ({ ended: () => Promise.reject(new Error('away')) }) };
      Object.defineProperty(instance, 'env', { value: { ...env, ACCOUNTS }, configurable: true });
      await instance.cancel(accountIdOf(key));
    });
    await edit(key, `UPDATE job SET is_created = 1 WHERE id = '${id}'`);
    const ended = { kind: 'ended_with_open_hold', subject: id, expected: 'cancelled' };
    expect(await differences(key)).toEqual([{ ...ended, found: `${cost?.quote_usd} held; its letter waits` }]);
    await runInDurableObject(jobOf(id), ({ rows }) => removeLetters(rows, ['ended']));
    expect(await differences(key)).toEqual([{ ...ended, found: `${cost?.quote_usd} held; no letter waits` }]);
  });

  test('names a job that is not there', async () => {
    const { key, id } = await charged();
    await runInDurableObject(jobOf(id), async (_, { storage }) => {
      await storage.deleteAlarm();
      await storage.deleteAll();
    });
    await evictDurableObject(jobOf(id));
    expect(await differences(key)).toEqual([
      { kind: 'job_missing', subject: id, expected: 'a job that is done', found: 'none' },
    ]);
  });

  test('goes on from page to page, and is 404 for an account that is not there', async () => {
    const key = await openPrepaid();
    await topUp(key, '10');
    const ids = await Promise.all(Array.from({ length: 51 }, () => createJob({ prompt: 'a fox', ...LONG }, key)));
    await edit(key, 'UPDATE job SET is_created = 1');
    const first = await (await admin('POST', `${pathOf(key)}/reconcile`)).json<{ jobs: number; next_cursor: string }>();
    expect(first).toMatchObject({ data: [], jobs: 50, has_more: true });
    const path = `${pathOf(key)}/reconcile?after=${first.next_cursor}`;
    expect(await (await admin('POST', path)).json()).toMatchObject({ data: [], jobs: 1, has_more: false });
    await Promise.all(ids.map(({ id }) => call(`/v1/jobs/${id}/cancel`, { key, method: 'POST' })));
    expect((await admin('POST', '/v1/accounts/acct_ffffffffffffffff/reconcile')).status).toBe(404);
  });
});

describe('a ledger kept elsewhere', () => {
  interface Page {
    readonly ledger: Record<string, unknown>;
    readonly data: readonly Record<string, unknown>[];
  }
  const read = async (key: string, part: string): Promise<Page> =>
    (await admin('GET', `${pathOf(key)}/backup?part=${part}&limit=500`)).json();
  const put = (key: string, part: string, rows: readonly object[], { ledger }: Pick<Page, 'ledger'>) =>
    admin('POST', `${pathOf(key)}/backup`, { part, rows: rows.map((row) => JSON.stringify(row)), ledger });

  /** An account with a charge, a refund and an open hold, and what was kept of it. */
  async function kept() {
    const key = await openPrepaid();
    await topUp(key, '10', 'first');
    const { id } = await runJob(key, { user: 'ann' });
    await postTo(key, { id: 'back', kind: 'refund', job: id, amount_usd: '0.000001', reason: 'blurred' });
    const open = await createJob({ prompt: 'a fox', ...LONG }, key);
    const [entries, charges, usage] = [
      await read(key, 'entries'),
      await read(key, 'charges'),
      await read(key, 'usage'),
    ];
    await call(`/v1/jobs/${open.id}/cancel`, { key, method: 'POST' });
    return { key, open: open.id, entries, charges, usage };
  }
  async function suspended(): Promise<string> {
    const key = await openPrepaid();
    await admin('POST', `${pathOf(key)}/suspend`, { running: 'cancel' });
    return key;
  }
  const written = async (response: Response): Promise<unknown> => [response.status, await response.json()];

  test('is put back as it was, once, and its books agree', async () => {
    const { open, entries, charges, usage } = await kept();
    const to = await suspended();
    const all = async () => {
      const counts: unknown[] = [];
      counts.push(await written(await put(to, 'entries', entries.data, entries)));
      counts.push(await written(await put(to, 'charges', charges.data, entries)));
      counts.push(await written(await put(to, 'usage', usage.data, entries)));
      return counts;
    };
    const first = [entries, charges, usage].map(({ data }) => [200, { written: data.length }]);
    expect(await all()).toEqual(first);
    expect(await all()).toEqual([0, 0, 0].map((none) => [200, { written: none }]));
    expect((await read(to, 'entries')).data).toEqual(entries.data);
    expect((await read(to, 'charges')).data).toEqual(charges.data);
    expect((await read(to, 'usage')).data).toEqual(usage.data);
    // the hold of a job that is not there is let go at the end
    const end = await admin('POST', `${pathOf(to)}/backup`, { part: 'end', ledger: entries.ledger });
    expect(await written(end)).toEqual([200, { written: 1 }]);
    // told again it changes nothing
    const again = await admin('POST', `${pathOf(to)}/backup`, { part: 'end', ledger: entries.ledger });
    expect(await written(again)).toEqual([200, { written: 0 }]);
    expect((await read(to, 'entries')).data.at(-1)).toMatchObject({ kind: 'release', job: open });
    expect(await differences(to)).toEqual([]);
    const { data } = await (await admin('GET', `${pathOf(to)}/audit`)).json<{ data: { act: string }[] }>();
    expect(data.at(-1)).toMatchObject({
      act: 'ledger_restored',
      detail: { entries: entries.data.length, released: 1 },
    });
  });

  test('is refused by an account that takes work, has open jobs, or another ledger', async () => {
    const { entries } = await kept();
    const active = await openPrepaid();
    const code = async (response: Response) => [response.status, (await response.json<Problem>()).code];
    expect(await code(await put(active, 'entries', entries.data, entries))).toEqual([409, 'account_not_suspended']);
    await topUp(active, '1', 'first');
    const { id } = await createJob({ prompt: 'a fox', ...LONG }, active);
    await admin('POST', `${pathOf(active)}/suspend`, { running: 'finish' });
    expect(await code(await put(active, 'entries', entries.data, entries))).toEqual([409, 'account_has_open_jobs']);
    await call(`/v1/jobs/${id}/cancel`, { key: active, method: 'POST' });
    await settled(active, id);
    const other = await put(active, 'entries', entries.data, entries);
    expect(await written(other)).toMatchObject([
      409,
      { code: 'ledger_conflict', detail: 'entry first: must be as the ledger has it.' },
    ]);
    expect((await admin('GET', '/v1/accounts/acct_ffffffffffffffff/backup?part=usage')).status).toBe(404);
  });

  test.each<[string, string, (rows: Record<string, unknown>[]) => void, string]>([
    ['a missing entry', 'entries', (rows) => rows.splice(1, 1), 'has place 3; the ledger goes on with 2'],
    [
      'another direction',
      'entries',
      (rows) => Object.assign(rows[0] as object, { debit: 'sales' }),
      'from sales to balance',
    ],
    [
      'a capture above its hold',
      'entries',
      (rows) => Object.assign(rows[2] as object, { amount: 5_000_000 }),
      'must be at most',
    ],
    [
      'a hold under another id',
      'entries',
      (rows) => Object.assign(rows[1] as object, { id: 'hold:x' }),
      'under another id',
    ],
    ['a fraction', 'entries', (rows) => Object.assign(rows[0] as object, { amount: 0.5 }), 'rows.0.amount'],
    ['a field too many', 'entries', (rows) => Object.assign(rows[0] as object, { more: 1 }), 'rows.0'],
    ['a charge of no entry', 'charges', () => undefined, 'must say what its entries in the ledger say'],
  ])('with %s is refused, and nothing of the page is written', async (_, part, breakRows, sentence) => {
    const from = await kept();
    const rows = structuredClone(part === 'entries' ? from.entries.data : from.charges.data) as Record<
      string,
      unknown
    >[];
    breakRows(rows);
    const to = await suspended();
    if (part === 'charges') await put(to, 'entries', from.entries.data.slice(0, 1), from.entries);
    const ledger = part === 'charges' ? { ...from.entries.ledger, seq: 1 } : from.entries.ledger;
    const response = await put(to, part, rows, { ledger });
    expect([400, 409]).toContain(response.status);
    expect((await response.json<Problem>()).detail).toContain(sentence);
    expect((await read(to, part)).data).toEqual([]);
  });

  test('puts what was spent back beside the entries that say so, never beside later ones', async () => {
    const { key, usage, entries } = await kept();
    await settled(key, (await runJob(key)).id);
    await admin('POST', `${pathOf(key)}/suspend`, { running: 'cancel' });
    const before = (await read(key, 'usage')).data;
    const refused = await put(key, 'usage', usage.data, entries);
    expect(await written(refused)).toMatchObject([409, { code: 'ledger_conflict' }]);
    expect((await read(key, 'usage')).data).toEqual(before);
  });

  test('does not end where the whole is not what it must be', async () => {
    const { entries, charges } = await kept();
    const to = await suspended();
    await put(to, 'entries', entries.data.slice(0, 1), entries);
    const end = () => admin('POST', `${pathOf(to)}/backup`, { part: 'end', ledger: entries.ledger });
    expect((await (await end()).json<Problem>()).detail).toBe(`seq: comes to 1; it must be ${entries.data.length}.`);
    await put(to, 'entries', entries.data, entries);
    await put(to, 'charges', charges.data, entries);
    expect((await (await end()).json<Problem>()).detail).toMatch(/^usage: comes to 0; it must be \d+\.$/);
  });
});
