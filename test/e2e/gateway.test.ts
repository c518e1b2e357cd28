/**
 * Several stage servers behind one gateway, as RunPod has them: the requests of a job stay at one worker, a request
 * that was cut off goes back to it, also after the object was killed, and a cancel reaches it alone.
 */
import { afterEach, expect, inject, test } from 'vitest';
import { cancelJob } from '../../scripts/generate/client.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { type Gateway, startGateway, WORKER_HEADER } from './gateway.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

const KEY = 'rpa_1';
const TOKEN = 'a token of the stage servers';

/** Two workers behind a gateway, and a deployment that knows only that. */
async function deploy(
  stepMs: number,
): Promise<{ gateway: Gateway; rig: Rig; workers: Awaited<ReturnType<typeof startPacedServer>>[] }> {
  const workers = await Promise.all([1, 2].map(() => startPacedServer({ stepMs, token: TOKEN })));
  stops.push(() => Promise.all(workers.map(({ stop }) => stop())));
  const gateway = await startGateway(KEY, { w1: workers[0]!.url, w2: workers[1]!.url });
  stops.push(gateway.close);
  const backend = {
    id: 'runpod',
    url: gateway.url,
    token_header: 'X-Stage-Token',
    secret_headers: { Authorization: 'BACKEND_RUNPOD_KEY' },
    affinity: { header: WORKER_HEADER, by: 'worker' },
  };
  const rig = await makeRig({
    bundle: inject('bundle'),
    stage: { url: gateway.url, token: TOKEN },
    vars: {
      BACKENDS: JSON.stringify([backend]),
      BACKEND_TOKEN_RUNPOD: TOKEN,
      BACKEND_RUNPOD_KEY: `Bearer ${KEY}`,
    },
  });
  stops.push(rig.remove);
  await rig.start();
  return { gateway, rig, workers };
}

const sent = ({ passed }: Gateway, method: string) => passed.filter((one) => one.method === method);
const workersOf = (requests: readonly { readonly worker: string | null }[]) => new Set(requests.map((r) => r.worker));

test('the stages of a job go to one worker, and erasing it tells that worker alone', async () => {
  const { gateway, rig } = await deploy(1);
  const jobs = await Promise.all([1, 2].map((seed) => startWatchedJob(rig.service, { prompt: 'a fox', seed })));
  for (const { events } of jobs) expect((await events).at(-1)?.type).toBe('done');
  for (const { id } of jobs) {
    const stages = sent(gateway, 'PUT').filter(({ path }) => path.includes(id));
    expect(stages).toHaveLength(3);
    expect(workersOf(stages).size).toBe(1);
  }
  const [{ id }] = jobs as [(typeof jobs)[0]];
  const { worker } = sent(gateway, 'PUT').find(({ path }) => path.includes(id))!;
  await fetch(`${rig.service.url}/v1/jobs/${id}`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${rig.service.key}` },
  });
  await expect.poll(() => sent(gateway, 'DELETE').length).toBe(3);
  expect(workersOf(sent(gateway, 'DELETE'))).toEqual(new Set([worker]));
});

const LONG = { prompt: 'a fox', preset: 'plain', seed: 1 };

test('a job that is cancelled in a stage stops at the worker that runs it', async () => {
  const { gateway, rig } = await deploy(100);
  const job = await startWatchedJob(rig.service, LONG);
  await job.seen(({ type }) => type === 'step');
  await cancelJob(rig.service, job.id, 5000);
  await expect.poll(() => sent(gateway, 'DELETE').length).toBe(1);
  expect(workersOf(sent(gateway, 'DELETE'))).toEqual(workersOf(sent(gateway, 'PUT')));
});

/** Steps that the stage servers have computed, all together. */
async function stepsOf(workers: Awaited<ReturnType<typeof deploy>>['workers']): Promise<number> {
  const texts = await Promise.all(
    workers.map(async ({ url }) =>
      (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })).text(),
    ),
  );
  return texts
    .flatMap((text) => [...text.matchAll(/^stage_steps_total\{.*\} (\d+)$/gm)])
    .reduce((sum, [, count]) => sum + Number(count), 0);
}

test.each(['the object is killed', 'the line is cut'])(
  'a stage is found again where it runs, and computed once, when %s',
  async (what) => {
    const { gateway, rig, workers } = await deploy(40);
    const job = await startWatchedJob(rig.service, LONG);
    await job.seen((event) => event.type === 'step' && event.data.step >= 5);
    if (what === 'the line is cut') {
      gateway.cut();
    } else {
      await rig.kill();
      await rig.start();
    }
    expect((await job.events).at(-1)?.type).toBe('done');
    expect(sent(gateway, 'PUT')).toHaveLength(2);
    expect(workersOf(sent(gateway, 'PUT')).size).toBe(1);
    expect(await stepsOf(workers)).toBe(50);
  },
);

test('a stage whose worker is gone is done by another', async () => {
  const { gateway, rig, workers } = await deploy(40);
  const job = await startWatchedJob(rig.service, LONG);
  await job.seen((event) => event.type === 'step' && event.data.step >= 5);
  const worker = sent(gateway, 'PUT')[0]?.worker as string;
  await workers[worker === 'w1' ? 0 : 1]?.stop();
  expect((await job.events).at(-1)?.type).toBe('done');
  expect([...workersOf(sent(gateway, 'PUT'))]).toEqual([worker, worker === 'w1' ? 'w2' : 'w1']);
});
