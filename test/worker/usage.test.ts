/** Usage: what was done and spent, by day, model, key and customer, in pages and tables. */
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { call, KEY } from './call.ts';
import { accountIdOf, admin, openPrepaid, rowsOf, runJob, topUp } from './money.ts';

interface Usage {
  readonly from: string;
  readonly to: string;
  readonly data: readonly {
    readonly group: string;
    readonly jobs: number;
    readonly tflops: number;
    readonly cost_usd: string;
  }[];
  readonly totals: {
    readonly jobs: number;
    readonly tflops: number;
    readonly cost_usd: string;
    readonly held_usd: string;
  };
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}

let key: string;
let costs: number[];
const usage = async (query: string): Promise<Usage> => (await call(`/v1/usage?${query}`, { key })).json();
const sum = (texts: readonly string[]): string => texts.reduce((total, text) => total + Number(text), 0).toFixed(6);
const today = new Date().toISOString().slice(0, 10);

beforeAll(async () => {
  key = await openPrepaid();
  await topUp(key, '10');
  costs = [];
  for (const more of [{ user: 'ann' }, { user: '=cmd()' }, { user: 'ann' }, {}])
    costs.push(Number((await runJob(key, more)).cost?.usd));
});

describe('usage', () => {
  test('is counted by day, model, key and customer, and adds up to what was charged', async () => {
    const total = costs.reduce((all, cost) => all + cost, 0).toFixed(6);
    for (const group of ['day', 'model', 'key']) {
      const { data, totals } = await usage(`group_by=${group}`);
      expect(sum(data.map((row) => row.cost_usd)), group).toBe(total);
      expect(totals).toMatchObject({ jobs: 4, cost_usd: total, held_usd: '0.000000' });
      expect(data.reduce((all, row) => all + row.tflops, 0)).toBeCloseTo(totals.tflops, 9);
    }
    expect((await usage('')).data.map(({ group }) => group)).toEqual([today]);
    expect((await usage('group_by=key')).data.map(({ group }) => group)).toEqual([key.slice(26, 34)]);
    const users = await usage('group_by=user');
    expect(users.data.map(({ group, jobs }) => [group, jobs])).toEqual([
      ['=cmd()', 1],
      ['ann', 2],
    ]);
    expect(users.totals.jobs).toBe(4);
  });

  test('goes on after a group, and says whether there is more', async () => {
    const first = await usage('group_by=user&limit=1');
    expect(first).toMatchObject({ has_more: true, next_cursor: '=cmd()' });
    const second = await usage(`group_by=user&limit=1&after=${encodeURIComponent(first.next_cursor as string)}`);
    expect(second.data.map(({ group }) => group)).toEqual(['ann']);
    expect(second.has_more).toBe(false);
  });

  test('is a table too, in which no customer’s name is computed', async () => {
    const response = await call('/v1/usage?group_by=user&format=csv', { key });
    expect(response.headers.get('content-disposition')).toContain(`-${today}-user.csv`);
    const lines = (await response.text()).split('\r\n');
    expect(lines[0]).toBe('user,jobs,tflops,cost_usd,held_usd');
    expect(lines[1]).toMatch(/^'=cmd\(\),1,0\.\d+,0\.\d{6},0\.000000$/);
    expect(lines.length).toBe(4);
  });

  test('is of the current month where no day is given, and of the month of `to`', async () => {
    expect(await usage('')).toMatchObject({ from: `${today.slice(0, 7)}-01`, to: today });
    expect(await usage('to=2024-02-29')).toMatchObject({ from: '2024-02-01', to: '2024-02-29', data: [] });
  });

  test.each([
    ['from=2026-02-30', 'from: got "2026-02-30"; must be a day such as 2026-11-27'],
    ['to=tomorrow', 'to: got "tomorrow"; must be a day such as 2026-11-27'],
    ['from=2026-03-02&to=2026-03-01', 'from: got "2026-03-02"; must not be after to, which is 2026-03-01'],
    ['from=2024-01-01&to=2025-01-01', 'must be at most 366 days before to'],
    ['limit=1001', 'limit: got "1001"'],
    ['group_by=prompt', 'group_by: got "prompt"'],
  ])('%s is refused: %s', async (query, sentence) => {
    const response = await call(`/v1/usage?${query}`, { key });
    expect([response.status, (await response.json<{ detail: string }>()).detail]).toEqual([
      400,
      expect.stringContaining(sentence),
    ]);
  });

  test('of a leap year fits in one question', async () => {
    expect((await call('/v1/usage?from=2024-01-01&to=2024-12-31', { key })).status).toBe(200);
  });

  test('counts as a list among the questions of a key', async () => {
    const { key: reader } = await (
      await call('/v1/account/keys', {
        key: KEY,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: 'reader', scopes: ['read'] }),
      })
    ).json<{ key: string }>();
    const statuses = await Promise.all(
      Array.from({ length: 400 }, async () => (await call('/v1/usage', { key: reader })).status),
    );
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
  });
});

test('erasing the content leaves the money, and no customer’s name', async () => {
  const before = await usage('group_by=user');
  const path = `/v1/accounts/${accountIdOf(key)}`;
  expect((await admin('DELETE', `${path}/content`)).status).toBe(202);
  await vi.waitFor(
    async () => expect((await (await admin('GET', path)).json<{ is_erasing: boolean }>()).is_erasing).toBe(false),
    { timeout: 20_000, interval: 100 },
  );
  const after = await usage('group_by=user');
  expect(after.data.map(({ jobs }) => jobs).toSorted()).toEqual(before.data.map(({ jobs }) => jobs).toSorted());
  expect(after.totals).toEqual(before.totals);
  for (const { group } of after.data) expect(group).toMatch(/^erased_[0-9a-f]{32}$/);
  const charges = await rowsOf<{ user: string | null; n: number }>(
    key,
    'SELECT user, COUNT(*) AS n FROM charge GROUP BY user',
  );
  // the same name in both
  for (const { group, jobs } of after.data) expect(charges).toContainEqual({ user: group, n: jobs });
  expect(await rowsOf(key, "SELECT name FROM usage WHERE name IN ('ann', '=cmd()')")).toEqual([]);
  expect((await (await admin('POST', `${path}/reconcile`)).json<{ data: unknown[] }>()).data).toEqual([]);
});
