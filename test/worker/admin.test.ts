/** What the admin of a deployment does to accounts, and the trail that it leaves. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import { ADMIN_KEY, call, openAccount, SMALL } from './call.ts';
import { listJob } from './enter.ts';

const JSON_HEADERS = { 'content-type': 'application/json' };
const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };

/** Work of a model that states none. */
const FREE = { flops: 0, plainFlops: 0, steps: 1 };

interface Page<T> {
  readonly data: readonly T[];
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}
interface Entry {
  readonly seq: number;
  readonly at: number;
  readonly actor: string;
  readonly act: string;
  readonly subject: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}

const accountOf = (key: string): string => `acct_${key.slice(10, 26)}`;
const objectOf = (key: string) => env.ACCOUNTS.getByName(accountOf(key)) as DurableObjectStub<AccountObject>;
const asAdmin = (method: string, path: string, body?: object): Promise<Response> =>
  call(path, {
    key: ADMIN_KEY,
    method,
    ...(body && { headers: JSON_HEADERS, body: JSON.stringify(body) }),
  });
const admin = async <T>(method: string, path: string, body?: object): Promise<T> => {
  const response = await asAdmin(method, path, body);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? (null as T) : response.json<T>();
};
const start = (key: string, body: object): Promise<Response> =>
  call('/v1/jobs', { key, method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(body) });
const started = async (key: string, body: object): Promise<string> => {
  const response = await start(key, body);
  if (response.status !== 202) throw new Error(await response.text());
  return (await response.json<{ id: string }>()).id;
};
const statusOf = async (key: string, id: string): Promise<string> =>
  (await (await call(`/v1/jobs/${id}`, { key })).json<{ status: string }>()).status;
const trail = async (key: string): Promise<readonly Entry[]> =>
  (await admin<Page<Entry>>('GET', `/v1/accounts/${accountOf(key)}/audit?limit=100`)).data;

describe('the list of accounts', () => {
  test('has every account, in pages, and what has changed of one', async () => {
    const keys = [await openAccount(), await openAccount(), await openAccount()];
    const pages = async (limit: number): Promise<{ id: string; name: string; suspended_at: number | null }[]> => {
      const all = [];
      for (let after = ''; ; ) {
        const page = await admin<Page<{ id: string; name: string; suspended_at: number | null }>>(
          'GET',
          `/v1/accounts?limit=${limit}${after && `&after=${after}`}`,
        );
        expect(page.data.length).toBeLessThanOrEqual(limit);
        all.push(...page.data);
        if (!page.has_more) return all;
        after = page.next_cursor as string;
      }
    };
    for (const limit of [2, 100])
      await expect
        .poll(async () => (await pages(limit)).map(({ id }) => id))
        .toEqual(expect.arrayContaining(keys.map(accountOf)));
    const [key] = keys as [string];
    await admin('PATCH', `/v1/accounts/${accountOf(key)}`, { name: 'renamed' });
    await admin('POST', `/v1/accounts/${accountOf(key)}/suspend`, { running: 'finish' });
    await expect
      .poll(async () => (await pages(100)).find(({ id }) => id === accountOf(key)))
      .toMatchObject({ name: 'renamed', suspended_at: expect.any(Number) });
    for (const query of ['limit=0', 'limit=101', 'after=x', 'page=2'])
      expect((await asAdmin('GET', `/v1/accounts?${query}`)).status).toBe(400);
  });

  test('hears of an account that could not tell it, and of one of an earlier version, later', async () => {
    const key = await openAccount();
    const id = accountOf(key);
    const listed = async () =>
      (await admin<Page<{ id: string; name: string }>>('GET', '/v1/accounts?limit=100')).data.find(
        (each) => each.id === id,
      )?.name;
    await expect.poll(listed).toBe('test');
    const broken = { getByName: () => ({ enter: () => Promise.reject(new Error('gone for a test')) }) };
    const withDirectory = (value: unknown) =>
      runInDurableObject(
        objectOf(key),
        (instance) =>
          void Object.defineProperty(instance, 'env', { value: { ...env, DIRECTORY: value }, configurable: true }),
      );
    await withDirectory(broken);
    await admin('PATCH', `/v1/accounts/${id}`, { name: 'later' });
    const isListed = () =>
      runInDurableObject(
        objectOf(key),
        (_, state) => state.storage.sql.exec<{ is_listed: number }>('SELECT is_listed FROM account').one().is_listed,
      );
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect([await listed(), await isListed()]).toEqual(['test', 0]);
    await withDirectory(env.DIRECTORY);
    await expect.poll(listed, { timeout: 20_000 }).toBe('later');
    expect(await isListed()).toBe(1);
  });
});

