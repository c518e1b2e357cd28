/** What operators and autoscalers are told, from what desks say. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Backend, parseBackends } from '../../src/fleet/backends.ts';
import { demandEvent, type Told, whenToTell } from '../../src/fleet/demand.ts';
import { makeDesk } from '../../src/fleet/desk.ts';
import type { DeskServer } from '../../src/fleet/desk-state.ts';
import { METRICS, metricsText } from '../../src/fleet/metrics.ts';
import type { SlotRequest } from '../../src/fleet/slots.ts';
import { type Answer, viewFleet } from '../../src/fleet/view.ts';
import { NEEDS, servedFacts } from './servers.ts';

const NOW = 1_795_000_000_000;

const backend = (id: string, more: object = {}): Backend =>
  parseBackends(JSON.stringify([{ id, url: `https://${id}.test`, ...more }]))[0] as Backend;
const server = (id: string, more: object = {}, digest: string | null = NEEDS.digest): DeskServer => ({
  backend: backend(id, more),
  list: digest === null ? null : { contract: { version: 3, features: [] }, models: [servedFacts({ digest })] },
  fault: digest === null ? 'answered 401' : null,
  listedAt: digest === null ? null : NOW - 5000,
});
const request = (job: string, more: Partial<SlotRequest> = {}): SlotRequest => ({
  needs: NEEDS,
  engine: null,
  tflops: 2,
  job,
  account: 'a',
  restTflops: 6,
  hasBegun: false,
  since: NOW - 1000,
  last: null,
  movingTflops: 0,
  tried: [],
  released: null,
  ...more,
});
const admission = { jobs: [], account: 'a', needs: NEEDS, tflops: 6, mostMs: 0 } as const;

/** Gives a stage to a server and takes it back, `ms` later. */
async function runStage(desk: ReturnType<typeof makeDesk>, servers: readonly DeskServer[], job: string, what?: string) {
  await desk.ask(request(job), servers, NOW);
  const [turn] = desk.turns(servers, NOW);
  if (!turn) throw new Error('nobody took the stage');
  const outcome = what === undefined ? { kind: 'done' as const, ms: 200 } : { kind: 'wrong' as const, what };
  await desk.release(job, { lease: turn.slot.lease, outcome }, NOW + 200);
}

