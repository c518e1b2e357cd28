/**
 * Where a job asks for its slot, and in which order its dispatchers hear of it: real desks, each behind a way that
 * takes its time.
 */
import { expect, test } from 'vitest';
import type { Servers } from '../../durable-objects/job/servers.ts';
import { makeSlots, type Wanted } from '../../durable-objects/job/slots.ts';
import { makeDesk } from '../../src/fleet/desk.ts';
import type { Desk } from '../../src/fleet/desk-calls.ts';
import type { DeskServer } from '../../src/fleet/desk-state.ts';
import type { Slot, SlotOutcome, SlotRequest } from '../../src/fleet/slots.ts';
import type { DispatcherCalls, Remote } from '../../src/job/rpc.ts';
import { known, NEEDS, servedFacts } from '../fleet/servers.ts';

const WRONG: SlotOutcome = { kind: 'wrong', what: 'answered 500' };
const DONE: SlotOutcome = { kind: 'done', ms: 1000 };
const passes = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const asks = (job: string, more: Partial<SlotRequest> = {}): SlotRequest => ({
  job,
  account: 'me',
  needs: NEEDS,
  engine: null,
  tflops: 1,
  restTflops: 1,
  hasBegun: false,
  since: 0,
  last: null,
  movingTflops: 0,
  tried: [],
  released: null,
  ...more,
});
const wants = (more: Partial<Wanted['request']> = {}): Wanted => {
  const { account: _, released: __, ...request } = asks('me', { since: 1000, ...more });
  return { request, account: 'me', regions: ['r'] };
};

/** A dispatcher with one server of one slot, that does a TFLOP in a second. */
class Pool {
  readonly name: string;
  readonly desk: Desk;
  readonly servers: readonly DeskServer[];
  /** what it was told, in the order in which it heard it */
  readonly heard: string[] = [];
  readonly holders = new Map<string, Slot>();
  /** how long the way of each call takes, milliseconds */
  way: Partial<Record<string, number>> = {};

  constructor(name: string) {
    this.name = name;
    const { backend, ...said } = known(`${name}-server`, [servedFacts()]);
    this.servers = [{ ...said, backend: { ...backend, slots: 1, cold_start_seconds: null }, listedAt: 0 }];
    const pace = { ms: 1000, tflops: 1, at: Date.now() };
    this.desk = makeDesk({ servers: [[`${name}-server`, undefined, pace, null]], line: [] }, Date.now() - 1000);
  }

  /** Gives out what is free, as the object does. */
  giveOut(): void {
    for (const { job, slot } of this.desk.turns(this.servers, Date.now())) this.holders.set(job, slot);
  }

  /** Its slot is held by another, and so many jobs wait for it. */
  async fill(waiting: number): Promise<void> {
    for (let i = 0; i <= waiting; i++) {
      await this.desk.ask(asks(`${this.name}${i}`), this.servers, Date.now());
      this.giveOut();
    }
  }

  /** Its server is out: three jobs fail there. */
  async putOut(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      if (this.holders.size === 0) await this.desk.ask(asks(`${this.name}-out${i}`), this.servers, Date.now());
      this.giveOut();
      const [job, { lease }] = [...this.holders][0] as [string, Slot];
      this.holders.delete(job);
      await this.desk.release(job, { lease, outcome: WRONG }, Date.now());
    }
  }

  get waiting(): readonly string[] {
    return this.desk.save().line.map(({ job }) => job);
  }

  get stub(): Remote<DispatcherCalls> {
    const arrives = async (call: string, more = '') => {
      await passes(this.way[call] ?? 0);
      this.heard.push(`${call}${more}`);
    };
    return {
      ask: async (request) => {
        await arrives('ask', request.released ? ' with its slot' : '');
        if (request.released) this.holders.delete(request.job);
        const answer = await this.desk.ask(request, this.servers, Date.now());
        this.giveOut();
        const slot = this.holders.get(request.job);
        return slot ? { kind: 'slot', slot } : answer;
      },
      release: async (job, released) => {
        await arrives('release');
        this.holders.delete(job);
        await this.desk.release(job, released, Date.now());
      },
      leave: async (job) => {
        await arrives('leave');
        this.desk.leave(job);
      },
      renew: async (request, slot) => this.desk.renew(request, slot, Date.now()),
      admit: async (request) => this.desk.admit(request, this.servers, Date.now()),
      demand: async () => this.desk.view(this.servers, Date.now()),
    };
  }
}

