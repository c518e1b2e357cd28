/** What would leave a job standing for ever, or its place taken: a far side that hangs, a row that cannot be read. */
import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { JOBS_A_ROUND, nextRound, RECONCILE_MS } from '../../durable-objects/account/reconcile.ts';
import type { AccountObject } from '../../durable-objects/account.ts';
import { readAttempts } from '../../durable-objects/job/attempts.ts';
import type { Lists } from '../../durable-objects/job/columns.ts';
import { lettersOf, postponeLetter, waitingKinds } from '../../durable-objects/job/outbox-tables.ts';
import type { Rows } from '../../durable-objects/job/rows.ts';
import { readRow } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { imageKey } from '../../src/job/image-key.ts';
import type { JobRecord, JobView } from '../../src/job/job.ts';
import { call, openAccount, SMALL, watch, watchAll } from './call.ts';
import { enterJob, listJob } from './enter.ts';

const FOX = { prompt: 'a fox on a blue background', ...SMALL, preset: '7x', seed: 11 };
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** of the stage server */
const STAGE_TOKEN = 'stage-token';
const never = () => new Promise<never>(() => undefined);

const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
const rowsOf = <T>(id: string, work: (rows: Rows) => T): Promise<T> =>
  runInDurableObject(stubOf(id), ({ rows }) => work(rows));
const sqlOf = <T>(id: string, work: (sql: SqlStorage) => T): Promise<T> =>
  runInDurableObject(stubOf(id), (_, state) => work(state.storage.sql));

/** Ends the object's incarnation as a crash would; the call that does it fails with it. */
const crash = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), (_, state) => state.abort('crashed by a test')).catch(() => undefined);

/** Replaces a part of what the living object was given. */
const withEnv = (id: string, changes: Record<string, unknown>): Promise<void> =>
  runInDurableObject(stubOf(id), (instance) => {
    Object.defineProperty(instance, 'env', { value: { ...env, ...changes }, configurable: true });
  });

const create = async (key: string | undefined, body: Readonly<Record<string, unknown>>): Promise<string> => {
  const headers = { 'content-type': 'application/json' };
  const response = await call('/v1/jobs', { method: 'POST', ...(key && { key }), headers, body: JSON.stringify(body) });
  if (response.status !== 202) throw new Error(await response.text());
  const { id } = await response.json<JobView>();
  begun.set(id, key);
  return id;
};
const viewOf = async (id: string, key?: string) => (await call(`/v1/jobs/${id}`, key ? { key } : {})).json<JobView>();
const openJobs = async (key: string): Promise<number> =>
  (await (await call('/v1/account', { key })).json<{ open_jobs: number }>()).open_jobs;
const accountOf = async (key: string) => {
  const { id } = await (await call('/v1/account', { key })).json<{ id: string }>();
  return env.ACCOUNTS.getByName(id) as DurableObjectStub<AccountObject>;
};
/** Lets the jobs of an account have been entered long ago, and its alarm come. */
async function askOpenJobs(key: string): Promise<void> {
  const account = await accountOf(key);
  await runInDurableObject(account, (_, state) => {
    state.storage.sql.exec('UPDATE job SET created_at = created_at - ?', RECONCILE_MS);
  });
  expect(await runDurableObjectAlarm(account)).toBe(true);
}

/** Jobs that a test began, and by which key: what is left of them would keep the stage server. */
const begun = new Map<string, string | undefined>();
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all([...begun].map(([id, key]) => call(`/v1/jobs/${id}`, { method: 'DELETE', ...(key && { key }) })));
  begun.clear();
  // an erasure may wait for a walk as long as a hook usually may take
}, 30_000);

describe('a bucket that hangs', () => {
  /** A job whose picture is on its way to a bucket that takes it and never says so. */
  async function createPutting(): Promise<string> {
    const id = await create(undefined, FOX);
    const putting = Promise.withResolvers<void>();
    await withEnv(id, {
      IMAGES: {
        put: () => {
          putting.resolve();
          return never();
        },
        delete: env.IMAGES.delete.bind(env.IMAGES),
      },
    });
    await putting.promise;
    return id;
  }

  test('does not hold a job that is deleted', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const id = await createPutting();
    const begin = Date.now();
    const erased = call(`/v1/jobs/${id}`, { method: 'DELETE' });
    await vi.waitFor(async () => expect(await rowsOf(id, readRow)).toBeNull());
    await vi.advanceTimersByTimeAsync(10_000);
    vi.useRealTimers();
    expect((await erased).status).toBe(204);
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
    // what may still arrive is looked for
    const strays = await rowsOf(id, (rows) => lettersOf(rows, 'picture'));
    expect(strays.some(({ dueAt }) => dueAt > begin + 30_000)).toBe(true);
  });

  test('costs an attempt of the last stage, and the job ends well once it takes the picture', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const id = await createPutting();
    await withEnv(id, {});
    await vi.advanceTimersByTimeAsync(30_000);
    vi.useRealTimers();
    const events = await watchAll(id);
    const reasons = events.flatMap(({ type, data }) => (type === 'retry' ? [(data as { reason: string }).reason] : []));
    expect(reasons).toEqual(['storage_failed']);
    expect(events.at(-1)?.type).toBe('done');
  });
});

