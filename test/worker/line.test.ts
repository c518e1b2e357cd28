/** A job in the line of its dispatcher: called, ended while its object sleeps, told twice of its slot. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import type { DispatcherObject } from '../../durable-objects/dispatcher.ts';
import { heard } from '../../durable-objects/isolate.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import type { Said } from '../../src/fleet/said.ts';
import type { SlotRequest } from '../../src/fleet/slots.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { needsOf } from '../../src/job/plan.ts';
import { call, createJob, SMALL, watchAll } from './call.ts';
import { enterJob } from './enter.ts';

const SLOTS = 64;
const FOX = { prompt: 'a fox', ...SMALL, preset: '7x', seed: 7 } as const;
const openDispatcher = (name: string) =>
  env.DISPATCHERS.getByName(name) as unknown as DurableObjectStub<DispatcherObject>;
let dispatcher = openDispatcher('test/default');
/** The dispatcher begins anew. While somebody waits it is never put to sleep: it has a timer. */
async function restartDispatcher(): Promise<void> {
  await runInDurableObject(dispatcher, (_, state) => state.abort('ended by a test')).catch(() => {});
  dispatcher = openDispatcher('test/default');
}
const stubOf = (id: string): DurableObjectStub<JobObject> => env.JOBS.getByName(id);
const inLine = async (): Promise<number> =>
  (await dispatcher.demand()).lines.reduce((sum, { waiting }) => sum + waiting, 0);

const heldHere = async (): Promise<number | undefined> =>
  (await dispatcher.demand()).servers.find(({ id: server }) => server === 'local')?.held;

/** Slots that others hold. */
const held: { readonly job: string; readonly lease: number }[] = [];
const requests = new Map<string, SlotRequest>();

/** Others take every slot, for stages like those of a job that is done. */
async function takeAllSlots(): Promise<void> {
  const { id } = await createJob(FOX);
  await watchAll(id);
  // whoever watches hears of the end before the dispatcher does
  await expect.poll(heldHere).toBe(0);
  const needs = await runInDurableObject(stubOf(id), ({ rows }) => needsOf((rows.record() as JobRecord).plan));
  for (let i = 0; i < SLOTS; i++) {
    const request: SlotRequest = {
      job: `other${held.length}`,
      account: 'others',
      needs,
      engine: null,
      tflops: 1,
      restTflops: 1,
      hasBegun: false,
      since: Date.now(),
      last: null,
      movingTflops: 0,
      tried: [],
      released: null,
    };
    requests.set(request.job, request);
    const answer = await dispatcher.ask(request);
    if (answer.kind !== 'slot') throw new Error(`no slot for ${request.job}: ${answer.kind}`);
    held.push({ job: request.job, lease: answer.slot.lease });
  }
}

const giveBack = async (count = held.length): Promise<void> => {
  for (const { job, lease } of held.splice(0, count))
    await dispatcher.release(job, { lease, outcome: { kind: 'dropped' } });
};
afterEach(() => giveBack());

test('a job that ends while its object sleeps in line stands there no longer', async () => {
  await takeAllSlots();
  const { id } = await createJob(FOX);
  await expect.poll(inLine).toBe(1);
  await evictDurableObject(stubOf(id));
  expect((await call(`/v1/jobs/${id}/cancel`, { method: 'POST' })).status).toBe(200);
  await expect.poll(inLine).toBe(0);
});

test('a job in line is called when a slot is free, also where its object slept, and ends well', async () => {
  await takeAllSlots();
  const { id } = await createJob(FOX);
  const waits = () => runInDurableObject(stubOf(id), ({ rows }) => (rows.record()?.busySince ?? null) !== null);
  await expect.poll(waits).toBe(true);
  await evictDurableObject(stubOf(id));
  await giveBack(1);
  const events = await watchAll(id);
  expect(events.at(-1)?.type).toBe('done');
  expect(events.filter(({ type, data }) => type === 'queued' && 'stage' in data && data.stage === 1)).toHaveLength(1);
});

test('a job is as old as its entry in the account, whenever its object came: that is its place in the line', async () => {
  const { id } = await createJob(FOX);
  const accountId = await runInDurableObject(stubOf(id), ({ rows }) => (rows.record() as JobRecord).account);
  const account = env.ACCOUNTS.getByName(accountId) as unknown as DurableObjectStub<AccountObject>;
  const [entry] = await runInDurableObject(account, (_, { storage }) =>
    storage.sql.exec<{ created_at: number }>('SELECT created_at FROM job WHERE id = ?', id).toArray(),
  );
  const createdAt = () => runInDurableObject(stubOf(id), ({ rows }) => rows.record()?.createdAt);
  expect(await createdAt()).toBe(entry?.created_at);
  await watchAll(id);
});

