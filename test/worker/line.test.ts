/** A job in the line of its dispatcher: called, ended while its object sleeps, told twice of its slot. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test } from 'vitest';
import type { JobObject } from '../../durable-objects/job.ts';
import type { SlotRequest } from '../../src/fleet/slots.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { needsOf } from '../../src/job/plan.ts';
import { call, createJob, SMALL, watchAll } from './call.ts';

const SLOTS = 64;
const FOX = { prompt: 'a fox', ...SMALL, preset: '7x', seed: 7 } as const;
const dispatcher = env.DISPATCHERS.getByName('test/default');
const stubOf = (id: string): DurableObjectStub<JobObject> => env.JOBS.getByName(id);
const inLine = async (): Promise<number> =>
  (await dispatcher.demand()).lines.reduce((sum, { waiting }) => sum + waiting, 0);

/** Slots that others hold. */
const held: { readonly job: string; readonly lease: number }[] = [];

/** Others take every slot, for stages like those of a job that is done. */
async function takeAllSlots(): Promise<void> {
  const { id } = await createJob(FOX);
  await watchAll(id);
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

test('a job that is told of the slot it holds keeps it, and refuses another', async () => {
  const { id } = await createJob({ ...FOX, preset: undefined, N: [900], e: [1] });
  await expect
    .poll(async () => (await dispatcher.demand()).servers.find(({ id: server }) => server === 'local')?.held)
    .toBe(1);
  const answers = await runInDurableObject(stubOf(id), async (instance) => {
    const slot = { lease: 1, backend: 'local', engineClass: null, features: [] };
    return [instance.turn('test/default', slot), instance.turn('elsewhere/default', slot)];
  });
  expect(answers).toEqual([false, false]);
  await call(`/v1/jobs/${id}`, { method: 'DELETE' });
});
