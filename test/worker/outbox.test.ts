import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { readAttempts } from '../../durable-objects/job/attempts.ts';
import { addLetter, hastenLetters, lettersOf, removeForget } from '../../durable-objects/job/outbox-tables.ts';
import { readRow } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { forget } from '../../src/job/outbox.ts';
import { within } from '../../src/stage/time-limit.ts';
import { call, createJob, openAccount, post, SMALL, watch, watchAll } from './call.ts';
import { enterJob } from './enter.ts';

const PROMPT = 'a purple hippopotamus on a blue background';
const FOX = { prompt: PROMPT, ...SMALL, preset: '7x', seed: 5 };
const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
const rowOf = (id: string) => runInDurableObject(stubOf(id), ({ rows }) => readRow(rows) as JobRecord);
/** Ends the object's incarnation as a crash would; the call that does it fails with it. */
const crash = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), (_, state) => state.abort('crashed by a test')).catch(() => undefined);

const erase = (id: string, key?: string) => call(`/v1/jobs/${id}`, { method: 'DELETE', ...(key && { key }) });

/** Replaces a part of what the living object was given. */
const withEnv = (id: string, changes: Record<string, unknown>): Promise<void> =>
  runInDurableObject(stubOf(id), (instance) => {
    Object.defineProperty(instance, 'env', { value: { ...env, ...changes }, configurable: true });
  });

/** Every value of every table of a job's object, as text. */
const contentOf = (id: string): Promise<string> =>
  runInDurableObject(stubOf(id), (_, state) => {
    const { sql } = state.storage;
    const tables = sql
      .exec<{ name: string }>(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'",
      )
      .toArray();
    return JSON.stringify(tables.map(({ name }) => [name, sql.exec(`SELECT * FROM ${name}`).toArray()]));
  });

const kindsOf = (id: string) =>
  runInDurableObject(stubOf(id), ({ rows }) => rows.list('letters')?.map(({ kind }) => kind));

const openJobs = async (key: string): Promise<number> =>
  (await (await call('/v1/account', { key })).json<{ open_jobs: number }>()).open_jobs;

const DEAF = {
  getByName: () => ({
    ended: () => Promise.reject(new Error('away for a test')),
    erased: () => Promise.reject(new Error('away for a test')),
  }),
};

test('a stage that is asked for again is not stopped by the letter that was to stop its earlier run there', async () => {
  const { id } = await createJob(FOX);
  const left = await runInDurableObject(stubOf(id), ({ rows }, state) =>
    state.storage.transactionSync(() => {
      const sent = ['a.1', 'a.2'].flatMap((stageId) => ['x', 'y'].map((backend) => ({ backend, stageId })));
      const later = Date.now() + 60_000;
      for (const each of sent) addLetter(rows, forget({ ...each, outcome: 'sent', worker: null }), later);
      removeForget(rows, 'x', 'a.1');
      const letters = lettersOf(rows, 'forget').map(({ payload }) => `${payload.backend} ${payload.stageId}`);
      for (const each of sent) removeForget(rows, each.backend, each.stageId);
      return letters;
    }),
  );
  expect(left).toEqual(['y a.1', 'x a.2', 'y a.2']);
  await watchAll(id);
});

describe('every end stores a receipt of the work that was reported', () => {
  test('a job cancelled in its second stage has the first one on it', async () => {
    const { id } = await createJob(FOX);
    for await (const { type, data } of watch(id)) {
      if (type === 'stage' && data.stage === 2) await call(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    }
    const { status, receipt } = await (await call(`/v1/jobs/${id}`)).json<{
      status: string;
      receipt: { stages: { stage: number; steps: number }[] };
    }>();
    expect(status).toBe('cancelled');
    expect(receipt.stages).toMatchObject([{ stage: 1, steps: 2 }]);
  });

  test('a job that fails before any stage is done has none on it', async () => {
    const { id } = await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1], deadline_seconds: 1 });
    await watchAll(id);
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({
      status: 'failed',
      error: { reason: 'deadline_exceeded' },
      receipt: { stages: [], tflops: { denoise: 0 } },
    });
  });
});

