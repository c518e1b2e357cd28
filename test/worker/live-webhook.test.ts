/** What a webhook is told while its request goes on: pictures of every job, and no row for any of it. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import type { JobRecord } from '../../src/job/job.ts';
import type { NewJob } from '../../src/job/rpc.ts';
import { WEBHOOK_EVENTS, type WebhookEvent } from '../../src/job/webhook.ts';
import { createJob, SMALL, watchAll } from './call.ts';
import { enterJob } from './enter.ts';

const HOOK = 'https://hook.example.com/told';
const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;

interface Told {
  readonly status: string;
  readonly output: readonly string[] | null;
}
/** What each call told the receiver, which is far away. Every other address is as ever. */
let told: Told[];
beforeEach(() => {
  told = [];
  const real = globalThis.fetch;
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    if (String(input) !== HOOK) return real(input, init);
    told.push(JSON.parse(String(init?.body)));
    return new Response(null, { status: 204 });
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** A job of its account that is done, to make others like it. */
async function rowLike(body: object): Promise<JobRecord> {
  const { id } = await createJob({ prompt: 'a fox', ...SMALL, seed: 7, ...body });
  await watchAll(id);
  return runInDurableObject(stubOf(id), ({ rows }) => rows.record() as JobRecord);
}

const hookFor = (events: readonly WebhookEvent[]) =>
  ({ url: HOOK, door: 'replicate', origin: 'http://ralu.test', events }) as const;

/** Makes the job's object, whose webhooks may go anywhere. */
async function make(row: JobRecord, id: string, more: Partial<NewJob>): Promise<void> {
  await enterJob(row.account, id);
  await runInDurableObject(stubOf(id), async (instance) => {
    Object.defineProperty(instance, 'env', { value: { ...env, WEBHOOK_RESOLVER: '' }, configurable: true });
    await instance.create({ ...row, id, deadlineSeconds: null, webhook: null, ...more });
  });
}

test('a picture of another job is told while the first one waits, and none after the end', async () => {
  const row = await rowLike({ preset: '7x' });
  const [first, second, third] = await Promise.all([1, 2, 3].map(() => newJobId(env.SIGNING_SECRET)));
  const jobs = [first, second, third] as [string, string, string];
  const request = { ...row.request, batch: { jobs, inline: false, tellsPictures: true as const } };
  const needy = { ...row.plan, model: { ...row.plan.model, digest: 'nobody has it' } };
  await make(row, jobs[0], { request, plan: needy, webhook: hookFor(['output', 'completed']) });
  const counts = () => told.map(({ output }) => output?.length ?? 0);
  for (const [i, id] of jobs.slice(1).entries()) {
    await make(row, id, { request });
    await watchAll(id);
    await expect.poll(counts, { timeout: 5000 }).toEqual([1, 2].slice(0, i + 1));
  }
  expect(told.map(({ status }) => status)).toEqual(told.map(() => 'processing'));
  await runInDurableObject(stubOf(jobs[0]), (instance) => {
    instance.rows.update({ plan: row.plan, notBefore: 0 });
    instance.askAgain();
  });
  await expect.poll(() => told.at(-1), { timeout: 20_000 }).toMatchObject({ status: 'succeeded' });
  expect(counts()).toEqual([1, 2, 3]);
  // one that was late tells nothing any more
  await stubOf(jobs[0]).pictureMade();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(counts()).toEqual([1, 2, 3]);
});

test('what is told while a job goes on writes no row: as many as where the end alone is told', async () => {
  const row = await rowLike({ N: [40, 40], e: [0.5, 1] });
  /** rows that a job's object wrote, alarms among them, and calls of its webhook */
  async function countWith(
    events: readonly WebhookEvent[],
  ): Promise<{ readonly rows: number; readonly calls: number }> {
    const id = await newJobId(env.SIGNING_SECRET);
    told = [];
    const cursors: SqlStorageCursor<Record<string, SqlStorageValue>>[] = [];
    let alarms = 0;
    await runInDurableObject(stubOf(id), (_, { storage }) => {
      const { sql } = storage;
      const exec = sql.exec.bind(sql);
      vi.spyOn(sql, 'exec').mockImplementation((query, ...values) => {
        const cursor = exec(query, ...values);
        cursors.push(cursor);
        return cursor as never;
      });
      const setAlarm = storage.setAlarm.bind(storage);
      vi.spyOn(storage, 'setAlarm').mockImplementation((at) => {
        alarms++;
        return setAlarm(at);
      });
    });
    await make(row, id, { webhook: hookFor(events) });
    await watchAll(id);
    await expect.poll(() => told.at(-1)?.status, { timeout: 5000 }).toBe('succeeded');
    const written = await runInDurableObject(stubOf(id), () =>
      cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0),
    );
    return { rows: written + alarms, calls: told.length };
  }
  const quiet = await countWith(['completed']);
  const loud = await countWith(WEBHOOK_EVENTS);
  expect(quiet.calls).toBe(1);
  expect(loud.calls).toBeGreaterThan(1);
  expect(quiet.rows).toBeGreaterThan(5);
  expect(loud.rows).toBe(quiet.rows);
});
