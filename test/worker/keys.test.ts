/** Keys and ids at the door: what proves itself, what is refused untouched, what is told apart, and for how long. */
import { listDurableObjectIds, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test, vi } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { createApp } from '../../src/app.ts';
import type { Env } from '../../src/http/env.ts';
import { ADMIN_KEY, call, createJob, KEY, openAccount, SMALL } from './call.ts';

const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };
const WAIT = { executionCtx: { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} } };

/** The Worker with other variables, in an isolate's memory of its own; each request from an address of its own. */
function workerWith(vars: Partial<Env>) {
  const app = createApp();
  return (path: string, key: string | null, address: string, init: RequestInit = {}) =>
    app.fetch(
      new Request(`http://ralu.test${path}`, {
        ...init,
        headers: {
          ...init.headers,
          'cf-connecting-ip': address,
          ...(key !== null && { authorization: `Bearer ${key}` }),
        },
      }),
      { ...env, ...vars } as unknown as Env,
      WAIT.executionCtx,
    );
}

const address = (i: number): string => `198.51.${Math.floor(i / 250)}.${i % 250}`;
const hex = (bytes: number): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
const text = (length: number): string => hex(length).slice(0, length);
const objects = async (): Promise<number> =>
  (await Promise.all([env.ACCOUNTS, env.JOBS].map((namespace) => listDurableObjectIds(namespace as never)))).flat()
    .length;
const accountOf = (key: string) =>
  env.ACCOUNTS.getByName(`acct_${key.slice(10, 26)}`) as DurableObjectStub<AccountObject>;
const idOf = (key: string): string => key.slice(26, 34);

const FORGED = `ralu_2noan${'0'.repeat(24)}_${'a'.repeat(65)}`;
const TAKES_OLD = { OLD_KEYS_UNTIL: '2999-12-31' };

/** A key of the first form, as the first version made one and kept its hash. */
async function oldKey(): Promise<string> {
  const key = await openAccount();
  const account = accountOf(key);
  const old = `ralu_${key.slice(10, 34)}_${text(43)}`;
  const secret = await crypto.subtle.importKey(
    'raw',
    new TextEncoder().encode(env.SIGNING_SECRET),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const mac = await crypto.subtle.sign('HMAC', secret, new TextEncoder().encode(`key\0${old}`));
  const hash = Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, '0')).join('');
  await runInDurableObject(
    account,
    (_, state) => void state.storage.sql.exec('UPDATE key SET hash = ?, is_signed = 0', hash),
  );
  return old;
}

describe('what is invented', () => {
  test('300 keys and 300 job ids, in either form, leave no object behind', async () => {
    const ask = workerWith({});
    const before = await objects();
    for (let i = 0; i < 300; i++) {
      const key = i % 2 === 0 ? `ralu_2noan${hex(12)}_${text(65)}` : `ralu_${hex(12)}_${text(43)}`;
      expect((await ask('/v1/account', key, address(i))).status).toBe(401);
      const id = i % 2 === 0 ? `job_2noan${hex(22)}` : `job_${hex(16)}`;
      expect((await ask(`/v1/jobs/${id}`, KEY, address(i))).status).toBe(404);
      expect((await ask(`/v1/jobs/${id}/image?token=1.${hex(32)}`, null, address(i))).status).toBe(404);
    }
    expect(await objects()).toBe(before);
  });

  test('while the first form is taken, one address wakes at most 30 objects a minute with it, of accounts and of jobs', async () => {
    const ask = workerWith(TAKES_OLD);
    const before = await objects();
    const statuses: number[] = [];
    for (let i = 0; i < 150; i++) {
      statuses.push((await ask('/v1/account', `ralu_${hex(12)}_${text(43)}`, '203.0.113.1')).status);
      statuses.push((await ask(`/v1/jobs/job_${hex(16)}`, KEY, '203.0.113.1')).status);
    }
    expect(new Set(statuses)).toEqual(new Set([401, 404, 429]));
    // with what the minute gives back while this runs
    expect(statuses.filter((status) => status !== 429).length).toBeLessThanOrEqual(40);
    expect((await objects()) - before).toBeLessThanOrEqual(40);
  });
});

