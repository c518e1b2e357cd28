/**
 * The desk of a dispatcher: a model test with random jobs, outcomes, lost leases, restarts, and servers that come and
 * go, then examples with numbers. The clock is set by hand, because the breakers read it.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LEASE_MS, makeDesk } from '../../src/fleet/desk.ts';
import type { Desk, Turn } from '../../src/fleet/desk-calls.ts';
import type { DeskServer } from '../../src/fleet/desk-state.ts';
import type { AdmissionRequest, Slot, SlotOutcome, SlotRequest } from '../../src/fleet/slots.ts';
import { known, NEEDS, servedFacts } from './servers.ts';

const T = 1_700_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: T });
});
afterEach(() => {
  vi.useRealTimers();
});
const now = () => Date.now();
const pass = (ms: number) => void vi.setSystemTime(now() + ms);

type Config = { weight?: number; slots?: number; engine?: string; isKnown?: boolean; coldStart?: number | null };
function server(id: string, { weight = 1, slots = 2, engine = 'e1', isKnown = true, coldStart = null }: Config = {}) {
  const { backend, ...said } = known(id, isKnown ? [servedFacts({ engine_class: engine })] : null);
  return {
    ...said,
    backend: { ...backend, weight, slots, cold_start_seconds: coldStart },
    listedAt: isKnown ? T : null,
  } satisfies DeskServer;
}
const wants = (job: string, more: Partial<SlotRequest> = {}): SlotRequest => ({
  job,
  account: 'a',
  needs: NEEDS,
  engine: null,
  tflops: 1,
  restTflops: 1,
  hasBegun: false,
  since: now(),
  last: null,
  movingTflops: 0.01,
  tried: [],
  released: null,
  ...more,
});
const asks = (job: string, more: Partial<AdmissionRequest> = {}): AdmissionRequest => ({
  jobs: [job],
  account: 'a',
  needs: NEEDS,
  tflops: 1,
  mostMs: 60_000,
  ...more,
});
const DONE = (ms = 1000): SlotOutcome => ({ kind: 'done', ms });
const WRONG: SlotOutcome = { kind: 'wrong', what: 'answered 500' };

/** The slots a desk has given out as one sees it who is called by it. */
function watch(desk: Desk) {
  const held = new Map<string, Slot>();
  const called: Turn[] = [];
  const turn = (servers: readonly DeskServer[]): readonly Turn[] => {
    const turns = desk.turns(servers, now());
    for (const each of turns) {
      held.set(each.job, each.slot);
      called.push(each);
    }
    return turns;
  };
  return {
    held,
    called,
    turn,
    async ask(request: SlotRequest, servers: readonly DeskServer[]) {
      const answer = await desk.ask(request, servers, now());
      turn(servers);
      return answer;
    },
    async ends(job: string, outcome: SlotOutcome, servers: readonly DeskServer[]) {
      const slot = held.get(job) as Slot;
      held.delete(job);
      await desk.release(job, { lease: slot.lease, outcome }, now());
      return turn(servers);
    },
  };
}
/** A desk whose servers are known to take so many milliseconds for a TFLOP. */
async function pacedDesk(paces: Readonly<Record<string, number>>): Promise<Desk> {
  const desk = makeDesk(null, now());
  for (const [id, ms] of Object.entries(paces)) {
    const only = [server(id)];
    const { ask, held, ends } = watch(desk);
    await ask(wants(`warm-${id}`), only);
    expect(held.size).toBe(1);
    pass(ms);
    await ends(`warm-${id}`, DONE(ms), only);
  }
  return desk;
}

const IDS = ['s0', 's1', 's2'];
const SLOTS = [1, 2, 3];
type Step =
  | { do: 'ask'; job: number; last: string | null; tried: string[]; engine: string | null }
  | { do: 'end'; which: number; outcome: SlotOutcome; isAsking: boolean }
  | { do: 'lapse' | 'leave' | 'renew'; which: number }
  | { do: 'pass'; ms: number }
  | { do: 'configure'; id: string; weight: number; isKnown: boolean }
  | { do: 'restart' };
