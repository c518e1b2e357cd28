/** SIGKILL between the hold and the job, so that nobody lives who could create it. Its one test takes a minute. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { parseUsd } from '../../src/billing/money.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { openPayer, paidOf, TARIFF } from './paying.ts';
import { makeRig, type Rig } from './rig.ts';

const APPLE = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };

const frontOf =
  ({ service, adminKey }: Rig) =>
  () => ({ url: service.url, adminKey });

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