describe('a desk', () => {
  test('says of each server how it stands and why, and counts what came of its stages', async () => {
    const desk = makeDesk(null, NOW);
    const one = [server('one')];
    await runStage(desk, one, 'job_0');
    for (const i of [1, 2, 3]) await runStage(desk, one, `job_${i}`, 'answered 401');
    const all = [...one, server('two', { slots: 1 }), server('three', { weight: 0 }), server('four', {}, null)];
    await desk.ask(request('job_9'), all, NOW + 300);
    expect(desk.turns(all, NOW + 300).map(({ slot }) => slot.backend)).toEqual(['two']);
    const { servers, since } = desk.view(all, NOW + 300);
    expect(since).toBe(NOW);
    expect(servers.map(({ id, state, reason }) => [id, state, reason])).toEqual([
      ['one', 'out', 'answered 401'],
      ['two', 'full', 'all its 1 slots are held'],
      ['three', 'draining', 'its weight is 0'],
      ['four', 'unknown', 'nothing is known of its models: answered 401'],
    ]);
    expect(servers[0]).toMatchObject({
      stages: { done: 1, busy: 0, wrong: 3, dropped: 0 },
      openings: 1,
      probe_at: expect.any(Number),
      said_at: NOW - 5000,
      models: [{ id: NEEDS.model, digest: NEEDS.digest }],
    });
    expect([...desk.outs()]).toEqual([['one', 'answered 401']]);
  });

  test('says by model what waits: the stages and all behind them', async () => {
    const desk = makeDesk(null, NOW);
    const all = [server('one', { slots: 1 })];
    for (const [i, account] of ['a', 'a', 'b', 'b'].entries())
      await desk.ask(request(`job_${i}`, { account, since: NOW - 4000 + i }), all, NOW);
    expect(desk.turns(all, NOW)).toHaveLength(1);
    expect([...desk.waiting()]).toEqual([[NEEDS.model, 18]]);
    expect(desk.view(all, NOW).lines).toEqual([
      { model: 'm', waiting: 3, waiting_tflops: 18, accounts: 2, oldest_ms: 3999, expected_wait_ms: null },
    ]);
    for (const i of [0, 1, 2, 3]) desk.leave(`job_${i}`);
    expect([...desk.waiting()]).toEqual([]);
    expect(desk.view(all, NOW).lines).toEqual([]);
  });

  test('takes the least cold start into an estimate while no server is up that could take the job', async () => {
    const desk = makeDesk(null, NOW);
    const cold = (id: string, seconds: number | null, digest?: string | null) =>
      server(id, { cold_start_seconds: seconds }, digest);
    const asked = (servers: readonly DeskServer[]) => desk.admit(admission, servers, NOW + 300);
    expect(asked([cold('four', 60, null), cold('five', 30, null)])).toMatchObject({ kind: 'come', waitMs: 30_000 });
    expect(asked([cold('four', null, null)])).toMatchObject({ kind: 'come', waitMs: null });
    expect(asked([cold('four', 60, 'another')])).toEqual({ kind: 'none' });
    expect(asked([cold('four', 60, null), cold('two', 5)])).toMatchObject({ kind: 'come', waitMs: null });
    const one = [cold('one', 45)];
    await runStage(desk, one, 'job_0');
    expect(asked(one)).toMatchObject({ kind: 'come', waitMs: 0 });
    for (const i of [1, 2, 3]) await runStage(desk, one, `job_${i}`, 'refused the connection');
    expect(asked(one)).toMatchObject({ kind: 'come', waitMs: 45_000 });
    expect(
      asked([...one, cold('drained', 1, null)].map((each, i) => (i === 0 ? each : withWeight(each, 0)))),
    ).toMatchObject({ waitMs: 45_000 });
  });
});

const withWeight = (given: DeskServer, weight: number): DeskServer => ({
  ...given,
  backend: { ...given.backend, weight },
});

describe('the fleet', () => {
  const backends = [backend('one'), backend('two', { region: 'eu' }), backend('three', { region: 'eu', pool: 'big' })];
  const view = (servers: readonly DeskServer[]) => makeDesk(null, NOW).view(servers, NOW);

  test('has every region and pool, and names a dispatcher that did not answer', () => {
    const { pools } = viewFleet(
      backends,
      [],
      new Map<string, Answer>([
        ['/default', view([server('one')])],
        ['eu/default', { fault: 'its dispatcher did not answer: too slow' }],
      ]),
    );
    expect(
      pools.map(({ region, pool, fault, servers }) => [region, pool, fault, servers.map(({ state }) => state)]),
    ).toEqual([
      ['', 'default', null, ['ready']],
      ['eu', 'default', 'its dispatcher did not answer: too slow', ['unknown']],
      ['eu', 'big', 'it was not asked', ['unknown']],
    ]);
  });

  test('says of a server with another build what was expected, and of whom', () => {
    const { pools } = viewFleet(
      backends,
      [],
      new Map<string, Answer>([
        ['/default', view([server('one', {}, 'aaaaaaaaaaaaaaaa')])],
        ['eu/default', view([server('two', {}, 'bbbbbbbbbbbbbbbb')])],
        ['eu/big', view([server('three', {}, 'aaaaaaaaaaaaaaaa')])],
      ]),
    );
    expect(pools.flatMap(({ servers }) => servers.map(({ state, reason }) => [state, reason]))).toEqual([
      ['ready', null],
      ['unused', 'm has the digest bbbbbbbbbbbb…, expected is aaaaaaaaaaaa… of one'],
      ['ready', null],
    ]);
  });

  test('is text that Prometheus reads: each metric described once, each value one line', () => {
    const desk = makeDesk(null, NOW);
    const fleet = viewFleet(
      [backend('one', { region: 'a"b\\' })],
      [],
      new Map([['a"b\\/default', view([server('one')])]]),
    );
    const lines = metricsText(fleet).trimEnd().split('\n');
    expect(lines).toContain('ralu_slots{region="a\\"b\\\\",pool="default",server="one"} 2');
    expect(lines).toContain('ralu_server_state{region="a\\"b\\\\",pool="default",server="one",state="ready"} 1');
    expect(lines).toContain('ralu_stages_total{region="a\\"b\\\\",pool="default",server="one",outcome="wrong"} 0');
    // no pace is known
    expect(lines.filter((line) => line.startsWith('ralu_ms_per_tflop{'))).toEqual([]);
    for (const name of Object.keys(METRICS))
      expect(lines.filter((line) => line.startsWith(`# TYPE ${name} `))).toHaveLength(1);
    for (const line of lines) expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+\{\w+="[^\n]*"\} [\d.e+-]+)$/);
    expect(desk.outs().size).toBe(0);
  });
});