describe('an account that is suspended', () => {
  const NEW_WORK: readonly (readonly [string, object])[] = [
    ['/v1/jobs', APPLE],
    ['/v1/images/generations', { prompt: 'a red apple', size: '256x256' }],
    ['/v1/predictions', { input: APPLE }],
    ['/fal/queue/ralu/closed-form', { prompt: 'a red apple' }],
  ];

  test('takes no new work at any door, lets jobs finish and be read, and takes work again when it is resumed', async () => {
    const key = await openAccount();
    const id = await started(key, APPLE);
    expect(await admin('POST', `/v1/accounts/${accountOf(key)}/suspend`, { running: 'finish' })).toMatchObject({
      suspended_at: expect.any(Number),
    });
    for (const [path, body] of NEW_WORK) {
      const refused = await call(path, { key, method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(body) });
      expect([refused.status, path]).toEqual([403, path]);
      expect(await refused.text()).toContain('The account is suspended: it takes no new work.');
    }
    await expect.poll(() => statusOf(key, id), { timeout: 30_000 }).toBe('done');
    expect((await call(`/v1/jobs/${id}/image`, { key })).status).toBe(200);
    await admin('POST', `/v1/accounts/${accountOf(key)}/resume`);
    expect((await start(key, APPLE)).status).toBe(202);
  });

  test('has its running jobs cancelled where that is asked, also when they were more than one round takes', async () => {
    const key = await openAccount();
    const ids = await Promise.all(Array.from({ length: 12 }, () => started(key, LONG)));
    // the account counts jobs of which nothing is known, many of them: they keep no other from being cancelled
    await runInDurableObject(objectOf(key), (_, state) => {
      for (let i = 0; i < 250; i++) listJob(state.storage.sql, `job_${i}`, { isCreated: false });
      state.storage.sql.exec('UPDATE job SET seq = seq + 1000 WHERE request_id <> ?', 'r');
    });
    await admin('POST', `/v1/accounts/${accountOf(key)}/suspend`, { running: 'cancel' });
    for (const id of ids) await expect.poll(() => statusOf(key, id), { timeout: 30_000 }).toBe('cancelled');
    await runInDurableObject(objectOf(key), (_, { storage: { sql } }) => {
      sql.exec("DELETE FROM job WHERE request_id = 'r'");
      sql.exec("UPDATE tally SET open = (SELECT COUNT(*) FROM job WHERE status = 'open')");
    });
    await expect
      .poll(async () => (await admin<{ open_jobs: number }>('GET', `/v1/accounts/${accountOf(key)}`)).open_jobs)
      .toBe(0);
  });

  test('has a job cancelled that came in beside the order', async () => {
    const key = await openAccount();
    await admin('POST', `/v1/accounts/${accountOf(key)}/suspend`, { running: 'cancel' });
    await admin('POST', `/v1/accounts/${accountOf(key)}/resume`);
    const id = await started(key, LONG);
    // as it is when the key was looked at before the order, and the job entered after it
    await runInDurableObject(objectOf(key), (instance, state) => {
      state.storage.sql.exec('UPDATE account SET suspended_at = ?, cancels_jobs = 1', Date.now());
      return instance.start(key.slice(26, 34), {
        requestId: 'x',
        jobIds: ['job_beside'],
        work: FREE,
        price: null,
        user: null,
        idempotency: null,
      });
    });
    await expect.poll(() => statusOf(key, id), { timeout: 30_000 }).toBe('cancelled');
  });
});

