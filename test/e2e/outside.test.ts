/**
 * What the outside is told of ended jobs, over real HTTP, where the other side fails, hangs, cuts off or takes things
 * twice, and where everything of ours is killed between.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest';
import { parseUsd } from '../../src/billing/money.ts';
import type { UsageEvent } from '../../src/billing/usage-event.ts';
import type { JobView } from '../../src/job/job.ts';
import type { Letter } from '../../src/job/outbox.ts';
import { type FakeStripe, METER, startStripe } from './fake-stripe.ts';
import { openPayer, type Payer, paidOf, TARIFF } from './paying.ts';
import { type Fault, inTurn, type Receiver, startReceiver } from './receiver.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

// each test needs the stack for itself
vi.setConfig({ maxConcurrency: 1 });

const WORDS = 'a quagga beside a thylacine';
const QUAGGA = { prompt: WORDS, width: 256, height: 256, preset: '7x', seed: 7 };
const TOKEN = 'a-token-for-events';
/** longer than a far side may hang, and the pause after it */
const PATIENCE = { timeout: 25_000, interval: 50 };
const DAY_MS = 24 * 3_600_000;

let sink: Receiver;
let stripe: FakeStripe;
let rig: Rig;
const taken: UsageEvent[] = [];
let sinkFaults: (id: string, tries: number) => Fault = () => 'none';
let stripeFaults = sinkFaults;
const front = () => ({ url: rig.service.url, adminKey: rig.adminKey });

beforeAll(async () => {
  sink = await startReceiver({
    idOf: ({ url, body }) => (url.pathname === '/events' ? (JSON.parse(body) as UsageEvent).id : null),
    faultOf: (id, tries) => sinkFaults(id, tries),
    take({ body }) {
      taken.push(JSON.parse(body));
      return { status: 202 };
    },
  });
  stripe = await startStripe((id, tries) => stripeFaults(id, tries));
  rig = await makeRig({
    bundle: inject('bundle'),
    stepMs: 2,
    vars: {
      TARIFF: JSON.stringify(TARIFF),
      PUBLIC_URL: 'https://pictures.example',
      EVENTS_URL: `${sink.url}/events`,
      EVENTS_TOKEN: TOKEN,
      STRIPE_API_URL: stripe.url,
      STRIPE_API_KEY: METER.key,
      STRIPE_METER: METER.name,
      STRIPE_METER_ID: METER.id,
    },
  });
  await rig.start();
});
afterAll(async () => {
  await rig?.remove();
  sink?.close();
  stripe?.close();
});
beforeEach(() => {
  taken.length = 0;
  sinkFaults = () => 'none';
  stripeFaults = () => 'none';
});

const many = (by: Payer, count: number): Promise<readonly JobView[]> =>
  Promise.all(Array.from({ length: count }, async () => by.ended((await by.create(QUAGGA)).id)));

/** What the sink took, each id and source once; nothing before every one of `ids` is there. */
async function takenOf(ids: readonly string[]): Promise<ReadonlyMap<string, UsageEvent>> {
  await expect.poll(() => ids.filter((id) => !taken.some((event) => event.id === id)), PATIENCE).toEqual([]);
  return new Map(taken.map((event) => [`${event.source} ${event.id}`, event]));
}

const heardBySink = (id: string) => sink.heard.filter(({ body }) => body.includes(id));
const postedOf = (id: string) => stripe.heard.filter(({ method, body }) => method === 'POST' && body.includes(id));

