/** Objects of two regions that are 150 ms apart, there and back: what a caller waits for, near and far. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { isRefusal } from '../../../scripts/crowd/caller.ts';
import { bundleFar, setFar } from '../../../scripts/crowd/far.ts';
import { FAR_BINDING, type FarRules } from '../../../scripts/crowd/far-rules.ts';
import { seconds, table } from '../../../scripts/crowd/figures.ts';
import { NUM_STAGES } from '../../../scripts/crowd/stand-in-model.ts';
import type { JobView } from '../../../src/job/job.ts';
import { costOf, endsOf, type Fleet, logged, median, PATIENCE_MS, placesOf, settled, startFleet } from './fleet.ts';
import { AUSTRALIA, PARIS, REGIONS, SEATTLE, SYDNEY } from './places.ts';

/** Between the regions, there and back. */
const FAR_MS = 150;
/** A machine that does much else takes its time. */
const NOISE_MS = 100;
const TIMES = 5;
/** Jobs at once when a region dies: more than it has slots. */
const UNDER_WAY = 8;

let fleet: Fleet;
beforeAll(async () => {
  const ofRegion = (region: string) => ({ stepMs: 10, fields: { region, binding: FAR_BINDING } });
  const servers = [ofRegion('frankfurt'), ofRegion('oregon')];
  fleet = await startFleet(servers, { REGIONS: JSON.stringify([...REGIONS, AUSTRALIA]) }, await bundleFar());
});
afterAll(() => fleet?.stop());
afterEach(({ task }) => void (task.result?.state === 'fail' && console.log(logged(fleet))));

const rule = (rules: Partial<FarRules>): Promise<void> =>
  setFar(fleet.deployment, { ms: FAR_MS, home: 'frankfurt', dispatchers: 'well', ...rules });

/** A job as its caller saw it; milliseconds since the request for it. */
interface Watched {
  readonly job: JobView;
  /** until the job was there, its first event, its first stage, and its end */
  readonly post: number;
  readonly first: number;
  readonly stage: number;
  readonly last: number;
}

let seed = 0;

/** One job from its request to its last event, of a caller from there. */
async function watch(from: Readonly<Record<string, string>>): Promise<Watched> {
  const { caller } = fleet;
  const begin = performance.now();
  const since = (): number => performance.now() - begin;
  const started = await caller.start(seed++, {}, from);
  if (isRefusal(started)) throw new Error(JSON.stringify(started));
  const post = since();
  const stream = await caller.call(`/v1/jobs/${started.id}/events`, { headers: from });
  let text = '';
  let [first, stage] = [0, 0];
  const decoder = new TextDecoder();
  for await (const part of stream.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(part, { stream: true });
    if (text.includes('event: ')) first ||= since();
    if (text.includes('event: stage\n')) stage ||= since();
  }
  const last = since();
  expect(text.match(/^event: (done|failed|cancelled)$/gm)).toEqual(['event: done']);
  // none lost, none doubled
  const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  expect(ids).toEqual(ids.map((_, i) => i + 1));
  expect([...new Set(text.match(/"stage":\d+,"stages":/g))]).toHaveLength(NUM_STAGES);
  return { job: await caller.ended(started.id, PATIENCE_MS), post, first, stage, last };
}

async function several(from: Readonly<Record<string, string>>): Promise<Watched[]> {
  const watched = [];
  for (let i = 0; i < TIMES; i++) watched.push(await watch(from));
  return watched;
}

const rows: string[][] = [['who, and where', 'answer', 'first event', 'first stage', 'last event']];
/** A row of medians, from the request on. */
function show(name: string, watched: readonly Watched[]): void {
  const of = (pick: (one: Watched) => number): string => seconds(median(watched.map(pick)));
  rows.push([name, of(({ post }) => post), of(({ first }) => first), of(({ stage }) => stage), of(({ last }) => last)]);
}
afterAll(() => console.log(table(rows)));

const least = (watched: readonly Watched[], of: (one: Watched) => number): number => Math.min(...watched.map(of));
const regionsOf = async (watched: readonly Watched[]): Promise<number[][]> => {
  const counts = await fleet.counted();
  return watched.map(({ job }) => placesOf(counts, job.id));
};

