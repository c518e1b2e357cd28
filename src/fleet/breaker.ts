/**
 * A breaker for each stage server: after a few failures that are the server's own nobody is sent there, until one
 * stage has shown that it is well again. Its state is plain data, so it outlives the object that holds it.
 */
import { CircuitState, ConsecutiveBreaker, circuitBreaker, handleAll, IterableBackoff } from 'cockatiel';

/** Failures in a row that open it. */
const FAILURES = 3;
/** How long it stays open: the first time, after the first probe that failed, and so on; the last for good. */
const PAUSES_MS = [1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/** What a request says of its server: it did its part, it did not, or neither can be told. */
export type Verdict = 'well' | 'wrong' | 'neither';

/** What a breaker is, as it is stored; cockatiel's own form. */
export type SavedBreaker = unknown;

export interface Breaker {
  readonly state: 'closed' | 'open' | 'half_open';
  /** when a probe may go out next, milliseconds since 1970; null where it is not open */
  readonly probeAt: number | null;
  /** Whether a stage may be sent now: always while closed, one at a time afterwards. */
  mayTake(now: number): boolean;
  /** Where it is open, the next probe may go out so long after the last one failed, if that is sooner. */
  hasten(pauseMs: number): void;
  /** A stage is sent, where `mayTake`. What is given back takes what came of it, once, and says when that counts. */
  begin(): (verdict: Verdict) => Promise<void>;
  save(): SavedBreaker;
}

/** Thrown into the library for a request that failed; it never leaves this file. */
class Wrong extends Error {
  override name = 'Wrong';
}

/** A breaker, new or as it was saved. */
export function makeBreaker(saved?: SavedBreaker): Breaker {
  const build = (initialState: SavedBreaker) =>
    circuitBreaker(handleAll, {
      breaker: new ConsecutiveBreaker(FAILURES),
      halfOpenAfter: new IterableBackoff(PAUSES_MS),
      ...(initialState !== undefined && { initialState }),
    });
  let policy = build(saved);
  const save = () => JSON.parse(JSON.stringify(policy.toJSON())) as SavedBreaker;
  /** since when it counts as open, where it was hastened: that is not done twice */
  let hastened: number | null = null;
  const ownState = () => (save() as { ownState: { openedAt: number; attemptNo: number } }).ownState;
  const pauseOf = (attemptNo: number): number => PAUSES_MS[Math.min(attemptNo, PAUSES_MS.length) - 1] as number;
  const probeAt = (): number | null => {
    if (policy.state !== CircuitState.Open) return null;
    const { openedAt, attemptNo } = ownState();
    return openedAt + pauseOf(attemptNo);
  };
  return {
    get state() {
      if (policy.state === CircuitState.Closed) return 'closed';
      return policy.state === CircuitState.HalfOpen ? 'half_open' : 'open';
    },
    get probeAt() {
      return probeAt();
    },
    mayTake: (now) => policy.state === CircuitState.Closed || (probeAt() ?? Number.POSITIVE_INFINITY) <= now,
    hasten(pauseMs) {
      if (policy.state !== CircuitState.Open) return;
      const { openedAt, attemptNo } = ownState();
      const lessMs = pauseOf(attemptNo) - pauseMs;
      if (openedAt === hastened || lessMs <= 0) return;
      hastened = openedAt - lessMs;
      const saved = save() as { ownState: object };
      policy = build({ ...saved, ownState: { ...saved.ownState, openedAt: hastened } });
    },
    begin() {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      // where the library takes no stage nobody waits for this one
      promise.catch(() => undefined);
      const before = policy.state === CircuitState.Closed ? null : save();
      const mine = policy;
      const counted = mine.execute(() => promise).catch(() => undefined);
      return (verdict) => {
        if (verdict === 'neither') {
          // a probe that told nothing was none: another may go out at once. A closed breaker hears nothing of it
          if (before !== null && policy === mine) policy = build(before);
          return Promise.resolve();
        }
        if (verdict === 'well') resolve();
        else reject(new Wrong());
        return counted;
      };
    },
    save,
  };
}