const anyOutcome = fc.oneof(
  { weight: 3, arbitrary: fc.nat(5000).map((ms): SlotOutcome => ({ kind: 'done', ms })) },
  { weight: 3, arbitrary: fc.constant(WRONG) },
  { weight: 1, arbitrary: fc.constantFrom(0, 3000, 1e12).map((retryMs): SlotOutcome => ({ kind: 'busy', retryMs })) },
  { weight: 1, arbitrary: fc.constant<SlotOutcome>({ kind: 'dropped' }) },
);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      job: fc.nat(30),
      last: fc.constantFrom(null, ...IDS),
      tried: fc.subarray(IDS),
      engine: fc.constantFrom(null, 'e1', 'e2'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      which: fc.nat(),
      outcome: anyOutcome,
      isAsking: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('lapse' as const, 'leave' as const, 'renew' as const),
      which: fc.nat(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(20_000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('configure' as const),
      id: fc.constantFrom(...IDS),
      weight: fc.constantFrom(0, 0.1, 1, 3),
      isKnown: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
);

test('no server has more than its slots, no job two, none is lost: all are served once the servers are well', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 80 }), async (steps) => {
      vi.setSystemTime(T);
      let desk = makeDesk(null, now());
      const configs = new Map(IDS.map((id) => [id, { weight: 1, isKnown: true }]));
      const fleet = (): DeskServer[] =>
        IDS.map((id, i) => server(id, { ...configs.get(id), slots: SLOTS[i] as number, engine: i < 2 ? 'e1' : 'e2' }));
      const waiting = new Map<string, SlotRequest>();
      /** what jobs hold, and until when */
      const held = new Map<string, { slot: Slot; until: number; request: SlotRequest }>();
      /** slots whose holder is dead, until they lapse */
      const dead = new Set<string>();
      const stateOf = (id: string) => desk.view(fleet(), now()).servers.find((each) => each.id === id)?.state;
      let wasOut = new Map<string, boolean>();

      const lapse = () => {
        for (const [job, { until }] of held)
          if (until <= now()) {
            held.delete(job);
            dead.delete(job);
          }
      };
      const giveOut = () => {
        lapse();
        wasOut = new Map(IDS.map((id) => [id, stateOf(id) === 'out' || stateOf(id) === 'probing']));
        const taken = new Map<string, number>();
        for (const { job, slot } of desk.turns(fleet(), now())) {
          const request = waiting.get(job);
          expect(request, `${job} is called and waits for nothing`).not.toBe(undefined);
          expect(held.has(job)).toBe(false);
          waiting.delete(job);
          held.set(job, { slot, until: now() + LEASE_MS, request: request as SlotRequest });
          if (request?.engine) expect(slot.engineClass).toBe(request.engine);
          expect(configs.get(slot.backend)?.isKnown).toBe(true);
          if (configs.get(slot.backend)?.weight === 0) expect(request?.last).toBe(slot.backend);
          taken.set(slot.backend, (taken.get(slot.backend) ?? 0) + 1);
        }
        // one that is out is given one stage, and nothing beside it
        for (const [id, count] of taken)
          if (wasOut.get(id)) expect([id, count, stateOf(id)]).toEqual([id, 1, 'probing']);
      };
      const ask = async (request: SlotRequest) => {
        const before = held.get(request.job);
        const answer = await desk.ask(request, fleet(), now());
        if (answer.kind === 'slot') {
          expect(answer.slot).toEqual(before?.slot);
          held.set(request.job, { ...(before as NonNullable<typeof before>), until: now() + LEASE_MS });
        } else held.delete(request.job);
        if (answer.kind === 'line') {
          expect(answer.position).toBeGreaterThanOrEqual(1);
          expect(answer.etaMs === null || answer.etaMs >= 0).toBe(true);
          waiting.set(request.job, request);
        } else waiting.delete(request.job);
        if (answer.kind === 'none') expect(answer.unfit).toHaveLength(IDS.length);
        giveOut();
      };
      const check = () => {
        const view = desk.view(fleet(), now());
        for (const [i, { id, held: count }] of view.servers.entries()) {
          expect(count).toBeLessThanOrEqual(SLOTS[i] as number);
          const own = [...held.values()].filter(({ slot, until }) => slot.backend === id && until > now());
          expect(count).toBeGreaterThanOrEqual(own.length);
        }
        expect(view.lines.reduce((sum, line) => sum + line.waiting, 0)).toBe(waiting.size);
        const due = desk.dueAt(fleet(), now());
        if (due !== null) expect(due).toBeGreaterThan(now());
      };

      for (const step of steps) {
        const live = [...held.keys()].filter((job) => !dead.has(job));
        const job = 'which' in step ? live[step.which % Math.max(1, live.length)] : undefined;
        if (step.do === 'ask') {
          const { last, tried, engine } = step;
          const name = `j${step.job}`;
          // a job whose slot has lapsed asks anew, one that is dead never
          if (!dead.has(name))
            await ask(
              wants(name, { last, tried, engine, account: `acct${step.job % 4}`, hasBegun: last !== null, since: T }),
            );
        } else if (step.do === 'pass') {
          pass(step.ms);
          giveOut();
        } else if (step.do === 'configure') {
          configs.set(step.id, { weight: step.weight, isKnown: step.isKnown });
          giveOut();
        } else if (step.do === 'restart') {
          // slots are forgotten with the old desk, and their jobs go on without them; who waits is still there
          desk = makeDesk(JSON.parse(JSON.stringify(desk.save())), now());
          held.clear();
          dead.clear();
          giveOut();
        } else if (job !== undefined) {
          const { slot, request } = held.get(job) as { slot: Slot; request: SlotRequest };
          if (step.do === 'lapse') dead.add(job);
          else if (step.do === 'renew') {
            expect(desk.renew(request, { ...slot, lease: slot.lease + 1 }, now())).toBe(false);
            expect(desk.renew(request, slot, now())).toBe(true);
            held.set(job, { slot, request, until: now() + LEASE_MS });
          } else if (step.do === 'leave') {
            // leaving gives no slot back
            desk.leave(job);
            giveOut();
          } else if (step.do === 'end' && step.isAsking) {
            held.delete(job);
            await ask({ ...request, hasBegun: true, released: { lease: slot.lease, outcome: step.outcome } });
          } else if (step.do === 'end') {
            held.delete(job);
            await desk.release(job, { lease: slot.lease, outcome: step.outcome }, now());
            expect(desk.renew(request, slot, now())).toBe(false);
            giveOut();
          }
        }
        check();
      }

      // all is well again, and every stage is done: who waits is served, in time
      for (const id of IDS) configs.set(id, { weight: 1, isKnown: true });
      for (let second = 0; waiting.size > 0; second++) {
        expect(second, `${waiting.size} still wait`).toBeLessThan(600);
        pass(1000);
        giveOut();
        for (const [job, { slot }] of [...held]) {
          if (dead.has(job)) continue;
          held.delete(job);
          await desk.release(job, { lease: slot.lease, outcome: DONE() }, now());
        }
        check();
      }
    }),
    { numRuns: 200 },
  );
}, 60_000);

