/** Postings and statements: what is written once, what is refused and why, and what a holder reads. */
import { describe, expect, test } from 'vitest';
import { call, KEY } from './call.ts';
import { accountIdOf, admin, openPrepaid, postTo, rowsOf, runJob, topUp } from './money.ts';

interface Line {
  readonly seq: number;
  readonly id: string;
  readonly kind: string;
  readonly amount_usd: string;
  readonly held_usd: string;
  readonly balance_after_usd: string;
  readonly held_after_usd: string;
  readonly job: string | null;
  readonly reason: string | null;
}
interface Page {
  readonly data: readonly Line[];
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}
interface Problem {
  readonly code: string;
  readonly detail: string;
}

const balanceOf = async (key: string) =>
  (await (await call('/v1/account', { key })).json<{ billing: { balance_usd: string; held_usd: string } }>()).billing;

describe('a posting', () => {
  test('is written once under its id, and told alike when it comes again', async () => {
    const key = await openPrepaid();
    const body = { id: 'invoice-1', kind: 'top_up', amount_usd: '12.50', reason: 'an invoice' };
    const first = await postTo(key, body);
    const again = await postTo(key, body);
    expect([first.status, again.status]).toEqual([201, 200]);
    const entry = await first.json();
    expect(entry).toMatchObject({
      seq: 1,
      id: 'invoice-1',
      kind: 'top_up',
      amount_usd: '12.500000',
      reason: 'an invoice',
    });
    expect(await again.json()).toEqual(entry);
    expect(await balanceOf(key)).toMatchObject({ balance_usd: '12.500000', held_usd: '0.000000' });
  });

  test('takes its id from the Idempotency-Key, quoted or bare, and makes one where there is none', async () => {
    const key = await openPrepaid();
    const body = { kind: 'top_up', amount_usd: '1' };
    expect((await postTo(key, body, { 'idempotency-key': '"from-header"' })).status).toBe(201);
    const again = await postTo(key, body, { 'idempotency-key': 'from-header' });
    expect([again.status, (await again.json<Line>()).id]).toEqual([200, 'from-header']);
    expect((await (await postTo(key, body)).json<Line>()).id).toMatch(/^post_/);
    const two = await postTo(key, { ...body, id: 'other' }, { 'idempotency-key': 'from-header' });
    expect([two.status, (await two.json<Problem>()).detail]).toEqual([
      400,
      'id: got "other"; must be the Idempotency-Key "from-header" where both are sent',
    ]);
  });

  test('with another content under an id that came is a conflict', async () => {
    const key = await openPrepaid();
    await topUp(key, '1', 'one');
    const other = await postTo(key, { id: 'one', kind: 'top_up', amount_usd: '2' });
    expect([other.status, await other.json()]).toMatchObject([
      409,
      { code: 'posting_conflict', detail: expect.stringContaining('id: got "one"') },
    ]);
    expect((await balanceOf(key)).balance_usd).toBe('1.000000');
  });

  test('adjusts in both directions, and takes no more than there is', async () => {
    const key = await openPrepaid();
    expect((await postTo(key, { kind: 'adjustment', amount_usd: '3' })).status).toBe(201);
    const taken = await postTo(key, { kind: 'adjustment', amount_usd: '-1.25', reason: 'a mistake' });
    expect(await taken.json()).toMatchObject({ kind: 'adjustment', amount_usd: '-1.250000' });
    const tooMuch = await postTo(key, { kind: 'adjustment', amount_usd: '-1.750001' });
    expect([tooMuch.status, await tooMuch.json()]).toMatchObject([
      402,
      {
        code: 'insufficient_credit',
        detail: 'amount_usd: got "-1.750001"; the account has 1.750000 USD that may be taken.',
      },
    ]);
  });

  test('refunds a job as often as there is something of its charge left', async () => {
    const key = await openPrepaid();
    await topUp(key, '1');
    const { id, cost } = await runJob(key);
    const charged = cost?.usd as string;
    const half = `0.${String(Math.floor(Number(charged) * 5e5)).padStart(6, '0')}`;
    expect((await postTo(key, { kind: 'refund', job: id, amount_usd: half })).status).toBe(201);
    const tooMuch = await postTo(key, { kind: 'refund', job: id, amount_usd: charged });
    expect([tooMuch.status, (await tooMuch.json<Problem>()).code]).toEqual([400, 'not_charged']);
    const unknown = await postTo(key, { kind: 'refund', job: 'job_x', amount_usd: '1' });
    expect((await unknown.json<Problem>()).detail).toContain('must be at most 0.000000, which the job was charged');
    expect(await rowsOf(key, 'SELECT refunded FROM charge WHERE job = ?', id)).toEqual([
      { refunded: Math.round(Number(half) * 1e6) },
    ]);
  });

  test.each([
    [{ kind: 'top_up', amount_usd: '0' }, 'amount_usd: got "0"; must not be 0'],
    [{ kind: 'top_up', amount_usd: '-1' }, 'amount_usd: got "-1"; must be above 0 in a top_up; an adjustment takes'],
    [{ kind: 'top_up', amount_usd: '1e3' }, 'amount_usd: got "1e3"; must be an amount in dollars as text'],
    [{ kind: 'top_up', amount_usd: 1 }, 'amount_usd: got 1'],
    [{ kind: 'refund', amount_usd: '1' }, 'job: got nothing; must name the job that is refunded'],
    [{ kind: 'top_up', amount_usd: '1', job: 'job_1' }, 'job: got "job_1"; belongs to a refund, not to a top_up'],
    [{ kind: 'hold', amount_usd: '1' }, 'kind: got "hold"'],
    [{ id: 'hold:job_1', kind: 'top_up', amount_usd: '1' }, 'id: got "hold:job_1"; must have 1 to 200 letters'],
    [{ id: 'a b', kind: 'top_up', amount_usd: '1' }, 'id: got "a b"; must have 1 to 200 letters'],
  ])('%j is refused: %s', async (body, sentence) => {
    const response = await postTo(KEY, body);
    expect(response.status).toBe(400);
    expect((await response.json<Problem>()).detail).toContain(sentence);
  });

  test('to an account that is not there is 404', async () => {
    const path = '/v1/accounts/acct_ffffffffffffffff/ledger';
    expect((await admin('POST', path, { kind: 'top_up', amount_usd: '1' })).status).toBe(404);
    expect((await admin('GET', path)).status).toBe(404);
  });
});

