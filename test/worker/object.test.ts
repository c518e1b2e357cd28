import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { MAX_ROW_BYTES } from '../../durable-objects/job/columns.ts';
import { appendEvents } from '../../durable-objects/job/event-tables.ts';
import { hastenLetters, lettersOf } from '../../durable-objects/job/outbox-tables.ts';
import { readJob, readRow, readUsage, updateRow, writeJob } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { imageKey } from '../../src/job/image-key.ts';
import type { Job, JobRecord } from '../../src/job/job.ts';
import {
  call,
  createJob,
  idsOf,
  imageOf,
  lastIdOf,
  openAccount,
  type SeenEvent,
  SMALL,
  watch,
  watchAll,
} from './call.ts';
import { enterJob } from './enter.ts';

const FOX = { prompt: 'a fox on a blue background', ...SMALL, preset: '7x', seed: 3 };
const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;
const rowOf = (id: string) => runInDurableObject(stubOf(id), ({ rows }) => readRow(rows) as JobRecord);

/** Ends the object's incarnation as a crash would; the call that does it fails with it. */
const crash = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), (_, state) => state.abort('crashed by a test')).catch(() => {});

/** Gives the living object a bucket with faults; all it does not name goes to the real one. */
const withBucket = (id: string, faults: Partial<Pick<R2Bucket, 'put' | 'delete'>>): Promise<void> =>
  runInDurableObject(stubOf(id), (instance) => {
    const bucket = { put: env.IMAGES.put.bind(env.IMAGES), delete: env.IMAGES.delete.bind(env.IMAGES), ...faults };
    Object.defineProperty(instance, 'env', { value: { ...env, IMAGES: bucket }, configurable: true });
  });

/** Watches to the end, whatever breaks the stream, and returns every event once. */
async function watchThrough(id: string, onEvent: (event: SeenEvent) => Promise<void>): Promise<readonly SeenEvent[]> {
  const events: SeenEvent[] = [];
  for (let connections = 0; connections < 50; connections++) {
    try {
      for await (const event of watch(id, lastIdOf(events))) {
        events.push(event);
        await onEvent(event);
      }
    } catch {
      // the object was reset under the stream: go on from the last event
    }
    if (['done', 'failed', 'cancelled'].includes(events.at(-1)?.type ?? '')) return events;
  }
  throw new Error(`the job never ended: ${JSON.stringify(events.map(({ type }) => type))}`);
}

/** A backend that is not there, and a moment ago was, and served what the other one serves. */
const GONE = { id: 'gone', url: 'http://127.0.0.1:1' };
async function rememberGone(): Promise<void> {
  const [local] = JSON.parse(env.BACKENDS) as { url: string }[];
  const models = (url: string | undefined) => new Request(new URL('/v1/models', url).href);
  const said = await caches.default.match(models(local?.url));
  if (said) await caches.default.put(models(GONE.url), said);
}

/** The dispatcher cannot be reached: jobs choose a server of their own. */
const AWAY = {
  getByName(): never {
    throw new Error('the dispatcher is away');
  },
};

/** A job that begins at the backend that is not there, `alone` or beside the one that is; resolves to its id. */
async function createAtGone(body: Readonly<Record<string, unknown>>, alone = false): Promise<string> {
  const { account, plan, request } = await rowOf((await createJob(body)).id);
  await rememberGone();
  const id = await newJobId(env.SIGNING_SECRET);
  await enterJob(account, id);
  await runInDurableObject(stubOf(id), async (instance) => {
    const BACKENDS = JSON.stringify(alone ? [GONE] : [GONE, ...JSON.parse(env.BACKENDS)]);
    const value = { ...env, BACKENDS, DISPATCHERS: AWAY };
    Object.defineProperty(instance, 'env', { value, configurable: true });
    await instance.create({ id, account, request, plan, ...ALONE });
  });
  return id;
}

let undisturbed: Promise<Uint8Array> | undefined;
const reference = () => {
  undisturbed ??= createJob(FOX).then(async ({ id }) => {
    await watchAll(id);
    return imageOf(id);
  });
  return undisturbed;
};

/** Lets an ended job's time be over. */
const expireNow = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), ({ rows }) => {
    const letters = rows.list('letters') ?? [];
    rows.setList(
      'letters',
      letters.map((letter) => (letter.kind === 'expire' ? { ...letter, dueAt: Date.now() - 1 } : letter)),
    );
  });