describe('a job', () => {
  test('that asks again has the slot it holds, unless the stage came to nothing there', async () => {
    const servers = [server('x'), server('y')];
    const desk = makeDesk(null, now());
    const { ask, held } = watch(desk);
    await ask(wants('j'), servers);
    const first = held.get('j') as Slot;
    expect(await ask(wants('j'), servers)).toEqual({ kind: 'slot', slot: first });
    await ask(wants('j', { tried: [first.backend] }), servers);
    const second = held.get('j') as Slot;
    expect(second.backend).not.toBe(first.backend);
    expect(desk.renew(wants('j'), first, now())).toBe(false);
    expect(
      desk
        .view(servers, now())
        .servers.map((each) => each.held)
        .toSorted(),
    ).toEqual([0, 1]);
  });

  test('that has tried every server goes to one of them again', async () => {
    const servers = [server('x'), server('y')];
    const { ask, held } = watch(makeDesk(null, now()));
    await ask(wants('j', { tried: ['x', 'y'] }), servers);
    expect(held.size).toBe(1);
  });

  test('that rather waits holds up none of its group that does not', async () => {
    const desk = await pacedDesk({ fast: 60, slow: 6000 });
    const servers = [server('fast', { slots: 1 }), server('slow', { slots: 1 })];
    const { ask, held } = watch(desk);
    for (const job of ['a', 'b', 'c']) await ask(wants(job), servers);
    expect([...held.keys()]).toEqual(['a']);
    await ask(wants('d', { tried: ['fast'] }), servers);
    expect(held.get('d')?.backend).toBe('slow');
  });

  test('that renews a slot of a desk before this one holds it again, and no other gets it', async () => {
    const servers = [server('x', { slots: 1 })];
    const before = makeDesk(null, now());
    const { ask, held } = watch(before);
    await ask(wants('j'), servers);
    pass(1000);
    const desk = makeDesk(before.save(), now());
    const slot = held.get('j') as Slot;
    expect(desk.renew(wants('j'), slot, now())).toBe(true);
    await desk.ask(wants('next'), servers, now());
    expect(desk.turns(servers, now())).toEqual([]);
    await desk.release('j', { lease: slot.lease, outcome: DONE() }, now());
    expect(desk.turns(servers, now()).map(({ job }) => job)).toEqual(['next']);
    // one that has ended is not held again
    expect(desk.renew(wants('next'), slot, now())).toBe(false);
  });

  test('that is dead gives its slot back with its lease; one that renews keeps it', async () => {
    const servers = [server('x', { slots: 1 })];
    const desk = makeDesk(null, now());
    const { ask, held, turn } = watch(desk);
    await ask(wants('dead'), servers);
    await ask(wants('next'), servers);
    pass(20_000);
    expect(desk.renew(wants('dead'), held.get('dead') as Slot, now())).toBe(true);
    pass(LEASE_MS - 1);
    expect(turn(servers)).toEqual([]);
    expect(desk.leaseEndsAt()).toBe(now() + 1);
    pass(1);
    expect(turn(servers).map(({ job }) => job)).toEqual(['next']);
  });

  test('that is dead is not shown as holding its slot once its lease is over, though nobody waits', async () => {
    const servers = [server('x', { slots: 1 })];
    const desk = makeDesk(null, now());
    await watch(desk).ask(wants('dead'), servers);
    const heldNow = () => desk.view(servers, now()).servers.map(({ held }) => held);
    pass(LEASE_MS - 1);
    expect(heldNow()).toEqual([1]);
    pass(1);
    expect(heldNow()).toEqual([0]);
  });

  test('that nobody here can take is told why, and one whose servers are all drained too', async () => {
    const desk = makeDesk(null, now());
    const servers = [server('x', { engine: 'e2' }), server('y', { isKnown: false }), server('z', { weight: 0 })];
    expect(await desk.ask(wants('j', { engine: 'e1' }), servers, now())).toEqual({
      kind: 'none',
      unfit: [
        { id: 'x', why: { engineClass: 'e2' } },
        { id: 'y', why: { notKnown: 'answered 502' } },
        { id: 'z', why: 'drained' },
      ],
    });
    const there = await desk.ask(wants('j', { engine: 'e1', last: 'z' }), servers, now());
    expect(there).toMatchObject({ kind: 'line', position: 1, isDown: false });
  });
});

