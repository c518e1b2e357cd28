/** Worker and servers updated one by one, with old and new versions of the contract, under load: nothing is lost. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { isRefusal } from '../../../scripts/crowd/caller.ts';
import type { JobView } from '../../../src/job/job.ts';
import { costOf, endsOf, type Fleet, PATIENCE_MS, placesOf, runJobs, settled, startFleet } from './fleet.ts';

let fleet: Fleet | null = null;
afterEach(async () => {
  await fleet?.stop();
  fleet = null;
});

/** Most jobs of a flow: a start that takes long does not make a crowd. */
const MOST = 60;

/** A job every `everyMs`, until it is told to stop; resolves to all of them, ended. */
function flow({ caller }: Fleet, everyMs: number): { now(): number; stop(): Promise<JobView[]> } {
  let isOn = true;
  const begin = performance.now();
  const now = (): number => performance.now() - begin;
  const running: Promise<JobView>[] = [];
  const started = (async () => {
    for (let i = 0; isOn && i < MOST; i++) {
      running.push(run(i));
      await pause(everyMs);
    }
  })();
  async function run(i: number): Promise<JobView> {
    const job = await caller.startSurely(i, `flow-${i}`);
    if (isRefusal(job)) throw new Error(JSON.stringify(job));
    return caller.ended(job.id, PATIENCE_MS);
  }
  return {
    now,
    async stop() {
      isOn = false;
      await started;
      return Promise.all(running);
    },
  };
}

test('servers are drained and come back with another version of the contract, one by one', async () => {
  fleet = await startFleet([
    { stepMs: 20, contract: 2 },
    { stepMs: 20, contract: 3 },
    { stepMs: 20, contract: 4 },
  ]);
  const load = flow(fleet, 100);
  for (const [i, contract] of ([3, 4, 2] as const).entries()) {
    await pause(700);
    await fleet.servers[i]!.drain();
    await pause(300);
    await fleet.servers[i]!.restart({ contract });
  }
  await pause(700);
  const jobs = await load.stop();
  expect(jobs.length).toBeGreaterThan(20);
  expect(endsOf(jobs)).toEqual({ done: jobs.length });
  // nothing computed twice, or for nobody
  const { spent, held } = await settled(fleet);
  expect(held).toBe(0);
  expect(spent).toBe(costOf(jobs));
});

test('a server that is older than its list takes the stages of the minute until it is asked anew', async () => {
  fleet = await startFleet([{ contract: 4 }]);
  const { caller, servers } = fleet;
  const [before] = await runJobs(caller, 1, { preview: true });
  // what was said a moment ago is not asked for again
  await pause(1000);
  await servers[0]!.drain();
  await servers[0]!.restart({ contract: 3 });
  const [first] = await runJobs(caller, 1, { preview: true });
  expect(endsOf([before!, first!])).toEqual({ done: 2 });
  // its first stage, once: the others of the job go as the server takes them
  expect((await fleet.counted())[0]?.refused).toBe(1);
  const previews = async ({ id }: JobView) => (await caller.events(id)).match(/^event: preview$/gm)?.length;
  expect(await previews(first!)).toBe(await previews(before!));
  expect(await caller.image(first!.id)).toEqual(await caller.image(before!.id));
  // it has been asked for its list again, long before a minute was over
  const later = await runJobs(caller, 3, { preview: true });
  expect(endsOf(later)).toEqual({ done: 3 });
  expect((await fleet.counted())[0]?.refused).toBe(1);
  const { spent, held } = await settled(fleet);
  expect(held).toBe(0);
  expect(spent).toBe(costOf([before!, first!, ...later]));
});

test('a server that was rolled back and lacks what a job needs is no job’s end: it goes elsewhere, or waits', async () => {
  fleet = await startFleet([{}, {}]);
  const { caller, servers } = fleet;
  const enlarged = { enlarge: { width: 128, height: 128 } };
  const before = await runJobs(caller, 2, enlarged);
  // what was said a moment ago is not asked for again
  await pause(1000);
  await servers[0]!.drain();
  await servers[0]!.restart({ contract: 4 });
  // so many that each server has some, whichever was slower before
  const moved = await runJobs(caller, 12, enlarged);
  expect(endsOf(moved)).toEqual({ done: 12 });
  // whoever met it there was on its way already; then it is known for what it is
  const { refused = 0 } = (await fleet.counted())[0] ?? {};
  expect(refused).toBeGreaterThan(0);
  expect(endsOf(await runJobs(caller, 4, enlarged))).toEqual({ done: 4 });
  expect((await fleet.counted())[0]?.refused).toBe(refused);
  // what needs nothing of that goes there as before
  expect(endsOf(await runJobs(caller, 4))).toEqual({ done: 4 });
  // nobody is left who has it: the job waits, as for a server that is away
  await servers[1]!.drain();
  await servers[1]!.restart({ contract: 4 });
  const waiting = await caller.startSurely(0, 'waits', enlarged);
  if (isRefusal(waiting)) throw new Error(JSON.stringify(waiting));
  await pause(3000);
  expect(await (await caller.call(`/v1/jobs/${waiting.id}`)).json()).toMatchObject({ status: 'running', error: null });
  await caller.cancel(waiting.id);
  expect(endsOf([...before, await caller.ended(waiting.id, PATIENCE_MS)])).toEqual({ done: 2, cancelled: 1 });
  const { held } = await settled(fleet);
  expect(held).toBe(0);
});

test('the Worker is killed under load and comes back with a server less, another weight and another order', async () => {
  fleet = await startFleet([{ stepMs: 20 }, { stepMs: 20 }, { stepMs: 20 }]);
  const load = flow(fleet, 100);
  await pause(800);
  await fleet.deployment.kill();
  const [a, b, c] = fleet.entries;
  // `a` is drained: it gets no new job
  fleet.deployment.configure({ fleet: [c!, { ...a!, fields: { weight: 0 } }, b!] });
  await fleet.deployment.start();
  const startedAt = load.now();
  const later = await runJobs(fleet.caller, 9, {}, 700);
  const jobs = [...(await load.stop()), ...later];
  expect(jobs.length).toBeGreaterThan(15);
  expect(endsOf(jobs)).toEqual({ done: jobs.length });
  const counts = await fleet.counted();
  expect(later.flatMap(({ id }) => placesOf(counts, id)).filter((place) => place === 0)).toEqual([]);
  // what waited for its turn when the Worker was killed does not wait long for another
  expect(load.now() - startedAt).toBeLessThan(25_000);
  const { spent, held } = await settled(fleet);
  expect(held).toBe(0);
  expect(spent).toBe(costOf(jobs));
});
