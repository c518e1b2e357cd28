/**
 * Simulated time, and who acts in it. Nothing waits for a real clock: the next event is taken, everything that follows
 * from it without waiting is run to its end – a turn – and the clock jumps to the next event. So a history of days
 * takes milliseconds, and the same seed gives the same history.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** Whoever runs code and can be killed: an incarnation of an object, a Worker at a request. */
export interface Actor {
  isDead: boolean;
  /** the turn that was undone because it was killed before its rows were stored; -1: none */
  undoneTurn: number;
}

/** Whose code is running; nobody's where the history itself acts. */
export const acting = new AsyncLocalStorage<Actor>();

export interface Timer {
  readonly at: number;
  readonly order: number;
  readonly work: () => void;
  isOff: boolean;
}

export interface Time {
  now(): number;
  /** counts the events so far: what happens without waiting happens in one turn */
  turn(): number;
  /** Calls `work` after `ms`, in the order in which calls are due. */
  after(ms: number, work: () => void): Timer;
  /** Lets events happen until the clock shows `until`; stops early where `isOver` says so. */
  run(until: number, isOver?: () => boolean): Promise<void>;
}

const realImmediate = globalThis.setImmediate;
/** Resolves once everything that waits for nothing has run. */
const settled = (): Promise<void> => new Promise((resolve) => realImmediate(resolve));

/** Time from `start`; after each event `onTurn` is called. */
export function makeTime(start: number, onTurn: () => void): Time {
  const heap: Timer[] = [];
  let clock = start;
  let count = 0;
  let turns = 0;

  const isSooner = (one: Timer, other: Timer): boolean =>
    one.at < other.at || (one.at === other.at && one.order < other.order);

  function push(timer: Timer): void {
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isSooner(timer, heap[parent] as Timer)) break;
      heap[i] = heap[parent] as Timer;
      i = parent;
    }
    heap[i] = timer;
  }

  function pop(): Timer {
    const first = heap[0] as Timer;
    const last = heap.pop() as Timer;
    if (heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isSooner(heap[child + 1] as Timer, heap[child] as Timer)) child++;
      if (!isSooner(heap[child] as Timer, last)) break;
      heap[i] = heap[child] as Timer;
      i = child;
    }
    heap[i] = last;
    return first;
  }

  return {
    now: () => clock,
    turn: () => turns,
    after(ms, work) {
      const timer = { at: clock + Math.max(0, ms), order: count++, work, isOff: false };
      push(timer);
      return timer;
    },
    async run(until, isOver = () => false) {
      // what the history itself has just asked for is a turn too
      await settled();
      onTurn();
      turns++;
      while (heap.length > 0 && (heap[0] as Timer).at <= until && !isOver()) {
        const { isOff, at, work } = pop();
        if (isOff) continue;
        clock = Math.max(clock, at);
        work();
        await settled();
        onTurn();
        turns++;
      }
      clock = Math.max(clock, until);
    },
  };
}

/** Puts simulated time in the place of the real one. Returns what undoes it. */
export function installTime(time: Time): () => void {
  const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis;
  const { now } = Date;
  Date.now = () => time.now();
  globalThis.setTimeout = ((work: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) => {
    const whose = acting.getStore();
    return time.after(ms, () => {
      if (whose === undefined) work(...args);
      else if (!whose.isDead) acting.run(whose, () => work(...args));
    });
  }) as unknown as typeof setTimeout;
  globalThis.clearTimeout = ((timer: Timer | undefined) => {
    if (timer) timer.isOff = true;
  }) as unknown as typeof clearTimeout;
  globalThis.setInterval = ((work: (...args: unknown[]) => void, ms: number, ...args: unknown[]) => {
    const interval: { next: unknown } = { next: null };
    const again = (): void => {
      interval.next = globalThis.setTimeout(again, ms);
      work(...args);
    };
    interval.next = globalThis.setTimeout(again, ms);
    return interval;
  }) as unknown as typeof setInterval;
  globalThis.clearInterval = ((interval: { readonly next: unknown } | undefined) => {
    globalThis.clearTimeout(interval?.next as Parameters<typeof clearTimeout>[0]);
  }) as unknown as typeof clearInterval;
  return () => {
    Date.now = now;
    Object.assign(globalThis, { setTimeout, clearTimeout, setInterval, clearInterval });
  };
}
