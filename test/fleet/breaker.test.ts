/** The breaker of a server, with the clock set by hand. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Breaker, makeBreaker, type Verdict } from '../../src/fleet/breaker.ts';

const T = 1_700_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: T });
});
afterEach(() => {
  vi.useRealTimers();
});
const now = () => Date.now();
const pass = (ms: number) => void vi.setSystemTime(now() + ms);

/** A stage is sent and comes to this. */
const goes = (breaker: Breaker, verdict: Verdict) => breaker.begin()(verdict);
/** A breaker that three failures have opened. */
async function opened(): Promise<Breaker> {
  const breaker = makeBreaker();
  for (let i = 0; i < 3; i++) await goes(breaker, 'wrong');
  return breaker;
}

describe('a breaker', () => {
  test('opens with the third failure in a row, and with none that a success stands between', async () => {
    const breaker = makeBreaker();
    for (const verdict of ['wrong', 'wrong', 'well', 'wrong', 'wrong'] as const) await goes(breaker, verdict);
    expect(breaker.state).toBe('closed');
    expect(breaker.mayTake(now())).toBe(true);
    await goes(breaker, 'wrong');
    expect(breaker.state).toBe('open');
    expect(breaker.mayTake(now())).toBe(false);
    expect(breaker.probeAt).toBe(T + 1000);
  });

  test('counts what says nothing of the server neither as failure nor as success', async () => {
    const breaker = makeBreaker();
    for (const verdict of ['wrong', 'neither', 'wrong', 'neither'] as const) await goes(breaker, verdict);
    expect(breaker.state).toBe('closed');
    await goes(breaker, 'wrong');
    expect(breaker.state).toBe('open');
  });

  test('lets one stage through after its pause, and nobody beside it', async () => {
    const breaker = await opened();
    pass(999);
    expect(breaker.mayTake(now())).toBe(false);
    pass(1);
    expect(breaker.mayTake(now())).toBe(true);
    const settle = breaker.begin();
    expect(breaker.state).toBe('half_open');
    expect(breaker.mayTake(now() + 3_600_000)).toBe(false);
    await settle('well');
    expect(breaker.state).toBe('closed');
    expect(breaker.probeAt).toBe(null);
  });

  test('waits longer after each probe that failed, up to a minute, and anew once it was well', async () => {
    const breaker = await opened();
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      const pause = (breaker.probeAt as number) - now();
      pauses.push(pause);
      pass(pause);
      await goes(breaker, 'wrong');
    }
    expect(pauses).toEqual([1000, 2000, 5000, 10_000, 30_000, 60_000, 60_000, 60_000]);
    pass(60_000);
    await goes(breaker, 'well');
    for (let i = 0; i < 3; i++) await goes(breaker, 'wrong');
    expect((breaker.probeAt as number) - now()).toBe(1000);
  });

  test('that is hastened takes its probe so long after the last one, once, and never later than it would have', async () => {
    const breaker = await opened();
    breaker.hasten(3000);
    expect(breaker.probeAt).toBe(T + 1000);
    for (let i = 0; i < 6; i++) {
      pass((breaker.probeAt as number) - now());
      await goes(breaker, 'wrong');
    }
    const failedAt = now();
    expect(breaker.probeAt).toBe(failedAt + 60_000);
    for (let i = 0; i < 3; i++) breaker.hasten(3000);
    expect(breaker.probeAt).toBe(failedAt + 3000);
    pass(3000);
    expect(breaker.mayTake(now())).toBe(true);
    await goes(breaker, 'wrong');
    // its own pause is as long as it was
    expect(breaker.probeAt).toBe(now() + 60_000);
    const read = makeBreaker(breaker.save());
    read.hasten(3000);
    expect(read.probeAt).toBe(now() + 3000);
    pass(3000);
    await goes(read, 'well');
    read.hasten(0);
    expect(read.state).toBe('closed');
  });

  test('takes another probe at once where one told nothing, and waits no longer for it afterwards', async () => {
    const breaker = await opened();
    pass(1000);
    for (let i = 0; i < 5; i++) {
      expect(breaker.mayTake(now())).toBe(true);
      await goes(breaker, 'neither');
    }
    await goes(breaker, 'wrong');
    expect((breaker.probeAt as number) - now()).toBe(2000);
  });

  test('is not closed or opened twice by stages that were sent before it opened', async () => {
    const breaker = makeBreaker();
    const [early, late, ...three] = Array.from({ length: 5 }, () => breaker.begin());
    for (const settle of three) await settle('wrong');
    await early?.('well');
    expect([breaker.state, breaker.probeAt]).toEqual(['open', T + 1000]);
    pass(500);
    await late?.('wrong');
    expect([breaker.state, breaker.probeAt]).toEqual(['open', T + 1000]);
  });

  test('that is saved and restored is as it was; where a probe was out it may be sent again', async () => {
    const restored = (breaker: Breaker) => makeBreaker(JSON.parse(JSON.stringify(breaker.save())));
    const two = makeBreaker();
    for (let i = 0; i < 2; i++) await goes(two, 'wrong');
    const third = restored(two);
    await goes(third, 'wrong');
    expect(third.state).toBe('open');

    const open = await opened();
    pass(1000);
    await goes(open, 'wrong');
    expect(restored(open).probeAt).toBe(open.probeAt);
    pass(2000);
    open.begin();
    const again = restored(open);
    expect([open.state, again.state, again.mayTake(now())]).toEqual(['half_open', 'open', true]);
    await goes(again, 'wrong');
    // the probe that was cut off told nothing, which counts like one that failed
    expect((again.probeAt as number) - now()).toBe(10_000);
    expect(restored(makeBreaker()).state).toBe('closed');
  });

  test('throws nothing and takes nothing where its clock and that of the asker differ', async () => {
    const breaker = await opened();
    expect(breaker.mayTake(now() + 1000)).toBe(true);
    await goes(breaker, 'wrong');
    expect([breaker.state, breaker.probeAt]).toEqual(['open', T + 1000]);
  });
});

test('whatever happens, an open one lets through at most one stage at a time, and one that is well opens again', async () => {
  const anyHistory = fc.array(
    fc.record({
      ms: fc.nat(70_000),
      verdict: fc.constantFrom<Verdict>('well', 'wrong', 'neither'),
      isKept: fc.boolean(),
    }),
    { maxLength: 60 },
  );
  await fc.assert(
    fc.asyncProperty(anyHistory, async (history) => {
      const breaker = makeBreaker();
      let probe: ReturnType<Breaker['begin']> | null = null;
      for (const { ms, verdict, isKept } of history) {
        pass(ms);
        if (!breaker.mayTake(now())) {
          expect(breaker.state).not.toBe('closed');
          if (breaker.state === 'half_open') {
            expect(probe).not.toBe(null);
            if (isKept) continue;
            await probe?.(verdict);
            probe = null;
            expect(breaker.state).toBe(verdict === 'well' ? 'closed' : 'open');
          } else expect((breaker.probeAt as number) - now()).toBeLessThanOrEqual(60_000);
          continue;
        }
        const isProbe = breaker.state !== 'closed';
        const settle = breaker.begin();
        if (isProbe) {
          expect(probe).toBe(null);
          probe = settle;
        } else await settle(verdict);
      }
      if (breaker.state === 'half_open') await probe?.('well');
      pass(60_000);
      expect(breaker.mayTake(now())).toBe(true);
      await goes(breaker, 'well');
      expect(breaker.state).toBe('closed');
    }),
  );
});
