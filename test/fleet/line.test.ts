/** The line of jobs: laws of its order and its fairness, then examples with numbers. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeLine, type OfGroup, type Place } from '../../src/fleet/line.ts';

const place = (job: string, more: Partial<Place> = {}): Place => ({
  job,
  account: 'a',
  group: 'g',
  tflops: 1,
  restTflops: 1,
  hasBegun: false,
  since: 0,
  ...more,
});
const ANY: OfGroup = () => true;
const order = (line: ReturnType<typeof makeLine<Place>>, isServed = ANY) => [...line.inOrder(isServed)];
/** Serves whose turn it is; null: nobody waits. */
function serve(line: ReturnType<typeof makeLine<Place>>, isServed = ANY): Place | null {
  const [first] = line.inOrder(isServed);
  if (!first) return null;
  line.remove(first.job);
  line.charge(first.account, first.group, first.tflops);
  return first;
}

const anyPlace = fc.record({
  account: fc.constantFrom('a', 'b', 'c', 'd'),
  group: fc.constantFrom('g', 'h'),
  tflops: fc.integer({ min: 1, max: 10 }),
  hasBegun: fc.boolean(),
  since: fc.nat(50),
});
type Step = { put: Omit<Place, 'job' | 'restTflops'> } | { serve: readonly string[] } | { leave: number };
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: anyPlace.map((put) => ({ put })) },
  { weight: 4, arbitrary: fc.constantFrom({ serve: ['g'] }, { serve: ['h'] }, { serve: ['g', 'h'] }) },
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
            line.put(own, ANY);
            inside.set(own.job, own);
          } else if ('serve' in step) {
            const served = serve(line, (group) => step.serve.includes(group));
            const could = [...inside.values()].some(({ group }) => step.serve.includes(group));
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

  test('of A accounts one that keeps waiting receives at least 1/A of the work, give or take one stage', () => {
    const anyRun = fc.record({
      before: fc.array(anyPlace, { maxLength: 30 }),
      own: fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 40, maxLength: 40 }),
      // who comes between two turns
      between: fc.array(fc.array(anyPlace, { maxLength: 3 }), { minLength: 1, maxLength: 40 }),
    });
    fc.assert(
      fc.property(anyRun, ({ before, own, between }) => {
        const line = makeLine<Place>();
        let jobs = 0;
        const put = (more: Partial<Place>) => line.put(place(`j${jobs++}`, more), ANY);
        for (const each of before) put(each);
        for (let i = 0; i < 10; i++) serve(line);
        for (const tflops of own) put({ account: 'me', tflops });
        const received = new Map<string, number>();
        let total = 0;
        for (const come of between) {
          for (const each of come) put(each);
          const { account, tflops } = serve(line) as Place;
          received.set(account, (received.get(account) ?? 0) + tflops);
          total += tflops;
          // everybody who received something, and whoever waits
          const accounts = new Set([...received.keys(), ...order(line).map((each) => each.account)]);
          expect(received.get('me') ?? 0).toBeGreaterThanOrEqual(total / accounts.size - 10);
        }
      }),
    );
  });
});