test('a job that is told of the slot it holds keeps it, and refuses another', async () => {
  const { id } = await createJob({ ...FOX, preset: undefined, N: [900], e: [1] });
  await expect.poll(heldHere).toBe(1);
  const answers = await runInDurableObject(stubOf(id), async (instance) => {
    const slot = { lease: 1, backend: 'local', engineClass: null, features: [] };
    return [instance.turn('test/default', slot), instance.turn('elsewhere/default', slot)];
  });
  expect(answers).toEqual([false, false]);
  await call(`/v1/jobs/${id}`, { method: 'DELETE' });
});

test('a job in line stores nothing more however long it waits, and whoever looks at it sets no alarm', async () => {
  await takeAllSlots();
  const { id } = await createJob(FOX);
  const state = () =>
    runInDurableObject(stubOf(id), async ({ rows }, { storage }) => ({
      busySince: rows.record()?.busySince ?? null,
      notBefore: rows.record()?.notBefore ?? 0,
      events: rows.numEvents(),
      alarm: await storage.getAlarm(),
    }));
  await expect.poll(async () => (await state()).busySince).not.toBe(null);
  // the alarm of when it was created
  await runDurableObjectAlarm(stubOf(id));
  const first = await state();
  expect(first.alarm).toBe(first.notBefore);
  expect(first.notBefore - (first.busySince as number)).toBe(30_000);
  for (let i = 0; i < 3; i++) {
    await evictDurableObject(stubOf(id));
    expect((await call(`/v1/jobs/${id}`)).status).toBe(200);
    expect(await state()).toEqual(first);
  }
  // half a minute later
  await runInDurableObject(stubOf(id), ({ rows }) => {
    rows.update({ busySince: Date.now() - 30_000, notBefore: Date.now() - 1 });
  });
  const before = await state();
  await runDurableObjectAlarm(stubOf(id));
  const { alarm, ...stored } = await state();
  expect({ ...stored, alarm: before.alarm }).toEqual(before);
  expect((alarm as number) - (before.busySince as number)).toBeGreaterThanOrEqual(90_000);
  expect((alarm as number) - (before.busySince as number)).toBeLessThan(95_000);
  await call(`/v1/jobs/${id}`, { method: 'DELETE' });
});

test('an object that begins anew with its alarm gone looks by itself', async () => {
  await takeAllSlots();
  const { id } = await createJob(FOX);
  const alarmOf = () => runInDurableObject(stubOf(id), (_, { storage }) => storage.getAlarm());
  await expect.poll(inLine).toBe(1);
  await runInDurableObject(stubOf(id), (_, { storage }) => storage.deleteAlarm());
  await evictDurableObject(stubOf(id));
  expect(await alarmOf()).toBe(null);
  await expect.poll(alarmOf, { timeout: 5000 }).not.toBe(null);
  await call(`/v1/jobs/${id}`, { method: 'DELETE' });
});

test('a dispatcher that begins anew with a line keeps the slots that are held until they are renewed', async () => {
  await takeAllSlots();
  const { id } = await createJob(FOX);
  await expect.poll(inLine).toBe(1);
  // a line is written when it has lasted ten seconds
  await runInDurableObject(dispatcher, (_, { storage }) => storage.kv.delete('desk'));
  const written = () => runInDurableObject(dispatcher, (_, { storage }) => storage.kv.get('desk') !== undefined);
  const renewAll = async () => {
    for (const { job, lease } of held) {
      const slot = { lease, backend: 'local', engineClass: null, features: [] };
      await dispatcher.renew({ ...(requests.get(job) as SlotRequest) }, slot);
    }
  };
  await expect
    .poll(
      async () => {
        await renewAll();
        return written();
      },
      { timeout: 15_000, interval: 1000 },
    )
    .toBe(true);
  await restartDispatcher();
  const view = async () => (await dispatcher.demand()).servers.find(({ id: server }) => server === 'local')?.held;
  expect(await view()).toBe(0);
  // nobody has said yet that it holds a slot, and none is given
  await dispatcher.leave('nobody');
  expect([await view(), await inLine()]).toEqual([0, 1]);
  await renewAll();
  expect(await view()).toBe(SLOTS);
  await giveBack(1);
  const events = await watchAll(id);
  expect(events.at(-1)?.type).toBe('done');
}, 40_000);

/** It has waited so long that its next look is minutes away. */
const hasWaited = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), async ({ rows }, { storage }) => {
    rows.update({ busySince: Date.now() - 151_000, notBefore: Date.now() - 1 });
    await storage.deleteAlarm();
  });
const isOver = (id: string) => runInDurableObject(stubOf(id), ({ rows }) => rows.record()?.room.name === 'done');
/** Less than any alarm of a dispatcher, and than a lease. */
const SOON = { timeout: 15_000 };