const tablesOf = (id: string) =>
  runInDurableObject(stubOf(id), (_, state) =>
    state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'job'").toArray(),
  );

/** What a job started here leaves to others. */
const ALONE = { deadlineSeconds: null, webhook: null } as const;

describe('an object that is lost goes on where it was and ends in the same bytes', () => {
  const moments: [string, (event: SeenEvent) => boolean][] = [
    ['at its plan', ({ type }) => type === 'plan'],
    ...[1, 2, 3].map((stage): [string, (event: SeenEvent) => boolean] => [
      `when stage ${stage} goes out`,
      (event) => event.type === 'stage' && event.data.stage === stage,
    ]),
    ...[1, 2, 3].map((stage): [string, (event: SeenEvent) => boolean] => [
      `inside stage ${stage}`,
      (event) => event.type === 'stage' && event.data.stage === stage,
    ]),
    ...[1, 2, 3].map((stage): [string, (event: SeenEvent) => boolean] => [
      `when steps of stage ${stage} are told`,
      (event) => event.type === 'step' && event.data.stage === stage,
    ]),
    ['at a preview', ({ type }) => type === 'preview'],
    ['at the selection', ({ type }) => type === 'selection'],
  ];

  test.each(moments)('aborted %s', async (name, isMoment) => {
    const { id } = await createJob(FOX);
    let isLost = false;
    const events = await watchThrough(id, async (event) => {
      if (isLost || !isMoment(event)) return;
      isLost = true;
      // its request is at the stage server by then
      if (name.startsWith('inside')) await new Promise((resolve) => setTimeout(resolve, 15));
      await crash(id);
    });
    expect(isLost).toBe(true);
    expect(events.at(-1)?.type).toBe('done');
    expect(idsOf(events)).toEqual(idsOf(events).map((_, i) => i + 1));
    expect(await imageOf(id)).toEqual(await reference());
  });

  test('evicted while it waits between attempts, and again after it is done', async () => {
    const id = await createAtGone(FOX, true);
    await expect.poll(async () => (await rowOf(id)).notBefore, { timeout: 5000, interval: 10 }).toBeGreaterThan(0);
    expect((await rowOf(id)).room).toEqual({ name: 'stage', stage: 1 });
    await evictDurableObject(stubOf(id));
    const events = await watchAll(id);
    expect(events.filter(({ type }) => type === 'retry').length).toBeGreaterThan(0);
    expect(await imageOf(id)).toEqual(await reference());
    await evictDurableObject(stubOf(id));
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({ status: 'done' });
    expect(await imageOf(id)).toEqual(await reference());
  });

  test('lost in every stage, twice each', async () => {
    const { id } = await createJob(FOX);
    const lost = [0, 0, 0];
    const events = await watchThrough(id, async (event) => {
      if (event.type !== 'stage' || lost[event.data.stage - 1] === 2) return;
      lost[event.data.stage - 1] = (lost[event.data.stage - 1] as number) + 1;
      await crash(id);
    });
    expect(events.at(-1)?.type).toBe('done');
    expect(lost).toEqual([2, 2, 2]);
    expect(await imageOf(id)).toEqual(await reference());
  });

  test('a stage cut off goes back to the server that runs it, and one that failed goes to the next', async () => {
    for (const [create, retries] of [
      [async () => (await createJob(FOX)).id, []],
      [() => createAtGone(FOX), ['unreachable']],
    ] as const) {
      const id = await create();
      let isLost = false;
      const events = await watchThrough(id, async (event) => {
        if (isLost || event.type !== 'step') return;
        isLost = true;
        await crash(id);
      });
      const ofStage1 = events.filter(({ type, data }) => type === 'retry' && 'stage' in data && data.stage === 1);
      expect(ofStage1.map(({ data }) => (data as { reason: string }).reason)).toEqual(retries);
      expect(await imageOf(id)).toEqual(await reference());
    }
  });

  test('a server where a request came to nothing is told to stop it, until it has heard', async () => {
    const id = await createAtGone(FOX);
    await watchAll(id);
    const letters = () => runInDurableObject(stubOf(id), ({ rows }) => lettersOf(rows, 'forget'));
    await expect.poll(async () => (await letters()).map(({ tries }) => tries > 0), { timeout: 5000 }).toContain(true);
    expect(new Set((await letters()).map(({ payload }) => payload.backend))).toEqual(new Set(['gone']));
  });

  test('a job whose stage is cut off every time ends when its patience does, not in a circle', async () => {
    const { id } = await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1] });
    let crashes = 0;
    const events = await watchThrough(id, async (event) => {
      if (event.type !== 'stage') return;
      crashes++;
      // the second time it has had no result for longer than QUEUE_SECONDS
      if (crashes === 2)
        await runInDurableObject(stubOf(id), ({ rows }) => updateRow(rows, { busySince: Date.now() - 86_401_000 }));
      await crash(id);
    });
    expect(crashes).toBe(2);
    expect(events.at(-1)).toMatchObject({ type: 'failed', data: { reason: 'interrupted', stage: 1, attempts: 2 } });
  });
});

