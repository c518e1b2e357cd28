/** A job on its way from room to room: what is stored, and when. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { readEvents } from '../../durable-objects/job/event-tables.ts';
import { readRow, readUsage } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import type { Released, Slot, SlotAnswer, SlotRequest } from '../../src/fleet/slots.ts';
import type { JobRecord } from '../../src/job/job.ts';
import type { DispatcherCalls, Remote } from '../../src/job/rpc.ts';
import { roomName } from '../../src/job/story.ts';
import { call, createJob, SMALL, watchAll } from './call.ts';
import { enterJob } from './enter.ts';

const stubOf = (id: string): DurableObjectStub<JobObject> => env.JOBS.getByName(id);

/** Where a job stood after each transaction: room, requests sent, stages stored. */
type Stand = `${string} sent ${number} stored ${number}`;

/** A new job like one that is done, with its dispatcher as `change` makes it, not created yet. */
async function newJob(change: (dispatcher: Remote<DispatcherCalls>) => object) {
  const { id: first } = await createJob({ prompt: 'a fox', ...SMALL, preset: '7x', seed: 7 });
  await watchAll(first);
  const row = await runInDurableObject(stubOf(first), ({ rows }) => readRow(rows) as JobRecord);
  const id = await newJobId(env.SIGNING_SECRET);
  await enterJob(row.account, id);
  const DISPATCHERS = { getByName: (name: string) => change(env.DISPATCHERS.getByName(name)) };
  await runInDurableObject(stubOf(id), (instance) => {
    Object.defineProperty(instance, 'env', { value: { ...env, DISPATCHERS }, configurable: true });
  });
  return { first, id, row: { ...row, id, deadlineSeconds: null, webhook: null } };
}

/** A dispatcher that has a line, and no slot, for those that `waits`. */
const withLine = (waits: (request: SlotRequest) => boolean) => (dispatcher: Remote<DispatcherCalls>) => ({
  async ask(request: SlotRequest): Promise<SlotAnswer> {
    if (!waits(request)) return dispatcher.ask(request);
    if (request.released) await dispatcher.release(request.job, request.released);
    return { kind: 'line', position: 7, etaMs: 60_000, isDown: false };
  },
  release: (job: string, released: Released) => dispatcher.release(job, released),
  leave: (job: string) => dispatcher.leave(job),
});

/** A job like one that is done, with its dispatcher as `change` makes it; where it stood, and its picture. */
async function walked(change: (dispatcher: Remote<DispatcherCalls>) => object) {
  const { first, id, row } = await newJob(change);
  const stands: Stand[] = [];
  await runInDurableObject(stubOf(id), async (instance) => {
    const { rows } = instance;
    const { transact } = rows;
    let depth = 0;
    rows.transact = (work) => {
      depth++;
      const result = transact(work);
      depth--;
      const now = readRow(rows);
      // one inside another is not stored by itself
      if (!now || depth > 0) return result;
      const stand: Stand = `${roomName(now.room)} sent ${now.attempt} stored ${readUsage(rows).length}`;
      if (stands.at(-1) !== stand) stands.push(stand);
      return result;
    };
    await instance.create(row);
  });
  expect((await watchAll(id)).at(-1)?.type).toBe('done');
  const pictures = await Promise.all(
    [first, id].map(async (one) => new Uint8Array(await (await call(`/v1/jobs/${one}/image`)).arrayBuffer())),
  );
  expect(pictures[1]).toEqual(pictures[0]);
  return stands;
}

test('a stage is stored together with the beginning of the next, whose slot is there', async () => {
  expect(await walked((dispatcher) => dispatcher)).toEqual([
    'stage1 sent 0 stored 0',
    'stage1 sent 1 stored 0',
    'stage2 sent 2 stored 1',
    'stage3 sent 3 stored 2',
    'done sent 3 stored 3',
  ]);
});

test('a stage whose next has to wait for its slot is stored by itself', async () => {
  const asked: string[] = [];
  const slow = (dispatcher: Remote<DispatcherCalls>) => ({
    async ask(request: SlotRequest) {
      asked.push(request.hasBegun ? 'later stage' : 'first stage');
      if (request.hasBegun) await new Promise((resolve) => setTimeout(resolve, 400));
      return dispatcher.ask(request);
    },
    release: (job: string, released: Released) => dispatcher.release(job, released),
  });
  expect(await walked(slow)).toEqual([
    'stage1 sent 0 stored 0',
    'stage1 sent 1 stored 0',
    'stage2 sent 1 stored 1',
    'stage2 sent 2 stored 1',
    'stage3 sent 2 stored 2',
    'stage3 sent 3 stored 2',
    'done sent 3 stored 3',
  ]);
  // one question a stage
  expect(asked).toEqual(['first stage', 'later stage', 'later stage']);
});

test('a job that waits behind the picture of a stage shows its place', async () => {
  const { id, row } = await newJob(withLine(({ hasBegun }) => hasBegun));
  const at = () =>
    runInDurableObject(stubOf(id), (instance) => ({
      events: readEvents(instance.rows, 0, 99).map(({ type }) => type),
      queue: instance.view(null)?.queue,
    }));
  await runInDurableObject(stubOf(id), (instance) => instance.create(row));
  await expect.poll(async () => (await at()).events).toContain('preview');
  await expect.poll(async () => (await at()).queue).toEqual({ position: 7, eta_ms: 60_000 });
  await stubOf(id).cancel(row.account);
});

test('a stage that goes out after a wait leaves no pause behind for the next incarnation', async () => {
  const { id, row } = await newJob(withLine(() => true));
  const slot: Slot = { lease: 1, backend: 'local', engineClass: null, features: [] };
  await runInDurableObject(stubOf(id), async (instance) => {
    await instance.create(row);
    const now = () => readRow(instance.rows) as JobRecord;
    await expect.poll(() => now().busySince).not.toBeNull();
    expect(now().notBefore).toBeGreaterThan(Date.now());
    expect(instance.turn('test/default', slot)).toBe(true);
    await expect.poll(() => now().attempt, { interval: 1 }).toBe(1);
    expect(now().notBefore).toBe(0);
    await instance.cancel(row.account);
  });
});