test('a slot whose job is dead goes on as soon as its lease is over, without any alarm', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 26_000 });
  await takeAllSlots();
  vi.useRealTimers();
  const { id } = await createJob(FOX);
  await expect.poll(inLine).toBe(1);
  await runInDurableObject(dispatcher, (_, { storage }) => storage.deleteAlarm());
  await hasWaited(id);
  await expect.poll(() => isOver(id), SOON).toBe(true);
});

test('a job whose place was not written is called by the dispatcher that begins anew', async () => {
  await takeAllSlots();
  const { id } = await createJob(FOX);
  await expect.poll(inLine).toBe(1);
  await hasWaited(id);
  const request = { ...(requests.get(held[0]?.job as string) as SlotRequest), job: 'before' };
  await runInDurableObject(dispatcher, (_, { storage }) => {
    storage.kv.put('desk', { servers: [], line: [request], at: Date.now() });
    storage.kv.put('behind', ['nobody', id]);
  });
  await restartDispatcher();
  await dispatcher.demand();
  await expect.poll(() => isOver(id), SOON).toBe(true);
});

test('a job whose servers all go out while it waits asks elsewhere at once', async () => {
  await takeAllSlots();
  const { id: first } = await createJob({ ...FOX, seed: 8 });
  const row = await runInDurableObject(stubOf(first), ({ rows }) => rows.record() as JobRecord);
  await call(`/v1/jobs/${first}`, { method: 'DELETE' });
  const id = await newJobId(env.SIGNING_SECRET);
  await enterJob(row.account, id);
  const [local] = JSON.parse(env.BACKENDS) as { url: string }[];
  const BACKENDS = JSON.stringify([local, { ...local, id: 'far', pool: 'far' }]);
  const value = { ...env, BACKENDS, BACKEND_TOKEN_FAR: (env as { BACKEND_TOKEN_LOCAL?: string }).BACKEND_TOKEN_LOCAL };
  const far = openDispatcher('test/far');
  await runInDurableObject(stubOf(id), async (instance) => {
    Object.defineProperty(instance, 'env', { value, configurable: true });
    await instance.create({ ...row, id, deadlineSeconds: null, webhook: null });
  });
  await expect.poll(inLine).toBe(1);
  await hasWaited(id);
  await runInDurableObject(far, (instance) => {
    Object.defineProperty(instance, 'env', { value, configurable: true });
  });
  const outcome = { kind: 'wrong', what: 'answered 500' } as const;
  await runInDurableObject(dispatcher, (instance) =>
    Promise.all(held.splice(0, 3).map(({ job, lease }) => instance.release(job, { lease, outcome }))),
  );
  await expect.poll(() => isOver(id), SOON).toBe(true);
  const { stages } = row.plan;
  await expect.poll(async () => (await far.demand()).servers[0]?.stages.done).toBe(stages.length);
  // well again for whoever comes next
  await runInDurableObject(dispatcher, (_, { storage }) => storage.kv.delete('desk'));
  await restartDispatcher();
});

test('jobs hear within half a minute of a server that has again what they wait for, in line and out of it', async () => {
  await takeAllSlots();
  const { id: inLineFor } = await createJob(FOX);
  await expect.poll(inLine).toBe(1);
  const row = await runInDurableObject(stubOf(inLineFor), ({ rows }) => rows.record() as JobRecord);
  // the server began anew with nothing that they want, was heard, and is well a moment later
  const { said } = heard.of(env.BACKENDS);
  const { list, ...before } = said.get('local') as Said;
  const now = Date.now();
  said.set('local', { ...before, list: list && { ...list, models: [] }, listedAt: now, askedAt: now });
  const outOfLine = await newJobId(env.SIGNING_SECRET);
  await enterJob(row.account, outOfLine);
  await runInDurableObject(stubOf(outOfLine), (instance) =>
    instance.create({ ...row, id: outOfLine, deadlineSeconds: null, webhook: null }),
  );
  const waits = () => runInDurableObject(stubOf(outOfLine), ({ rows }) => (rows.record()?.busySince ?? null) !== null);
  await expect.poll(waits).toBe(true);
  for (const id of [inLineFor, outOfLine]) await hasWaited(id);
  await giveBack();
  expect(await inLine()).toBe(1);
  await runInDurableObject(dispatcher, (_, { storage }) => storage.deleteAlarm());
  await expect.poll(() => isOver(inLineFor), { timeout: 30_000, interval: 500 }).toBe(true);
  await expect.poll(() => isOver(outOfLine), SOON).toBe(true);
  // no row was written for it
  expect(await runInDurableObject(dispatcher, (_, { storage }) => storage.getAlarm())).toBe(null);
}, 60_000);
