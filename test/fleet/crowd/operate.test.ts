/** What an operator sees of a fleet while things go wrong, and an autoscaler of its demand. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Fleet as FleetAnswer } from '../../../scripts/admin/fleet.ts';
import { carryOut } from '../../../scripts/admin/orders.ts';
import { BODY } from '../../../scripts/crowd/caller.ts';
import type { DemandEvent } from '../../../src/fleet/demand.ts';
import type { JobView, Quote } from '../../../src/job/job.ts';
import { startReceiver } from '../../e2e/receiver.ts';
import { endsOf, type Fleet, runJob, runJobs, startFleet } from './fleet.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function deploy(...args: Parameters<typeof startFleet>): Promise<Fleet> {
  const fleet = await startFleet(...args);
  stops.push(fleet.stop);
  return fleet;
}

const service = ({ deployment: { url, adminKey } }: Fleet) => ({ url, key: adminKey });
/** What `npm run admin -- fleet` gets and prints. */
const look = (fleet: Fleet) =>
  carryOut(service(fleet), { command: 'fleet' }) as Promise<{ answer: FleetAnswer; sentences: string[] }>;
const stateOf = async (fleet: Fleet, id: string) =>
  (await look(fleet)).answer.pools.flatMap(({ servers }) => servers).find((server) => server.id === id);

async function metrics({ deployment }: Fleet, key = deployment.adminKey): Promise<string[]> {
  const response = await fetch(`${deployment.url}/v1/fleet/metrics`, { headers: { authorization: `Bearer ${key}` } });
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ]);
  return (await response.text()).split('\n');
}

const quoteOf = async ({ caller }: Fleet): Promise<Quote> => {
  const body = JSON.stringify({ ...BODY, prompt: 'a quoll' });
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  return (await (await caller.call('/v1/jobs/quote', init)).json()) as Quote;
};

/** Longer than a server stays out the first time. */
const PATIENCE = { timeout: 25_000, interval: 250 };

test('of a server that refuses the token the operator reads why, and when it is well again that too', async () => {
  const token = 'a-token-that-opens-nothing-but-metrics';
  const fleet = await deploy([{ stepMs: 10 }, { stepMs: 10 }], { METRICS_TOKEN: token });
  const [first] = fleet.servers;
  expect(endsOf(await runJobs(fleet.caller, 6))).toEqual({ done: 6 });
  expect(await stateOf(fleet, 'a')).toMatchObject({ state: 'ready', reason: null });
  await first?.kill();
  await first?.restart({ token: 'rotated' });
  expect(endsOf(await runJobs(fleet.caller, 9))).toEqual({ done: 9 });
  await expect
    .poll(() => stateOf(fleet, 'a'))
    .toMatchObject({
      state: 'out',
      reason: expect.stringContaining('unauthorized'),
      probe_at: expect.any(Number),
      // each probe that is refused too is one more
      openings: expect.toSatisfy((times: number) => times > 0),
    });
  const { sentences } = await look(fleet);
  expect(sentences[0]).toBe('(no region)/default');
  expect(sentences.find((line) => /^ {2}a /.test(line))).toMatch(/^ {2}a +out +0\/2 .*unauthorized.*probe/);
  expect(fleet.deployment.logged('server_out')).toMatchObject([
    { dispatcher: '/default', backend: 'a', reason: expect.stringContaining('unauthorized') },
  ]);
  expect(fleet.deployment.logged('stage_failed')[0]).toMatchObject({ backend: 'a', status: 401 });
  const said = await metrics(fleet, token);
  expect(said).toContain('ralu_server_state{region="",pool="default",server="a",state="out"} 1');
  const openings = 'ralu_breaker_openings_total{region="",pool="default",server="a"}';
  expect(Number(said.find((line) => line.startsWith(openings))?.slice(openings.length))).toBeGreaterThan(0);

  await first?.kill();
  await first?.restart({ token: fleet.entries[0]?.token as string });
  await expect
    .poll(async () => {
      // so many that the other one has too much to do
      await runJobs(fleet.caller, 16);
      return (await stateOf(fleet, 'a'))?.state;
    }, PATIENCE)
    .toBe('ready');
  expect(fleet.deployment.logged('server_back')).toMatchObject([{ dispatcher: '/default', backend: 'a' }]);
});

test('a server with another build is named with both digests, one that is silent with its silence', async () => {
  const fleet = await deploy([{ stepMs: 10 }, { stepMs: 10, digest: 'sha256:another' }, { stepMs: 10 }], {
    STAGE_SILENCE_SECONDS: '1',
  });
  expect(endsOf(await runJobs(fleet.caller, 6))).toEqual({ done: 6 });
  expect(await stateOf(fleet, 'b')).toMatchObject({
    state: 'unused',
    reason: expect.stringMatching(/has the digest sha256:anoth…, expected is .* of a$/),
  });
  await fleet.proxies[0]?.set({ kind: 'hole' });
  expect(endsOf(await runJobs(fleet.caller, 6))).toEqual({ done: 6 });
  expect(await stateOf(fleet, 'a')).toMatchObject({ reason: expect.stringMatching(/said nothing|silen/) });
});

