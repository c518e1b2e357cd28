import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { arrivalsOf, readTally } from '../../durable-objects/account/tally-table.ts';
import type { AccountObject } from '../../durable-objects/account.ts';
import { lettersOf } from '../../durable-objects/job/outbox-tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import type { JobEnd } from '../../src/account/account.ts';
import { ADMIN_KEY, call, createJob, KEY, openAccount, SMALL, watchAll } from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };
/** Work of a model that states none. */
const FREE = { flops: 0, plainFlops: 0, steps: 1 };
/** The account and the key that a key of today names. */
const namesIn = (key: string) => ({ account: `acct_${key.slice(10, 26)}`, id: key.slice(26, 34) });
const objectOf = (account: string) => env.ACCOUNTS.getByName(account) as DurableObjectStub<AccountObject>;
const accountOf = (key: string) => objectOf(namesIn(key).account);
const start = (key: string, body: object, headers: Record<string, string> = {}) =>
  call('/v1/jobs', {
    key,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const json = async <T>(response: Response): Promise<T> => response.json<T>();
const cancel = (key: string, id: string) => call(`/v1/jobs/${id}/cancel`, { key, method: 'POST' });

/** The end of a job that had no price. */
const ended = (status: JobEnd['status']): JobEnd => ({ status, work: null, charge: null, excess: null });

describe('keys', () => {
  test('only the admin key opens accounts, and a key is shown once', async () => {
    const body = JSON.stringify({ name: 'mine' });
    const open = (key: string | null) =>
      call('/v1/accounts', { key, method: 'POST', headers: { 'content-type': 'application/json' }, body });
    for (const key of [null, KEY, ADMIN_KEY.slice(0, -1), 'wrong']) expect((await open(key)).status).toBe(401);
    const { account, key } = await json<{ account: { id: string }; key: { id: string; key: string; prefix: string } }>(
      await open(ADMIN_KEY),
    );
    expect(account).toMatchObject({
      object: 'account',
      name: 'mine',
      limits: {
        images_per_minute: 60,
        concurrent_jobs: 20,
        tflops_per_minute: null,
        tflops_per_image: null,
        steps_per_image: 200,
      },
      open_jobs: 0,
    });
    expect(key.key.startsWith(`${key.prefix}_`)).toBe(true);
    const listed = await (await call('/v1/account/keys', { key: key.key })).text();
    expect(listed).toContain(key.prefix);
    expect(listed).not.toContain(key.key.slice(key.prefix.length + 1));
    const stored = await runInDurableObject(accountOf(key.key), (_, state) =>
      JSON.stringify(state.storage.sql.exec('SELECT * FROM key').toArray()),
    );
    expect(stored).not.toContain(key.key.slice(key.prefix.length + 1));
  });

  test('a second key opens the same account until it is revoked; the first goes on', async () => {
    const first = await openAccount();
    const { id } = await json<{ id: string }>(await call('/v1/account', { key: first }));
    const made = await call(`/v1/accounts/${id}/keys`, {
      key: ADMIN_KEY,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name": "second"}',
    });
    expect(made.status).toBe(201);
    const second = await json<{ id: string; key: string }>(made);
    expect(await json(await call('/v1/account', { key: second.key }))).toMatchObject({ id });
    for (let times = 0; times < 2; times++)
      expect((await call(`/v1/account/keys/${second.id}`, { key: first, method: 'DELETE' })).status).toBe(204);
    const refused = await call('/v1/account', { key: second.key });
    expect(refused.status).toBe(401);
    expect(await json(refused)).toMatchObject({ detail: 'The key was revoked.' });
    expect((await call('/v1/account', { key: first })).status).toBe(200);
    expect((await call('/v1/account/keys/00000000', { key: first, method: 'DELETE' })).status).toBe(404);
  });

  test('a key of an account that is not there, or with another secret, opens nothing and leaves nothing behind', async () => {
    const flipped = KEY.endsWith('A') ? `${KEY.slice(0, -1)}B` : `${KEY.slice(0, -1)}A`;
    const absent = `ralu_${'f'.repeat(24)}_${'a'.repeat(43)}`;
    for (const key of [flipped, absent]) expect((await call('/v1/account', { key })).status).toBe(401);
    expect(
      await runInDurableObject(accountOf(absent), (_, state) =>
        state.storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'key'").toArray(),
      ),
    ).toEqual([]);
    const nobody = await call('/v1/accounts/acct_ffffffffffffffff/keys', {
      key: ADMIN_KEY,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name": "x"}',
    });
    expect(nobody.status).toBe(404);
  });
});

describe('one account never sees another’s jobs', () => {
  test('not the job, its events, its image or its list, and cannot cancel or erase it', async () => {
    const other = await openAccount();
    const { id } = await createJob(APPLE);
    for (const path of ['', '/events', '/image'])
      expect((await call(`/v1/jobs/${id}${path}`, { key: other })).status).toBe(404);
    expect((await cancel(other, id)).status).toBe(404);
    expect((await call(`/v1/jobs/${id}`, { key: other, method: 'DELETE' })).status).toBe(404);
    expect(await json(await call('/v1/jobs', { key: other }))).toEqual({
      object: 'list',
      data: [],
      has_more: false,
      next_cursor: null,
    });
    expect((await watchAll(id)).at(-1)?.type).toBe('done');
  });
});

describe('links', () => {
  test('open events and image of their own job without a key, and nothing else', async () => {
    const job = await createJob(APPLE);
    const { links } = await json<{ links: { events: string; image: string } }>(await call(`/v1/jobs/${job.id}`));
    const events = await call(links.events, { key: null });
    expect(events.status).toBe(200);
    expect(await events.text()).toContain('event: done');
    const image = await call(links.image, { key: null });
    expect(image.status).toBe(200);
    expect(image.headers.get('cache-control')).toBe('private, no-cache');
    await image.arrayBuffer();
    const [, token] = links.image.split('?');
    const second = await createJob(APPLE);
    for (const path of [
      `/v1/jobs/${job.id}/events?${token}`,
      `/v1/jobs/${second.id}/image?${token}`,
      `/v1/jobs/${job.id}?${token}`,
      `/v1/jobs/${job.id}/image?token=1.${'0'.repeat(64)}`,
    ])
      expect((await call(path, { key: null })).status).toBe(401);
  });
});

describe('limits', () => {
  test('images a minute: the refusal says when, and its headers how the key stands', async () => {
    const key = await openAccount({ images_per_minute: 2 });
    const answers = [await start(key, APPLE), await start(key, APPLE), await start(key, APPLE)];
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 429]);
    expect(answers.slice(0, 2).map(({ headers }) => headers.get('x-ratelimit-remaining-requests'))).toEqual(['1', '0']);
    const refused = answers[2] as Response;
    expect(await json(refused)).toMatchObject({ code: 'rate_limit' });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(30);
    expect(refused.headers.get('x-ratelimit-limit-requests')).toBe('2');
  });

  test('one image: steps and work, told with what was asked for', async () => {
    const key = await openAccount({ steps_per_image: 100 });
    const refused = await start(key, LONG);
    expect(refused.status).toBe(400);
    expect(await json(refused)).toMatchObject({
      code: 'image_too_large',
      detail: 'One image of this account may have at most 100 steps; this request asks for 900.',
    });
    const small = await openAccount({ tflops_per_image: 1e-12 });
    expect(await json(await start(small, APPLE))).toMatchObject({
      code: 'image_too_large',
      detail: expect.stringMatching(/at most 1e-12 TFLOPs; this request asks for/),
    });
    for (const account of [key, small])
      expect(await json(await call('/v1/jobs', { key: account }))).toMatchObject({ data: [] });
  });

  test('work a minute: a plain picture of many steps uses up what many small ones would have', async () => {
    const { plan } = await createJob({ ...APPLE, preset: 'plain' });
    // as much as two plain pictures of 50 steps
    const key = await openAccount({ tflops_per_minute: 2 * plan.tflops.plain_total });
    const plain = { ...APPLE, preset: 'plain' };
    expect((await start(key, plain)).status).toBe(202);
    expect((await start(key, plain)).status).toBe(202);
    const refused = await start(key, plain);
    expect(refused.status).toBe(429);
    expect(await json(refused)).toMatchObject({
      code: 'rate_limit',
      detail: expect.stringMatching(/^The account may begin .* TFLOPs of work a minute; come back in \d+ s\.$/),
    });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20);
    expect(Number(refused.headers.get('x-ratelimit-limit-tflops'))).toBeCloseTo(2 * plan.tflops.plain_total, 3);
    // a smaller one comes sooner
    const small = await start(key, APPLE);
    expect(Number(small.headers.get('retry-after'))).toBeLessThan(Number(refused.headers.get('retry-after')));
  });

  /** The answers to requests at once, and how many of them 120 a minute allow: two more for each second it took. */
  async function atOnce(count: number, ask: (i: number) => Promise<Response>): Promise<[Response[], number]> {
    const began = Date.now();
    const answers = await Promise.all(Array.from({ length: count }, (_, i) => ask(i)));
    return [answers, 120 + 2 * Math.ceil((Date.now() - began) / 1000)];
  }

  test('quotes a minute: beyond them nothing is fitted, and jobs go on', async () => {
    const key = await openAccount();
    const quote = (seed: number) =>
      call('/v1/jobs/quote', {
        key,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...APPLE, seed }),
      });
    const [answers, most] = await atOnce(150, quote);
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(most);
    const refused = answers.find(({ status }) => status === 429) as Response;
    expect(await json(refused)).toMatchObject({
      code: 'rate_limit',
      detail: expect.stringMatching(/^The key may ask for 120 quotes a minute; come back in \d+ s\.$/),
    });
    expect(Number(refused.headers.get('retry-after'))).toBe(1);
    expect((await start(key, APPLE)).status).toBe(202);
  });

  test('picture files a minute, as they cost more than a look at a job', async () => {
    const key = await openAccount();
    const ask = () =>
      call('/sdapi/v1/png-info', {
        key,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ image: btoa('\x89PNG\r\n\x1a\n') }),
      });
    const [answers, most] = await atOnce(150, ask);
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(most);
    const refused = answers.find(({ status }) => status === 429) as Response;
    expect(await json(refused)).toEqual({ detail: expect.stringMatching(/120 files a minute/) });
    expect((await call('/v1/jobs', { key })).status).toBe(200);
  });

  test('a key with a budget of its own has no more than that of the account’s', async () => {
    const first = await openAccount();
    const { id } = await json<{ id: string }>(await call('/v1/account', { key: first }));
    const made = await call(`/v1/accounts/${id}/keys`, {
      key: ADMIN_KEY,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name": "narrow", "tflops_per_minute": 1e-9}',
    });
    const { key: narrow } = await json<{ key: string }>(made);
    // the first passes, because all of the budget is there
    expect((await start(narrow, APPLE)).status).toBe(202);
    const refused = await start(narrow, APPLE);
    expect(await json(refused)).toMatchObject({
      code: 'rate_limit',
      detail: expect.stringMatching(/^The key may begin/),
    });
    expect((await start(first, APPLE)).status).toBe(202);
  });

  test('what a withdrawn request took comes back, unless it is to be kept', async () => {
    const key = await openAccount({ images_per_minute: 2 });
    const keyId = namesIn(key).id;
    const account = accountOf(key);
    const ids = ['a', 'b'].map((digit) => `job_${digit.repeat(32)}`);
    const work = { flops: 2e12, plainFlops: 1e12, steps: 1 };
    const left = () => runInDurableObject(account, (_, state) => arrivalsOf(readTally(state.storage.sql), keyId));
    const before = { key: 0, keyWork: 0, accountWork: 0 };
    expect(await left()).toEqual(before);
    await runInDurableObject(account, async (instance) => {
      const now = Date.now();
      expect(
        instance.start(keyId, { requestId: 'r', jobIds: ids, work, price: null, user: null, idempotency: null }).kind,
      ).toBe('new');
      expect(
        instance.start(keyId, {
          requestId: 's',
          jobIds: [`job_${'c'.repeat(32)}`],
          work,
          price: null,
          user: null,
          idempotency: null,
        }).kind,
      ).toBe('rate_limited');
      await instance.withdraw(ids, true);
      // told again it changes nothing
      await instance.withdraw(ids, true);
      expect(Date.now() - now).toBeLessThan(20_000);
      expect(
        instance.start(keyId, { requestId: 't', jobIds: ids, work, price: null, user: null, idempotency: null }).kind,
      ).toBe('new');
      await instance.withdraw(ids, false);
      expect(
        instance.start(keyId, { requestId: 'u', jobIds: ids, work, price: null, user: null, idempotency: null }).kind,
      ).toBe('rate_limited');
    });
    expect(await json(await call('/v1/account', { key }))).toMatchObject({ open_jobs: 0 });
  });

  test('jobs at once: an ended one makes room, told by its own object', async () => {
    const key = await openAccount({ concurrent_jobs: 1 });
    const { id } = await json<{ id: string }>(await start(key, LONG));
    const refused = await start(key, LONG);
    expect(refused.status).toBe(429);
    expect(await json(refused)).toMatchObject({ code: 'too_many_jobs' });
    expect(refused.headers.get('x-ratelimit-limit-requests')).toBe('10000');
    await cancel(key, id);
    await expect
      .poll(async () => (await json<{ open_jobs: number }>(await call('/v1/account', { key }))).open_jobs)
      .toBe(0);
    const next = await start(key, LONG);
    expect(next.status).toBe(202);
    await cancel(key, (await json<{ id: string }>(next)).id);
  });

  test('an account that cannot be reached when a job ends is told later', async () => {
    const key = await openAccount();
    const { id } = await json<{ id: string }>(await start(key, LONG));
    const job = env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
    const unreachable = { getByName: () => ({ ended: () => Promise.reject(new Error('gone for a test')) }) };
    await runInDurableObject(
      job,
      (instance) =>
        void Object.defineProperty(instance, 'env', { value: { ...env, ACCOUNTS: unreachable }, configurable: true }),
    );
    await cancel(key, id);
    const untold = () => runInDurableObject(job, ({ rows }) => lettersOf(rows, 'ended').length);
    await expect
      .poll(
        () => runInDurableObject(job, (_, state) => state.storage.getAlarm().then((at) => (at ?? 0) - Date.now())),
        { timeout: 10_000 },
      )
      .toBeGreaterThan(1000);
    expect(await untold()).toBe(1);
    expect(await json(await call('/v1/account', { key }))).toMatchObject({ open_jobs: 1 });
    await evictDurableObject(job);
    await expect.poll(untold, { timeout: 10_000 }).toBe(0);
    expect(await json(await call('/v1/account', { key }))).toMatchObject({ open_jobs: 0 });
  });

  test('an entry whose job never came is let go by the alarm with what it took; one whose job runs is kept', async () => {
    const key = await openAccount();
    const { id } = await json<{ id: string }>(await start(key, LONG));
    const account = accountOf(key);
    const lost = `job_${'e'.repeat(32)}`;
    const spent = () =>
      runInDurableObject(account, (_, state) => arrivalsOf(readTally(state.storage.sql), namesIn(key).id));
    const before = await spent();
    await runInDurableObject(account, async (instance, state) => {
      const work = { flops: 2e12, plainFlops: 1e12, steps: 1 };
      instance.start(namesIn(key).id, {
        requestId: 'r',
        jobIds: [lost],
        work,
        price: null,
        user: null,
        idempotency: null,
      });
      state.storage.sql.exec('UPDATE job SET created_at = created_at - 61000, is_created = 0');
    });
    expect(await json(await call('/v1/account', { key }))).toMatchObject({ open_jobs: 2 });
    await runDurableObjectAlarm(account);
    expect(
      await runInDurableObject(account, (instance) =>
        instance.jobs({ before: null, limit: 10, status: null, requestId: null }).map((job) => job.id),
      ),
    ).toEqual([id]);
    // nothing is owed any more than the clock has gone on
    const after = await spent();
    for (const [name, arrival] of Object.entries(after))
      expect(arrival, name).toBeLessThanOrEqual(Math.max(before[name as keyof typeof before], Date.now() * 1000));
    await cancel(key, id);
  });
});

