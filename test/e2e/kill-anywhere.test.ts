/** SIGKILL of the whole process tree at instants nobody chose, with stages of a set pace. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { BODY, type Crashes, prepare } from './crash.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

const NUM_KILLS = 20;
/** a step takes about as long as one of the embedded model */
const STEP_MS = 25;

let rig: Rig;
let crashes: Crashes;

beforeAll(async () => {
  rig = await makeRig({ bundle: inject('bundle'), stepMs: STEP_MS });
  crashes = await prepare(rig);
});
afterAll(() => rig?.remove());

const random = mulberry32(20_250_710);
const instants = Array.from({ length: NUM_KILLS }, random).map((share) => ({
  share,
  percent: (100 * share).toFixed(1),
}));

test.each(instants)(
  'a job whose whole runtime is killed $percent % through its events ends with the same bytes',
  async ({ share }) => {
    const job = await startWatchedJob(rig.service, BODY);
    // told by the job's own progress, so that a busy machine does not move the kills behind its end
    const reached = share * crashes.numEvents;
    const last = Math.floor(reached);
    let seen = 0;
    if (last > 0) await job.seen(() => ++seen >= last);
    // steps are told together every 100 ms: anywhere between two tellings
    await pause((reached - last) * 100);
    await crashes.crash(job);
    await crashes.expectSameEnd(job);
  },
);

test('most of those kills met a running job', ({ skip }) => {
  const { kills, cut } = crashes.counts();
  skip(kills < NUM_KILLS, 'only some of the kills ran');
  expect(cut).toBeGreaterThan(kills / 2);
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
