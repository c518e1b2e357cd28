/**
 * SIGKILL of the whole process tree, at every kind of moment: the job finishes by itself, with the bytes of a run that
 * nobody disturbed.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FollowedEvent, fetchImage, getJob } from '../../scripts/generate/client.ts';
import { makeRig, type Rig, startWatchedJob, storedEvents, type Watched } from './rig.ts';

const BODY = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };
/** the lease of a stored attempt: how long an object waits for one whose sender is gone */
const LEASE_MS = 10_000;

let rig: Rig;
let reference: Uint8Array;
let duration: number;
const restarts: number[] = [];
/** jobs that were still under way when they were killed */
let numCut = 0;

beforeAll(async () => {
  rig = await makeRig();
  await rig.start();
  // the first job of a stage server is slower than the rest, and any may meet a busy machine
  const durations: number[] = [];
  for (let run = 0; run < 4; run++) {
    const begin = performance.now();
    const { id, events } = await startWatchedJob(rig.service, BODY);
    await events;
    durations.push(performance.now() - begin);
    reference = await fetchImage(rig.service, id);
  }
  duration = Math.min(...durations);
});

afterAll(async () => {
  await rig?.remove();
  if (restarts.length > 0)
    console.log(
      `undisturbed ${duration.toFixed(0)} ms; ${numCut} of ${restarts.length} kills met a running job; restart median ${restarts.toSorted((a, b) => a - b)[restarts.length >> 1]?.toFixed(0)} ms`,
    );
});

/** Kills everything at once and starts it again. */
async function crash({ hasEnded }: Watched): Promise<void> {
  if (!hasEnded()) numCut++;
  await rig.kill();
  const begin = performance.now();
  await rig.start();
  restarts.push(performance.now() - begin);
}

/** The job's end, checked: done, the same bytes, no event lost, doubled or changed for the watcher who was cut off. */
async function expectSameEnd({ id, events }: Watched): Promise<void> {
  const seen = await events;
  expect(seen.at(-1)?.type).toBe('done');
  expect(seen.map(({ seq }) => seq)).toEqual(seen.map((_, index) => index + 1));
  expect(await storedEvents(rig.service, id)).toEqual(seen);
  expect(Buffer.compare(await fetchImage(rig.service, id), reference)).toBe(0);
}

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
    await crash(job);
    await expectSameEnd(job);
  });

  const random = mulberry32(20_250_710);
  const shares = Array.from({ length: 20 }, random).map((share) => [(100 * share).toFixed(1), share] as const);

  test.each(shares)('at %s %% of its duration', async (_, share) => {
    const job = await startWatchedJob(rig.service, BODY);
    await pause(share * duration);
    await crash(job);
    await expectSameEnd(job);
  });
});

test('a killed job goes on by its alarm when nobody asks for it', async () => {
  const watcher = new AbortController();
  const watched = await startWatchedJob(rig.service, BODY, watcher.signal);
  const { id } = watched;
  await watched.seen(({ type }) => type === 'selection');
  watcher.abort();
  await crash(watched);
  // not one request until the lease has run out and the rest of the work could be done twice
  await pause(LEASE_MS + 2 * duration + 1000);
  const job = await getJob(rig.service, id);
  expect(job.status).toBe('done');
  expect(Buffer.compare(await fetchImage(rig.service, id), reference)).toBe(0);
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
    await crash(watched);
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
  skip(restarts.length < 31, 'only some of the kills ran');
  expect(numCut).toBeGreaterThan(restarts.length / 2);
});

/** A seeded random number generator, uniform in [0, 1). Source: Tommy Ettinger, mulberry32, public domain. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