describe('an idempotency key', () => {
  test('leads to the job it started, running or done, also for an evicted account; another body is a 422', async () => {
    const key = await openAccount();
    const headers = { 'idempotency-key': '"order-1"' };
    const first = await start(key, APPLE, headers);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    const { id } = await json<{ id: string }>(first);
    await evictDurableObject(accountOf(key));
    const again = await start(key, APPLE, { 'idempotency-key': 'order-1' });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await json(again)).toMatchObject({ id, seed: 7 });
    const other = await start(key, { ...APPLE, seed: 8 }, headers);
    expect(other.status).toBe(422);
    expect(await json(other)).toMatchObject({ code: 'idempotency_mismatch' });
    expect((await start(await openAccount(), APPLE, headers)).headers.get('idempotent-replayed')).toBeNull();
    expect((await start(key, APPLE, { 'idempotency-key': 'x'.repeat(256) })).status).toBe(400);
  });

  test('leads to the jobs it entered, created by the retry, where the Worker was gone before it had created all of them', async () => {
    const key = await openAccount();
    const body = JSON.stringify({ prompt: 'a red apple', size: '256x256', n: 2, seed: 7 });
    const send = () =>
      call('/v1/images/generations', {
        key,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'order-2' },
        body,
      });
    const first = await json<{ data: unknown[] }>(await send());
    const list = async () =>
      (await json<{ data: { id: string }[] }>(await call('/v1/jobs', { key }))).data.map((job) => job.id);
    const ids = await list();
    expect(ids).toHaveLength(2);
    // as it is after such an end: both jobs are entered, the object of one was never written to
    await runInDurableObject(env.JOBS.getByName(ids[0] as string), async (_, state) => {
      await state.storage.deleteAlarm();
      await state.storage.deleteAll();
    });
    // what it has in memory it would not have either
    await evictDurableObject(env.JOBS.getByName(ids[0] as string));
    await runInDurableObject(accountOf(key), (_, state) => {
      state.storage.sql.exec("UPDATE job SET status = 'open', is_created = 0 WHERE id = ?", ids[0] as string);
    });
    expect((await call(`/v1/jobs/${ids[0]}`, { key })).status).toBe(404);
    expect((await json<{ data: unknown[] }>(await send())).data).toEqual(first.data);
    expect(await list()).toEqual(ids);
    expect(await json(await call(`/v1/jobs/${ids[0]}`, { key }))).toMatchObject({ status: 'done' });
  });

  test('is free again once its job is erased: the job does not come back outside the index', async () => {
    const key = await openAccount();
    const headers = { 'idempotency-key': 'b' };
    const { id } = await json<{ id: string }>(await start(key, APPLE, headers));
    expect((await call(`/v1/jobs/${id}`, { key, method: 'DELETE' })).status).toBe(204);
    const next = await start(key, APPLE, headers);
    expect(next.headers.get('idempotent-replayed')).toBeNull();
    const { id: other } = await json<{ id: string }>(next);
    expect(other).not.toBe(id);
    expect((await call(`/v1/jobs/${id}`, { key })).status).toBe(404);
    expect((await json<{ data: { id: string }[] }>(await call('/v1/jobs', { key }))).data.map((job) => job.id)).toEqual(
      [other],
    );
  });

  test('is free again after a day', async () => {
    const key = await openAccount();
    const { id } = await json<{ id: string }>(await start(key, APPLE, { 'idempotency-key': 'a' }));
    await runInDurableObject(
      accountOf(key),
      (_, state) => void state.storage.sql.exec('UPDATE idempotency SET created_at = created_at - 86400001'),
    );
    expect((await json<{ id: string }>(await start(key, APPLE, { 'idempotency-key': 'a' }))).id).not.toBe(id);
  });
});