describe('what must happen once happens once', () => {
  test('a second create with the same id changes nothing', async () => {
    const { id } = await createJob(FOX);
    const row = await rowOf(id);
    const again = await stubOf(id).create({
      id,
      account: row.account,
      request: { ...row.request, prompt: 'something else' },
      plan: row.plan,
      ...ALONE,
    });
    expect(again).toMatchObject({ id, prompt: FOX.prompt });
    await watchAll(id);
    expect(await imageOf(id)).toEqual(await reference());
  });

  test('two alarms at once give one job, one usage a stage and the same bytes', async () => {
    const { id } = await createJob(FOX);
    await runInDurableObject(stubOf(id), (instance) => Promise.all([instance.alarm(), instance.alarm()]));
    const events = await watchAll(id);
    expect(events.filter(({ type }) => type === 'done')).toHaveLength(1);
    expect(events.filter(({ type }) => type === 'selection')).toHaveLength(1);
    const usage = await runInDurableObject(stubOf(id), ({ rows }) => readUsage(rows));
    expect(usage.map(({ stage }) => stage)).toEqual([1, 2, 3]);
    expect(await imageOf(id)).toEqual(await reference());
  });

  test('an answer that comes after the cancel changes nothing and leaves no image', async () => {
    const { id } = await createJob({ ...FOX, prompt: 'a slow fox' });
    for await (const event of watch(id)) {
      if (event.type !== 'step' || event.data.stage !== 3 || event.data.step !== 4) continue;
      // the last stage's answer is on its way: the last step is over by now, and the picture takes its time
      await new Promise((resolve) => setTimeout(resolve, 150));
      await stubOf(id).cancel((await rowOf(id)).account);
    }
    await runDurableObjectAlarm(stubOf(id));
    const row = await rowOf(id);
    expect(row).toMatchObject({ room: { name: 'cancelled' }, image: null });
    expect(row.receipt?.stages.map(({ stage }) => stage)).toEqual([1, 2]);
    expect(await env.IMAGES.head(imageKey(id, 'png'))).toBeNull();
    expect(
      await runInDurableObject(stubOf(id), (_, state) =>
        state.storage.sql.exec('SELECT COUNT(*) AS count FROM job WHERE key < 0').one(),
      ),
    ).toEqual({ count: 0 });
  });

  test('a job erased in the middle of a stage begins no other and leaves nothing behind', async () => {
    const { id } = await createJob(FOX);
    const events: SeenEvent[] = [];
    for await (const event of watch(id)) {
      events.push(event);
      if (event.type === 'stage' && event.data.stage === 2)
        expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    }
    expect(events.filter(({ type }) => type === 'stage' || type === 'retry')).toHaveLength(2);
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
  });

  test('a job erased while its image is on the way to a slow bucket leaves no image behind', async () => {
    const { id } = await createJob(FOX);
    const putting = Promise.withResolvers<void>();
    await withBucket(id, {
      async put(...args) {
        putting.resolve();
        await new Promise((resolve) => setTimeout(resolve, 500));
        return env.IMAGES.put(...args);
      },
    });
    await putting.promise;
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
    expect(await env.IMAGES.head(imageKey(id, 'png'))).toBeNull();
  });
});