describe('an end is told', () => {
  test('to the account even where the object is lost between the two', async () => {
    const key = await openAccount();
    const created = await call('/v1/jobs', {
      method: 'POST',
      key,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'a fox', ...SMALL, N: [900], e: [1] }),
    });
    const { id } = await created.json<{ id: string }>();
    await withEnv(id, { ACCOUNTS: DEAF });
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST', key });
    await expect.poll(() => kindsOf(id), { timeout: 5000 }).toEqual(['ended', 'picture', 'expire']);
    expect(await openJobs(key)).toBe(1);
    await runInDurableObject(stubOf(id), ({ rows }) => hastenLetters(rows, 'ended', Date.now()));
    await crash(id);
    await stubOf(id).view(null);
    await expect.poll(() => openJobs(key), { timeout: 5000 }).toBe(0);
    expect(await kindsOf(id)).toEqual(['picture', 'expire']);
  });

  test('to every stage server a request went to, when the job is erased', async () => {
    const [{ url }] = JSON.parse(env.BACKENDS) as [{ url: string }];
    const forget = (stageId: string) =>
      fetch(new URL(`/v1/stages/${stageId}`, url), {
        method: 'DELETE',
        headers: { authorization: 'Bearer stage-token' },
      });
    const jobs = [await createJob(FOX), await createJob({ ...FOX, seed: 6 })];
    for (const { id } of jobs) await watchAll(id);
    const stages = await Promise.all(
      jobs.map(({ id }) => runInDurableObject(stubOf(id), ({ rows }) => readAttempts(rows))),
    );
    expect(stages.map((attempts) => attempts.map(({ stage, outcome }) => [stage, outcome]))).toEqual(
      jobs.map(() => [1, 2, 3].map((stage) => [stage, 'stored'])),
    );
    expect((await erase(jobs[0]?.id as string)).status).toBe(204);
    const statuses = async (n: number) =>
      Promise.all((stages[n] ?? []).map(async ({ stageId }) => (await forget(stageId)).status));
    expect(await statuses(0)).toEqual([404, 404, 404]);
    expect(await statuses(1)).toEqual([204, 204, 204]);
  });
});

describe('what is erased', () => {
  test('holds nothing of its caller, stays known to its outbox until the account has heard, and then is gone', async () => {
    const key = await openAccount();
    const { id } = await (
      await call('/v1/jobs', {
        method: 'POST',
        key,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...FOX, webhook_url: 'https://203.0.113.1.example.com/hook?secret=hippopotamus' }),
      })
    ).json<{ id: string }>();
    const stages = async () => (await runInDurableObject(stubOf(id), ({ rows }) => readAttempts(rows))).length;
    await expect.poll(stages, { timeout: 5000, interval: 5 }).toBe(1);
    await withEnv(id, { ACCOUNTS: DEAF });
    await expect.poll(stages, { timeout: 5000, interval: 5 }).toBe(2);
    expect(await contentOf(id)).toContain('hippopotamus');
    expect((await erase(id, key)).status).toBe(204);
    expect((await call(`/v1/jobs/${id}`, { key })).status).toBe(404);
    expect(await kindsOf(id)).toEqual(['ended', 'erased']);
    const left = await contentOf(id);
    expect(left).not.toContain('hippopotamus');
    expect(left.length).toBeLessThan(1500);

    await runInDurableObject(stubOf(id), ({ rows }) => {
      for (const kind of ['ended', 'erased'] as const) hastenLetters(rows, kind, Date.now());
    });
    await crash(id);
    await runInDurableObject(stubOf(id), (instance) => instance.alarm());
    expect(await openJobs(key)).toBe(0);
    expect((await (await call('/v1/jobs', { key })).json<{ data: unknown[] }>()).data).toEqual([]);
    expect(
      await runInDurableObject(stubOf(id), (_, state) =>
        state.storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'job'").toArray(),
      ),
    ).toEqual([]);
  });
});

