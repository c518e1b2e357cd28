/** The line of jobs: laws of its order and its fairness, then examples with numbers. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeLine, type OfGroup, type Place } from '../../src/fleet/line.ts';

const place = (job: string, more: Partial<Place> = {}): Place => ({
  job,
  account: 'a',
  group: 'g',
  likeness: 'alike',
  tflops: 1,
  restTflops: 1,
  hasBegun: false,
  since: 0,
  ...more,
});
const ANY: OfGroup = () => true;
/** The kind of servers that serve all groups, where nothing else is said. */
const ALL = ['all'];
const order = (line: ReturnType<typeof makeLine<Place>>, kind = 'all') => [...line.inOrder(kind)];
/** Serves whose turn it is at servers of a kind; null: nobody waits for them. */
function serve(line: ReturnType<typeof makeLine<Place>>, kind = 'all'): Place | null {
  const [first] = line.inOrder(kind);
  if (!first) return null;
  line.remove(first.job);
  line.charge(first.account, kind, first.tflops);
  return first;
}
/** Of two models, g and h, there are servers of each kind for both, for one, or for the other. */
const KINDS: Readonly<Record<string, readonly string[]>> = { g: ['all', 'g'], h: ['all', 'h'] };

const anyPlace = fc.record({
  account: fc.constantFrom('a', 'b', 'c', 'd'),
  group: fc.constantFrom('g', 'h'),
  likeness: fc.constantFrom('alike', 'other'),
  tflops: fc.integer({ min: 1, max: 10 }),
  hasBegun: fc.boolean(),
  since: fc.nat(50),
});
type Step = { put: Omit<Place, 'job' | 'restTflops'> } | { serve: string } | { leave: number };
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: anyPlace.map((put) => ({ put })) },
  { weight: 4, arbitrary: fc.constantFrom({ serve: 'g' }, { serve: 'h' }, { serve: 'all' }) },
  { weight: 1, arbitrary: fc.nat().map((leave) => ({ leave })) },
);

