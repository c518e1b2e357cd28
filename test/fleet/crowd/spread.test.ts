/** Where jobs go: spread over those that are well, by the pace that each has shown. */
import { afterEach, expect, test } from 'vitest';
import { NUM_STAGES } from '../../../scripts/crowd/stand-in-model.ts';
import { endsOf, type Fleet, placesOf, runJob, runJobs, stagesDone, startFleet } from './fleet.ts';

let fleet: Fleet | null = null;
afterEach(async () => {
  await fleet?.stop();
  fleet = null;
});

test('twelve jobs at once are spread over three servers that are well', async () => {
  fleet = await startFleet([{ stepMs: 40 }, { stepMs: 40 }, { stepMs: 40 }]);
  const jobs = await runJobs(fleet.caller, 12);
  expect(endsOf(jobs)).toEqual({ done: 12 });
  const done = stagesDone(await fleet.counted());
  expect(done.reduce((sum, count) => sum + count)).toBe(12 * NUM_STAGES);
  // a third would be 12
  for (const count of done) {
    expect(count).toBeGreaterThanOrEqual(6);
    expect(count).toBeLessThanOrEqual(18);
  }
});

test('a server that is thirty times slower gets what it can do meanwhile, though it is the first', async () => {
  fleet = await startFleet([{ stepMs: 600 }, { stepMs: 20 }, { stepMs: 20 }]);
  // each server shows its pace
  await runJobs(fleet.caller, 6, {}, 100);
  const before = stagesDone(await fleet.counted());
  const jobs = await runJobs(fleet.caller, 12);
  expect(endsOf(jobs)).toEqual({ done: 12 });
  const after = stagesDone(await fleet.counted());
  // 36 stages: the two quick ones need a second for them
  expect((after[0] as number) - (before[0] as number)).toBeLessThanOrEqual(2);
  // and no job stayed there
  const counts = await fleet.counted();
  expect(jobs.filter(({ id }) => placesOf(counts, id).every((place) => place === 0))).toEqual([]);
});

test('a job has the same bytes at whichever servers of its class its stages ran', async () => {
  fleet = await startFleet([{ stepMs: 30 }, { stepMs: 30 }]);
  const { caller, servers } = fleet;
  const alone = await runJob(caller, 7);
  const image = await caller.image(alone.id);
  await servers[0]?.kill();
  const other = await runJob(caller, 7);
  expect(other.status).toBe('done');
  expect(Buffer.compare(await caller.image(other.id), image)).toBe(0);
});
