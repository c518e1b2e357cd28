/** A fleet in which a server is away, hangs, or is another than it was: jobs go on elsewhere, and nobody pays twice. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { NUM_STAGES } from '../../../scripts/crowd/stand-in-model.ts';
import { endsOf, type Fleet, median, PATIENCE_MS, runJob, runJobs, stagesDone, startFleet } from './fleet.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function deploy(...args: Parameters<typeof startFleet>): Promise<Fleet> {
  const fleet = await startFleet(...args);
  stops.push(fleet.stop);
  return fleet;
}

/** Jobs one after the other, each with the time that its start took. */
async function oneByOne({ caller }: Fleet, count: number): Promise<{ ms: number; status: string }[]> {
  const jobs = [];
  for (let i = 0; i < count; i++) jobs.push(await runJob(caller, 200 + i));
  return jobs;
}

test('of a server that takes requests and never answers the first few jobs pay, and then none', async () => {
  const fleet = await deploy([{ stepMs: 10 }, { stepMs: 10 }, { stepMs: 10 }], { STAGE_SILENCE_SECONDS: '3' });
  const well = median((await oneByOne(fleet, 4)).map(({ ms }) => ms));
  await fleet.proxies[0]?.set({ kind: 'hole' });
  const before = fleet.proxies[0]?.connections() as number;
  const first = await runJobs(fleet.caller, 9);
  expect(endsOf(first)).toEqual({ done: 9 });
  const tenth = await runJob(fleet.caller, 300);
  expect(tenth.status).toBe('done');
  // who pays, pays three seconds
  expect(tenth.ms).toBeLessThan(well + 2000);
  expect((fleet.proxies[0]?.connections() as number) - before).toBeLessThanOrEqual(8);
});

test('a last server that has never answered holds up no start and no list of models', async () => {
  const fleet = await deploy([{ stepMs: 10 }, { stepMs: 10 }]);
  await fleet.deployment.kill();
  await fleet.proxies[1]?.set({ kind: 'hole' });
  // another address: nothing is kept of what it said
  const entries = fleet.entries.map((entry, i) => (i === 1 ? { ...entry, url: `${entry.url}/hole` } : entry));
  fleet.deployment.configure({ fleet: entries });
  await fleet.deployment.start();
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const begin = performance.now();
    expect((await fleet.caller.call('/v1/models')).status).toBe(200);
    times.push(performance.now() - begin);
  }
  expect(Math.max(...times)).toBeLessThan(3000);
  const begin = performance.now();
  const job = await fleet.caller.start(1);
  expect(performance.now() - begin).toBeLessThan(3000);
  expect((await fleet.caller.ended((job as { id: string }).id, PATIENCE_MS)).status).toBe('done');
});

/** What a tunnel says that leads to somebody else now. */
async function startElsewhere(): Promise<string> {
  const server = createServer((_, response) => response.writeHead(404).end('<h1>Not Found</h1>'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each([
  {
    what: 'has another build of the model',
    change: async ({ servers: [first] }: Fleet) => {
      await first?.kill();
      await first?.restart({ digest: 'sha256:another' });
    },
    says: /digest|model_changed|sha256:another|other_models/,
  },
  {
    what: 'has another token',
    change: async ({ servers: [first] }: Fleet) => {
      await first?.kill();
      await first?.restart({ token: 'rotated' });
    },
    says: /401|unauthorized/,
  },
  {
    what: 'is somebody else behind the same tunnel',
    change: async ({ proxies: [first] }: Fleet) => first?.leadTo(await startElsewhere()),
    says: /404|gateway/,
  },
])('when the first server $what, every job ends at the others, and the log says why', async ({ change, says }) => {
  const fleet = await deploy([{ stepMs: 20 }, { stepMs: 20 }, { stepMs: 20 }]);
  expect(endsOf(await runJobs(fleet.caller, 6, {}, 100))).toEqual({ done: 6 });
  await change(fleet);
  expect(endsOf(await runJobs(fleet.caller, 12))).toEqual({ done: 12 });
  // all know by now: nothing is lost on it any more
  const { requests } = await fleet.servers[0]!.counted();
  const jobs = await runJobs(fleet.caller, 6, {}, 50);
  expect(endsOf(jobs)).toEqual({ done: 6 });
  expect((await fleet.servers[0]!.counted()).requests - requests).toBeLessThanOrEqual(1);
  const lines = fleet.deployment.log.filter((line) => /"a"|"a /.test(line) && says.test(line));
  expect(lines.slice(0, 1)).toHaveLength(1);
});

test('twelve jobs outlive twenty seconds without their only server', async () => {
  const fleet = await deploy([{ stepMs: 20 }]);
  const [server] = fleet.servers;
  const running = runJobs(fleet.caller, 12);
  await expect.poll(async () => (await server!.counted()).requests, { timeout: PATIENCE_MS }).toBeGreaterThan(1);
  await server!.kill();
  await pause(20_000);
  await server!.restart();
  expect(endsOf(await running)).toEqual({ done: 12 });
});

test('a stage that moves because its server is too slow is stopped there, and computed for nobody', async () => {
  const fleet = await deploy([{ stepMs: 3500 }, { stepMs: 20 }], { STAGE_SILENCE_SECONDS: '3' });
  const [slow] = fleet.servers;
  const jobs = await runJobs(fleet.caller, 4);
  expect(endsOf(jobs)).toEqual({ done: 4 });
  await expect
    .poll(async () => (await slow!.counted()).stages.every(({ deletes }) => deletes > 0), { timeout: 20_000 })
    .toBe(true);
  const { stages } = await slow!.counted();
  expect(stages.length).toBeGreaterThan(0);
  expect(stages.map(({ orphans }) => orphans)).toEqual(stages.map(() => 0));
  expect(stagesDone(await fleet.counted())).toEqual([0, 4 * NUM_STAGES]);
});