describe('whatever comes and goes', () => {
  test('each place is in the order once, and of one account the begun go first, then the oldest', () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 80 }), (steps) => {
        const line = makeLine<Place>();
        const inside = new Map<string, Place>();
        steps.forEach((step, i) => {
          if ('put' in step) {
            const put = place(`j${i % 20}`, { ...step.put, restTflops: step.put.tflops * 2 });
            // a job belongs to one account
            const before = inside.get(put.job);
            const own = before ? { ...put, account: before.account } : put;
            line.put(own, KINDS[own.group] as string[]);
            inside.set(own.job, own);
          } else if ('serve' in step) {
            const served = serve(line, step.serve);
            const could = [...inside.values()].some(({ group }) => KINDS[group]?.includes(step.serve));
            expect(served !== null).toBe(could);
            if (served) expect(inside.delete(served.job)).toBe(true);
          } else {
            const jobs = [...inside.keys()];
            const job = jobs[step.leave % Math.max(1, jobs.length)] ?? 'nobody';
            expect(line.remove(job)).toEqual(inside.get(job) ?? null);
            inside.delete(job);
          }
          expect(line.size).toBe(inside.size);
          const all = order(line);
          expect(all.map(({ job }) => job).toSorted()).toEqual([...inside.keys()].toSorted());
          expect(new Set(line.likenesses('all'))).toEqual(new Set(all.map(({ likeness }) => likeness)));
          const late = [...line.inOrder('all', new Set(['a', 'c']))].map(({ account }) => 'ac'.includes(account));
          expect(late).toEqual(
            all.map(({ account }) => 'ac'.includes(account)).toSorted((x, y) => Number(x) - Number(y)),
          );
          for (const account of ['a', 'b', 'c', 'd']) {
            const own = all.filter((each) => each.account === account);
            const key = ({ hasBegun, since }: Place) => (hasBegun ? 0 : 1000) + since;
            expect(own.map(key)).toEqual(own.map(key).toSorted((x, y) => x - y));
            for (const [at, { job }] of own.entries()) expect(line.position(job, ANY)).toBeGreaterThanOrEqual(at + 1);
          }
          const waiting = [...line.waitingIn(ANY)];
          const rest = [...inside.values()].reduce((sum, { restTflops }) => sum + restTflops, 0);
          expect(waiting.reduce((sum, { restTflops }) => sum + restTflops, 0)).toBe(rest);
          expect([...line.waiting()].reduce((sum, [, { tflops }]) => sum + tflops, 0)).toBe(rest);
        });
      }),
    );
  });

  /** Whoever comes before, and between two turns, while one account keeps waiting. */
  const anyRun = fc.record({
    before: fc.array(anyPlace, { maxLength: 30 }),
    own: fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 40, maxLength: 40 }),
    between: fc.array(fc.array(anyPlace, { maxLength: 3 }), { minLength: 1, maxLength: 40 }),
    /** the kinds of servers that have a slot free, one after the other */
    free: fc.array(fc.constantFrom('all', 'g', 'h'), { minLength: 40, maxLength: 40 }),
  });
  type Run = typeof anyRun extends fc.Arbitrary<infer T> ? T : never;
  /**
   * Of what servers of each kind are given from then on, an account that waits for `group` all the time has its share,
   * give or take one stage. Who is counted as one of A: whoever received something of that kind, or waits for it.
   */
  function checkShares({ before, own, between, free }: Run, group: string, kinds: typeof KINDS): void {
    const line = makeLine<Place>();
    let jobs = 0;
    const put = (more: Partial<Place>) => {
      const one = place(`j${jobs++}`, more);
      line.put(one, kinds[one.group] as string[]);
    };
    for (const each of before) put(each);
    for (let i = 0; i < 10; i++) serve(line, free[i]);
    for (const tflops of own) put({ account: 'me', group, tflops });
    const given = new Map<string, Map<string, number>>();
    for (const [i, come] of between.entries()) {
      for (const each of come) put(each);
      const kind = free[i] as string;
      const served = serve(line, kind);
      if (!served) continue;
      const received = given.get(kind) ?? new Map<string, number>();
      given.set(kind, received.set(served.account, (received.get(served.account) ?? 0) + served.tflops));
      if (!kinds[group]?.includes(kind)) continue;
      const total = [...received.values()].reduce((sum, one) => sum + one, 0);
      const accounts = new Set([...received.keys(), ...order(line, kind).map((each) => each.account)]);
      expect(received.get('me') ?? 0).toBeGreaterThanOrEqual(total / accounts.size - 10);
    }
  }

  test('of A accounts one that keeps waiting receives at least 1/A of the work, give or take one stage', () => {
    const shared = { g: ALL, h: ALL };
    fc.assert(fc.property(anyRun, (run) => checkShares({ ...run, free: run.free.map(() => 'all') }, 'g', shared)));
  });

  test('so it does of the servers of each line, whatever it and others had of servers of another model', () => {
    const apart = { g: ['g'], h: ['h'] };
    fc.assert(fc.property(anyRun, fc.constantFrom('g', 'h'), (run, group) => checkShares(run, group, apart)));
  });

  test('so it does of the servers of each kind, where some serve both models and some serve one', () => {
    fc.assert(fc.property(anyRun, fc.constantFrom('g', 'h'), (run, group) => checkShares(run, group, KINDS)));
  });

  test('so it does where servers become others while it waits', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 20; i++) {
      line.put(place(`a${i}`, { since: i }), ['old']);
      line.put(place(`b${i}`, { account: 'b', since: i }), ['old']);
    }
    for (let i = 0; i < 10; i++) serve(line, 'old');
    line.serves('g', ['new', 'old']);
    const names = Array.from({ length: 6 }, () => serve(line, 'new')?.account).join('');
    expect(['ababab', 'bababa']).toContain(names);
    expect(order(line, 'old')).toHaveLength(24);
    line.serves('g', ['new']);
    expect(order(line, 'old')).toEqual([]);
  });
});

