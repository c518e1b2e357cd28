/** What an ended job's object tells a queue, and what it does with letters that an earlier version left. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { hastenLetters, lettersOf, rewriteLetter, type StoredLetter } from '../../durable-objects/job/outbox-tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import type { UsageEvent } from '../../src/billing/usage-event.ts';
import { configurationFault } from '../../src/http/configuration.ts';
import type { LetterKind } from '../../src/job/outbox.ts';
import { call, createJob, KEY, SMALL, watchAll } from './call.ts';

const FOX = { prompt: 'a fox on a blue background', ...SMALL, preset: '7x', seed: 5 };
const stubOf = (id: string) => env.JOBS.getByName(id) as DurableObjectStub<JobObject>;

/** Replaces a part of what the living object was given. */
const withEnv = (id: string, changes: Readonly<Record<string, unknown>>): Promise<void> =>
  runInDurableObject(stubOf(id), (instance) => {
    Object.defineProperty(instance, 'env', { value: { ...env, ...changes }, configurable: true });
  });

/** Ends the object's incarnation as a crash would; the call that does it fails with it. */
const crash = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), (_, state) => state.abort('crashed by a test')).catch(() => undefined);

const kindsOf = (id: string) =>
  runInDurableObject(stubOf(id), ({ rows }) => rows.list('letters')?.map(({ kind }) => kind));

/** Letters of this kind go out now. */
const deliver = (id: string, kind: LetterKind) =>
  runInDurableObject(stubOf(id), async (instance) => {
    hastenLetters(instance.rows, kind, Date.now());
    await instance.alarm();
  });

/** A queue that takes nothing for `failures` messages. */
function queue(failures: number) {
  const sent: { readonly event: UsageEvent; readonly options: unknown }[] = [];
  let left = failures;
  const send = async (event: UsageEvent, options: unknown): Promise<void> => {
    if (left-- > 0) throw new Error('Queue is overloaded.');
    sent.push({ event, options });
  };
  return { sent, binding: { send } };
}

/** An account that lets jobs begin and does not hear of their ends. */
const DEAF = { getByName: () => ({ confirm: () => 'held', ended: () => Promise.reject(new Error('away')) }) };

describe('a queue', () => {
  test('has the event of each job once it takes it, after the account has taken the end', async () => {
    const { id } = await createJob({ ...FOX, user: 'ann' });
    const { sent, binding } = queue(1);
    await withEnv(id, { EVENTS: binding });
    await watchAll(id);
    await expect.poll(() => kindsOf(id)).toEqual(['expire', 'event']);
    expect(sent).toEqual([]);
    await deliver(id, 'event');
    expect(sent).toMatchObject([
      {
        event: {
          specversion: '1.0',
          id,
          source: 'ralu',
          data: { key: KEY.slice(26, 34), user: 'ann', status: 'done', width: 256, height: 256 },
        },
        options: { contentType: 'json' },
      },
    ]);
    const { cost } = await (await call(`/v1/jobs/${id}`)).json<{ cost: { usd: string } }>();
    expect(sent[0]?.event.data).toMatchObject({ cost_usd: cost.usd });
    expect(sent[0]?.event.data.tflops_paid).toBeGreaterThan(0);
    expect(sent[0]?.event.data.tflops_paid).toBe(sent[0]?.event.data.tflops_done);
    expect(JSON.stringify(sent)).not.toContain('fox');
    expect(await kindsOf(id)).toEqual(['expire']);
  });

  test('hears of a job that is erased before it takes anything; then nothing of the job is left', async () => {
    const { id } = await createJob({ ...FOX, seed: 6 });
    const { sent, binding } = queue(2);
    await withEnv(id, { EVENTS: binding });
    await watchAll(id);
    await expect.poll(() => kindsOf(id)).toEqual(['expire', 'event']);
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    await expect.poll(() => kindsOf(id)).toEqual(['event']);
    await deliver(id, 'event');
    await deliver(id, 'event');
    expect(sent.map(({ event }) => event.id)).toEqual([id]);
    const tables = await runInDurableObject(stubOf(id), (_, state) =>
      state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'job'").toArray(),
    );
    expect(tables).toEqual([]);
  });
});