/** A job whose dispatchers these are, in this order; it knows the servers that are `there`. */
const jobAt = (...pools: readonly Pool[]) => jobThatKnows(() => true, ...pools);
function jobThatKnows(isThere: (backend: string) => boolean, ...pools: readonly Pool[]) {
  const servers: Servers = {
    address: async () => null,
    dispatchers: () => pools.map(({ name }) => name),
    without: async () => null,
    hasOther: () => false,
    areOne: (one, other) => one === other,
    isThere,
    tagOf: async (account) => account,
    byId: () => null,
    all: () => [],
  };
  const getByName = (name: string) => (pools.find((pool) => pool.name === name) as Pool).stub;
  return makeSlots(() => ({ DISPATCHERS: { getByName } }), servers, 'me');
}
/** Pools with so many waiting in each. */
async function poolsWith(...waiting: readonly number[]): Promise<readonly Pool[]> {
  const pools = waiting.map((_, i) => new Pool(`p${i}`));
  for (const [i, pool] of pools.entries()) await pool.fill(waiting[i] as number);
  return pools;
}
const standsIn = (pools: readonly Pool[]) =>
  pools.filter(({ waiting }) => waiting.includes('me')).map(({ name }) => name);

test('a job waits in the line where its turn comes soonest, and in no other', async () => {
  const pools = await poolsWith(60, 10, 30);
  const slots = jobAt(...pools);
  expect(await slots.ask(wants())).toMatchObject({ kind: 'line' });
  await passes(5);
  expect(standsIn(pools)).toEqual(['p1']);
});

test('of any three pools a job waits in the shortest, unless the first is short enough', async () => {
  for (const waiting of [
    [60, 10, 30],
    [10, 30, 60],
    [30, 60, 10],
    [8, 7, 9],
    [2, 40, 40],
    [40, 2, 40],
  ]) {
    const pools = await poolsWith(...waiting);
    const slots = jobAt(...pools);
    for (let i = 0; i < 3; i++) await slots.ask(wants());
    await passes(5);
    const shortest = waiting.indexOf(Math.min(...waiting));
    expect([waiting, standsIn(pools)]).toEqual([waiting, [`p${shortest}`]]);
    // and leaves no trace in any line
    await slots.end([]);
    expect(standsIn(pools)).toEqual([]);
  }
});

test('a job takes the slot that is free in another pool, although the first one is well', async () => {
  const pools = [...(await poolsWith(60)), new Pool('free')];
  const slots = jobAt(...pools);
  expect(await slots.ask(wants())).toEqual({ kind: 'slot' });
  await passes(5);
  expect(slots.held?.dispatcher).toBe('free');
  expect(standsIn(pools)).toEqual([]);
});

test('a job asks the dispatcher first that has let it in', async () => {
  const pools = await poolsWith(3, 3);
  const slots = jobAt(...pools);
  slots.admittedBy('p1');
  await slots.ask(wants());
  expect(standsIn(pools)).toEqual(['p1']);
  expect(pools.map(({ heard }) => heard)).toEqual([[], ['ask']]);
});

test('a job with a short wait looks no further, and with any it looks at three lines', async () => {
  const near = await poolsWith(3, 0);
  await jobAt(...near).ask(wants());
  expect(near.map(({ heard }) => heard.length)).toEqual([1, 0]);
  const many = await poolsWith(20, 20, 20, 20, 20);
  await jobAt(...many).ask(wants());
  expect(many.map(({ heard }) => heard.filter((call) => call === 'ask').length)).toEqual([1, 1, 1, 0, 0]);
});

