/**
 * The line of jobs that wait for a stage server. Fair by account: of A accounts with work waiting for one kind of
 * servers each receives at least 1/A of the work that these are given, give or take one stage. Within an account what
 * has begun goes before what has not, then who came first. Pure, but for the line itself.
 *
 * Servers are of one kind where they serve the same. Models that share their servers are counted together; what an
 * account has had of other servers is held against nobody.
 */
import { makeServed } from './served.ts';

/** A job in the line. */
export interface Place {
  readonly job: string;
  /** tag of the account; who it is does not matter here */
  readonly account: string;
  /** what its stage needs: places of one group are served by the same servers */
  readonly group: string;
  /** the same for stages of a group that would be sent to the same server */
  readonly likeness: string;
  /** work of the stage, TFLOPs */
  readonly tflops: number;
  /** of the stage and of all behind it */
  readonly restTflops: number;
  /** some of its stages are done */
  readonly hasBegun: boolean;
  /** when the job was created, milliseconds since 1970 */
  readonly since: number;
}

/** What of one account waits in some groups. */
export interface AccountWaiting {
  readonly account: string;
  /** of all its places there, each with all behind its stage, TFLOPs */
  readonly restTflops: number;
  /** of the stage that goes first, TFLOPs */
  readonly firstTflops: number;
}

/** Which groups are meant. */
export type OfGroup = (group: string) => boolean;

export interface Line<P extends Place> {
  readonly size: number;
  /**
   * Puts a job in, at the place it has by its age. One that is in already is replaced. `kinds` are those of the servers
   * that serve its group: an account that waited for none of a kind begins level with who is least served by them.
   */
  put(place: P, kinds: readonly string[]): void;
  /** A group that waits is served by these kinds of servers from now on. */
  serves(group: string, kinds: readonly string[]): void;
  /** Takes a job out; null where it is not in. */
  remove(job: string): P | null;
  get(job: string): P | null;
  /**
   * The places that servers of a kind may serve, in the order in which they are to be served by them now; those of the
   * accounts that are to be `behind` come last. The line may be changed only after the last one was taken from here.
   */
  inOrder(kind: string, behind?: ReadonlySet<string>): Iterable<P>;
  /** How the places differ that servers of a kind may serve: each likeness once or more. */
  likenesses(kind: string): Iterable<string>;
  /** Servers of a kind were given so much work of an account, TFLOPs; less than nothing where it came to nothing. */
  charge(account: string, kind: string, tflops: number): void;
  /** What waits in these groups, each account once. */
  waitingIn(groups: OfGroup): Iterable<AccountWaiting>;
  /** The place of a job that waits, 1 for the next one, as far as it can be told; 0 where it does not wait. */
  position(job: string, competes: OfGroup): number;
  /** What waits in each group. */
  waiting(): Iterable<readonly [group: string, waiting: Waiting]>;
  /** Every place, in no order. */
  all(): Iterable<P>;
}

/** How much waits. */
export interface Waiting {
  readonly jobs: number;
  /** with all that follows the stages they wait for */
  readonly tflops: number;
}

/** Places of one account in one group, the oldest first. */
interface Queue<P> {
  readonly begun: P[];
  readonly fresh: P[];
  /** work of its places with all behind it, TFLOPs */
  restTflops: number;
}

interface Account<P> {
  readonly tag: string;
  readonly groups: Map<string, Queue<P>>;
}

/** Where `value` belongs in an ascending list: behind its equals. */
function placeIn<T>(list: readonly T[], of: (item: T) => number, value: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle] as T) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

const sinceOf = ({ since }: Place): number => since;