/** Every database of every object, while nothing of ours runs. */
function eachStore(work: (db: DatabaseSync, has: (table: string) => boolean) => void): void {
  for (const name of readdirSync(rig.state, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.sqlite')) continue;
    const db = new DatabaseSync(join(rig.state, name));
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    work(db, (table) => tables.some((row) => row.name === table));
    db.close();
  }
}

/** What the accounts know of charges that a meter is told. */
function meterStates(): ReadonlyMap<string, string> {
  const states = new Map<string, string>();
  eachStore((db, has) => {
    if (!has('tally')) return;
    for (const { job, meter } of db.prepare('SELECT id AS job, meter FROM job WHERE meter IS NOT NULL').all())
      states.set(String(job), String(meter));
  });
  return states;
}

describe('the sink of events', () => {
  test('has one event of each job, whatever became of its first try, and each says what the job cost', async () => {
    const faults: readonly Fault[] = ['none', 500, 404, 'redirect', 'hang', 'cut', 'taken and cut'];
    sinkFaults = inTurn(faults);
    const by = await openPayer(front);
    const jobs = await many(by, faults.length);
    const events = await takenOf(jobs.map(({ id }) => id));
    expect(events.size).toBe(faults.length);
    for (const { id, cost, receipt } of jobs) {
      expect(events.get(`https://pictures.example ${id}`)).toMatchObject({
        specversion: '1.0',
        type: 'ralu.job.ended',
        subject: by.id,
        data: {
          account: by.id,
          key: by.key.slice(26, 34),
          user: null,
          status: 'done',
          preset: '7x',
          cost_usd: cost?.usd,
          quote_usd: cost?.quote_usd,
          tariff: 'test-1',
          stages: receipt?.stages.map(({ stage, tokens, steps, evaluations }) => ({
            stage,
            tokens,
            steps,
            evaluations,
          })),
        },
      });
      const tries = heardBySink(id);
      expect(new Set(tries.map(({ body }) => body)).size).toBe(1);
      for (const { headers, url } of tries)
        expect([url.pathname, headers.authorization, headers['content-type']]).toEqual([
          '/events',
          `Bearer ${TOKEN}`,
          'application/cloudevents+json',
        ]);
    }
    const paid = [...events.values()].reduce((sum, { data }) => sum + parseUsd(data.cost_usd ?? ''), 0);
    expect(await by.balance()).toEqual({ balance: -paid, held: 0 });
    // all but the first are tried again, and the one that was taken twice is one
    expect(taken).toHaveLength(faults.length + 1);
    expect(sink.heard.filter(({ url, body }) => url.pathname !== '/events' || body.includes('quagga'))).toEqual([]);
  });

  test('hears of a job that was cancelled and erased while it hangs, and keeps no erasure waiting', async () => {
    sinkFaults = (_, tries) => (tries === 1 ? 'hang' : 'none');
    const by = await openPayer(front);
    const { id } = await by.create({ ...QUAGGA, preset: undefined, N: [90, 90, 90], e: [0.3, 0.45, 1], r: 0.3 });
    const steps = new Set<unknown>();
    const watched = by.events(id, ({ type }) => void steps.add(type));
    await expect.poll(() => steps.has('step'), PATIENCE).toBe(true);
    const begin = performance.now();
    expect((await by.call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    expect(performance.now() - begin).toBeLessThan(5000);
    await watched;
    const [event] = (await takenOf([id])).values();
    expect(event?.data).toMatchObject({ status: 'cancelled', reason: null, account: by.id });
    const paid = parseUsd(event?.data.cost_usd ?? '');
    expect(paid).toBeGreaterThan(0);
    expect(await by.balance()).toEqual({ balance: -paid, held: 0 });
  });

  test('has one event where all is killed before the sink has answered, and the job is charged once', async () => {
    sinkFaults = () => 'hang';
    const by = await openPayer(front);
    const { id } = await by.create(QUAGGA);
    await expect.poll(() => heardBySink(id).length, PATIENCE).toBe(1);
    await rig.kill();
    sinkFaults = () => 'none';
    await rig.start();
    const events = await takenOf([id]);
    expect(events.size).toBe(1);
    expect(new Set(heardBySink(id).map(({ body }) => body)).size).toBe(1);
    expect(await by.balance()).toEqual({ balance: -paidOf(await by.job(id)), held: 0 });
  });

  test('has one event wherever between the end and the event all is killed', async () => {
    const by = await openPayer(front);
    const ids: string[] = [];
    for (const afterMs of [0, 1, 2, 4, 8, 16]) {
      const job = await startWatchedJob({ url: rig.service.url, key: by.key }, QUAGGA);
      await job.seen(({ type }) => type === 'done');
      await pause(afterMs);
      await rig.kill();
      await rig.start();
      await job.events;
      ids.push(job.id);
    }
    const events = await takenOf(ids);
    expect(events.size).toBe(ids.length);
    for (const id of ids) expect(new Set(heardBySink(id).map(({ body }) => body)).size).toBe(1);
    const paid = [...events.values()].reduce((sum, { data }) => sum + parseUsd(data.cost_usd ?? ''), 0);
    expect(await by.balance()).toEqual({ balance: -paid, held: 0 });
  });
});

describe('a meter at Stripe', () => {
  test('has each job of a postpaid account with a customer once, whatever became of its first try', async () => {
    const faults: readonly Fault[] = ['none', 500, 429, 'hang', 'cut', 'taken and cut'];
    stripeFaults = inTurn(faults);
    const [by, unbilled] = [await openPayer(front, null, 'cus_once'), await openPayer(front)];
    const [jobs] = await Promise.all([many(by, faults.length), many(unbilled, 1)]);
    const billed = () => stripe.events.filter(({ customer }) => customer === 'cus_once');
    await expect.poll(() => billed().length, PATIENCE).toBe(faults.length);
    // the one that was taken and cut is sent again, and known
    await expect.poll(() => stripe.heard.length, PATIENCE).toBe(2 * faults.length - 1);
    const sorted = (of: readonly { readonly identifier: string; readonly value: number }[]) =>
      of.map(({ identifier, value }) => `${identifier} ${value}`).toSorted();
    expect(sorted(billed())).toEqual(sorted(jobs.map((job) => ({ identifier: job.id, value: paidOf(job) }))));
    for (const { headers } of stripe.heard)
      expect(headers).toMatchObject({
        'stripe-version': '2026-10-28.endive',
        'content-type': 'application/x-www-form-urlencoded',
      });
    for (const { identifier, timestamp } of billed()) {
      const finished = jobs.find(({ id }) => id === identifier)?.finished_at as number;
      expect(Math.abs(timestamp - finished)).toBeLessThan(5);
    }
    await pause(500);
    await rig.kill();
    expect([...meterStates().values()]).toEqual(faults.map(() => 'taken'));
    await rig.start();
  });

  test('is not sent a job again after 23 hours without a look at what it has', async () => {
    const payers = {
      there: await openPayer(front, null, 'cus_there'),
      missing: await openPayer(front, null, 'cus_missing'),
      odd: await openPayer(front, null, 'cus_odd'),
    };
    stripeFaults = inTurn(['taken and cut']);
    const { id: there } = await payers.there.create(QUAGGA);
    await payers.there.events(there);
    await expect.poll(() => postedOf(there).length, PATIENCE).toBe(1);
    stripeFaults = (_, tries) => (tries === 1 ? 500 : 'none');
    const { id: missing } = await payers.missing.create(QUAGGA);
    const { id: odd } = await payers.odd.create(QUAGGA);
    await expect.poll(() => [missing, odd].map((id) => postedOf(id).length), PATIENCE).toEqual([1, 1]);
    await rig.kill();

    // a day passes: the letters are old, and Stripe knows no identifier any more
    const made: string[] = [];
    eachStore((db, has) => {
      if (!has('job') || has('account')) return;
      for (const { letters } of db.prepare('SELECT letters FROM job WHERE key = 0').all()) {
        const old = (JSON.parse(String(letters)) as Letter[]).map((letter) => {
          if (letter.kind !== 'meter') return letter;
          const { payload } = letter;
          made.push(payload.job);
          if (payload.job === odd)
            stripe.put({ identifier: 'x', customer: 'cus_odd', value: 1, timestamp: Math.floor(payload.at / 1000) });
          return { ...letter, payload: { ...payload, firstTriedAt: (payload.firstTriedAt ?? 0) - DAY_MS }, dueAt: 0 };
        });
        db.prepare('UPDATE job SET letters = ? WHERE key = 0').run(JSON.stringify(old));
      }
    });
    expect(made.toSorted()).toEqual([there, missing, odd].toSorted());
    stripe.forget();
    const before = stripe.heard.length;
    await rig.start();
    const looks = () => stripe.heard.slice(before).filter(({ method }) => method === 'GET').length;
    await expect.poll(() => [looks(), postedOf(missing).length], PATIENCE).toEqual([3, 2]);
    await pause(500);
    await rig.kill();

    const sums = (customer: string) =>
      stripe.events.filter((event) => event.customer === customer).map(({ identifier }) => identifier);
    expect(sums('cus_there')).toEqual([there]);
    expect(sums('cus_missing')).toEqual([missing]);
    expect(sums('cus_odd')).toEqual(['x']);
    expect([there, odd].map((id) => postedOf(id).length)).toEqual([1, 1]);
    const states = meterStates();
    expect([there, missing, odd].map((id) => states.get(id))).toEqual(['taken', 'taken', 'waiting']);
    const alert = rig.log.find((line) => line.includes('meter_differs')) ?? '';
    expect(alert).toContain(odd);
    await rig.start();
  });
});