test('a job that has begun waits where it is, and goes on elsewhere only where every server there is out', async () => {
  const pools = await poolsWith(0, 0);
  const [home, other] = pools as [Pool, Pool];
  const slots = jobAt(...pools);
  expect(slots.turn('p0', { lease: 1, backend: 'p0-server', engineClass: 'e1', features: [] } as Slot)).toBe(true);
  await home.fill(60);
  await slots.done(DONE, wants({ hasBegun: true }));
  expect(standsIn(pools)).toEqual(['p0']);
  expect(other.heard).toEqual([]);
});

test('where all are out a job stands in every line, and in one alone once that one is well', async () => {
  const pools = [new Pool('p0'), new Pool('p1')];
  for (const pool of pools) await pool.putOut();
  const slots = jobAt(...pools);
  expect(await slots.ask(wants())).toMatchObject({ kind: 'line' });
  expect(standsIn(pools)).toEqual(['p0', 'p1']);
});

test('a stage that is tried again at once takes its old slot along, and one that pauses gives it back before', async () => {
  const pool = new Pool('p0');
  const slots = jobAt(pool);
  await slots.ask(wants());
  expect(slots.held?.dispatcher).toBe('p0');
  // the way back would take longer than the question
  pool.way = { release: 50, ask: 1 };
  slots.done({ kind: 'busy', retryMs: 0 }, null);
  await slots.ask(wants());
  expect(pool.heard).toEqual(['ask', 'ask with its slot']);

  pool.heard.length = 0;
  const again = jobAt(pool);
  await pool.stub.release('me', { lease: Number(slots.held?.lease), outcome: DONE });
  await passes(300);
  pool.heard.length = 0;
  await again.ask(wants());
  again.done({ kind: 'dropped' }, null);
  await passes(5);
  await again.ask(wants());
  expect(pool.heard).toEqual(['ask', 'release', 'ask']);
  expect(again.held?.dispatcher).toBe('p0');
});

test('a line that is left is left before it is asked for again', async () => {
  const pools = await poolsWith(60, 10);
  const [first, second] = pools as [Pool, Pool];
  first.way = { leave: 50 };
  const slots = jobAt(...pools);
  await slots.ask(wants());
  await second.putOut();
  // where it stands is asked first, and is out by now
  await slots.ask(wants());
  await passes(60);
  expect(first.heard).toEqual(['ask', 'leave', 'ask']);
  expect(standsIn(pools)).toEqual(['p0']);
});

test('a slot that comes too late is given back, also while the job asks elsewhere', async () => {
  const pools = [new Pool('p0'), new Pool('p1')] as const;
  pools[0].way = { ask: 3200 };
  pools[1].way = { ask: 400 };
  const slots = jobAt(...pools);
  expect(await slots.ask(wants())).toEqual({ kind: 'slot' });
  expect(slots.held?.dispatcher).toBe('p1');
  await expect.poll(() => pools[0].heard).toEqual(['ask', 'release']);
  expect([...pools[0].holders]).toEqual([]);
});

test('so is one at a server that the job does not know', async () => {
  const pools = [new Pool('p0'), new Pool('p1')] as const;
  const slots = jobThatKnows((backend) => backend !== 'p0-server', ...pools);
  expect(await slots.ask(wants())).toEqual({ kind: 'slot' });
  expect(slots.held?.dispatcher).toBe('p1');
  await expect.poll(() => pools[0].heard).toEqual(['ask', 'release']);
});

test("a slot that has become another job's is held no longer: what comes of the stage is told to nobody", async () => {
  const pool = new Pool('p0');
  const slots = jobAt(pool);
  await slots.ask(wants());
  await slots.renew(wants());
  expect(slots.held?.dispatcher).toBe('p0');
  const lease = Number(slots.held?.lease);
  await pool.desk.release('me', { lease, outcome: { kind: 'dropped' } }, Date.now());
  pool.holders.delete('me');
  await pool.desk.ask(asks('next'), pool.servers, Date.now());
  pool.giveOut();
  await slots.renew(wants());
  expect(slots.held).toMatchObject({ dispatcher: null, backend: 'p0-server', lease });
  slots.done(DONE, null);
  await slots.end([]);
  expect(pool.heard).toEqual(['ask']);
  expect([...pool.holders.keys()]).toEqual(['next']);
});