describe('fair by account:', () => {
  const names = (line: ReturnType<typeof makeLine<Place>>, count: number) =>
    Array.from({ length: count }, () => serve(line)?.job).join(' ');

  test('150 jobs of one and 3 of another take turns', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 150; i++) line.put(place(`a${i}`, { since: i }), ALL);
    for (let i = 0; i < 3; i++) line.put(place(`b${i}`, { account: 'b', since: 200 + i }), ALL);
    expect(names(line, 8)).toBe('a0 b0 a1 b1 a2 b2 a3 a4');
  });

  test('who comes late begins level, and is not owed what was given out before', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 150; i++) line.put(place(`a${i}`, { since: i }), ALL);
    for (let i = 0; i < 100; i++) serve(line);
    for (let i = 0; i < 50; i++) line.put(place(`b${i}`, { account: 'b', since: 500 + i }), ALL);
    expect(names(line, 6)).toBe('a100 b0 a101 b1 a102 b2');
  });

  test('who goes on with its only job as soon as the last stage is done has half of the work', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 50; i++) line.put(place(`a${i}`, { since: i }), ALL);
    let own = 0;
    for (let i = 0; i < 40; i++) {
      if (!line.get('b')) line.put(place('b', { account: 'b', hasBegun: i > 0 }), ALL);
      if (serve(line)?.account === 'b') own++;
    }
    expect(own).toBe(20);
  });

  test('who comes back is not level again: of stages three times as large it has a third as many', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 50; i++) line.put(place(`a${i}`, { since: i }), ALL);
    let own = 0;
    for (let i = 0; i < 40; i++) {
      if (!line.get('b')) line.put(place('b', { account: 'b', tflops: 3 }), ALL);
      if (serve(line)?.account === 'b') own++;
    }
    expect(own).toBe(10);
  });

  test('work counts, not jobs: one stage of 4 TFLOPs is four of 1', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 20; i++) line.put(place(`a${i}`, { since: i }), ALL);
    for (let i = 0; i < 20; i++) line.put(place(`b${i}`, { account: 'b', tflops: 4, since: i }), ALL);
    const served = Array.from({ length: 15 }, () => serve(line)?.account);
    expect(served.filter((account) => account === 'b')).toHaveLength(3);
  });

  test('what came to nothing is given back', () => {
    const line = makeLine<Place>();
    for (const job of ['a0', 'a1']) line.put(place(job, { tflops: 4 }), ALL);
    for (const job of ['b0', 'b1']) line.put(place(job, { account: 'b', since: 1 }), ALL);
    expect(serve(line)?.job).toBe('a0');
    line.charge('a', 'all', -4);
    expect(names(line, 3)).toBe('b0 a1 b1');
  });

  test('who had much of the servers of one model has its share of those of another, and loses none of its own', () => {
    const line = makeLine<Place>();
    // b alone has 100 stages of model h, while a waits for g
    for (let i = 0; i < 200; i++) line.put(place(`h${i}`, { account: 'b', group: 'h', since: i }), ['h']);
    for (let i = 0; i < 100; i++) serve(line, 'h');
    for (let i = 0; i < 20; i++) line.put(place(`a${i}`, { since: i }), ['g']);
    for (let i = 0; i < 20; i++) line.put(place(`b${i}`, { account: 'b', since: 100 + i }), ['g']);
    const next = (kind: string) => Array.from({ length: 4 }, () => serve(line, kind)?.job);
    expect(next('g')).toEqual(['a0', 'b0', 'a1', 'b1']);
    for (let i = 0; i < 20; i++) line.put(place(`c${i}`, { account: 'c', group: 'h', since: 200 + i }), ['h']);
    expect(next('h')).toEqual(['h100', 'c0', 'h101', 'c1']);
  });

  test('two models on the same servers are one line: who uses both has no more than who uses one', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 20; i++) {
      line.put(place(`a${i}`, { since: i }), ALL);
      line.put(place(`g${i}`, { account: 'b', since: i }), ALL);
      line.put(place(`h${i}`, { account: 'b', group: 'h', since: i }), ALL);
    }
    const served = Array.from({ length: 20 }, () => serve(line)?.account);
    expect(served.filter((account) => account === 'a')).toHaveLength(10);
  });
});

describe('the place in the line', () => {
  test('is 1 for the next one; of others as many count as of its own account', () => {
    const line = makeLine<Place>();
    expect(line.position('a0', ANY)).toBe(0);
    for (let i = 0; i < 5; i++) line.put(place(`a${i}`, { since: i }), ALL);
    expect([0, 1, 4].map((i) => line.position(`a${i}`, ANY))).toEqual([1, 2, 5]);
    for (let i = 0; i < 3; i++) line.put(place(`b${i}`, { account: 'b', since: 10 + i }), ALL);
    expect(line.position('b0', ANY)).toBe(2);
    expect(line.position('a4', ANY)).toBe(8);
    line.put(place('a9', { since: 9, hasBegun: true }), ALL);
    expect(line.position('a9', ANY)).toBe(2);
    expect(line.position('b0', (group) => group === 'h')).toBe(0);
  });
});

test('10,000 places of 500 accounts: a turn takes far less than a millisecond', () => {
  const line = makeLine<Place>();
  for (let i = 0; i < 10_000; i++)
    line.put(place(`j${i}`, { account: `acct${i % 500}`, since: i, tflops: 1 + (i % 7) }), ALL);
  const begin = performance.now();
  for (let i = 0; i < 1000; i++) expect(serve(line)).not.toBe(null);
  expect(performance.now() - begin).toBeLessThan(500);
});