describe('an account that does not hear of an end', () => {
  test('asks its open jobs, and frees the place of one that has ended', async () => {
    const key = await openAccount();
    const id = await create(key, LONG);
    const running = await create(key, LONG);
    await withEnv(id, { ACCOUNTS: { getByName: () => ({ ended: never }) } });
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST', key });
    expect(await openJobs(key)).toBe(2);
    await askOpenJobs(key);
    expect(await openJobs(key)).toBe(1);
    const { data } = await (await call('/v1/jobs?status=open', { key })).json<{ data: JobView[] }>();
    expect(data.map((job) => job.id)).toEqual([running]);
    await call(`/v1/jobs/${running}`, { method: 'DELETE', key });
  });

  test('frees the place of one that is not there any more, keeps that of one that cannot be asked, and asks it again', async () => {
    const key = await openAccount();
    const id = await create(key, LONG);
    const account = await accountOf(key);
    await runInDurableObject(account, (instance, state) => {
      const lost = `job_${'0'.repeat(32)}`;
      listJob(state.storage.sql, lost, { isCreated: true });
      const JOBS = {
        getByName: (name: string) =>
          name === id ? { view: () => Promise.reject(new Error('away')) } : env.JOBS.getByName(name),
      };
      Object.defineProperty(instance, 'env', { value: { ...env, JOBS }, configurable: true });
    });
    expect(await openJobs(key)).toBe(2);
    await askOpenJobs(key);
    expect(await openJobs(key)).toBe(1);
    expect(await runInDurableObject(account, (_, state) => state.storage.getAlarm())).toBeGreaterThan(Date.now());
    await call(`/v1/jobs/${id}`, { method: 'DELETE', key });
  });

  test('asks a bounded number at once, and again within five minutes', async () => {
    const key = await openAccount();
    const account = await accountOf(key);
    const asked: string[] = [];
    await create(key, LONG);
    await runInDurableObject(account, (instance, state) => {
      state.storage.sql.exec('UPDATE job SET is_created = 1');
      for (let i = 0; i < 3 * JOBS_A_ROUND; i++)
        listJob(state.storage.sql, `job_${String(i).padStart(32, '0')}`, { isCreated: true });
      const view = async () => ({ status: 'running' });
      const JOBS = {
        getByName(name: string) {
          asked.push(name);
          return { view };
        },
      };
      Object.defineProperty(instance, 'env', { value: { ...env, JOBS }, configurable: true });
    });
    await askOpenJobs(key);
    expect(new Set(asked).size).toBe(JOBS_A_ROUND);
    for (const now of [0, 1, RECONCILE_MS - 1, RECONCILE_MS, -HOUR, 12_345_678]) {
      expect(nextRound(1000, now)).toBeGreaterThan(now);
      expect(nextRound(1000, now)).toBeLessThanOrEqual(now + RECONCILE_MS);
    }
  });
});