const every: Watched[] = [];
/** what the first jobs of a new process take says nothing */
const warm: Watched[] = [];
let near: Watched[] = [];

test('a start takes two calls one after the other, however far the objects are', async () => {
  await rule({ ms: 0 });
  warm.push(...(await several(PARIS)));
  const together = await several(PARIS);
  await rule({});
  near = await several(PARIS);
  const seattle = await several(SEATTLE);
  // of who calls from Sydney every object is in Oregon
  await rule({ home: 'oregon' });
  const far = await several(SYDNEY);
  show('Paris, no distance anywhere', together);
  show('Paris, all objects there', near);
  show('Seattle, servers there, its account in Frankfurt', seattle);
  show('Sydney, all objects in Oregon', far);
  every.push(...together, ...near, ...seattle, ...far);
  expect(await regionsOf(near)).toEqual(near.map(() => [0]));
  expect(await regionsOf(seattle)).toEqual(seattle.map(() => [1]));
  expect(await regionsOf(far)).toEqual(far.map(() => [1]));
  const without = least(together, ({ post }) => post);
  expect(least(near, ({ post }) => post)).toBeLessThan(without + NOISE_MS);
  // its account alone is far
  expect(least(seattle, ({ post }) => post)).toBeGreaterThan(FAR_MS);
  expect(least(seattle, ({ post }) => post)).toBeLessThan(FAR_MS + without + NOISE_MS);
  expect(least(far, ({ post }) => post)).toBeGreaterThan(2 * FAR_MS);
  expect(least(far, ({ post }) => post)).toBeLessThan(2 * FAR_MS + without + NOISE_MS);
  // a third one for its events; what it computes crosses no ocean
  const [atHome, abroad] = [least(near, ({ last }) => last), least(far, ({ last }) => last)];
  expect(abroad).toBeLessThan(atHome + 3 * FAR_MS + NOISE_MS);
});

test('when a region dies the next job ends in the other one, and those under way there too, paid once', async () => {
  await rule({});
  await fleet.proxies[0]?.set({ kind: 'refuse' });
  const first = await watch(PARIS);
  const next = await several(PARIS);
  await fleet.proxies[0]?.set({ kind: 'pass' });
  show('Paris, first after Frankfurt died', [first]);
  show('Paris, five after that', next);
  expect(await regionsOf([first, ...next])).toEqual([first, ...next].map(() => [1]));
  // it finds out in no time; who comes later pays the way alone
  for (const { last } of [first, ...next]) expect(last).toBeLessThan(near[0]!.last + 12 * FAR_MS + 5000);

  const { requests } = await fleet.servers[1]!.counted();
  const running = Promise.all(Array.from({ length: UNDER_WAY }, () => watch(SEATTLE)));
  await expect
    .poll(async () => (await fleet.servers[1]!.counted()).requests, { timeout: PATIENCE_MS })
    .toBeGreaterThan(requests + 4);
  await fleet.proxies[1]?.set({ kind: 'refuse' });
  const died = performance.now();
  const ended = await running;
  const over = performance.now() - died;
  await fleet.proxies[1]?.set({ kind: 'pass' });
  rows.push([`Seattle, ${UNDER_WAY} under way when Oregon died: over after`, '', '', '', seconds(over)]);
  expect(endsOf(ended.map(({ job }) => job))).toEqual({ done: UNDER_WAY });
  // who stood in the line there looks elsewhere by itself after half a minute
  expect(over).toBeLessThan(45_000);

  const jobs = [...every, first, ...next, ...ended].map(({ job }) => job);
  expect(endsOf(jobs)).toEqual({ done: jobs.length });
  const { spent, held } = await settled(fleet);
  expect(held).toBe(0);
  expect(spent).toBe(costOf(jobs) + costOf(warm.map(({ job }) => job)));
  // alike jobs cost alike: no stage is charged a second time
  expect(new Set(jobs.map(({ cost }) => cost?.usd)).size).toBe(1);
  const listed = await fleet.caller.listed();
  expect(listed.map(({ id }) => id).sort()).toEqual(
    [...jobs, ...warm.map(({ job }) => job)].map(({ id }) => id).sort(),
  );
});