describe('keys of the first form', () => {
  test('open until the day that is named is over, and never where none is', async () => {
    const old = await oldKey();
    expect((await workerWith({})('/v1/account', old, '203.0.113.2')).status).toBe(401);
    expect((await workerWith(TAKES_OLD)('/v1/account', old, '203.0.113.2')).status).toBe(200);
    expect((await workerWith({ OLD_KEYS_UNTIL: '2020-01-01' })('/v1/account', old, '203.0.113.2')).status).toBe(401);
    const odd = await workerWith({ OLD_KEYS_UNTIL: 'soon' })('/v1/account', old, '203.0.113.2');
    expect([odd.status, await odd.json()]).toMatchObject([
      503,
      {
        code: 'not_configured',
        detail: 'The OLD_KEYS_UNTIL of this deployment must be a date such as 2026-12-31, or empty.',
      },
    ]);
  });

  test('go on opening at an address that has guessed too often, once the isolate knows them; so do signed ones', async () => {
    const old = await oldKey();
    const ask = workerWith(TAKES_OLD);
    const stranger = await oldKey();
    expect((await ask('/v1/account', old, '203.0.113.3')).status).toBe(200);
    for (let i = 0; i < 40; i++) await ask('/v1/account', `ralu_${hex(12)}_${text(43)}`, '203.0.113.3');
    expect((await ask('/v1/account', stranger, '203.0.113.3')).status).toBe(429);
    for (const key of [old, KEY]) expect((await ask('/v1/account', key, '203.0.113.3')).status).toBe(200);
    expect((await ask('/v1/account', stranger, '203.0.113.4')).status).toBe(200);
  });

  test('may all that there is, and are listed with the prefix that they have', async () => {
    const old = await oldKey();
    const response = await workerWith(TAKES_OLD)('/v1/account/keys', old, '203.0.113.5');
    expect(await response.json()).toMatchObject({
      data: [{ prefix: old.slice(0, 29), scopes: ['generate', 'read', 'admin'], expires_at: null }],
    });
  });
});

describe('failed authentication', () => {
  test('is throttled by address: bad keys, links and tries of the admin key count together', async () => {
    const ask = workerWith({});
    const { links } = (await (await call(`/v1/jobs/${(await createJob(LONG)).id}`)).json()) as {
      links: { image: string };
    };
    const forgedLink = links.image.replace(/[0-9a-f]{64}$/, '0'.repeat(64));
    const statuses: number[] = [];
    for (let i = 0; i < 15; i++) {
      statuses.push((await ask('/v1/account', FORGED, '203.0.113.6')).status);
      statuses.push((await ask(forgedLink, null, '203.0.113.6')).status);
      statuses.push((await ask('/v1/accounts', `${ADMIN_KEY}x`, '203.0.113.6')).status);
    }
    expect(statuses.slice(0, 30)).toEqual(Array.from({ length: 30 }, () => 401));
    const refused = await ask('/v1/accounts', ADMIN_KEY, '203.0.113.6');
    expect([refused.status, await refused.json()]).toMatchObject([429, { code: 'too_many_failures' }]);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await ask('/v1/accounts', ADMIN_KEY, '203.0.113.7')).status).toBe(200);
  });

  test('a customer’s whole IPv6 network is one sender', async () => {
    const ask = workerWith({});
    for (let i = 0; i < 40; i++) await ask('/v1/account', FORGED, `2001:db8:1:2::${i.toString(16)}`);
    expect((await ask('/v1/account', FORGED, '2001:db8:1:2:ffff::1')).status).toBe(429);
    expect((await ask('/v1/account', FORGED, '2001:db8:1:3::1')).status).toBe(401);
  });
});

describe('the deployment’s secrets', () => {
  test('replaced with overlap: keys, ids and links of before go on as long as the previous one is there', async () => {
    const job = await createJob(LONG);
    const { links } = (await (await call(`/v1/jobs/${job.id}`)).json()) as { links: { events: string } };
    const next = 'the next secret of thirty-two bytes or more';
    const during = workerWith({ SIGNING_SECRET: next, SIGNING_SECRET_PREVIOUS: env.SIGNING_SECRET });
    expect((await during(`/v1/jobs/${job.id}`, KEY, '203.0.113.9')).status).toBe(200);
    const stream = await during(links.events, null, '203.0.113.9');
    expect(stream.status).toBe(200);
    await stream.body?.cancel();
    const made = await during('/v1/account/keys', KEY, '203.0.113.9', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name": "next"}',
    });
    const { key } = (await made.json()) as { key: string };
    const afterwards = workerWith({ SIGNING_SECRET: next });
    expect((await afterwards('/v1/account', key, '203.0.113.9')).status).toBe(200);
    expect((await afterwards('/v1/account', KEY, '203.0.113.9')).status).toBe(401);
    expect((await afterwards(`/v1/jobs/${job.id}`, key, '203.0.113.9')).status).toBe(404);
    expect((await call(`/v1/jobs/${job.id}`, { method: 'DELETE' })).status).toBe(204);
  });
});