describe('one broken row breaks one job, by name', () => {
  const columns: [string, string, string][] = [
    ['plan', 'no JSON', "UPDATE job SET plan = '{'"],
    ['plan', 'another shape', "UPDATE job SET plan = '[]'"],
    ['request', 'no JSON', "UPDATE job SET request = 'x'"],
    ['request', 'null', "UPDATE job SET request = 'null'"],
    ['room', 'a room that there is not', `UPDATE job SET room = '{"name":"attic"}'`],
    ['room_times', 'no list', "UPDATE job SET room_times = '{}'"],
    ['not_before', 'no number', "UPDATE job SET not_before = 'soon'"],
    ['created_at', 'no number', "UPDATE job SET created_at = 'then'"],
    ['selections', 'no JSON', "UPDATE job SET selections = '[['"],
    ['webhook', 'no JSON', "UPDATE job SET webhook = '{'"],
  ];

  test.each(columns)('%s that is %s, while the job runs', async (column, _, sql) => {
    const key = await openAccount();
    const [broken, whole] = [await create(key, LONG), await create(key, LONG)];
    await sqlOf(broken, (storage) => void storage.exec(sql));
    await crash(broken);
    const listed = await call('/v1/jobs', { key });
    expect(listed.status).toBe(200);
    const { data } = await listed.json<{ data: JobView[] }>();
    expect(data.map(({ id }) => id)).toEqual([whole, broken]);
    const { status, error } = await viewOf(broken, key);
    expect([status, error?.reason]).toEqual(['failed', 'unreadable']);
    expect(error?.message).toContain(column);
    await expect.poll(() => openJobs(key), { timeout: 5000 }).toBe(1);
    expect((await call(`/v1/jobs/${broken}`, { method: 'DELETE', key })).status).toBe(204);
    expect((await call(`/v1/jobs/${broken}`, { key })).status).toBe(404);
    expect((await call(`/v1/jobs/${whole}`, { method: 'DELETE', key })).status).toBe(204);
    expect(await openJobs(key)).toBe(0);
  });

  test('plan that is another shape inside: the job fails at its next room', async () => {
    const id = await create(undefined, LONG);
    await sqlOf(id, (sql) => void sql.exec("UPDATE job SET plan = json_set(plan, '$.stages', json('[{}]'))"));
    await crash(id);
    expect((await watchAll(id)).at(-1)?.type).toBe('failed');
  });

  test('of a job that is done: its picture is erased with it, whatever its format was', async () => {
    const id = await create(undefined, { ...FOX, output_format: 'webp' });
    await watchAll(id);
    expect(await env.IMAGES.head(imageKey(id, 'webp'))).not.toBeNull();
    await sqlOf(id, (sql) => void sql.exec("UPDATE job SET request = '', receipt = '{'"));
    await crash(id);
    expect(await viewOf(id)).toMatchObject({ status: 'failed', prompt: '', error: { reason: 'unreadable' } });
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    expect(await env.IMAGES.head(imageKey(id, 'webp'))).toBeNull();
  });

  test.each([
    ['latents', 'UPDATE job SET data = zeroblob(9) WHERE key < 0'],
    ['usage', "UPDATE job SET usage = '{'"],
  ])('%s that cannot be read: the job fails at its next room', async (part, sql) => {
    const id = await create(undefined, { ...FOX, preset: undefined, N: [2, 900], e: [0.5, 1] });
    for await (const { type, data } of watch(id)) if (type === 'step' && data.stage === 2) break;
    await sqlOf(id, (storage) => void storage.exec(sql));
    await crash(id);
    const last = (await watchAll(id)).at(-1);
    expect(last).toMatchObject({
      type: 'failed',
      data: { reason: 'unreadable', message: expect.stringContaining(part) },
    });
    expect((await viewOf(id)).receipt).not.toBeNull();
  });

  test('an event: it is left out, and the others are shown', async () => {
    const id = await create(undefined, FOX);
    await watchAll(id);
    // what is stored: progress was live alone
    const before = await watchAll(id);
    const breaks = (name: string, type: string) => `${name} = REPLACE(${name}, '{"type":"${type}"', '{')`;
    await sqlOf(id, (sql) => {
      for (const type of ['plan', 'done'])
        sql.exec(`UPDATE job SET ${breaks('events', type)}, ${breaks('data', type)} WHERE key >= 0`);
    });
    await crash(id);
    expect(await viewOf(id)).toMatchObject({ status: 'done' });
    const types = before.map(({ type }) => type).filter((type) => type !== 'plan' && type !== 'done');
    expect((await watchAll(id)).map(({ type }) => type)).toEqual(types);
  });

  test('a letter: it goes, and keeps no other', async () => {
    const key = await openAccount();
    const id = await create(key, LONG);
    await rowsOf(id, (rows) => {
      const odd = [
        { seq: 8, kind: 'forget', dueAt: 0, tries: 0, payload: 3 },
        { seq: 9, kind: 'poem', dueAt: 0, tries: 0, payload: null },
        null,
      ] as unknown as Lists['letters'];
      rows.setList('letters', [...(rows.list('letters') ?? []), ...odd]);
    });
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE', key })).status).toBe(204);
    expect(await openJobs(key)).toBe(0);
    const kinds = () => rowsOf(id, waitingKinds);
    // a picture that may still arrive is looked for later
    await expect.poll(kinds, { timeout: 5000 }).toEqual(['picture']);
  });
});

