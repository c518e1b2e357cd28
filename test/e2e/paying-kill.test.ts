/** SIGKILL of the whole process tree wherever money is between two hands: one charge, the right balance. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { parseUsd } from '../../src/billing/money.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { openPayer, type Payer, paidOf, TARIFF } from './paying.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

vi.setConfig({ maxConcurrency: 2 });

const APPLE = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };
const STEP_MS = 15;

const frontOf =
  ({ service, adminKey }: Rig) =>
  () => ({ url: service.url, adminKey });

describe('killed around the end of a job', () => {
  let rig: Rig;
  let by: Payer;
  let price = 0;
  beforeAll(async () => {
    rig = await makeRig({ bundle: inject('bundle'), stepMs: STEP_MS, vars: { TARIFF: JSON.stringify(TARIFF) } });
    await rig.start();
    by = await openPayer(frontOf(rig));
    price = paidOf(await by.ended((await by.create(APPLE)).id));
  });
  afterAll(() => rig?.remove());

  /** Kills at a moment of a job, and starts again; what the job cost once it has ended. */
  async function costKilledAt(moment: 'before its end' | 'at its end', afterMs: number): Promise<number> {
    const service = { url: rig.service.url, key: by.key };
    const job = await startWatchedJob(service, APPLE);
    await job.seen(({ type, data }) =>
      moment === 'at its end' ? type === 'done' : type === 'step' && data.stage === 3 && data.step === data.steps,
    );
    await pause(afterMs);
    await rig.kill();
    await rig.start();
    await job.events;
    return paidOf(await by.ended(job.id));
  }

  test.each([
    ['after its last step', 'before its end', [0, 5, 10, 20, 30]],
    ['when its end is told', 'at its end', [0, 1, 2, 4, 8]],
  ] as const)('%s: it is charged once', async (_, moment, pauses) => {
    for (const afterMs of pauses) {
      const { balance } = await by.balance();
      expect(await costKilledAt(moment, afterMs)).toBe(price);
      expect(await by.balance()).toEqual({ balance: balance - price, held: 0 });
    }
  });

  test('in the middle of a job that is then cancelled: the steps that were stored before, and no more', async () => {
    const { balance } = await by.balance();
    const job = await startWatchedJob(
      { url: rig.service.url, key: by.key },
      { ...APPLE, preset: undefined, N: [40, 300, 40], e: [0.3, 0.45, 1], r: 0.3 },
    );
    // steps that were only told are not counted after a kill
    await job.seen(({ type, data, seq }) => type === 'step' && data.stage === 2 && seq !== null);
    await rig.kill();
    await rig.start();
    await by.post(`/v1/jobs/${job.id}/cancel`, {});
    const events = await job.events;
    const steps = events.flatMap(({ type, data, seq }) =>
      type === 'step' && data.stage === 2 && seq !== null ? [data.step] : [],
    );
    const ended = await by.ended(job.id);
    expect(ended.receipt?.cost?.lines.find(({ item }) => item === 'stage2')?.steps).toBe(Math.max(...steps));
    expect(await by.balance()).toEqual({ balance: balance - paidOf(ended), held: 0 });
  });
});

describe('killed between the hold and the job', () => {
  let judge: Server;
  let stage: Awaited<ReturnType<typeof startPacedServer>>;
  let rig: Rig;
  /** resolves when the judge is asked; the hold is taken by then */
  let asked: PromiseWithResolvers<void>;
  let answers = false;
  beforeAll(async () => {
    asked = Promise.withResolvers();
    judge = createServer((_, response) => {
      if (answers) response.setHeader('content-type', 'application/json').end('{"allowed": true}');
      else asked.resolve();
    }).listen(0, '127.0.0.1');
    await once(judge, 'listening');
    stage = await startPacedServer({ token: 'kill-token' });
    rig = await makeRig({
      bundle: inject('bundle'),
      stage: { url: stage.url, token: 'kill-token' },
      vars: {
        TARIFF: JSON.stringify(TARIFF),
        MODERATION_URL: `http://127.0.0.1:${(judge.address() as AddressInfo).port}/`,
      },
    });
    await rig.start();
  });
  afterAll(async () => {
    await rig?.remove();
    await stage?.stop();
    judge.closeAllConnections();
    judge.close();
  });

  test('what was held comes back once nobody can come any more, and the job is entered no longer', async () => {
    const by = await openPayer(frontOf(rig));
    const lost = by.post('/v1/jobs', APPLE).catch(() => null);
    await asked.promise;
    const { cost } = (await (await by.post('/v1/jobs/quote', APPLE)).json()) as { cost: { quote_usd: string } };
    const quote = parseUsd(cost.quote_usd);
    await rig.kill();
    await lost;
    answers = true;
    await rig.start();
    expect(await by.balance()).toEqual({ balance: 0, held: quote });
    // another one is not disturbed by it
    const other = await by.create(APPLE);
    await by.events(other.id);
    expect((await by.job(other.id)).status).toBe('done');
    const paid = paidOf(await by.ended(other.id, 120_000));
    expect(await by.balance()).toEqual({ balance: 0 - paid, held: 0 });
    expect(await (await by.call('/v1/account')).json()).toMatchObject({ open_jobs: 0 });
  });
});
