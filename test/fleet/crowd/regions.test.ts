/** Two regions, the far one 150 ms away: jobs run near their callers, and elsewhere where nobody is near. */
import { afterEach, expect, test } from 'vitest';
import { NUM_STAGES } from '../../../scripts/crowd/stand-in-model.ts';
import { costOf, endsOf, type Fleet, median, placesOf, runJob, settled, startFleet } from './fleet.ts';
import { PARIS, REGIONS, SEATTLE } from './places.ts';

let fleet: Fleet | null = null;
afterEach(async () => {
  await fleet?.stop();
  fleet = null;
});

/** Each way to a server in the other region. */
const FAR_MS = 75;

test('a job runs in the region nearest to its caller, in the other one where that is dead, and is paid once', async () => {
  fleet = await startFleet(
    [
      { stepMs: 10, fields: { region: 'frankfurt' } },
      { stepMs: 10, fields: { region: 'oregon' } },
    ],
    { REGIONS: JSON.stringify(REGIONS) },
  );
  const [near, far] = fleet.proxies;
  // the deployment stands in Frankfurt
  await far!.set({ kind: 'pass', latencyMs: FAR_MS });
  const { caller } = fleet;
  const run = async (headers: Record<string, string>, first: number) => {
    const jobs = [];
    for (let i = 0; i < 4; i++) jobs.push(await runJob(caller, first + i, {}, { headers }));
    return jobs;
  };
  const parisians = await run(PARIS, 1);
  const seattleites = await run(SEATTLE, 1);
  expect(endsOf([...parisians, ...seattleites])).toEqual({ done: 8 });
  let counts = await fleet.counted();
  expect(parisians.map(({ id }) => placesOf(counts, id))).toEqual(parisians.map(() => [0]));
  expect(seattleites.map(({ id }) => placesOf(counts, id))).toEqual(seattleites.map(() => [1]));
  const nearMs = median(parisians.map(({ ms }) => ms));
  const farMs = median(seattleites.map(({ ms }) => ms));
  // each stage crosses the ocean and comes back
  expect(farMs - nearMs).toBeGreaterThan(NUM_STAGES * FAR_MS);

  await near!.set({ kind: 'refuse' });
  const moved = await run(PARIS, 11);
  expect(endsOf(moved)).toEqual({ done: 4 });
  counts = await fleet.counted();
  expect(moved.map(({ id }) => placesOf(counts, id))).toEqual(moved.map(() => [1]));
  // the first finds out; those after it pay the way alone
  expect(moved[0]!.ms).toBeLessThan(farMs + 5000);
  expect(moved[3]!.ms).toBeLessThan(farMs + 1000);

  await near!.set({ kind: 'pass' });
  const jobs = [...parisians, ...seattleites, ...moved];
  const { spent, held } = await settled(fleet);
  expect(held).toBe(0);
  expect(spent).toBe(costOf(jobs));
  console.log(
    `regions: near ${Math.round(nearMs)} ms, far ${Math.round(farMs)} ms, first after the near one died ${Math.round(moved[0]!.ms)} ms, fourth ${Math.round(moved[3]!.ms)} ms`,
  );
});
