/** What keys may do: every route of the document has its need in the table, and holds keys to it. */
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { newJobId } from '../../src/account/job-id.ts';
import { SCOPES, type Scope } from '../../src/account/scopes.ts';
import { lackedScope, NEEDS } from '../../src/http/needs.ts';
import { ADMIN_KEY, call, openAccount, SMALL } from './call.ts';

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}
const { paths } = await (await call('/openapi.json', { key: null })).json<Document>();
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => [method.toUpperCase(), path] as const),
);

const JSON_HEADERS = { 'content-type': 'application/json' };
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };

const owner = await openAccount();
const account = `acct_${owner.slice(10, 26)}`;

async function keyWith(scopes: readonly Scope[], more: object = {}): Promise<{ id: string; key: string }> {
  const body = JSON.stringify({ name: scopes.join('+'), scopes, ...more });
  const made = await call('/v1/account/keys', { key: owner, method: 'POST', headers: JSON_HEADERS, body });
  if (made.status !== 201) throw new Error(await made.text());
  return made.json();
}

const keys = new Map(await Promise.all(SCOPES.map(async (scope) => [scope, await keyWith([scope])] as const)));
const start = async (key: string): Promise<string> => {
  const response = await call('/v1/jobs', { key, method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(LONG) });
  if (response.status !== 202) throw new Error(await response.text());
  return (await response.json<{ id: string }>()).id;
};

test('the table has every route of the document, and no other', () => {
  expect(Object.keys(NEEDS).toSorted()).toEqual(operations.map(([method, path]) => `${method} ${path}`).toSorted());
});

describe('each route holds keys to its need', () => {
  // ids that are ours and of nothing: who is let in hears that there is nothing
  const job = newJobId(env.SIGNING_SECRET);

  test.each(operations)('%s %s', async (method, path) => {
    const need = NEEDS[`${method} ${path}`];
    const id = await job;
    const address = path
      .replace('{id}', id)
      .replace('{key}', '00000000')
      .replace('{account}', account)
      .replaceAll(/\{\w+\}/g, 'x');
    // an address of its own: here bad tries are meant
    const headers = { ...JSON_HEADERS, 'cf-connecting-ip': `${method} ${path}` };
    const ask = (key: string) => call(address, { key, method, headers, ...(method !== 'GET' && { body: '[]' }) });
    for (const [scope, { key }] of keys) {
      const response = await ask(key);
      if (need === 'deployment' || need === 'metrics') {
        expect([response.status, scope]).toEqual([401, scope]);
        continue;
      }
      // of a job that is not there nobody is told more than that
      const lacked =
        need === 'own_job' && scope === 'generate' ? null : lackedScope(need ?? 'admin', [scope], need === 'own_job');
      expect([response.status === 403, scope]).toEqual([lacked !== null, scope]);
      if (lacked !== null) {
        expect(response.headers.get('www-authenticate')).toContain(`scope="${lacked}"`);
        expect(JSON.stringify(await response.json())).toContain(`it lacks the scope \\"${lacked}\\"`);
      } else {
        expect(response.status).not.toBe(401);
        await response.body?.cancel();
      }
    }
  });
});

describe('without the scope admin a key', () => {
  const generate = keys.get('generate') as { id: string; key: string };

  test('does not cancel or erase the jobs of other keys, through any door, but its own', async () => {
    const others = await start(owner);
    const own = await start(generate.key);
    const { key } = generate;
    for (const [method, path] of [
      ['POST', `/v1/jobs/${others}/cancel`],
      ['DELETE', `/v1/jobs/${others}`],
      ['POST', `/v1/predictions/${others}/cancel`],
      ['PUT', `/fal/queue/ralu/x/requests/${others}/cancel`],
    ] as const)
      expect((await call(path, { key, method })).status, `${method} ${path}`).toBe(403);
    expect((await call(`/v1/jobs/${others}`, { key: owner })).status).toBe(200);
    expect((await call(`/v1/jobs/${own}/cancel`, { key, method: 'POST' })).status).toBe(200);
    expect((await call(`/v1/jobs/${own}`, { key, method: 'DELETE' })).status).toBe(204);
    // the account's admin may
    expect((await call(`/v1/jobs/${others}`, { key: keys.get('admin')?.key as string, method: 'DELETE' })).status).toBe(
      204,
    );
  });

  test('does not revoke others, but itself', async () => {
    const leaving = await keyWith(['read']);
    const path = (id: string) => `/v1/account/keys/${id}`;
    for (const id of [keys.get('admin')?.id, generate.id, owner.slice(26, 34)])
      expect((await call(path(id as string), { key: leaving.key, method: 'DELETE' })).status).toBe(403);
    expect((await call(path(leaving.id), { key: leaving.key, method: 'DELETE' })).status).toBe(204);
    expect((await call('/v1/jobs', { key: leaving.key })).status).toBe(401);
  });

  test('does not see or replace the webhook secret, make keys or read the trail', async () => {
    const { key } = await keyWith(['generate', 'read']);
    for (const [method, path] of [
      ['GET', '/v1/webhooks/default/secret'],
      ['POST', '/v1/webhooks/default/secret'],
      ['POST', '/v1/account/keys'],
      ['POST', `/v1/account/keys/${generate.id}/rotate`],
      ['GET', '/v1/account/keys'],
      ['GET', '/v1/account/audit'],
    ] as const) {
      const response = await call(path, {
        key,
        method,
        headers: JSON_HEADERS,
        ...(method === 'POST' && { body: '{}' }),
      });
      expect([response.status, path]).toEqual([403, path]);
    }
  });
});

