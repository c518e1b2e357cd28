/** More work than servers: who waits, who is refused, and in which order. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { isRefusal, openCaller, type Refusal } from '../../../scripts/crowd/caller.ts';
import { NUM_STAGES } from '../../../scripts/crowd/stand-in-model.ts';
import type { JobView } from '../../../src/job/job.ts';
import { endsOf, type Fleet, PATIENCE_MS, runJobs, stagesDone, startFleet } from './fleet.ts';

let fleet: Fleet | null = null;
afterEach(async () => {
  await fleet?.stop();
  fleet = null;
});

test('waiting in the line of a server is not computing: nothing is sent twice', async () => {
  const slots = 16;
  fleet = await startFleet([{ stepMs: 150, fields: { slots } }], { STAGE_TIMEOUT_SECONDS: '2' });
  const jobs = await runJobs(fleet.caller, slots);
  expect(endsOf(jobs)).toEqual({ done: slots });
  const [counted] = await fleet.counted();
  expect(counted?.requests).toBe(slots * NUM_STAGES);
  expect(stagesDone([counted!])).toEqual([slots * NUM_STAGES]);
});

test('what would wait too long is refused before it begins, and what has begun ends', async () => {
  fleet = await startFleet([{ stepMs: 150 }], { QUEUE_SECONDS: '12' });
  const { caller } = fleet;
  // the server shows its pace: .9 s a job, so ten can wait
  await runJobs(caller, 2, {}, 100);
  const done = stagesDone(await fleet.counted())[0] as number;
  const taken: JobView[] = [];
  const refused: Refusal[] = [];
  for (let i = 0; i < 40; i++) {
    const answer = await caller.start(i);
    if (isRefusal(answer)) refused.push(answer);
    else taken.push(answer);
  }
  expect(taken.length).toBeGreaterThanOrEqual(6);
  expect(refused.length).toBeGreaterThanOrEqual(10);
  for (const { status, retryAfter } of refused) {
    expect([429, 503]).toContain(status);
    expect(retryAfter).toBeGreaterThanOrEqual(1);
    // each is told to come after those refused before it: .9 s for a job
    expect(retryAfter).toBeLessThanOrEqual(60);
  }
  expect(refused.at(-1)?.retryAfter ?? 0).toBeGreaterThan(refused[0]?.retryAfter ?? 0);
  // who was refused and comes when it was told to is taken; on a slow machine the line gets shorter more slowly
  let again = refused[0] as JobView | Refusal;
  for (let comes = 0; isRefusal(again) && comes < 4; comes++) {
    await pause((again.retryAfter as number) * 1000);
    again = await caller.start(200);
  }
  expect(isRefusal(again)).toBe(false);
  const ends = await Promise.all([...taken, again as JobView].map(({ id }) => caller.ended(id, PATIENCE_MS)));
  expect(endsOf(ends)).toEqual({ done: ends.length });
  // no stage was computed of a job that came to nothing
  expect((stagesDone(await fleet.counted())[0] as number) - done).toBe(ends.length * NUM_STAGES);
});

test('ten jobs of one account have their share beside a hundred and fifty of another', async () => {
  fleet = await startFleet([{ stepMs: 10 }]);
  const small = await openCaller(fleet.deployment, 'small');
  const begin = performance.now();
  const crowd = runJobs(fleet.caller, 150);
  await expect.poll(async () => (await fleet!.counted())[0]?.requests, { timeout: PATIENCE_MS }).toBeGreaterThan(10);
  const few = await runJobs(small, 10, {}, 500);
  const many = await crowd;
  expect(endsOf([...few, ...many])).toEqual({ done: 160 });
  const stageMs = (performance.now() - begin) / (160 * NUM_STAGES);
  // every second stage is the small account's until its last: job i of ten ends after 2 · 3 · i stages
  const fair = ((10 + 1) / 2) * 2 * NUM_STAGES * stageMs;
  const mean = few.reduce((sum, { ms }) => sum + ms, 0) / few.length;
  expect(mean).toBeLessThan(2.5 * fair);
});