test('while the only server is away the line is seen, and a quote counts what a cold start takes', async () => {
  const fleet = await deploy([{ stepMs: 10, fields: { cold_start_seconds: 120 } }]);
  expect((await runJob(fleet.caller, 1)).status).toBe('done');
  expect((await quoteOf(fleet)).queue).toEqual({ waiting: 0, eta_ms: 0 });
  await fleet.proxies[0]?.set({ kind: 'refuse' });
  const running = runJobs(fleet.caller, 5, {}, 10);
  await expect.poll(() => stateOf(fleet, 'a'), PATIENCE).toMatchObject({ state: 'out' });
  // a job whose stage failed comes back after a pause of its own
  await expect
    .poll(async () => (await look(fleet)).answer.pools[0]?.lines, PATIENCE)
    .toMatchObject([{ waiting_jobs: 5, accounts: 1 }]);
  const { sentences } = await look(fleet);
  expect(sentences.at(-1)).toMatch(/^ {2}5 jobs of 1 accounts wait for .* TFLOPs; wait of the oldest/);
  const waiting = (await metrics(fleet)).find((line) => line.startsWith('ralu_waiting_jobs{'));
  expect(waiting).toMatch(/ 5$/);
  expect((await quoteOf(fleet)).queue).toMatchObject({ waiting: 5, eta_ms: expect.any(Number) });
  expect((await quoteOf(fleet)).queue?.eta_ms).toBeGreaterThanOrEqual(120_000);
  await fleet.proxies[0]?.set({ kind: 'pass' });
  expect(endsOf(await running)).toEqual({ done: 5 });
  expect((await look(fleet)).sentences.at(-1)).toBe('  nothing waits');
});

test('a server that is drained finishes what it has and gets nothing more; a canary gets its share', async () => {
  const fleet = await deploy([{ stepMs: 20 }, { stepMs: 20 }]);
  const started = Array.from({ length: 6 }, (_, i) => fleet.caller.startSurely(i, `drain-${i}`));
  const jobs = await Promise.all(started);
  await fleet.deployment.kill();
  const weigh = (weight: number) =>
    fleet.deployment.configure({
      fleet: fleet.entries.map((entry, i) => (i === 0 ? { ...entry, fields: { weight } } : entry)),
    });
  weigh(0);
  await fleet.deployment.start();
  const ended = jobs.map((job) => fleet.caller.ended((job as JobView).id, 45_000));
  expect(endsOf(await Promise.all(ended))).toEqual({ done: 6 });
  const before = (await fleet.counted())[0]?.requests as number;
  expect(endsOf(await runJobs(fleet.caller, 8, {}, 50))).toEqual({ done: 8 });
  expect((await fleet.counted())[0]?.requests).toBe(before);
  expect(await stateOf(fleet, 'a')).toMatchObject({ state: 'draining', reason: 'its weight is 0' });
  await fleet.deployment.kill();
  weigh(0.2);
  await fleet.deployment.start();
  expect(endsOf(await runJobs(fleet.caller, 20, {}, 100))).toEqual({ done: 20 });
  const share = (await stateOf(fleet, 'a'))?.stages.done as number;
  expect(share).toBeGreaterThan(0);
  expect(share).toBeLessThan(30);
});

test('an autoscaler is told when work begins to wait and when none does, and holds up nobody', async () => {
  const events: DemandEvent[] = [];
  const times: number[] = [];
  const receiver = await startReceiver({
    idOf: () => 'demand',
    // the first hangs, which nobody notices but the log
    faultOf: (_, tries) => (tries === 1 ? 'hang' : 'none'),
    take({ body }) {
      events.push(JSON.parse(body));
      return { status: 202 };
    },
  });
  stops.push(async () => receiver.close());
  const fleet = await deploy([{ stepMs: 60, fields: { slots: 1 } }], {
    DEMAND_URL: `${receiver.url}/demand`,
    DEMAND_TOKEN: 'scaler',
  });
  const running = runJobs(fleet.caller, 16);
  await expect.poll(() => receiver.heard.length, PATIENCE).toBe(1);
  times.push(Date.now());
  expect(receiver.heard[0]?.headers).toMatchObject({
    authorization: 'Bearer scaler',
    'content-type': 'application/cloudevents+json',
  });
  expect(JSON.parse(receiver.heard[0]?.body as string)).toMatchObject({
    type: 'ralu.fleet.demand',
    subject: '/default',
    data: { servers_up: 1, slots: 1, models: [{ waiting_tflops: expect.any(Number) }] },
  });
  expect(endsOf(await running)).toEqual({ done: 16 });
  await expect.poll(() => events.at(-1)?.data.models, { timeout: 30_000, interval: 250 }).toEqual([]);
  for (let i = 1; i < events.length; i++) {
    const [before, event] = [events[i - 1] as DemandEvent, events[i] as DemandEvent];
    expect(Date.parse(event.time) - Date.parse(before.time)).toBeGreaterThanOrEqual(10_000);
  }
  expect(fleet.deployment.logged('demand_not_told')).toHaveLength(1);
  // whatever nobody asked for does not come
  const heard = receiver.heard.length;
  await pause(11_000);
  expect(receiver.heard.length).toBe(heard);
}, 90_000);