describe('an autoscaler', () => {
  const told = (at: number, work: Readonly<Record<string, number>>): Told => ({ at, work: Object.entries(work) });
  const waiting = (work: Readonly<Record<string, number>>) => new Map(Object.entries(work));

  test.each([
    ['work begins to wait', null, { m: 1 }, NOW],
    ['none did, and none does', null, {}, null],
    ['as much as before', told(NOW - 60_000, { m: 8 }), { m: 10 }, null],
    ['a quarter more, and more than that', told(NOW - 60_000, { m: 8 }), { m: 10.01 }, NOW],
    ['less by more than a quarter', told(NOW - 60_000, { m: 8 }), { m: 5.9 }, NOW],
    ['it ends', told(NOW - 60_000, { m: 8 }), {}, NOW],
    ['another model', told(NOW - 60_000, { m: 8 }), { m: 8, n: 1 }, NOW],
    ['it ends soon after', told(NOW - 4000, { m: 8 }), {}, NOW + 6000],
    ['the clock stepped back', told(NOW + 60_000, { m: 8 }), {}, NOW],
  ])('hears when it should: %s', (_, before, work, at) => {
    expect(whenToTell(before, waiting(work as Record<string, number>), NOW)).toBe(at);
  });

  test('hears at most every ten seconds, and in the end what is true', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 8000 }), fc.integer({ min: 0, max: 9 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(steps, (list) => {
        let now = NOW;
        let last: Told | null = null;
        let work = waiting({});
        const look = (): number | null => {
          const at = whenToTell(last, work, now);
          if (at === null || at > now) return at;
          if (last) expect(now - last.at).toBeGreaterThanOrEqual(10_000);
          last = { at: now, work: [...work] };
          return null;
        };
        for (const [ms, tflops] of list) {
          now += ms;
          work = waiting(tflops === 0 ? {} : { m: tflops });
          look();
        }
        // whoever comes back when it says so has told everything at once
        const at = look();
        if (at !== null) now = at;
        expect(look()).toBeNull();
        expect(whenToTell(last, work, now)).toBeNull();
      }),
    );
  });

  test('is told in an event what waits, for whom how long, and what is up', async () => {
    const desk = makeDesk(null, NOW);
    const all = [server('one', { slots: 1 }), server('two', {}, null)];
    for (const i of [0, 1]) await desk.ask(request(`job_${i}`), all, NOW);
    desk.turns(all, NOW);
    const about = { dispatcher: 'eu-west/default', id: 'id-1', publicUrl: '', now: NOW };
    expect(demandEvent(desk.view(all, NOW), about)).toEqual({
      specversion: '1.0',
      id: 'id-1',
      type: 'ralu.fleet.demand',
      source: 'ralu',
      subject: 'eu-west/default',
      time: new Date(NOW).toISOString(),
      datacontenttype: 'application/json',
      data: {
        region: 'eu-west',
        pool: 'default',
        servers_up: 1,
        slots: 1,
        slots_held: 1,
        models: [{ model: 'm', waiting_jobs: 1, waiting_tflops: 6, oldest_ms: 1000, expected_wait_ms: null }],
      },
    });
  });
});