describe('a statement', () => {
  test('has every entry with what it changed and what it left, in one page or in many, for holder and admin', async () => {
    const key = await openPrepaid();
    await topUp(key, '1', 'first');
    const { id, cost } = await runJob(key);
    const { usd, quote_usd } = cost as { usd: string; quote_usd: string };
    await postTo(key, { id: 'back', kind: 'refund', job: id, amount_usd: usd, reason: 'was blurred' });
    const { data } = await (await call('/v1/account/ledger', { key })).json<Page>();
    const left = (1 - Number(usd)).toFixed(6);
    expect(data).toMatchObject([
      {
        id: 'first',
        kind: 'top_up',
        amount_usd: '1.000000',
        balance_after_usd: '1.000000',
        held_after_usd: '0.000000',
      },
      { kind: 'hold', amount_usd: '0.000000', held_usd: quote_usd, balance_after_usd: '1.000000', job: id },
      { kind: 'capture', amount_usd: `-${usd}`, held_usd: `-${quote_usd}`, balance_after_usd: left, job: id },
      { id: 'back', kind: 'refund', amount_usd: usd, balance_after_usd: '1.000000', reason: 'was blurred' },
    ]);
    const paged: Line[] = [];
    for (let after: string | null = null; ; ) {
      const page: Page = await (
        await admin('GET', `/v1/accounts/${accountIdOf(key)}/ledger?limit=1${after ? `&after=${after}` : ''}`)
      ).json();
      paged.push(...page.data);
      after = page.next_cursor;
      if (!page.has_more) break;
    }
    expect(paged).toEqual(data);
  });

  test('is a table too, whose reasons no spreadsheet computes, and that names its next page', async () => {
    const key = await openPrepaid();
    await postTo(key, { id: 'a', kind: 'top_up', amount_usd: '2', reason: '=1+1, "two"' });
    await postTo(key, { id: 'b', kind: 'adjustment', amount_usd: '-1' });
    const first = await call('/v1/account/ledger?format=csv&limit=1', { key });
    expect(first.headers.get('content-type')).toContain('text/csv');
    const [head, line, end] = (await first.text()).split('\r\n');
    expect(head).toBe('seq,time,id,kind,amount_usd,held_usd,balance_after_usd,held_after_usd,job,reason');
    expect(line).toMatch(/^1,\d{4}-[^,]*Z,a,top_up,2\.000000,0\.000000,2\.000000,0\.000000,,"'=1\+1, ""two"""$/);
    expect(end).toBe('');
    const [, next] = /^<(.*)>; rel="next"$/.exec(first.headers.get('link') ?? '') ?? [];
    const { pathname, search } = new URL(next as string);
    const second = await call(pathname + search, { key });
    expect((await second.text()).split('\r\n')[1]).toContain(',b,adjustment,-1.000000,');
    expect(second.headers.get('link')).toBeNull();
  });
});
