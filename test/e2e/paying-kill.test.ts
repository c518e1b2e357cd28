/** SIGKILL of the whole process tree wherever money is between two hands: one charge, the right balance. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
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
      moment === 'at its end' ? type === 'done' : type === 'step' && data.stage === 3 && data.step === data.steps - 1,
    );
    await pause(afterMs);
    await rig.kill();
    await rig.start();
    await job.events;
    return paidOf(await by.ended(job.id));
  }

  test.each([
    ['in and after its last step', 'before its end', [0, 10, 20, 30, 60, 90]],
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
