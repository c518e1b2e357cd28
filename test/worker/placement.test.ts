/** Where a request's jobs are begun, and with how many calls: regions, jurisdictions, objects that are far away. */
import { createExecutionContext, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import type { JobObject } from '../../durable-objects/job.ts';
import { createApp } from '../../src/app.ts';
import type { Env } from '../../src/http/env.ts';
import { imageKey } from '../../src/job/image-key.ts';
import type { JobView } from '../../src/job/job.ts';
import { ADMIN_KEY, KEY, openAccount, SMALL } from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, seed: 7 };
/** How far away objects are. */
const FAR_MS = 150;

interface Call {
  readonly what: string;
  readonly began: number;
  ended: number;
}

/** A binding of objects. */
interface Named {
  getByName(name: string, options?: object): object;
}

/** The objects of a binding 150 ms away, and each call of one of them. */
function faraway<T extends object>(objects: T, calls: Call[], hints: string[] = []): T {
  const far = (stub: object): object =>
    new Proxy(stub, {
      get:
        (target, what: string) =>
        async (...args: unknown[]) => {
          const call = { what, began: performance.now(), ended: Number.POSITIVE_INFINITY };
          calls.push(call);
          await new Promise((resolve) => setTimeout(resolve, FAR_MS));
          const answer = await (target as Record<string, (...args: unknown[]) => Promise<unknown>>)[what]?.(...args);
          call.ended = performance.now();
          return answer;
        },
    });
  const named = objects as unknown as Named;
  return {
    getByName: (name: string, options?: { readonly locationHint?: string }) => {
      if (options?.locationHint) hints.push(options.locationHint);
      return far(named.getByName(name, options));
    },
    // workerd has no jurisdictions of its own: other names stand in for them
    jurisdiction: (law: string) => faraway({ getByName: (name: string) => named.getByName(`${law}/${name}`) }, calls),
  } as unknown as T;
}

/** The longest chain of calls of which each began when the one before had ended. */
function chain(calls: readonly Call[]): readonly string[] {
  const longest = (after: number): readonly Call[] =>
    calls
      .filter(({ began }) => began >= after)
      .map((call) => [call, ...longest(call.ended)])
      .reduce((best, one) => (one.length > best.length ? one : best), [] as readonly Call[]);
  return longest(0).map(({ what }) => what);
}

/** What was asked of accounts and jobs. */
/** What the answer waited for: that an admission is taken back is told behind it. */
const waitedFor = (calls: readonly Call[]): readonly Call[] => calls.filter(({ what }) => what !== 'leave');
const ofJobs = (calls: readonly Call[]): readonly string[] =>
  waitedFor(calls)
    .map(({ what }) => what)
    .filter((what) => what !== 'admit');

