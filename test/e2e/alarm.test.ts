/** A killed job that nobody asks for: only its alarm can wake it. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { fetchImage, getJob } from '../../scripts/generate/client.ts';
import { BODY, type Crashes, prepare } from './crash.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

/** the lease of a stored attempt: how long an object waits for one whose sender is gone */
const LEASE_MS = 10_000;
const STEP_MS = 25;

let rig: Rig;
let crashes: Crashes;

beforeAll(async () => {
  rig = await makeRig({ bundle: inject('bundle'), stepMs: STEP_MS });
  crashes = await prepare(rig);
});
afterAll(() => rig?.remove());

test('a killed job goes on by its alarm when nobody asks for it', async () => {
  const watcher = new AbortController();
  const watched = await startWatchedJob(rig.service, BODY, watcher.signal);
  const { id } = watched;
  await watched.seen(({ type }) => type === 'selection');
  watcher.abort();
  await crashes.crash(watched);
  // not one request until the lease has run out and the rest of the work could be done twice
  await pause(LEASE_MS + 2 * crashes.duration + 1000);
  const job = await getJob(rig.service, id);
  expect(job.status).toBe('done');
  expect(Buffer.compare(await fetchImage(rig.service, id), crashes.reference)).toBe(0);
});