describe('a bucket that fails', () => {
  test('when the image is stored: the stage is tried again and the job ends well', async () => {
    const { id } = await createJob(FOX);
    let failures = 2;
    await withBucket(id, {
      put(...args) {
        if (failures-- > 0) throw new Error('the bucket is away');
        return env.IMAGES.put(...args);
      },
    });
    const events = await watchAll(id);
    expect(
      events.filter(({ type }) => type === 'retry').map(({ data }) => (data as { reason: string }).reason),
    ).toEqual(['storage_failed', 'storage_failed']);
    expect(await imageOf(id)).toEqual(await reference());
  });

  test('when an expired job is removed: it is removed when the bucket is back', async () => {
    const { id } = await createJob(FOX);
    await watchAll(id);
    await withBucket(id, {
      delete() {
        throw new Error('the bucket is away');
      },
    });
    await expireNow(id);
    await runDurableObjectAlarm(stubOf(id));
    // the job itself is gone at once
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
    expect(await env.IMAGES.head(imageKey(id, 'png'))).not.toBeNull();
    await withBucket(id, {});
    await runInDurableObject(stubOf(id), ({ rows }) => hastenLetters(rows, 'picture', Date.now()));
    await runInDurableObject(stubOf(id), (instance) => instance.alarm());
    expect(await env.IMAGES.head(imageKey(id, 'png'))).toBeNull();
    expect(await tablesOf(id)).toEqual([]);
  });

  test('when a job is erased: nobody sees it any more, the answer says that the picture is still there, and asking again removes it', async () => {
    const { id } = await createJob(FOX);
    await watchAll(id);
    await withBucket(id, {
      delete() {
        throw new Error('the bucket is away');
      },
    });
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(500);
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
    expect((await call(`/v1/jobs/${id}/image`)).status).toBe(404);
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE', key: await openAccount() })).status).toBe(404);
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(500);
    await withBucket(id, {});
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    expect(await env.IMAGES.head(imageKey(id, 'png'))).toBeNull();
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(404);
    expect(await tablesOf(id)).toEqual([]);
  });
});

describe('time and storage', () => {
  test('a finished job is erased, with its image, when its time is over and not before', async () => {
    const { id } = await createJob(FOX);
    await watchAll(id);
    const { expiresAt, finishedAt } = await rowOf(id);
    expect((expiresAt as number) - (finishedAt as number)).toBe(24 * 3_600_000);
    await runDurableObjectAlarm(stubOf(id));
    expect((await call(`/v1/jobs/${id}`)).status).toBe(200);
    await expireNow(id);
    await runDurableObjectAlarm(stubOf(id));
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
    expect(await tablesOf(id)).toEqual([]);
    expect(await env.IMAGES.head(imageKey(id, 'png'))).toBeNull();
  });

  test('asking for a job that never was leaves no tables behind', async () => {
    const id = `job_${'a'.repeat(32)}`;
    expect((await call(`/v1/jobs/${id}`)).status).toBe(404);
    expect(await runInDurableObject(stubOf(id), (_, state) => state.storage.sql.databaseSize)).toBeLessThanOrEqual(
      4096,
    );
    expect(
      await runInDurableObject(stubOf(id), (_, state) =>
        state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'job'").toArray(),
      ),
    ).toEqual([]);
  });

  test('latents of FLUX at 1024² are stored in rows of at most 1.5 MiB and come back the same', async () => {
    const { id } = await createJob(FOX);
    await watchAll(id);
    await runInDurableObject(stubOf(id), ({ rows }) => {
      rows.update({ room: { name: 'select' } });
      const row = readRow(rows) as JobRecord;
      const before = readJob(rows, row);
      const n = 4096;
      const tokens = {
        latents: Float32Array.from({ length: n * 64 }, (_, i) => Math.sin(i)),
        imgIds: Float32Array.from({ length: n * 3 }, (_, i) => i / 2),
        scale: new Uint8Array(n).fill(1),
      };
      const rgb = { data: Uint8Array.from({ length: 1024 * 1024 * 3 }, (_, i) => i), width: 1024, height: 1024 };
      const after: Job = { ...before, tokens, rgb };
      writeJob(rows, before, after);
      const sizes = rows.sql.exec<{ size: number }>('SELECT LENGTH(data) AS size FROM job WHERE key < 0').toArray();
      expect(sizes.length).toBeGreaterThan(2);
      expect(Math.max(...sizes.map(({ size }) => size))).toBeLessThanOrEqual(MAX_ROW_BYTES);
      const back = readJob(rows, row);
      expect(back.tokens).toEqual(tokens);
      expect(back.rgb?.data.every((value, i) => value === rgb.data[i])).toBe(true);
    });
  });

  test('an event too long for a row is refused before it is stored', async () => {
    const { id } = await createJob(FOX);
    await watchAll(id);
    await runInDurableObject(stubOf(id), ({ rows }) => {
      const picture = { format: 'png', width: 1, height: 1, b64_json: 'A'.repeat(MAX_ROW_BYTES) } as const;
      expect(() => appendEvents(rows, [{ type: 'preview', data: { stage: 1, ...picture } }], 0)).toThrow(RangeError);
    });
  });
});