describe('nobody there', () => {
  const GONE = { id: 'gone', url: 'http://127.0.0.1:1' };
  const [local] = JSON.parse(env.BACKENDS) as [{ id: string; url: string }];

  test('for longer than attempts would last: no attempt is used up, and the job ends well once somebody is', async () => {
    // what the server said of itself is remembered
    await watchAll(await create(undefined, FOX));
    const models = (url: string) => new Request(new URL('/v1/models', url).href);
    await caches.default.put(models(GONE.url), (await caches.default.match(models(local.url))) as Response);
    const id = await create(undefined, { ...LONG, seed: 3 });
    const { account, request, plan } = (await rowsOf(id, readRow)) as JobRecord;
    await call(`/v1/jobs/${id}`, { method: 'DELETE' });
    const waiting = await newJobId(env.SIGNING_SECRET);
    await enterJob(account, waiting);
    await withEnv(waiting, { BACKENDS: JSON.stringify([{ ...local, url: GONE.url }]) });
    await stubOf(waiting).create({ id: waiting, account, request, plan, deadlineSeconds: null, webhook: null });
    const row = async () => (await rowsOf(waiting, readRow)) as JobRecord;
    const attempts = 3 * Number(env.STAGE_ATTEMPTS);
    for (let asked = 1; asked <= attempts; asked++) {
      await expect
        .poll(async () => (await row()).attempt, { timeout: 5000, interval: 5 })
        .toBeGreaterThanOrEqual(asked);
      await expect.poll(async () => (await row()).tries, { timeout: 5000, interval: 5 }).toBe(0);
      await rowsOf(waiting, (rows) => rows.update({ notBefore: 0 }));
      await runInDurableObject(stubOf(waiting), (instance) => instance.alarm());
    }
    expect(await viewOf(waiting)).toMatchObject({ status: 'running', error: null, queue: { position: null } });
    await crash(waiting);
    await rowsOf(waiting, (rows) => rows.update({ notBefore: 0 }));
    for await (const { type } of watch(waiting)) if (type === 'step') break;
    await call(`/v1/jobs/${waiting}`, { method: 'DELETE' });
  });

  test('under its name: a backend that is renamed goes on with the job, and is told to forget it', async () => {
    const id = await create(undefined, { ...FOX, seed: 12 });
    for await (const { type, data } of watch(id)) if (type === 'stage' && data.stage === 2) break;
    const renamed = {
      BACKENDS: JSON.stringify([{ ...local, id: 'renamed' }]),
      BACKEND_TOKEN_RENAMED: STAGE_TOKEN,
      // it has the names of before
      DISPATCHERS: {
        getByName(): never {
          throw new Error('the dispatcher is away');
        },
      },
    };
    await crash(id);
    await withEnv(id, renamed);
    const events = await watchAll(id);
    expect(events.map(({ type }) => type)).not.toContain('retry');
    expect(events.at(-1)?.type).toBe('done');
    const sent = await rowsOf(id, readAttempts);
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    const statuses = sent.map(async ({ stageId }) => {
      const headers = { authorization: `Bearer ${STAGE_TOKEN}` };
      return (await fetch(new URL(`/v1/stages/${stageId}`, local.url), { method: 'DELETE', headers })).status;
    });
    expect(await Promise.all(statuses)).toEqual(sent.map(() => 404));
  });
});

describe('a wrong limit of the configuration', () => {
  test('keeps nobody from ending and erasing a job', async () => {
    const id = await create(undefined, LONG);
    await withEnv(id, { JOB_TTL_HOURS: 'a day', QUEUE_SECONDS: '', STAGE_ATTEMPTS: '-1' });
    expect((await call(`/v1/jobs/${id}/cancel`, { method: 'POST' })).status).toBe(200);
    expect(await viewOf(id)).toMatchObject({ status: 'cancelled' });
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
  });
});

describe('a clock that steps back an hour', () => {
  test('leaves no job waiting for an hour', async () => {
    const id = await create(undefined, FOX);
    const later = Date.now() + HOUR;
    await rowsOf(id, (rows) => rows.update({ notBefore: later, busySince: later }));
    await crash(id);
    expect((await watchAll(id)).at(-1)?.type).toBe('done');
  });

  test('leaves no letter waiting for an hour', async () => {
    const key = await openAccount();
    const id = await create(key, LONG);
    await withEnv(id, { ACCOUNTS: { getByName: () => ({ ended: () => Promise.reject(new Error('away')) }) } });
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST', key });
    await rowsOf(id, (rows) => {
      for (const { seq } of lettersOf(rows, 'ended')) postponeLetter(rows, seq, Date.now() + HOUR, 1);
    });
    await crash(id);
    await stubOf(id).view(null);
    await expect.poll(() => openJobs(key), { timeout: 5000 }).toBe(0);
  });
});
