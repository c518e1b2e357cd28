/**
 * SIGKILL of the whole process tree, at every kind of moment: the job finishes by itself, with the bytes of a run that
 * nobody disturbed. The stage server is the product's, with the real model.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type FollowedEvent, getJob } from '../../scripts/generate/client.ts';
import { BODY, type Crashes, prepare } from './crash.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

let rig: Rig;
let crashes: Crashes;

beforeAll(async () => {
  rig = await makeRig({ bundle: inject('bundle') });
  crashes = await prepare(rig);
});
afterAll(() => rig?.remove());

describe('a job whose whole runtime is killed ends with the same bytes', () => {
  const inStage =
    (type: FollowedEvent['type'], stage: number) =>
    (event: FollowedEvent): boolean =>
      event.type === type && 'stage' in event.data && event.data.stage === stage;
  const moments: [string, (event: FollowedEvent) => boolean][] = [
    ['it is queued', ({ type }) => type === 'queued'],
    ['its plan is told', ({ type }) => type === 'plan'],
    ['stage 1 begins', inStage('stage', 1)],
    ['stage 2 begins', inStage('stage', 2)],
    ['stage 3 begins', inStage('stage', 3)],
    ['the first step is done', inStage('step', 1)],
    ['a step of the last stage is done', inStage('step', 3)],
    ['a preview is shown', ({ type }) => type === 'preview'],
    ['the selection is made', ({ type }) => type === 'selection'],
    ['it is done', ({ type }) => type === 'done'],
  ];

  test.each(moments)('when %s', async (_, fits) => {
    const job = await startWatchedJob(rig.service, BODY);
    await job.seen(fits);
    await crashes.crash(job);
    await crashes.expectSameEnd(job);
  });
});

test('a webhook under way when all is killed is called again, as the same message', async () => {
  const calls: { readonly id: unknown; readonly body: string }[] = [];
  const { promise: isCalled, resolve: called } = Promise.withResolvers<void>();
  const receiver = createServer(async (req, res) => {
    calls.push({ id: req.headers['webhook-id'], body: await text(req) });
    // the first call is left without an answer
    if (calls.length > 1) res.writeHead(204).end();
    called();
  });
  await once(receiver.listen(0, '127.0.0.1'), 'listening');
  try {
    const watched = await startWatchedJob(rig.service, {
      ...BODY,
      webhook_url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/done`,
    });
    await isCalled;
    await crashes.crash(watched);
    await expect
      .poll(async () => (await getJob(rig.service, watched.id)).webhook?.state, { timeout: 10_000 })
      .toBe('delivered');
    expect(calls).toHaveLength(2);
    for (const { id, body } of calls) {
      expect(id).toBe(watched.id);
      expect(JSON.parse(body)).toMatchObject({ type: 'job.done', data: { id: watched.id, status: 'done' } });
    }
  } finally {
    receiver.closeAllConnections();
    receiver.close();
  }
});

test('most of those kills met a running job', ({ skip }) => {
  const { kills, cut } = crashes.counts();
  skip(kills < 11, 'only some of the kills ran');
  expect(cut).toBeGreaterThan(kills / 2);
});
