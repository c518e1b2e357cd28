/** Where a stage is best sent: laws over servers of every kind, then examples with numbers. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Choosable, choose, type Wanting } from '../../src/fleet/choose.ts';

const server = (id: string, more: Partial<Choosable> = {}): Choosable => ({
  id,
  weight: 1,
  pace: 1000,
  outstanding: 0,
  workingMs: 0,
  isFree: true,
  given: 0,
  ...more,
});
const stage = (more: Partial<Wanting> = {}): Wanting => ({
  tflops: 1,
  last: null,
  movingTflops: 0.01,
  tried: [],
  ...more,
});
const best = (servers: readonly Choosable[], wanting = stage()) => choose(servers, wanting)[0];

const IDS = ['a', 'b', 'c', 'd', 'e'];
const anyPace = fc.oneof(
  fc.constantFrom(null, Number.POSITIVE_INFINITY, 0),
  fc.double({ min: 0.01, max: 1e6, noNaN: true }),
);
const anyServers = fc
  .array(
    fc.record({
      weight: fc.constantFrom(0, 0.1, 0.5, 1, 2),
      pace: anyPace,
      outstanding: fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 100, noNaN: true })),
      workingMs: fc.nat(100_000),
      isFree: fc.boolean(),
      given: fc.double({ min: 0, max: 50, noNaN: true }),
    }),
    { maxLength: IDS.length },
  )
  .map((all) => all.map((each, i) => ({ ...each, id: IDS[i] as string })));
const anyStage = fc.record({
  tflops: fc.double({ min: 0.001, max: 100, noNaN: true }),
  last: fc.constantFrom(null, ...IDS, 'gone'),
  movingTflops: fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 10, noNaN: true })),
  tried: fc.subarray(IDS),
});

describe('whatever the servers are', () => {
  test('each that may have the stage is ranked once, in whatever order they are configured', () => {
    fc.assert(
      fc.property(anyServers, anyStage, (servers, wanting) => {
        const open = servers.filter(({ id, weight }) => weight > 0 || id === wanting.last).map(({ id }) => id);
        const untried = open.filter((id) => !wanting.tried.includes(id));
        const ranked = choose(servers, wanting);
        expect(ranked.map(({ id }) => id).toSorted()).toEqual(untried.length > 0 ? untried : open);
        for (const { expectedMs } of ranked) expect(expectedMs).toBeGreaterThanOrEqual(0);
        const times = (all: typeof ranked) =>
          all.map(({ expectedMs, why }) => [Math.log1p(expectedMs).toFixed(1), why]);
        expect(times(choose(servers.toReversed(), wanting))).toEqual(times(ranked));
      }),
    );
  });

  test('none is waited for that is expected later than a free one, by more than a hundredth', () => {
    fc.assert(
      fc.property(anyServers, anyStage, (servers, wanting) => {
        const normal = servers.map((each) => ({ ...each, weight: 1 }));
        const [first, ...others] = choose(normal, wanting);
        if (!first || first.isFree) return;
        for (const { isFree, expectedMs } of others)
          if (isFree) expect(first.expectedMs).toBeLessThanOrEqual(expectedMs * 1.02 + 0.02);
      }),
    );
  });

  test('one that is slower, all else equal, is never ranked before the other', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e5 }), fc.nat(1e5), anyStage, (pace, more, wanting) => {
        const both = [server('x', { pace: pace + more }), server('y', { pace })];
        const [slow, fast] = ['x', 'y'].map((id) => choose(both, wanting).find((each) => each.id === id));
        expect(fast?.expectedMs).toBeLessThanOrEqual(slow?.expectedMs as number);
      }),
    );
  });
});

describe('the pace decides', () => {
  test('of 6 s and 60 ms a stage: a hundred wait for the fast one before the slow one is worth it', () => {
    const slow = server('slow', { pace: 6000 });
    const fast = (outstanding: number) => server('fast', { pace: 60, outstanding, isFree: outstanding < 2 });
    expect(best([slow, fast(0)])?.id).toBe('fast');
    expect(best([slow, fast(2)])).toEqual({ id: 'fast', isFree: false, expectedMs: 180, why: 'least_wait' });
    expect(best([slow, fast(95)])?.id).toBe('fast');
    expect(best([slow, fast(102)])?.id).toBe('slow');
  });

  test('a server that says nothing gets slower with every second, although nobody knows its pace', () => {
    const silent = (workingMs: number) => server('silent', { pace: null, outstanding: 1, workingMs, isFree: true });
    const other = server('other', { pace: 60, outstanding: 1 });
    expect(choose([silent(0), other], stage()).map(({ expectedMs }) => expectedMs)).toEqual([120, 120]);
    expect(choose([silent(5000), other], stage()).map(({ id, expectedMs }) => [id, expectedMs])).toEqual([
      ['other', 120],
      ['silent', 5000],
    ]);
  });

  test('one that only wasted time is behind all others, free or not, and still taken where there is no other', () => {
    const wasted = server('wasted', { pace: Number.POSITIVE_INFINITY });
    const busy = server('busy', { outstanding: 1000, isFree: false });
    expect(best([wasted, busy])?.id).toBe('busy');
    expect(best([wasted])).toMatchObject({ id: 'wasted', isFree: true, expectedMs: Number.POSITIVE_INFINITY });
  });

  test('of equals who was given less is first, so three get the same', () => {
    const given = { a: 0, b: 0, c: 0 };
    for (let i = 0; i < 36; i++) {
      const id = best(Object.entries(given).map(([id, given]) => server(id, { given })))?.id as 'a' | 'b' | 'c';
      given[id]++;
    }
    expect(given).toEqual({ a: 12, b: 12, c: 12 });
  });
});

describe('a job stays', () => {
  const at = stage({ last: 'here', movingTflops: 0.1 });
  test('while moving costs more than it gains: the prompt, and another connection', () => {
    const here = (outstanding: number) => server('here', { outstanding });
    expect(best([here(0), server('there')], at)).toMatchObject({ id: 'here', why: 'stays', expectedMs: 1000 });
    expect(best([here(0.1), server('there')], at)?.id).toBe('here');
    expect(best([here(0.2), server('there')], at)).toMatchObject({ id: 'there', expectedMs: 1120 });
  });

  test('at no server where the stage came to nothing, unless there is no other', () => {
    const both = [server('here'), server('there', { pace: 50_000 })];
    expect(best(both, { ...at, tried: ['here'] })?.id).toBe('there');
    expect(best(both, { ...at, tried: ['here', 'there'] })?.id).toBe('here');
    expect(best(both, { ...at, tried: ['here', 'there', 'gone'] })?.id).toBe('here');
  });
});

describe('a weight', () => {
  /** Stages of new jobs that each server gets of 1,000, and which of them were known as the desk knows them. */
  function deal(servers: readonly Choosable[]): Record<string, number> {
    const got: Record<string, number> = {};
    const given = new Map(servers.map(({ id }) => [id, 0]));
    for (let i = 0; i < 1000; i++) {
      const id = best(servers.map((each) => ({ ...each, given: given.get(each.id) ?? 0 })))?.id as string;
      for (const [other, count] of given) given.set(other, count * 0.98);
      given.set(id, (given.get(id) ?? 0) + 1);
      got[id] = (got[id] ?? 0) + 1;
    }
    return got;
  }

  test('of a tenth beside nine tenths gives a tenth of the new jobs, even to one that is slower', () => {
    for (const pace of [1000, 5000]) {
      const { canary = 0 } = deal([server('canary', { weight: 0.1, pace }), server('old', { weight: 0.9 })]);
      expect(canary).toBeGreaterThan(80);
      expect(canary).toBeLessThan(120);
    }
  });

  test('of a tenth beside two whole ones gives a twenty-first', () => {
    const { canary = 0, a, b } = deal([server('canary', { weight: 0.1 }), server('a'), server('b')]);
    expect(canary).toBeGreaterThan(35);
    expect(canary).toBeLessThan(60);
    expect(Math.abs((a as number) - (b as number))).toBeLessThan(20);
  });

  test('below 1 makes nobody wait: one that is full gets nothing, and what is owed to it later', () => {
    const canary = server('canary', { weight: 0.1, isFree: false, outstanding: 2 });
    expect(best([canary, server('old', { given: 50 })])).toMatchObject({ id: 'old', isFree: true });
  });

  test('below 1 takes no job from where it is, and keeps what it has', () => {
    const both = [server('canary', { weight: 0.1 }), server('old', { given: 50 })];
    expect(best(both, stage({ last: 'old' }))?.id).toBe('old');
    expect(best(both, stage({ last: 'canary' }))?.id).toBe('canary');
  });

  test('of 0 gives nothing new, but the job that is there may end there', () => {
    const both = [server('drained', { weight: 0 }), server('other', { outstanding: 100, isFree: false })];
    expect(choose(both, stage()).map(({ id }) => id)).toEqual(['other']);
    expect(choose(both, stage({ last: 'other' })).map(({ id }) => id)).toEqual(['other']);
    expect(best(both, stage({ last: 'drained' }))?.id).toBe('drained');
    expect(choose([server('drained', { weight: 0 })], stage())).toEqual([]);
  });
});
