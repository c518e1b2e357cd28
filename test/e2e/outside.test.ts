/**
 * What a sink is told of ended jobs, over real HTTP, where it fails, hangs, cuts off or takes things twice, and where
 * everything of ours is killed between.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { parseUsd } from '../../src/billing/money.ts';
import { makeOutside, many, PATIENCE, QUAGGA, TOKEN, takenOf } from './outside.ts';
import { openPayer, paidOf } from './paying.ts';
import { type Fault, inTurn } from './receiver.ts';
import { startWatchedJob } from './rig.ts';

// each test needs the stack for itself
vi.setConfig({ maxConcurrency: 1 });

const outside = makeOutside();
const heardBySink = (id: string) => outside.sink.heard.filter(({ body }) => body.includes(id));

describe('the sink of events', () => {
  test('has one event of each job, whatever became of its first try, and each says what the job cost', async () => {
    const faults: readonly Fault[] = ['none', 500, 404, 'redirect', 'hang', 'cut', 'taken and cut'];
    outside.sinkFaults = inTurn(faults);
    const by = await openPayer(outside.front);
    const jobs = await many(by, faults.length);
    const events = await takenOf(
      outside,
      jobs.map(({ id }) => id),
    );
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
    expect(outside.taken).toHaveLength(faults.length + 1);
    expect(outside.sink.heard.filter(({ url, body }) => url.pathname !== '/events' || body.includes('quagga'))).toEqual(
      [],
    );
  });

  test('hears of a job that was cancelled and erased while it hangs, and keeps no erasure waiting', async () => {
    outside.sinkFaults = (_, tries) => (tries === 1 ? 'hang' : 'none');
    const by = await openPayer(outside.front);
    const { id } = await by.create({ ...QUAGGA, preset: undefined, N: [90, 90, 90], e: [0.3, 0.45, 1], r: 0.3 });
    const steps = new Set<unknown>();
    const watched = by.events(id, ({ type }) => void steps.add(type));
    await expect.poll(() => steps.has('step'), PATIENCE).toBe(true);
    const begin = performance.now();
    expect((await by.call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    expect(performance.now() - begin).toBeLessThan(5000);
    await watched;
    const [event] = (await takenOf(outside, [id])).values();
    expect(event?.data).toMatchObject({ status: 'cancelled', reason: null, account: by.id });
    const paid = parseUsd(event?.data.cost_usd ?? '');
    expect(paid).toBeGreaterThan(0);
    expect(await by.balance()).toEqual({ balance: -paid, held: 0 });
  });

  test('has one event where all is killed before the sink has answered, and the job is charged once', async () => {
    outside.sinkFaults = () => 'hang';
    const by = await openPayer(outside.front);
    const { id } = await by.create(QUAGGA);
    await expect.poll(() => heardBySink(id).length, PATIENCE).toBe(1);
    await outside.rig.kill();
    outside.sinkFaults = () => 'none';
    await outside.rig.start();
    const events = await takenOf(outside, [id]);
    expect(events.size).toBe(1);
    expect(new Set(heardBySink(id).map(({ body }) => body)).size).toBe(1);
    expect(await by.balance()).toEqual({ balance: -paidOf(await by.job(id)), held: 0 });
  });

  test('has one event wherever between the end and the event all is killed', async () => {
    const by = await openPayer(outside.front);
    const ids: string[] = [];
    for (const afterMs of [0, 1, 2, 4, 8, 16]) {
      const job = await startWatchedJob({ url: outside.rig.service.url, key: by.key }, QUAGGA);
      await job.seen(({ type }) => type === 'done');
      await pause(afterMs);
      await outside.rig.kill();
      await outside.rig.start();
      await job.events;
      ids.push(job.id);
    }
    const events = await takenOf(outside, ids);
    expect(events.size).toBe(ids.length);
    for (const id of ids) expect(new Set(heardBySink(id).map(({ body }) => body)).size).toBe(1);
    const paid = [...events.values()].reduce((sum, { data }) => sum + parseUsd(data.cost_usd ?? ''), 0);
    expect(await by.balance()).toEqual({ balance: -paid, held: 0 });
  });
});