export function makeLine<P extends Place>(): Line<P> {
  const places = new Map<string, P>();
  /** accounts that wait for something */
  const accounts = new Map<string, Account<P>>();
  const served = makeServed();
  /** kinds of servers by group */
  const kindsBy = new Map<string, readonly string[]>();
  const groups = new Map<string, Waiting>();
  /** places of each likeness, by group */
  const likenesses = new Map<string, Map<string, number>>();

  const kindsOf = (group: string): readonly string[] => kindsBy.get(group) ?? [];
  const queueOf = ({ account, group, hasBegun }: P): P[] | undefined => {
    const queue = accounts.get(account)?.groups.get(group);
    return hasBegun ? queue?.begun : queue?.fresh;
  };

  /** Kinds of servers for which an account waits. */
  const waitsFor = ({ groups: queues }: Account<P>): Set<string> => new Set([...queues.keys()].flatMap(kindsOf));

  /** A place more, or one less. */
  function count({ group, likeness, restTflops }: P, by: 1 | -1): void {
    const before = groups.get(group) ?? { jobs: 0, tflops: 0 };
    if (before.jobs + by === 0) groups.delete(group);
    else groups.set(group, { jobs: before.jobs + by, tflops: before.tflops + by * restTflops });
    const alike = likenesses.get(group) ?? new Map<string, number>();
    const after = (alike.get(likeness) ?? 0) + by;
    if (after === 0) alike.delete(likeness);
    else alike.set(likeness, after);
    if (alike.size === 0) likenesses.delete(group);
    else likenesses.set(group, alike);
  }

  function leave(place: P): void {
    places.delete(place.job);
    count(place, -1);
    const account = accounts.get(place.account) as Account<P>;
    const list = queueOf(place) as P[];
    list.splice(list.indexOf(place), 1);
    const queue = account.groups.get(place.group) as Queue<P>;
    queue.restTflops -= place.restTflops;
    if (queue.begun.length + queue.fresh.length > 0) return;
    account.groups.delete(place.group);
    const still = waitsFor(account);
    for (const kind of kindsOf(place.group)) if (!still.has(kind)) served.leave(account.tag, kind);
    if (account.groups.size === 0) accounts.delete(account.tag);
    if (!groups.has(place.group)) kindsBy.delete(place.group);
  }

  function serves(group: string, kinds: readonly string[]): void {
    const before = kindsOf(group);
    if (before.length === kinds.length && before.every((kind, i) => kind === kinds[i])) return;
    kindsBy.set(group, kinds);
    for (const account of accounts.values()) {
      if (!account.groups.has(group)) continue;
      const now = waitsFor(account);
      for (const kind of before) if (!now.has(kind)) served.leave(account.tag, kind);
      for (const kind of kinds) served.come(account.tag, kind);
    }
  }

  /** The first place of an account in groups that are served. */
  function* ofAccount({ groups }: Account<P>, isServed: (group: string) => boolean): Iterable<P> {
    const served = [...groups].filter(([group]) => isServed(group)).map(([, queue]) => queue);
    for (const part of ['begun', 'fresh'] as const) {
      const queues = served.map((queue) => ({ queue: queue[part], at: 0 }));
      for (;;) {
        let first: { queue: P[]; at: number } | null = null;
        for (const next of queues) {
          const place = next.queue[next.at];
          if (place && (!first || place.since < (first.queue[first.at] as P).since)) first = next;
        }
        if (!first) break;
        yield first.queue[first.at++] as P;
      }
    }
  }

  return {
    get size() {
      return places.size;
    },
    serves,
    put(place, kinds) {
      serves(place.group, kinds);
      const before = places.get(place.job);
      const account = accounts.get(place.account) ?? { tag: place.account, groups: new Map<string, Queue<P>>() };
      accounts.set(place.account, account);
      for (const kind of kinds) served.come(place.account, kind);
      const queue = account.groups.get(place.group) ?? { begun: [], fresh: [], restTflops: 0 };
      account.groups.set(place.group, queue);
      const list = place.hasBegun ? queue.begun : queue.fresh;
      list.splice(placeIn(list, sinceOf, place.since), 0, place);
      queue.restTflops += place.restTflops;
      if (before) leave(before);
      places.set(place.job, place);
      count(place, 1);
    },
    remove(job) {
      const place = places.get(job) ?? null;
      if (place) leave(place);
      return place;
    },
    get: (job) => places.get(job) ?? null,
    *inOrder(kind, behind) {
      const isServed: OfGroup = (group) => kindsOf(group).includes(kind);
      const last: string[] = [];
      for (const tag of served.inOrder(kind))
        if (behind?.has(tag)) last.push(tag);
        else yield* ofAccount(accounts.get(tag) as Account<P>, isServed);
      for (const tag of last) yield* ofAccount(accounts.get(tag) as Account<P>, isServed);
    },
    *likenesses(kind) {
      for (const [group, alike] of likenesses) if (kindsOf(group).includes(kind)) yield* alike.keys();
    },
    charge: served.charge,
    *waitingIn(groups) {
      for (const { tag, groups: queues } of accounts.values()) {
        let restTflops = 0;
        let first: P | undefined;
        for (const [group, queue] of queues) {
          if (!groups(group)) continue;
          restTflops += queue.restTflops;
          first ??= queue.begun[0] ?? queue.fresh[0];
        }
        if (first) yield { account: tag, restTflops, firstTflops: first.tflops };
      }
    },
    position(job, competes) {
      const place = places.get(job);
      if (!place) return 0;
      // its own place among those of its account, and as many of every other account
      let own = 0;
      for (const [group, { begun, fresh }] of (accounts.get(place.account) as Account<P>).groups) {
        if (!competes(group)) continue;
        if (place.hasBegun) own += placeIn(begun, sinceOf, place.since);
        else own += begun.length + placeIn(fresh, sinceOf, place.since);
      }
      let sum = own;
      for (const { tag, groups: queues } of accounts.values()) {
        if (tag === place.account) continue;
        let waiting = 0;
        for (const [group, { begun, fresh }] of queues) if (competes(group)) waiting += begun.length + fresh.length;
        sum += Math.min(own, waiting);
      }
      return sum;
    },
    waiting: () => groups,
    all: () => places.values(),
  };
}