test('a row that breaks before the end was told takes nothing of it: the job is charged, and its event says so', async () => {
  const { id } = await createJob({ ...FOX, seed: 8 });
  const { sent, binding } = queue(0);
  await withEnv(id, { ACCOUNTS: DEAF, EVENTS: binding });
  await watchAll(id);
  await expect.poll(() => kindsOf(id)).toEqual(['ended', 'expire']);
  const { cost } = await (await call(`/v1/jobs/${id}`)).json<{ cost: { usd: string } }>();
  await runInDurableObject(stubOf(id), (_, state) => void state.storage.sql.exec("UPDATE job SET plan = 'x'"));
  await crash(id);
  await withEnv(id, { ACCOUNTS: DEAF, EVENTS: binding });
  expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({ status: 'failed' });
  await withEnv(id, { EVENTS: binding });
  await deliver(id, 'ended');
  expect(sent.map(({ event }) => [event.id, event.data.status, event.data.cost_usd])).toEqual([[id, 'done', cost.usd]]);
});

test('an end that an earlier version stored goes to the account, and has no event', async () => {
  const { id } = await createJob({ ...FOX, seed: 7 });
  const { sent, binding } = queue(0);
  await withEnv(id, { ACCOUNTS: DEAF, EVENTS: binding });
  await watchAll(id);
  await expect.poll(() => kindsOf(id)).toEqual(['ended', 'expire']);
  await runInDurableObject(stubOf(id), ({ rows }) => {
    const [{ seq, payload }] = lettersOf(rows, 'ended') as [Extract<StoredLetter, { kind: 'ended' }>];
    rewriteLetter(rows, seq, { ...payload, facts: null });
  });
  await withEnv(id, { EVENTS: binding });
  await deliver(id, 'ended');
  expect(await kindsOf(id)).toEqual(['expire']);
  expect(sent).toEqual([]);
});

describe('a wrong place for events or for Stripe', () => {
  const of = (changes: Partial<Parameters<typeof configurationFault>[0]>) =>
    configurationFault({
      SIGNING_SECRET: 'x'.repeat(32),
      ADMIN_KEY: 'x'.repeat(32),
      PUBLIC_URL: '',
      OLD_KEYS_UNTIL: '',
      TARIFF: '',
      EVENTS_URL: '',
      STRIPE_API_URL: '',
      ...changes,
    });

  test('is named: secrets go over TLS, or stay on this machine', () => {
    for (const url of ['https://sink.example/events', 'http://127.0.0.1:9/x', 'http://localhost:9/'])
      expect([url, of({ EVENTS_URL: url }), of({ STRIPE_API_URL: url })]).toEqual([url, null, null]);
    for (const url of ['http://sink.example/', 'sink', 'https://ann:secret@sink.example/', 'ftp://sink.example/']) {
      expect(of({ EVENTS_URL: url })).toContain('EVENTS_URL');
      expect(of({ STRIPE_API_URL: url })).toContain('STRIPE_API_URL');
    }
  });

  test('of few words is one of them, or empty', () => {
    expect([of({ ENLARGE: 'aliases' }), of({ ENLARGE: 'off' }), of({ ENLARGE: '' })]).toEqual([null, null, null]);
    expect(of({ ENLARGE: 'on' })).toBe('The ENLARGE of this deployment must be aliases or off.');
    expect([of({ METADATA: 'off' }), of({ METADATA: 'yes' })]).toEqual([
      null,
      'The METADATA of this deployment must be on or off.',
    ]);
  });

  test('is two of them', () => {
    expect(of({ EVENTS: queue(0).binding })).toBeNull();
    expect(of({ EVENTS: queue(0).binding, EVENTS_URL: 'https://sink.example/' })).toContain('both EVENTS_URL');
  });
});