describe('limits', () => {
  test('are changed one by one, and hold at once', async () => {
    const key = await openAccount({ images_per_minute: 1000, concurrent_jobs: 5 });
    const path = `/v1/accounts/${accountOf(key)}`;
    expect(await admin('PATCH', path, { limits: { images_per_minute: 1 } })).toMatchObject({
      name: 'test',
      limits: { images_per_minute: 1, concurrent_jobs: 5 },
    });
    expect([(await start(key, APPLE)).status, (await start(key, APPLE)).status]).toEqual([202, 429]);
    for (const odd of [{ limits: { images_per_minute: 0 } }, { limits: { jobs: 1 } }, { name: '' }, { colour: 'red' }])
      expect((await asAdmin('PATCH', path, odd)).status).toBe(400);
  });
});

describe('erasing the content of an account', () => {
  test('erases every job it has, running or done, and what it remembers of requests; later ones stay', async () => {
    const key = await openAccount();
    const done = await started(key, APPLE);
    await expect.poll(() => statusOf(key, done), { timeout: 30_000 }).toBe('done');
    const running = await started(key, LONG);
    const headers = { ...JSON_HEADERS, 'idempotency-key': 'order' };
    await call('/v1/jobs', { key, method: 'POST', headers, body: JSON.stringify(APPLE) });
    const stored = async () => (await env.IMAGES.list({ prefix: `jobs/${done}/` })).objects.length;
    expect(await stored()).toBe(1);
    const path = `/v1/accounts/${accountOf(key)}`;
    expect((await asAdmin('DELETE', `${path}/content`)).status).toBe(202);
    const later = await started(key, LONG);
    await expect
      .poll(async () => (await admin<{ is_erasing: boolean }>('GET', path)).is_erasing, { timeout: 60_000 })
      .toBe(false);
    for (const id of [done, running]) expect((await call(`/v1/jobs/${id}`, { key })).status).toBe(404);
    expect(await stored()).toBe(0);
    expect(await statusOf(key, later)).not.toBe('cancelled');
    const { data } = await (await call('/v1/jobs', { key })).json<Page<{ id: string }>>();
    expect(data.map(({ id }) => id)).toEqual([later]);
    expect(
      await runInDurableObject(objectOf(key), (_, state) =>
        state.storage.sql.exec('SELECT (SELECT COUNT(*) FROM idempotency) AS requests, paces FROM tally').one(),
      ),
    ).toEqual({ requests: 0, paces: '{}' });
    await call(`/v1/jobs/${later}`, { key, method: 'DELETE' });
  });

  test('goes on until it is done, past a job that fails at first', async () => {
    const key = await openAccount();
    const ids = [await started(key, APPLE), await started(key, APPLE)];
    for (const id of ids) await expect.poll(() => statusOf(key, id), { timeout: 30_000 }).toBe('done');
    const [failing] = ids;
    const withJobs = (value: unknown) =>
      runInDurableObject(
        objectOf(key),
        (instance) =>
          void Object.defineProperty(instance, 'env', { value: { ...env, JOBS: value }, configurable: true }),
      );
    await withJobs({
      getByName: (id: string) =>
        id === failing ? { erase: () => Promise.reject(new Error('bucket')) } : env.JOBS.getByName(id),
    });
    await admin('DELETE', `/v1/accounts/${accountOf(key)}/content`);
    await expect.poll(async () => (await call(`/v1/jobs/${ids[1]}`, { key })).status, { timeout: 10_000 }).toBe(404);
    expect((await call(`/v1/jobs/${failing}`, { key })).status).toBe(200);
    await withJobs(env.JOBS);
    await expect.poll(async () => (await call(`/v1/jobs/${failing}`, { key })).status, { timeout: 30_000 }).toBe(404);
    await expect.poll(async () => (await trail(key)).at(-1)?.act, { timeout: 10_000 }).toBe('content_erased');
  });
});