describe('a server', () => {
  /** Keeps 12 jobs of three stages going on servers that take so long for a stage, and counts where stages ran. */
  async function run(durations: Readonly<Record<string, number>>, servers: readonly DeskServer[], jobs = 12) {
    const desk = makeDesk(null, now());
    const { ask, held, called } = watch(desk);
    const begin = now();
    const left = new Map<string, number>();
    const ends = new Map<number, { job: string; ms: number; lease: number }[]>();
    let seen = 0;
    const schedule = () => {
      for (const { job, slot } of called.slice(seen)) {
        const ms = durations[slot.backend] as number;
        ends.set(now() + ms, [...(ends.get(now() + ms) ?? []), { job, ms, lease: slot.lease }]);
      }
      seen = called.length;
    };
    for (let i = 0; i < jobs; i++) {
      left.set(`j${i}`, 3);
      await ask(wants(`j${i}`, { restTflops: 3 }), servers);
      schedule();
    }
    while (left.size > 0 && ends.size > 0) {
      const at = Math.min(...ends.keys());
      vi.setSystemTime(at);
      for (const { job, ms, lease } of ends.get(at) ?? []) {
        const stages = (left.get(job) as number) - 1;
        const last = held.get(job)?.backend as string;
        held.delete(job);
        const released = { lease, outcome: DONE(ms) };
        if (stages === 0) {
          left.delete(job);
          await desk.release(job, released, now());
          for (const turn of desk.turns(servers, now())) {
            held.set(turn.job, turn.slot);
            called.push(turn);
          }
        } else {
          left.set(job, stages);
          await ask(wants(job, { hasBegun: true, restTflops: stages, last, released }), servers);
        }
        schedule();
      }
      ends.delete(at);
    }
    const counts = Object.fromEntries(Object.keys(durations).map((id) => [id, 0]));
    for (const { slot } of called) counts[slot.backend] = (counts[slot.backend] as number) + 1;
    return { counts, ms: now() - begin, left: left.size };
  }

  test('beside two as good as itself gets a third: 12 jobs, 36 stages', async () => {
    const { counts, left } = await run(
      { x: 60, y: 60, z: 60 },
      ['x', 'y', 'z'].map((id) => server(id)),
    );
    expect(left).toBe(0);
    for (const count of Object.values(counts)) expect(count).toBeGreaterThanOrEqual(8);
    expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(36);
  });

  test('that takes 6 s where the others take 60 ms has the stages it was given at the start, and no more', async () => {
    const { counts, ms, left } = await run(
      { slow: 6000, y: 60, z: 60 },
      ['slow', 'y', 'z'].map((id) => server(id)),
    );
    expect(left).toBe(0);
    expect(counts.slow).toBeLessThanOrEqual(2);
    // not 18 s: a stage that began there ends there
    expect(ms).toBeLessThan(6300);
  });

  test('that accepts and never answers costs the jobs it was given, and then nobody', async () => {
    const servers = [server('silent'), server('well')];
    const desk = makeDesk(null, now());
    const { ask, held, ends } = watch(desk);
    let toSilent = 0;
    const pending: { job: string; at: number }[] = [];
    for (let i = 0; i < 400; i++) {
      await ask(wants(`j${i}`, { account: `a${i % 5}` }), servers);
      for (const [job, slot] of [...held]) {
        if (slot.backend === 'well') await ends(job, DONE(60), servers);
        else if (!pending.some((each) => each.job === job)) {
          toSilent++;
          pending.push({ job, at: now() + 60_000 });
        }
      }
      for (const { job, at } of pending.splice(0))
        if (at <= now()) await ends(job, WRONG, servers);
        else {
          desk.renew(wants(job), held.get(job) as Slot, now());
          pending.push({ job, at });
        }
      pass(500);
    }
    // 200 s: two at the start, and one or two more each time it is forgotten
    expect(toSilent).toBeLessThanOrEqual(4);
    expect(desk.view(servers, now()).lines).toEqual([]);
  });

  test('that failed three times is out until a probe has shown that it is well', async () => {
    const servers = [server('x', { slots: 4 })];
    const desk = makeDesk(null, now());
    const { ask, held, ends, turn } = watch(desk);
    for (const job of ['a', 'b', 'c']) await ask(wants(job), servers);
    for (const job of ['a', 'b', 'c']) await ends(job, WRONG, servers);
    for (const job of ['d', 'e', 'f']) expect(await ask(wants(job), servers)).toMatchObject({ isDown: true });
    expect(held.size).toBe(0);
    expect(desk.view(servers, now()).servers[0]).toMatchObject({ state: 'out', reason: 'answered 500' });
    expect(desk.dueAt(servers, now())).toBe(T + 1000);
    pass(1000);
    expect(turn(servers).map(({ job }) => job)).toEqual(['d']);
    pass(10_000);
    expect(turn(servers)).toEqual([]);
    expect((await ends('d', DONE(), servers)).map(({ job }) => job)).toEqual(['e', 'f']);
  });

  test('is put out by no job alone, however often its stage fails there', async () => {
    const servers = [server('x')];
    const desk = makeDesk(null, now());
    const { ask, ends } = watch(desk);
    const state = () => desk.view(servers, now()).servers[0]?.state;
    for (let i = 0; i < 10; i++) {
      await ask(wants('poison'), servers);
      await ends('poison', WRONG, servers);
    }
    expect(state()).toBe('ready');
    for (const job of ['a', 'b']) {
      await ask(wants(job), servers);
      await ends(job, WRONG, servers);
    }
    expect(state()).toBe('out');
  });

  test('that is busy is left alone for as long as it says, half a minute at most, and its job has its turn again', async () => {
    const servers = [server('x')];
    const desk = makeDesk(null, now());
    const { ask, ends, held, turn } = watch(desk);
    await ask(wants('j'), servers);
    await ends('j', { kind: 'busy', retryMs: 1e12 }, servers);
    await ask(wants('j'), servers);
    expect(held.size).toBe(0);
    expect(desk.dueAt(servers, now())).toBe(T + 30_000);
    pass(30_000);
    expect(turn(servers)).toHaveLength(1);
  });

  test('that says it is busy beside its work is measured all the same', async () => {
    const servers = [server('x')];
    const desk = makeDesk(null, now());
    const { ask, ends } = watch(desk);
    await ask(wants('long'), servers);
    await ask(wants('other'), servers);
    pass(9900);
    await ends('other', { kind: 'busy', retryMs: 0 }, servers);
    pass(100);
    await ends('long', DONE(10_000), servers);
    expect(desk.view(servers, now()).servers[0]?.ms_per_tflop).toBe(10_000);
  });

  test('whose probe is due is not looked at again and again while all rather wait for a better one', async () => {
    const desk = await pacedDesk({ well: 60 });
    const servers = [server('well', { slots: 1 }), server('bad')];
    const { ask, ends, held } = watch(desk);
    for (let i = 0; i < 3; i++) {
      await ask(wants(`bad${i}`), [server('bad')]);
      pass(20_000);
      await ends(`bad${i}`, WRONG, [server('bad')]);
    }
    pass(5000);
    for (const job of ['a', 'b']) await ask(wants(job), servers);
    expect([...held.values()].map(({ backend }) => backend)).toEqual(['well']);
    expect(desk.dueAt(servers, now())).toBe(null);
    expect(desk.leaseEndsAt()).toBe(now() + LEASE_MS);
  });
});