describe('fair by account:', () => {
  const names = (line: ReturnType<typeof makeLine<Place>>, count: number) =>
    Array.from({ length: count }, () => serve(line)?.job).join(' ');

  test('150 jobs of one and 3 of another take turns', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 150; i++) line.put(place(`a${i}`, { since: i }), ANY);
    for (let i = 0; i < 3; i++) line.put(place(`b${i}`, { account: 'b', since: 200 + i }), ANY);
    expect(names(line, 8)).toBe('a0 b0 a1 b1 a2 b2 a3 a4');
  });

  test('who comes late begins level, and is not owed what was given out before', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 150; i++) line.put(place(`a${i}`, { since: i }), ANY);
    for (let i = 0; i < 100; i++) serve(line);
    for (let i = 0; i < 50; i++) line.put(place(`b${i}`, { account: 'b', since: 500 + i }), ANY);
    expect(names(line, 6)).toBe('a100 b0 a101 b1 a102 b2');
  });

  test('who goes on with its only job as soon as the last stage is done has half of the work', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 50; i++) line.put(place(`a${i}`, { since: i }), ANY);
    let own = 0;
    for (let i = 0; i < 40; i++) {
      if (!line.get('b')) line.put(place('b', { account: 'b', hasBegun: i > 0 }), ANY);
      if (serve(line)?.account === 'b') own++;
    }
    expect(own).toBe(20);
  });

  test('who comes back is not level again: of stages three times as large it has a third as many', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 50; i++) line.put(place(`a${i}`, { since: i }), ANY);
    let own = 0;
    for (let i = 0; i < 40; i++) {
      if (!line.get('b')) line.put(place('b', { account: 'b', tflops: 3 }), ANY);
      if (serve(line)?.account === 'b') own++;
    }
    expect(own).toBe(10);
  });

  test('work counts, not jobs: one stage of 4 TFLOPs is four of 1', () => {
    const line = makeLine<Place>();
    for (let i = 0; i < 20; i++) line.put(place(`a${i}`, { since: i }), ANY);
    for (let i = 0; i < 20; i++) line.put(place(`b${i}`, { account: 'b', tflops: 4, since: i }), ANY);
    const served = Array.from({ length: 15 }, () => serve(line)?.account);
    expect(served.filter((account) => account === 'b')).toHaveLength(3);
  });

  test('what came to nothing is given back', () => {
    const line = makeLine<Place>();
    for (const job of ['a0', 'a1']) line.put(place(job, { tflops: 4 }), ANY);
    for (const job of ['b0', 'b1']) line.put(place(job, { account: 'b', since: 1 }), ANY);
    expect(serve(line)?.job).toBe('a0');
    line.charge('a', 'g', -4);
    expect(names(line, 3)).toBe('b0 a1 b1');
  });

  test('an account of a group that meets nobody begins where that group is, and not where others are', () => {
    const line = makeLine<Place>();
    const inG = (group: string) => group === 'g';
    // of group h nothing is served, so its account stays where it began
    line.put(place('h0', { account: 'h', group: 'h' }), (group) => group === 'h');
    for (let i = 0; i < 30; i++) line.put(place(`a${i}`, { since: i }), inG);
    for (let i = 0; i < 20; i++) serve(line, inG);
    for (let i = 0; i < 5; i++) line.put(place(`b${i}`, { account: 'b', since: 100 + i }), inG);
    const next = Array.from({ length: 4 }, () => serve(line, inG)?.job);
    expect(next).toEqual(['a20', 'b0', 'a21', 'b1']);
  });
});

describe('the place in the line', () => {
  test('is 1 for the next one; of others as many count as of its own account', () => {
    const line = makeLine<Place>();
    expect(line.position('a0', ANY)).toBe(0);
    for (let i = 0; i < 5; i++) line.put(place(`a${i}`, { since: i }), ANY);
    expect([0, 1, 4].map((i) => line.position(`a${i}`, ANY))).toEqual([1, 2, 5]);
    for (let i = 0; i < 3; i++) line.put(place(`b${i}`, { account: 'b', since: 10 + i }), ANY);
    expect(line.position('b0', ANY)).toBe(2);
    expect(line.position('a4', ANY)).toBe(8);
    line.put(place('a9', { since: 9, hasBegun: true }), ANY);
    expect(line.position('a9', ANY)).toBe(2);
    expect(line.position('b0', (group) => group === 'h')).toBe(0);
  });
});

test('10,000 places of 500 accounts: a turn takes far less than a millisecond', () => {
  const line = makeLine<Place>();
  for (let i = 0; i < 10_000; i++)
    line.put(place(`j${i}`, { account: `acct${i % 500}`, since: i, tflops: 1 + (i % 7) }), ANY);
  const begin = performance.now();
  for (let i = 0; i < 1000; i++) expect(serve(line)).not.toBe(null);
  expect(performance.now() - begin).toBeLessThan(500);
});