describe('a key', () => {
  const makeBody = (body: object) =>
    call('/v1/account/keys', { key: owner, method: 'POST', headers: JSON_HEADERS, body: JSON.stringify(body) });

  test('opens until its expiry', async () => {
    const { key } = await keyWith(['read'], { expires_at: Math.floor(Date.now() / 1000) + 2 });
    expect((await call('/v1/jobs', { key })).status).toBe(200);
    await expect.poll(async () => (await call('/v1/jobs', { key })).status, { timeout: 10_000 }).toBe(401);
    expect(await (await call('/v1/jobs', { key })).json()).toMatchObject({ detail: 'The key has expired.' });
    const past = await makeBody({ name: 'x', expires_at: 1_700_000_000 });
    expect([past.status, await past.json()]).toMatchObject([
      400,
      { errors: [{ field: 'expires_at', value: 1_700_000_000 }] },
    ]);
    for (const odd of [
      { name: 'x', scopes: [] },
      { name: 'x', scopes: ['root'] },
      { name: '' },
      { name: 'x', days: 1 },
    ])
      expect((await makeBody(odd)).status).toBe(400);
  });

  test('is replaced by another that may the same, and opens for the hours that are left to it', async () => {
    const old = await keyWith(['read']);
    const rotate = (id: string, hours: number) =>
      call(`/v1/account/keys/${id}/rotate`, {
        key: owner,
        method: 'POST',
        headers: JSON_HEADERS,
        body: JSON.stringify({ overlap_hours: hours }),
      });
    const made = await rotate(old.id, 2);
    expect(made.status).toBe(201);
    const next = await made.json<{ id: string; key: string; scopes: string[] }>();
    expect(next).toMatchObject({ name: 'read', scopes: ['read'], expires_at: null });
    for (const key of [old.key, next.key]) expect((await call('/v1/jobs', { key })).status).toBe(200);
    const { data } = await (await call('/v1/account/keys', { key: owner })).json<{
      data: { id: string; expires_at: number }[];
    }>();
    const expiry = data.find(({ id }) => id === old.id)?.expires_at as number;
    expect(Math.abs(expiry - Date.now() / 1000 - 7200)).toBeLessThan(60);
    // at once: the old one is over
    const last = await (await rotate(next.id, 0)).json<{ key: string }>();
    expect((await call('/v1/jobs', { key: next.key })).status).toBe(401);
    expect((await call('/v1/jobs', { key: last.key })).status).toBe(200);
    expect((await rotate(next.id, 1)).status).toBe(404);
    for (const hours of [-1, 10_000]) expect((await rotate(old.id, hours)).status).toBe(400);
  });

  test('has used of its minute what the key that it replaces has used', async () => {
    const key = await openAccount({ images_per_minute: 1 });
    await start(key);
    const made = await call(`/v1/account/keys/${key.slice(26, 34)}/rotate`, {
      key,
      method: 'POST',
      headers: JSON_HEADERS,
      body: '{}',
    });
    const next = await made.json<{ key: string }>();
    const body = JSON.stringify(LONG);
    const refused = await call('/v1/jobs', { key: next.key, method: 'POST', headers: JSON_HEADERS, body });
    expect([refused.status, await refused.json()]).toMatchObject([429, { code: 'rate_limit' }]);
  });

  test('says when it was last used, to the hour', async () => {
    const { id, key } = await keyWith(['read']);
    const lastUse = async (): Promise<number | null> => {
      const { data } = await (await call('/v1/account/keys', { key: owner })).json<{
        data: { id: string; last_used_at: number | null }[];
      }>();
      return data.find((each) => each.id === id)?.last_used_at ?? null;
    };
    expect(await lastUse()).toBeNull();
    await call('/v1/jobs', { key });
    const at = await lastUse();
    expect(Math.abs((at as number) - Date.now() / 1000)).toBeLessThan(60);
    // within the hour nothing is written again, however often its account is asked
    for (let i = 0; i < 3; i++) await call('/v1/jobs/quote', { key, method: 'POST' });
    expect(await lastUse()).toBe(at);
  });

  test('is one of at most a hundred that open; revoked ones make room and go, oldest first', async () => {
    const holder = await openAccount();
    const other = `acct_${holder.slice(10, 26)}`;
    const make = () =>
      call(`/v1/accounts/${other}/keys`, {
        key: ADMIN_KEY,
        method: 'POST',
        headers: JSON_HEADERS,
        body: '{"name": "one of many"}',
      });
    const ids: string[] = [];
    for (let i = 0; i < 99; i++) ids.push((await (await make()).json<{ id: string }>()).id);
    const refused = await make();
    expect([refused.status, await refused.json()]).toMatchObject([409, { code: 'too_many_keys' }]);
    for (let i = 0; i < 110; i++) {
      await call(`/v1/accounts/${other}/keys/${ids.at(-1)}`, { key: ADMIN_KEY, method: 'DELETE' });
      ids.push((await (await make()).json<{ id: string }>()).id);
    }
    const { data } = await (await call('/v1/account/keys', { key: holder })).json<{ data: { id: string }[] }>();
    expect(data.length).toBe(200);
    // the first, which opens, is there; so is the newest
    expect(data.some(({ id }) => id === holder.slice(26, 34))).toBe(true);
    expect(data.some(({ id }) => id === ids.at(-1))).toBe(true);
  });
});