describe('nobody to ask', () => {
  test('a configuration that is wrong for a while is waited for: the job ends well once it is right', async () => {
    const { account, request, plan } = await rowOf((await createJob({ ...FOX, seed: 8 })).id);
    const id = await newJobId(env.SIGNING_SECRET);
    await enterJob(account, id);
    await runInDurableObject(stubOf(id), (instance) => {
      Object.defineProperty(instance, 'env', { value: { ...env, BACKENDS: 'no list' }, configurable: true });
      return instance.create({ id, account, request, plan, deadlineSeconds: null, webhook: null });
    });
    await expect.poll(async () => (await rowOf(id)).busySince, { timeout: 5000 }).not.toBeNull();
    await evictDurableObject(stubOf(id));
    const events = await watchAll(id);
    expect(events.map(({ type }) => type)).not.toContain('retry');
    expect(events.at(-1)?.type).toBe('done');
  });

  test('a job whose stages need what no server has is not ended by that: it waits, and asks again', async () => {
    const first = await createJob({ ...FOX, seed: 9 });
    const { account, request, plan } = await rowOf(first.id);
    const id = await newJobId(env.SIGNING_SECRET);
    await enterJob(account, id);
    const needy = { ...plan, features: ['levitation'] };
    await stubOf(id).create({ id, account, request, plan: needy, deadlineSeconds: null, webhook: null });
    const seen: string[] = [];
    for await (const { type } of watch(id)) {
      seen.push(type);
      if (seen.length === 3) break;
    }
    expect(seen).toEqual(['queued', 'plan', 'queued']);
    expect(await runInDurableObject(stubOf(id), ({ rows }) => readAttempts(rows))).toEqual([]);
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({
      status: 'queued',
      queue: { position: null, eta_ms: null },
    });
    await runInDurableObject(stubOf(id), ({ rows }) => rows.update({ plan }));
    expect((await watchAll(id)).at(-1)?.type).toBe('done');
  });
});

test('a webhook that has long waited for other jobs of its request is late by a minute where one is away', async () => {
  const hook = encodeURIComponent('https://203.0.113.1.example.com/hook');
  const body = { prompt: PROMPT, image_size: SMALL, num_inference_steps: 100, num_images: 2 };
  const started = await post(`/fal/queue/ralu/closed-form?fal_webhook=${hook}`, body);
  const [id] = (started.headers.get('x-ralu-job-id') ?? '').split(', ') as [string, string];
  let isAway = false;
  const viewWithLogs = () => (isAway ? Promise.reject(new Error('away for a test')) : Promise.resolve(null));
  await withEnv(id, { JOBS: { getByName: () => ({ viewWithLogs }) } });
  await watchAll(id);
  const letter = () => runInDurableObject(stubOf(id), ({ rows }) => lettersOf(rows, 'webhook')[0]);
  const waited = async () => ((await letter())?.dueAt ?? 0) - ((await rowOf(id)).finishedAt ?? 0);
  await expect.poll(waited, { timeout: 20_000 }).toBeGreaterThan(3000);
  isAway = true;
  const pause = async () => ((await letter())?.dueAt ?? 0) - Date.now();
  await expect.poll(pause, { timeout: 20_000 }).toBeGreaterThan(30_000);
  expect(await pause()).toBeLessThanOrEqual(60_000);
});

test('a far side that does not answer is not waited for longer than its limit', async () => {
  await expect(within(20, 'the bucket', new Promise(() => undefined))).rejects.toThrow('the bucket took longer than');
  expect(await within(1000, 'the bucket', Promise.resolve(3))).toBe(3);
});