describe('admission', () => {
  test('lets in while the wait is within what makes sense, and says what the wait is', async () => {
    const desk = await pacedDesk({ x: 1000 });
    const servers = [server('x')];
    const admit = (job: string, more: Partial<AdmissionRequest> = {}) => desk.admit(asks(job, more), servers, now());
    expect(admit('j0')).toEqual({ kind: 'come', waiting: 0, waitMs: 0 });
    expect(admit('j1')).toMatchObject({ kind: 'come', waitMs: 1000 });
    for (let i = 2; i < 61; i++) expect(admit(`j${i}`)).toMatchObject({ kind: 'come', waitMs: i * 1000 });
    expect(admit('j61')).toEqual({ kind: 'full', waitMs: 61_000, retryMs: 1000 });
    // who is refused after another is told to come after it, and nobody to stay away for longer than ten minutes
    expect(admit('j62')).toEqual({ kind: 'full', waitMs: 61_000, retryMs: 2000 });
    expect(admit('j63', { tflops: 1000 })).toMatchObject({ kind: 'full', retryMs: 600_000 });
    // of another account the first counts once, however often it has asked
    for (let i = 0; i < 100; i++) admit(`more${i}`);
    expect(admit('c0', { account: 'c', mostMs: 500 })).toEqual({ kind: 'full', waitMs: 1000, retryMs: 2000 });
    // an account that has nothing waits for one stage of the other
    expect(admit('k', { account: 'b' })).toMatchObject({ kind: 'come', waitMs: 1000 });
    expect(admit('', { jobs: [] })).toMatchObject({ kind: 'come' });
  });

  test('counts a job once, whether it was let in, waits, or runs', async () => {
    const desk = await pacedDesk({ x: 1000 });
    const servers = [server('x', { slots: 1 })];
    const waitMs = () => {
      const answer = desk.admit(asks('', { jobs: [] }), servers, now());
      return answer.kind === 'come' ? answer.waitMs : null;
    };
    const { ask } = watch(desk);
    for (const job of ['i', 'j']) desk.admit(asks(job), servers, now());
    expect(waitMs()).toBe(2000);
    await ask(wants('i'), servers);
    expect(waitMs()).toBe(2000);
    await ask(wants('j'), servers);
    expect(waitMs()).toBe(2000);
    pass(400);
    expect(waitMs()).toBe(1600);
    desk.leave('j');
    expect(waitMs()).toBe(600);
  });

  test('does not wait for the line of a model that other servers serve', async () => {
    const desk = await pacedDesk({ x: 1000 });
    const other = { ...server('y', { slots: 1 }), ...known('y', [servedFacts({ id: 'n', digest: 'd9' })]) };
    const servers = [server('x'), { ...other, backend: { ...server('y', { slots: 1 }).backend } }];
    const needs = { model: 'n', digest: 'd9', features: [] };
    for (let i = 0; i < 50; i++) await desk.ask(wants(`n${i}`, { needs }), servers, now());
    expect(desk.admit(asks('j'), servers, now())).toMatchObject({ kind: 'come', waitMs: 0 });
  });

  test('is refused to nobody where no pace is known, and to all where no server fits or all are drained', async () => {
    const desk = makeDesk(null, now());
    expect(desk.admit(asks('j', { mostMs: 0 }), [server('x')], now())).toEqual({
      kind: 'come',
      waiting: 0,
      waitMs: null,
    });
    expect(desk.admit(asks('j'), [], now())).toEqual({ kind: 'none' });
    expect(desk.admit(asks('j'), [server('x', { weight: 0 })], now())).toEqual({ kind: 'none' });
  });

  test('refuses only over the limit, and who comes back when it is told is taken, at a constant pace', async () => {
    const anyJobs = fc.array(
      fc.record({ account: fc.constantFrom('a', 'b', 'c'), stages: fc.integer({ min: 1, max: 3 }) }),
      { minLength: 20, maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(anyJobs, fc.integer({ min: 1, max: 2 }), async (jobs, slots) => {
        vi.setSystemTime(T);
        const servers = [server('x', { slots })];
        const desk = await pacedDesk({ x: 1000 });
        const { ask, held, turn } = watch(desk);
        const left = new Map(jobs.map(({ stages }, i) => [`j${i}`, stages]));
        for (const [i, { account, stages }] of jobs.entries())
          await ask(wants(`j${i}`, { account, restTflops: stages, since: now() + i }), servers);
        const request = asks('me', { account: 'a', mostMs: 10_000 });
        const first = desk.admit(request, servers, now());
        if (first.kind !== 'full') {
          expect(first).toMatchObject({ kind: 'come' });
          expect((first as { waitMs: number }).waitMs).toBeLessThanOrEqual(10_000);
          return;
        }
        expect(first.waitMs).toBeGreaterThan(10_000);
        // the server does a TFLOP a second, however many it has at once
        for (let ms = 0; ms < first.retryMs; ms += 1000) {
          pass(1000);
          const [job, slot] = [...held][0] as [string, Slot];
          held.delete(job);
          const stages = (left.get(job) as number) - 1;
          left.set(job, stages);
          const released = { lease: slot.lease, outcome: DONE() };
          const account = jobs[Number(job.slice(1))]?.account as string;
          if (stages > 0)
            await ask(
              wants(job, { account, restTflops: stages, hasBegun: true, since: T, last: 'x', released }),
              servers,
            );
          else {
            await desk.release(job, released, now());
            turn(servers);
          }
        }
        expect(desk.admit(request, servers, now())).toMatchObject({ kind: 'come' });
      }),
    );
  }, 60_000);
});

describe('what is saved', () => {
  test('is read again: who waits, in order, how fast each server is, and which is out', async () => {
    const desk = await pacedDesk({ x: 60 });
    const servers = [server('x', { slots: 1 }), server('out')];
    const { ask, ends } = watch(desk);
    for (let i = 0; i < 3; i++) {
      await ask(wants(`o${i}`), [server('out')]);
      await ends(`o${i}`, WRONG, [server('out')]);
    }
    for (let i = 0; i < 4; i++) await ask(wants(`j${i}`, { since: T + i, engine: 'e1' }), servers);
    const again = makeDesk(JSON.parse(JSON.stringify(desk.save())), now());
    const view = again.view(servers, now());
    expect(view.servers).toMatchObject([
      { id: 'x', state: 'ready', held: 0, ms_per_tflop: 60 },
      { id: 'out', state: 'out', reason: 'answered 500' },
    ]);
    expect(view.lines).toMatchObject([{ model: 'm', waiting: 3 }]);
    const { turn, ends: end, called } = watch(again);
    // who had the slot may have it still
    expect(turn(servers)).toEqual([]);
    pass(12_000);
    turn(servers);
    for (const job of ['j1', 'j2']) await end(job, DONE(60), servers);
    expect(called.map(({ job }) => job)).toEqual(['j1', 'j2', 'j3']);
  });
});

describe('a desk that begins anew', () => {
  const again = (desk: Desk): Desk => makeDesk(JSON.parse(JSON.stringify(desk.save())), now());

  test('gives no slot twice where many waited: who holds one renews it or gives it back', async () => {
    const anyHolder = fc.record({ at: fc.integer({ min: 0, max: 10_000 }), isDone: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(anyHolder, { minLength: 3, maxLength: 3 }), async (holders) => {
        vi.setSystemTime(T);
        const servers = [server('x', { slots: 1 }), server('y', { slots: 2 })];
        const before = await pacedDesk({ x: 60_000, y: 60_000 });
        const first = watch(before);
        for (let i = 0; i < 8; i++) await first.ask(wants(`j${i}`, { since: now() + i }), servers);
        const old = [...first.held];
        expect(old).toHaveLength(3);
        pass(1000);
        const born = now();
        const desk = again(before);
        const { held, turn } = watch(desk);
        const stillHeld = new Map(old);
        const check = () => {
          for (const { backend } of servers) {
            const all = [...stillHeld, ...held].filter(([, slot]) => slot.backend === backend.id);
            expect(all.length).toBeLessThanOrEqual(backend.slots);
          }
        };
        turn(servers);
        const events = old.map(([job, slot], i) => ({ job, slot, ...(holders[i] as { at: number; isDone: boolean }) }));
        for (const { job, slot, at, isDone } of events.toSorted((a, b) => a.at - b.at)) {
          vi.setSystemTime(born + at);
          if (isDone) {
            stillHeld.delete(job);
            const outcome = DONE();
            await desk.release(job, { lease: slot.lease, outcome, backend: slot.backend }, now());
          } else expect(desk.renew(wants(job), slot, now())).toBe(true);
          turn(servers);
          check();
        }
        // when all have spoken nothing is kept
        expect(desk.dueAt(servers, now())).toBe(null);
      }),
      { numRuns: 50 },
    );
  });

  test('gives a slot that is given back to the next one at once', async () => {
    const servers = [server('x', { slots: 1 })];
    const before = makeDesk(null, now());
    const first = watch(before);
    for (const job of ['a', 'b']) await first.ask(wants(job), servers);
    pass(1000);
    const desk = again(before);
    const { held, ask } = watch(desk);
    const { lease, backend } = first.held.get('a') as Slot;
    await ask(wants('a', { hasBegun: true, released: { lease, outcome: DONE(), backend } }), servers);
    expect([...held.keys()]).toEqual(['a']);
  });

  test('keeps the slots of those who say nothing for twelve seconds, and looks again then', async () => {
    const servers = [server('x', { slots: 1 })];
    const before = makeDesk(null, now());
    for (const job of ['a', 'b']) await watch(before).ask(wants(job), servers);
    const desk = again(before);
    const { turn } = watch(desk);
    pass(11_999);
    expect(turn(servers)).toEqual([]);
    expect(desk.dueAt(servers, now())).toBe(T + 12_000);
    pass(1);
    expect(turn(servers).map(({ job }) => job)).toEqual(['b']);
  });

  test('keeps nothing where nobody waited, and nothing where it begins for the first time', async () => {
    const servers = [server('x', { slots: 1 })];
    const before = makeDesk(null, now());
    await watch(before).ask(wants('a'), servers);
    for (const desk of [again(before), makeDesk(null, now())]) {
      const { ask, held } = watch(desk);
      await ask(wants('next'), servers);
      expect([...held.keys()]).toEqual(['next']);
    }
    // of a version that saved no slots
    const { held: _, ...old } = before.save();
    const { ask, held } = watch(makeDesk({ ...old, line: [wants('w')] }, now()));
    await ask(wants('next'), servers);
    expect([...held.keys()]).toEqual(['w']);
  });
});

describe('a server that is the only one', () => {
  /** Out for five minutes, with somebody waiting all the time. */
  async function outFor5Minutes() {
    const servers = [server('x')];
    const desk = makeDesk(null, now());
    const watched = watch(desk);
    await watched.ask(wants('warm'), servers);
    pass(1000);
    await watched.ends('warm', DONE(), servers);
    for (let i = 0; now() < T + 300_000; i++) {
      await watched.ask(wants(`j${i % 2}`), servers);
      if (watched.held.size === 0) {
        vi.setSystemTime(desk.dueAt(servers, now()) as number);
        watched.turn(servers);
      }
      for (const job of [...watched.held.keys()]) await watched.ends(job, WRONG, servers);
    }
    for (const job of ['j0', 'j1']) desk.leave(job);
    return { servers, desk, ...watched };
  }

  test('and was out for five minutes is probed within three seconds of the next job that comes', async () => {
    const { servers, desk, ask, turn, ends, held } = await outFor5Minutes();
    expect(desk.view(servers, now()).servers[0]).toMatchObject({ state: 'out', probe_at: now() + 60_000 });
    pass(1000);
    expect(await ask(wants('next'), servers)).toMatchObject({ kind: 'line', isDown: true });
    expect(held.size).toBe(0);
    expect(desk.dueAt(servers, now())).toBe(now() + 2000);
    pass(2000);
    expect(turn(servers).map(({ job }) => job)).toEqual(['next']);
    pass(1000);
    await ends('next', DONE(), servers);
    // and what it wasted while it was out is held against nobody
    for (const job of ['a', 'b', 'c']) await ask(wants(job), servers);
    expect(desk.admit(asks('d', { account: 'b' }), servers, now())).toMatchObject({ kind: 'come', waitMs: 3000 });
  });

  test('and is still out is tried by no more than one job in three seconds', async () => {
    const { servers, ask, called, ends, held } = await outFor5Minutes();
    const before = called.length;
    for (let i = 0; i < 300; i++) {
      pass(100);
      await ask(wants(`n${i}`), servers);
      for (const job of [...held.keys()]) await ends(job, WRONG, servers);
    }
    expect(called.length - before).toBeLessThanOrEqual(10);
  });

  test('is not tried earlier where another is well', async () => {
    const { servers, desk, ask, held } = await outFor5Minutes();
    pass(10_000);
    const both = [...servers, server('y', { slots: 1 })];
    for (const job of ['a', 'b']) await ask(wants(job), both);
    expect([...held.values()].map(({ backend }) => backend)).toEqual(['y']);
    expect(desk.view(both, now()).servers[0]?.state).toBe('out');
  });
});

test('who used one model alone has its share at the line of another, and loses none of its own', async () => {
  const other = { ...server('n0', { slots: 1 }), list: known('n0', [servedFacts({ id: 'n', digest: 'd9' })]).list };
  const servers = [server('m0', { slots: 1 }), other];
  const needs = { model: 'n', digest: 'd9', features: [] };
  const { ask, ends, called, held } = watch(makeDesk(null, now()));
  // b has 40 stages of model n, while others wait for m
  for (let i = 0; i < 60; i++) await ask(wants(`n${i}`, { account: 'b', needs, since: T + i }), servers);
  for (let i = 0; i < 20; i++) await ask(wants(`m${i}`, { account: 'a', since: T + i }), servers);
  const endOn = async (id: string) => {
    const [job] = [...held].find(([, { backend }]) => backend === id) as [string, Slot];
    await ends(job, DONE(), servers);
  };
  for (let i = 0; i < 40; i++) await endOn('n0');
  for (let i = 0; i < 20; i++) await ask(wants(`b${i}`, { account: 'b', since: T + i }), servers);
  for (let i = 0; i < 20; i++) await ask(wants(`c${i}`, { account: 'c', needs, since: T + i }), servers);
  called.length = 0;
  for (let i = 0; i < 10; i++) {
    await endOn('m0');
    await endOn('n0');
  }
  const share = (prefix: string) => called.filter(({ job }) => job.startsWith(prefix)).length;
  expect(['m', 'b', 'n', 'c'].map(share)).toEqual([5, 5, 5, 5]);
});

test('10,000 places of 500 accounts: a slot given back and the turn that follows take less than a millisecond', async () => {
  const servers = Array.from({ length: 16 }, (_, i) => server(`s${i}`, { slots: 4 }));
  const desk = makeDesk(null, now());
  const { ask, held, ends } = watch(desk);
  for (let i = 0; i < 10_000; i++) await ask(wants(`j${i}`, { account: `a${i % 500}`, restTflops: 3 }), servers);
  const begin = process.cpuUsage();
  for (let i = 0; i < 300; i++) {
    pass(10);
    await ends([...held.keys()][0] as string, DONE(1000), servers);
  }
  expect(process.cpuUsage(begin).user / 1000 / 300).toBeLessThan(1);
}, 30_000);

describe('a server that one account has no use for', () => {
  const other = { model: 'other', digest: 'd2', features: [] };
  /** `fast` serves m in a second a TFLOP, `both` m and another model in ten: who wants m rather waits for `fast`. */
  function fastAndBoth() {
    const fast = server('fast', { slots: 1 });
    const both = server('both', { slots: 1 });
    const models = [servedFacts(), servedFacts({ id: 'other', digest: 'd2' })];
    const servers = [fast, { ...both, list: known('both', models).list }];
    const paces = { fast: 1000, both: 10_000 };
    const saved = Object.entries(paces).map(([id, ms]) => [id, undefined, { ms, tflops: 1, at: T }, null] as const);
    return { servers, ...watch(makeDesk({ servers: saved, line: [] }, T - 1000)) };
  }
  /** Seconds until the job `y` has a slot, where `fast` does a stage a second; null: not in a minute. */
  async function secondsTo(y: Partial<SlotRequest>, crowd: readonly Partial<SlotRequest>[]): Promise<number | null> {
    const { servers, ask, ends, held, called } = fastAndBoth();
    for (const [i, more] of crowd.entries()) await ask(wants(`x${i}`, { account: 'x', ...more }), servers);
    await ask(wants('y', { account: 'y', needs: other, ...y }), servers);
    for (let s = 0; s <= 60; s++) {
      if (called.some(({ job }) => job === 'y')) return s;
      pass(1000);
      const [job] = [...held].find(([, { backend }]) => backend === 'fast') as [string, Slot];
      await ends(job, DONE(), servers);
    }
    return null;
  }
  const mostly = (i: number) => 1 + i / 1000;

  test('serves who comes behind it, however many jobs it has in line', async () => {
    const alike = Array.from({ length: 700 }, () => ({}));
    expect(await secondsTo({}, alike)).toBeLessThanOrEqual(1);
  });

  test('so it does where its jobs are all different, and where the other job is its own', async () => {
    const different = Array.from({ length: 700 }, (_, i) => ({ tflops: mostly(i) }));
    expect(await secondsTo({}, different)).toBeLessThanOrEqual(1);
    expect(await secondsTo({ account: 'x' }, different)).toBeLessThanOrEqual(1);
  });

  test('so it does where twenty accounts have no use for it, all with different jobs', async () => {
    const crowd = Array.from({ length: 700 }, (_, i) => ({ account: `x${i % 20}`, tflops: mostly(i) }));
    expect(await secondsTo({}, crowd)).toBeLessThanOrEqual(3);
  });
});

describe('a job in line whose servers all go out', () => {
  /** Every slot is held, and the next three stages of whoever holds them fail. */
  async function fail(desk: Desk, held: Map<string, Slot>, servers: readonly DeskServer[]) {
    const failing = [...held].slice(0, 3);
    for (const [job, { lease }] of failing) {
      held.delete(job);
      await desk.release(job, { lease, outcome: WRONG }, now());
    }
    expect(failing).toHaveLength(3);
    desk.turns(servers, now());
  }

  test('is called once to ask again, unless it knows, and again when they go out another time', async () => {
    const servers = [server('x', { slots: 4 }), server('elsewhere', { engine: 'e2' })];
    const desk = makeDesk(null, now());
    const { ask, held, turn, ends } = watch(desk);
    for (let i = 0; i < 4; i++) await ask(wants(`h${i}`, { engine: 'e1' }), servers);
    for (let i = 0; i < 3; i++) await ask(wants(`j${i}`, { engine: 'e1', since: now() + i }), servers);
    expect(desk.toCall()).toEqual([]);
    await fail(desk, held, servers);
    expect(desk.toCall()).toEqual(['j0', 'j1', 'j2']);
    expect(desk.toCall()).toEqual([]);
    for (const job of ['j0', 'j1', 'j2', 'late'])
      expect(await ask(wants(job, { engine: 'e1' }), servers)).toMatchObject({ kind: 'line', isDown: true });
    expect(desk.toCall()).toEqual([]);
    // while it is probed in vain nobody is called
    await ends('h3', { kind: 'dropped' }, servers);
    for (let i = 0; i < 3; i++) {
      vi.setSystemTime(desk.dueAt(servers, now()) as number);
      const [probe] = turn(servers);
      expect(desk.toCall()).toEqual([]);
      await ends(probe?.job as string, WRONG, servers);
      await ask(wants(probe?.job as string, { engine: 'e1' }), servers);
      expect(desk.toCall()).toEqual([]);
    }
    // well again, with more in line than it has slots, and out again
    vi.setSystemTime(desk.dueAt(servers, now()) as number);
    const [probe] = turn(servers);
    await ends(probe?.job as string, DONE(), servers);
    for (let i = 0; i < 3; i++) await ask(wants(`k${i}`, { engine: 'e1' }), servers);
    expect([desk.toCall(), held.size, desk.size]).toEqual([[], 4, 2]);
    await fail(desk, held, servers);
    expect(desk.toCall()).toHaveLength(2);
  });

  test('is not called where another server that could take it is well', async () => {
    const servers = [server('x', { slots: 3 }), server('y', { slots: 3 })];
    const desk = makeDesk(null, now());
    const { ask, held } = watch(desk);
    for (let i = 0; i < 8; i++) await ask(wants(`j${i}`), servers);
    const atX = new Map([...held].filter(([, { backend }]) => backend === 'x'));
    await fail(desk, atX, servers);
    expect(desk.view(servers, now()).servers.map(({ state }) => state)).toEqual(['out', 'full']);
    expect(desk.toCall()).toEqual([]);
  });
});

describe('a job that waits for what no server has', () => {
  const other = (id: string) => ({ ...server(id), list: known(id, [servedFacts({ digest: 'd2' })]).list });

  test('is called once when one has it, and that server is named as one to be asked until then', async () => {
    const servers = [other('x'), server('drained', { weight: 0 })];
    const desk = makeDesk(null, now());
    const { ask, turn } = watch(desk);
    expect(desk.hopes(servers, now())).toEqual([]);
    expect(await ask(wants('j'), servers)).toMatchObject({ kind: 'none' });
    turn(servers);
    expect([desk.toCall(), desk.hopes(servers, now())]).toEqual([[], ['x']]);
    const mended = [server('x'), servers[1] as DeskServer];
    turn(mended);
    expect([desk.toCall(), desk.hopes(mended, now())]).toEqual([['j'], []]);
    turn(mended);
    expect(desk.toCall()).toEqual([]);
  });

  test('is called no more once it waits elsewhere, or for so long that it must have ended', async () => {
    const desk = makeDesk(null, now());
    const { ask, turn } = watch(desk);
    await ask(wants('gone'), [other('x')]);
    desk.leave('gone');
    await ask(wants('ended'), [other('x')]);
    pass(660_000);
    expect(desk.hopes([other('x')], now())).toEqual([]);
    turn([server('x')]);
    expect(desk.toCall()).toEqual([]);
  });

  test('has its turn without a call where it stands in line and its server comes back with the right build', async () => {
    const desk = makeDesk(null, now());
    const { ask, ends, held, turn } = watch(desk);
    await ask(wants('first'), [server('x', { slots: 1 })]);
    await ask(wants('second'), [server('x', { slots: 1 })]);
    await ends('first', { kind: 'dropped' }, [other('x')]);
    expect([[...held.keys()], desk.hopes([other('x')], now())]).toEqual([[], ['x']]);
    turn([server('x', { slots: 1 })]);
    expect([[...held.keys()], desk.toCall()]).toEqual([['second'], []]);
  });
});