describe('the audit trail', () => {
  test('has who did what to what, in order, and nothing secret', async () => {
    const key = await openAccount();
    const keyId = key.slice(26, 34);
    const path = `/v1/accounts/${accountOf(key)}`;
    const made = await admin<{ id: string; key: string }>('POST', `${path}/keys`, { name: 'second', scopes: ['read'] });
    const next = await admin<{ id: string; key: string }>('POST', `${path}/keys/${made.id}/rotate`, {
      overlap_hours: 1,
    });
    await call(`/v1/account/keys/${made.id}`, { key, method: 'DELETE' });
    await call('/v1/webhooks/default/secret', { key, method: 'POST' });
    await admin('PATCH', path, { limits: { concurrent_jobs: 7 } });
    await admin('POST', `${path}/suspend`, { running: 'finish' });
    await admin('POST', `${path}/resume`);
    const job = await started(key, LONG);
    await call(`/v1/jobs/${job}`, { key, method: 'DELETE' });
    await admin('DELETE', `${path}/content`);
    await expect.poll(async () => (await trail(key)).at(-1)?.act).toBe('content_erased');
    const entries = await trail(key);
    expect(entries.map(({ actor, act, subject }) => [actor, act, subject])).toEqual([
      ['admin', 'account_opened', null],
      ['admin', 'key_made', made.id],
      ['admin', 'key_rotated', made.id],
      [`key:${keyId}`, 'key_revoked', made.id],
      [`key:${keyId}`, 'webhook_secret_replaced', null],
      ['admin', 'account_changed', null],
      ['admin', 'account_suspended', null],
      ['admin', 'account_resumed', null],
      [`key:${keyId}`, 'job_erasure_asked', job],
      ['admin', 'content_erasure_asked', null],
      ['system', 'content_erased', null],
    ]);
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, i) => i + 1));
    expect(entries[5]?.detail).toMatchObject({ concurrentJobs: 7 });
    for (const { at } of entries) expect(Math.abs(at - Date.now())).toBeLessThan(60_000);
    const text = JSON.stringify(entries);
    for (const secret of [key, made.key, next.key]) expect(text).not.toContain(secret.slice(35));
  });

  test('cannot be changed or shortened, by the account’s own object either', async () => {
    const key = await openAccount();
    await runInDurableObject(objectOf(key), (_, state) => {
      for (const sql of ['DELETE FROM audit', "UPDATE audit SET actor = 'nobody'"])
        expect(() => state.storage.sql.exec(sql)).toThrow('append-only');
    });
    expect(await trail(key)).toHaveLength(1);
  });

  test('is exported in pages, by the admin and by a key with the scope admin', async () => {
    const key = await openAccount();
    for (let i = 0; i < 6; i++) await admin('PATCH', `/v1/accounts/${accountOf(key)}`, { name: `name ${i}` });
    const all = async (path: string, as: string): Promise<readonly Entry[]> => {
      const entries = [];
      for (let after = ''; ; ) {
        const page = await (await call(`${path}?limit=3${after && `&after=${after}`}`, { key: as })).json<
          Page<Entry>
        >();
        expect(page.data.length).toBeLessThanOrEqual(3);
        entries.push(...page.data);
        if (!page.has_more) return entries;
        after = page.next_cursor as string;
      }
    };
    const seen = await all('/v1/account/audit', key);
    expect(seen).toHaveLength(7);
    expect(await all(`/v1/accounts/${accountOf(key)}/audit`, ADMIN_KEY)).toEqual(seen);
  });
});

test('of an account that is not there every admin route says so, and makes none', async () => {
  const routes: readonly (readonly [string, string, object?])[] = [
    ['GET', ''],
    ['PATCH', '', { name: 'x' }],
    ['POST', '/suspend', { running: 'finish' }],
    ['POST', '/resume'],
    ['DELETE', '/content'],
    ['GET', '/audit'],
    ['GET', '/keys'],
    ['POST', '/keys', { name: 'x' }],
    ['POST', '/keys/01234567/rotate', {}],
    ['DELETE', '/keys/01234567'],
  ];
  for (const account of ['acct_ffffffffffffffff', 'nobody'])
    for (const [method, path, body] of routes) {
      const response = await asAdmin(method, `/v1/accounts/${account}${path}`, body);
      expect([response.status, method, path]).toEqual([404, method, path]);
    }
  expect(
    await runInDurableObject(env.ACCOUNTS.getByName('acct_ffffffffffffffff'), (_, state) =>
      state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'account'").toArray(),
    ),
  ).toEqual([]);
});