describe('the list of jobs', () => {
  test('is newest first, in pages, by status, and forgets what was erased', async () => {
    const key = await openAccount();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.unshift((await json<{ id: string }>(await start(key, i === 0 ? LONG : APPLE))).id);
    const page = (query: string) =>
      call(`/v1/jobs?${query}`, { key }).then((response) =>
        json<{ data: { id: string }[]; has_more: boolean; next_cursor: string | null }>(response),
      );
    const first = await page('limit=2');
    expect(first.data.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    const second = await page(`limit=3&after=${first.next_cursor}`);
    expect(second).toMatchObject({ has_more: false, next_cursor: null });
    expect(second.data.map(({ id }) => id)).toEqual(ids.slice(2));
    await cancel(key, ids[4] as string);
    await expect
      .poll(async () => (await page('status=cancelled')).data.map(({ id }) => id), { timeout: 10_000 })
      .toEqual([ids[4]]);
    await expect.poll(async () => (await page('status=done')).data.length, { timeout: 30_000 }).toBe(4);
    expect((await page('status=open')).data).toEqual([]);
    expect((await call(`/v1/jobs/${ids[0]}`, { key, method: 'DELETE' })).status).toBe(204);
    expect((await page('')).data.map(({ id }) => id)).toEqual(ids.slice(1));
    for (const query of ['limit=0', 'limit=51', 'after=x', 'status=odd', 'page=2'])
      expect((await call(`/v1/jobs?${query}`, { key })).status).toBe(400);
  });
});

describe('a repetition that is only guessed', () => {
  const id = (digit: string) => `job_${digit.repeat(32)}`;
  const asked = (repetition: number) => ({ key: '\0guess', digest: 'd', repetition });

  /** An account with one request entered as a first try. */
  async function afterFirstTry() {
    const key = await openAccount();
    const keyId = namesIn(key).id;
    const account = accountOf(key);
    const first = await runInDurableObject(account, (instance) =>
      instance.start(keyId, {
        requestId: 'r',
        jobIds: [id('a')],
        work: FREE,
        price: null,
        user: null,
        idempotency: asked(0),
      }),
    );
    expect(first.kind).toBe('new');
    return { keyId, account };
  }

  test('attaches to what the first try started, once for each repetition', async () => {
    const { keyId, account } = await afterFirstTry();
    await runInDurableObject(account, (instance) => {
      expect(instance.isShared('\0guess')).toBe(false);
      expect(instance.recall(keyId, asked(1))).toMatchObject({ kind: 'again', jobIds: [id('a')] });
      expect(instance.isShared('\0guess')).toBe(true);
      expect(instance.recall(keyId, asked(1))).toBeNull();
      expect(instance.recall(keyId, asked(2))).toMatchObject({ kind: 'again' });
    });
  });

  test('finds nothing once the same was asked for anew, and nothing where two first tries are under way', async () => {
    const { keyId, account } = await afterFirstTry();
    await runInDurableObject(account, (instance) => {
      expect(instance.recall(keyId, asked(0))).toBeNull();
      expect(
        instance.start(keyId, {
          requestId: 'r2',
          jobIds: [id('b')],
          work: FREE,
          price: null,
          user: null,
          idempotency: asked(0),
        }).kind,
      ).toBe('new');
      for (const repetition of [1, 2]) expect(instance.recall(keyId, asked(repetition))).toBeNull();
      expect(instance.isShared('\0guess')).toBe(false);
      for (const job of ['a', 'b']) instance.ended(id(job), ended('done'));
      // both have ended: the next first try is alone again
      expect(instance.recall(keyId, asked(0))).toBeNull();
      expect(
        instance.start(keyId, {
          requestId: 'r3',
          jobIds: [id('c')],
          work: FREE,
          price: null,
          user: null,
          idempotency: asked(0),
        }).kind,
      ).toBe('new');
      expect(instance.recall(keyId, asked(1))).toMatchObject({ jobIds: [id('c')] });
    });
  });

  test.each(['failed', 'cancelled'] as const)('does work that was %s anew', async (status) => {
    const { keyId, account } = await afterFirstTry();
    await runInDurableObject(account, (instance) => {
      instance.ended(id('a'), ended(status));
      expect(instance.recall(keyId, asked(1))).toBeNull();
    });
  });

  test('is none after a quarter of an hour', async () => {
    const { keyId, account } = await afterFirstTry();
    await runInDurableObject(account, (instance, state) => {
      state.storage.sql.exec('UPDATE idempotency SET created_at = created_at - 900001');
      expect(instance.recall(keyId, asked(1))).toBeNull();
    });
  });
});