test('once an isolate knows a key, a poll asks its account nothing and a start asks it once', async () => {
  let asked = 0;
  const counted = {
    getByName: (name: string) => {
      asked += 1;
      return env.ACCOUNTS.getByName(name);
    },
  };
  const ask = workerWith({ ACCOUNTS: counted as unknown as Env['ACCOUNTS'] });
  const key = await openAccount();
  expect((await ask('/v1/models', key, '203.0.113.10')).status).toBe(200);
  expect(asked).toBe(1);
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(LONG) };
  const started = await ask('/v1/jobs', key, '203.0.113.10', init);
  expect([started.status, asked]).toEqual([202, 2]);
  const { id } = (await started.json()) as { id: string };
  for (let i = 0; i < 20; i++) expect((await ask(`/v1/jobs/${id}`, key, '203.0.113.10')).status).toBe(200);
  expect(asked).toBe(2);
  expect((await call(`/v1/jobs/${id}`, { key, method: 'DELETE' })).status).toBe(204);
});

describe('a revoked key', () => {
  /** As another isolate revokes it: this one is not told. */
  const revokeBehind = (key: string) =>
    runInDurableObject(accountOf(key), (instance) => instance.revokeKey(idOf(key), 'admin'));

  test('reads on for what is left of 30 s, since reads do not ask its account, and does nothing else any more', async () => {
    const key = await openAccount();
    expect((await call('/v1/jobs', { key })).status).toBe(200);
    await revokeBehind(key);
    for (let i = 0; i < 5; i++) expect((await call('/v1/account', { key })).status).toBe(200);
    const headers = { 'content-type': 'application/json' };
    const start = await call('/v1/jobs', { key, method: 'POST', headers, body: JSON.stringify(LONG) });
    expect([start.status, await start.json()]).toMatchObject([401, { detail: 'The key was revoked.' }]);
    // which was asked just now, so reads know it too
    expect((await call('/v1/account', { key })).status).toBe(401);
  });

  test('reads nothing after 30 s', async () => {
    const key = await openAccount();
    expect((await call('/v1/jobs', { key })).status).toBe(200);
    await revokeBehind(key);
    vi.useFakeTimers({ now: Date.now() + 30_000, toFake: ['Date'] });
    try {
      expect((await call('/v1/jobs', { key })).status).toBe(401);
    } finally {
      vi.useRealTimers();
    }
  });

  test('ends every stream and wait that it opened within 30 s, at our door and at others; jobs go on', async () => {
    const key = await openAccount();
    const headers = { 'content-type': 'application/json' };
    const started = await call('/v1/jobs', { key, method: 'POST', headers, body: JSON.stringify(LONG) });
    const { id } = (await started.json()) as { id: string };
    const paths = [
      `/v1/jobs/${id}/events`,
      `/v1/predictions/${id}/stream`,
      `/fal/queue/ralu/x/requests/${id}/status/stream`,
    ];
    const readers = await Promise.all(
      paths.map(async (path) => {
        const stream = await call(path, { key });
        expect(stream.status, path).toBe(200);
        return (stream.body as ReadableStream<Uint8Array>).getReader();
      }),
    );
    await Promise.all(readers.map((reader) => reader.read()));
    const waiting = call(`/v1/jobs/${id}?wait=60`, { key });
    await revokeBehind(key);
    const revokedAt = Date.now();
    const toEnd = async (reader: (typeof readers)[number]): Promise<void> => {
      for (;;) if ((await reader.read()).done) return;
    };
    const [waited] = await Promise.all([waiting, ...readers.map(toEnd)]);
    expect([waited.status, await waited.json()]).toMatchObject([401, { code: 'unauthorized' }]);
    expect(Date.now() - revokedAt).toBeLessThan(30_000);
    const job = env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
    await runInDurableObject(job, async (instance) => {
      expect(['queued', 'running']).toContain(instance.view(null)?.status);
      await instance.cancel(`acct_${key.slice(10, 26)}`);
    });
  });
});
