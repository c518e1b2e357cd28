/** A dispatcher that is away, with a whole fleet: its object throws, or hears and never answers, or answers garbage. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Fleet as FleetAnswer } from '../../../scripts/admin/fleet.ts';
import { carryOut } from '../../../scripts/admin/orders.ts';
import { bundleFar, setFar } from '../../../scripts/crowd/far.ts';
import type { DispatcherState } from '../../../scripts/crowd/far-rules.ts';
import { seconds } from '../../../scripts/crowd/figures.ts';
import { jobOfStage } from '../../../scripts/crowd/stand-in.ts';
import { NUM_STAGES } from '../../../scripts/crowd/stand-in-model.ts';
import type { JobView } from '../../../src/job/job.ts';
import { costOf, type Ended, endsOf, type Fleet, logged, placesOf, runJobs, settled, startFleet } from './fleet.ts';

const JOBS = 30;
/** A job in a line looks by itself after half a minute, and on a busy machine once more after two. */
const PATIENT = { patienceMs: 240_000 };
/** What takes longer is shown. */
const LONG_MS = 100_000;

let fleet: Fleet;
beforeAll(async () => {
  fleet = await startFleet([{ stepMs: 20 }, { stepMs: 20 }, { stepMs: 20 }], {}, await bundleFar());
});
afterAll(() => fleet?.stop());
afterEach(({ task }) => void (task.result?.state === 'fail' && console.log(logged(fleet))));

const dispatchers = (state: DispatcherState): Promise<void> =>
  setFar(fleet.deployment, { ms: 0, home: '', dispatchers: state });

const servers = async () => {
  const { url, adminKey } = fleet.deployment;
  const look = carryOut({ url, key: adminKey }, { command: 'fleet' }) as Promise<{ answer: FleetAnswer }>;
  return (await look).answer.pools.flatMap((pool) => pool.servers);
};

/** Of each stage of the jobs, over all servers: how often it was asked for, and computed to its end. */
async function stagesOf(jobs: readonly JobView[]): Promise<{ id: string; requests: number; done: number }[]> {
  const ids = new Set(jobs.map(({ id }) => id));
  const stages = new Map<string, { id: string; requests: number; done: number }>();
  for (const { id, requests, outcomes } of (await fleet.counted()).flatMap((counted) => counted.stages)) {
    if (!ids.has(jobOfStage(id))) continue;
    const known = stages.get(id) ?? { id, requests: 0, done: 0 };
    const done = known.done + outcomes.filter((outcome) => outcome === 'done').length;
    stages.set(id, { id, requests: known.requests + requests, done });
  }
  return [...stages.values()];
}

/** What holds of jobs whose dispatcher was away. */
async function check(jobs: readonly Ended[], mostRequests: number): Promise<void> {
  for (const { id, ms } of jobs)
    if (ms > LONG_MS) console.log(fleet.deployment.log.filter((line) => line.includes(id)).join('\n'));
  expect(endsOf(jobs)).toEqual({ done: jobs.length });
  const stages = await stagesOf(jobs);
  expect(stages).toHaveLength(jobs.length * NUM_STAGES);
  expect(stages.filter(({ done }) => done !== 1)).toEqual([]);
  expect(stages.filter(({ requests }) => requests > mostRequests)).toEqual([]);
}

/** The dispatcher is there again: no slot is lost, and it leads jobs as before. */
async function isWellAgain(): Promise<void> {
  await dispatchers('well');
  const held = async () => (await servers()).map((server) => server.slots_held);
  // a slot of which nobody knows ends with its lease of half a minute
  await expect.poll(held, { timeout: 45_000, interval: 500 }).toEqual([0, 0, 0]);
  const led = async () => (await servers()).reduce((sum, server) => sum + server.stages.done, 0);
  const before = await led();
  const after = await runJobs(fleet.caller, 6, {}, 900);
  expect(endsOf(after)).toEqual({ done: 6 });
  await expect.poll(async () => (await led()) - before).toBe(6 * NUM_STAGES);
  const { held: unpaid } = await settled(fleet);
  expect(unpaid).toBe(0);
}

const all: JobView[] = [];

test('jobs go on without a dispatcher that throws, each stage once, and back to it when it is well', async () => {
  await dispatchers('throws');
  const begin = performance.now();
  const jobs = await runJobs(fleet.caller, JOBS);
  console.log(`a dispatcher that throws: ${JOBS} jobs in ${seconds(performance.now() - begin)}`);
  all.push(...jobs);
  // in the order of the configuration
  expect(placesOf(await fleet.counted(), jobs[0]!.id)).toContain(0);
  await check(jobs, 2);
  await isWellAgain();
});

test('and without one that goes silent while they run', async () => {
  const running = runJobs(fleet.caller, JOBS, {}, 100, PATIENT);
  const isUnderWay = async () => (await servers()).reduce((sum, server) => sum + server.slots_held, 0);
  await expect.poll(isUnderWay, { timeout: 20_000 }).toBeGreaterThanOrEqual(6);
  await dispatchers('mute');
  const begin = performance.now();
  const jobs = await running;
  console.log(`a dispatcher that went silent: ${JOBS} jobs in ${seconds(performance.now() - begin)} after that`);
  all.push(...jobs);
  await check(jobs, 2);
});

test('garbage from a dispatcher breaks no job', async () => {
  await dispatchers('garbage');
  const begin = performance.now();
  const jobs = await runJobs(fleet.caller, JOBS, {}, 200, PATIENT);
  console.log(`a dispatcher that says garbage: ${JOBS} jobs in ${seconds(performance.now() - begin)}`);
  all.push(...jobs);
  // operators see it named
  expect((await servers()).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
  await check(jobs, 2);
  // what the silent one gave out came back too
  await isWellAgain();
  expect((await settled(fleet)).spent).toBeGreaterThanOrEqual(costOf(all));
});