/** A new isolate of a Worker whose objects are far away. */
function coldWorker(vars: Partial<Env> = {}) {
  const calls: Call[] = [];
  const hints: string[] = [];
  const app = createApp();
  const objects = { JOBS: faraway(env.JOBS, calls, hints), ACCOUNTS: faraway(env.ACCOUNTS, calls) };
  const DISPATCHERS = faraway(env.DISPATCHERS, calls);
  const bindings = { ...env, ...objects, DISPATCHERS, ...vars } as unknown as Env;
  const send = (path: string, body: unknown, key = KEY, headers: Record<string, string> = {}, cf: CfProperties = {}) =>
    app.fetch(
      new Request(`http://ralu.test${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        cf,
      }),
      bindings,
      createExecutionContext(),
    );
  return { send, calls, hints };
}

/** What the models list names first. */
const MODEL = 'closed-form';

/** A model of the list, or another name of one. */
interface ListedModel {
  readonly id: string;
  readonly alias_of: string | null;
}

describe('where objects are far away, a cold isolate', () => {
  test.each([
    ['a job', '/v1/jobs', APPLE, 202],
    ['a prediction', '/v1/predictions', { version: MODEL, input: APPLE }, 201],
    ['a prediction of a model', `/v1/models/ralu/${MODEL}/predictions`, { input: APPLE }, 201],
    ['a request of fal', `/fal/queue/ralu/${MODEL}`, { prompt: 'a red apple', seed: 7 }, 200],
  ])('starts %s with two calls, one after the other', async (_, path, body, status) => {
    const { send, calls } = coldWorker();
    const response = await send(path, body);
    expect(response.status, await response.clone().text()).toBe(status);
    expect(chain(calls)).toHaveLength(2);
    // a dispatcher is asked beside the account
    expect(calls.map(({ what }) => what)).toEqual(['start', 'admit', expect.stringMatching(/^create/)]);
  });

  test('starts images with two calls before it waits for them, and four images with as many', async () => {
    const { send, calls } = coldWorker();
    const body = { prompt: 'a red apple', size: '256x256', n: 4, response_format: 'url' };
    const response = await send('/v1/images/generations', body);
    expect(response.status, await response.clone().text()).toBe(200);
    expect(ofJobs(calls).slice(0, 5)).toEqual(['start', ...Array(4).fill('create')]);
    expect(chain(calls.filter(({ what }) => ['start', 'admit', 'create'].includes(what)))).toHaveLength(2);
  });

  test('answers a repeated request with two calls, and the same job', async () => {
    const { send, calls } = coldWorker();
    const again = { 'idempotency-key': crypto.randomUUID() };
    const first = await (await send('/v1/jobs', APPLE, KEY, again)).json<JobView>();
    calls.length = 0;
    const second = await send('/v1/jobs', APPLE, KEY, again);
    expect((await second.json<JobView>()).id).toBe(first.id);
    expect(ofJobs(calls)).toEqual(['start', 'view']);
    expect(chain(waitedFor(calls))).toHaveLength(2);
  });
});

describe('a key that proves itself', () => {
  const revoke = async (key: string): Promise<void> => {
    await env.ACCOUNTS.getByName(`acct_${key.slice(10, 26)}`).revokeKey(key.slice(26, 34), 'admin');
  };

  test('and was revoked starts nothing: its account says so in the call that would have entered the job', async () => {
    const key = await openAccount();
    await revoke(key);
    const { send, calls } = coldWorker();
    const response = await send('/v1/jobs', APPLE, key);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ detail: 'The key was revoked.' });
    expect(ofJobs(calls)).toEqual(['start']);
  });

  test('and was revoked learns nothing of its mistakes', async () => {
    const key = await openAccount();
    await revoke(key);
    for (const body of [{ ...APPLE, width: 7 }, { ...APPLE, model: 'no-such' }, { prompt: 7 }, 'no object']) {
      const { send, calls } = coldWorker();
      const response = await send('/v1/jobs', body, key);
      expect(response.status, JSON.stringify(body)).toBe(401);
      expect(await response.json()).toMatchObject({ code: 'unauthorized', detail: 'The key was revoked.' });
      expect(calls.map(({ what }) => what)).toEqual(['standing']);
    }
  });

  test('hears what is wrong with its request, after its account was asked', async () => {
    const { send, calls } = coldWorker();
    const response = await send('/v1/jobs', { ...APPLE, model: 'no-such' });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'invalid_request', errors: [{ field: 'model' }] });
    expect(calls.map(({ what }) => what)).toEqual(['standing']);
  });

  test('and may not generate starts nothing', async () => {
    const key = await openAccount();
    const { send, calls } = coldWorker();
    const made = await send('/v1/account/keys', { name: 'reader', scopes: ['read'] }, key);
    const reader = (await made.json<{ key: string }>()).key;
    calls.length = 0;
    const response = await send('/v1/jobs', APPLE, reader);
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ code: 'insufficient_scope' });
    expect(ofJobs(calls)).toEqual(['start']);
  });

  test('and is kept of another account, or not kept at all, starts nothing', async () => {
    const { send, calls } = coldWorker();
    const forged = `${KEY.slice(0, -3)}${KEY.at(-3) === 'a' ? 'b' : 'a'}${KEY.slice(-2)}`;
    expect((await send('/v1/jobs', APPLE, forged)).status).toBe(401);
    expect(calls).toEqual([]);
  });
});

describe('a stage server that accepts and never answers', () => {
  const [local] = JSON.parse(env.BACKENDS) as { id: string; url: string; region: string }[];
  const silent = { id: 'silent', url: 'http://silent.test', region: 'test', binding: 'SILENT' };

  test.each([
    ['first', [silent, local]],
    ['last', [local, silent]],
  ])('keeps nobody waiting where another answers, though it is the %s', async (_, backends) => {
    const asked: string[] = [];
    const SILENT = { fetch: (url: string) => new Promise<never>(() => asked.push(url)) };
    const { send } = coldWorker({ BACKENDS: JSON.stringify(backends), SILENT } as unknown as Partial<Env>);
    const began = performance.now();
    const { data } = await (await send('/v1/models', undefined)).json<{ data: ListedModel[] }>();
    expect(data.filter(({ alias_of }) => alias_of === null).map(({ id }) => id)).toEqual([MODEL]);
    expect((await send('/v1/jobs', APPLE)).status).toBe(202);
    expect((await send('/v1/models', undefined)).status).toBe(200);
    expect(performance.now() - began).toBeLessThan(4_000);
    expect(asked).toEqual(['http://silent.test/v1/models']);
  });
});

describe('with regions', () => {
  const [local] = JSON.parse(env.BACKENDS) as { id: string; url: string }[];
  const PARIS = { id: 'paris', latitude: 48.86, longitude: 2.35, hint: 'weur' };
  const SYDNEY = { id: 'sydney', latitude: -33.87, longitude: 151.2, hint: 'oc' };
  const TWO = {
    REGIONS: JSON.stringify([PARIS, SYDNEY]),
    BACKENDS: JSON.stringify([
      { ...local, region: 'paris' },
      { ...local, id: 'down-under', region: 'sydney' },
    ]),
    BACKEND_TOKEN_DOWN_UNDER: 'stage-token',
  };

  test.each([
    ['near Paris', { latitude: '51.5', longitude: '-0.1' }, ['paris', 'sydney'], 'weur'],
    ['near Sydney', { latitude: '-36.85', longitude: '174.76' }, ['sydney', 'paris'], 'oc'],
    ['nobody knows where', {}, ['paris', 'sydney'], 'weur'],
  ])('a job of a caller %s may use both, the nearest first, and its object is made there', async (_, cf, ids, hint) => {
    const { send, hints } = coldWorker(TWO as unknown as Partial<Env>);
    const key = { 'idempotency-key': crypto.randomUUID() };
    const created = await send('/v1/jobs', APPLE, KEY, key, cf);
    expect(created.status, await created.clone().text()).toBe(202);
    const { id } = await created.json<JobView>();
    expect(hints).toEqual([hint]);
    const regionsOf = () =>
      runInDurableObject(env.JOBS.getByName(id) as DurableObjectStub<JobObject>, (_instance, { storage }) => {
        const { regions } = storage.sql.exec<{ regions: string }>('SELECT regions FROM job').one();
        return JSON.parse(regions);
      });
    expect(await regionsOf()).toEqual(ids);
    // the same request from the other side of the earth changes nothing
    const again = await send('/v1/jobs', APPLE, KEY, key, { latitude: '-36.85', longitude: '174.76' });
    expect((await again.json<JobView>()).id).toBe(id);
    expect(await regionsOf()).toEqual(ids);
  });
});

const REGION = { id: 'test', latitude: 48.86, longitude: 2.35, hint: 'weur', jurisdiction: 'eu' };
const EU = { REGIONS: JSON.stringify([REGION]) };

describe('an account of the EU', () => {
  const open = async (worker: ReturnType<typeof coldWorker>, jurisdiction: string | null) => {
    const billing = { mode: 'postpaid', credit_limit_usd: null };
    const response = await worker.send('/v1/accounts', { name: 'eu', jurisdiction, billing }, ADMIN_KEY);
    const opened = await response
      .clone()
      .json<{ account: { id: string; jurisdiction: string }; key: { key: string } }>();
    return { response, opened };
  };
  test('has its jobs and pictures there, and nowhere else, through every route that meets their ids', async () => {
    const worker = coldWorker(EU);
    const { opened } = await open(worker, 'eu');
    expect(opened.account.jurisdiction).toBe('eu');
    const { key } = opened.key;
    expect(key).toMatch(/^ralu_2euan/);
    const created = await worker.send('/v1/jobs', APPLE, key);
    expect(created.status, await created.clone().text()).toBe(202);
    const { id } = await created.json<JobView>();
    expect(id).toMatch(/^job_2euan/);
    const path = `/v1/jobs/${id}`;
    const done = await (await worker.send(`${path}?wait=30`, undefined, key)).json<JobView>();
    expect(done.status).toBe('done');
    expect((await worker.send(`${path}/image`, undefined, key)).status).toBe(200);
    expect(await env.IMAGES_EU?.head(imageKey(id, 'png'))).not.toBeNull();
    expect(await env.IMAGES.head(imageKey(id, 'png'))).toBeNull();
    // under its name there is nothing outside the jurisdiction
    expect(await env.JOBS.getByName(id).view(null)).toBeNull();
    expect((await env.JOBS.getByName(`eu/${id}`).view(null))?.id).toBe(id);
    const listed = await (await worker.send('/v1/jobs', undefined, key)).json<{ data: { id: string }[] }>();
    expect(listed.data.map((job) => job.id)).toEqual([id]);
    expect((await worker.send(`${path}/cancel`, {}, key)).status).toBe(200);
  });

  test('has no jobs where the deployment has no stage server there, and says so', async () => {
    const { opened } = await open(coldWorker(EU), 'eu');
    for (const REGIONS of ['', JSON.stringify([{ ...REGION, jurisdiction: null }])]) {
      const { send, calls } = coldWorker({ REGIONS });
      const response = await send('/v1/jobs', APPLE, opened.key.key);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({
        code: 'no_region',
        detail:
          'The jobs of this account stay in the jurisdiction "eu", and this deployment has no stage server there.',
      });
      expect(calls.map(({ what }) => what)).toEqual(['standing']);
    }
  });

  test('has no jobs, and is not opened, where the deployment has no bucket there', async () => {
    const { opened } = await open(coldWorker(EU), 'eu');
    const worker = coldWorker({ ...EU, IMAGES_EU: undefined } as unknown as Partial<Env>);
    const started = await worker.send('/v1/jobs', APPLE, opened.key.key);
    for (const response of [started, (await open(worker, 'eu')).response]) {
      expect(response.status).toBe(503);
      expect(await response.text()).toContain('this deployment has no bucket IMAGES_EU.');
    }
  });

  test('is none of a jurisdiction that there is not', async () => {
    const { response } = await open(coldWorker(EU), 'mars');
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('jurisdiction');
  });

  test('gets keys that say so, made by itself and by the admin', async () => {
    const worker = coldWorker(EU);
    const { opened } = await open(worker, 'eu');
    const { id } = opened.account;
    const own = await worker.send('/v1/account/keys', { name: 'two' }, opened.key.key);
    const byAdmin = await worker.send(`/v1/accounts/${id}/keys`, { name: 'three' }, ADMIN_KEY);
    const rotated = await worker.send(
      `/v1/accounts/${id}/keys/${opened.key.key.slice(26, 34)}/rotate`,
      { overlap_hours: 1 },
      ADMIN_KEY,
    );
    for (const response of [own, byAdmin, rotated])
      expect((await response.json<{ key: string }>()).key).toMatch(/^ralu_2euan/);
    const keys = await (await worker.send(`/v1/accounts/${id}/keys`, undefined, ADMIN_KEY)).json<{
      data: { prefix: string }[];
    }>();
    expect(keys.data.map(({ prefix }) => prefix.slice(0, 11))).toEqual(Array(4).fill(`ralu_2euan${id[5]}`));
  });
});

test('regions that are none, and backends that stand in none, are answered with 503 everywhere', async () => {
  for (const [REGIONS, what] of [
    ['[{', 'REGIONS is not JSON'],
    [JSON.stringify([{ ...REGION, latitude: 100 }]), 'REGIONS[0].latitude: got 100'],
    [
      JSON.stringify([{ ...REGION, id: 'rome' }]),
      'BACKENDS, backend local, region: got "test"; must be one of REGIONS: rome',
    ],
  ] as const) {
    const response = await coldWorker({ REGIONS }).send('/v1/models', undefined);
    expect(response.status).toBe(503);
    expect(await response.text()).toContain(JSON.stringify(what).slice(1, -1));
  }
});
