/**
 * The line of jobs that wait for a stage server. Fair by account: of A accounts with work waiting each receives at
 * least 1/A of the work that is given out, give or take one stage. Within an account what has begun goes before what
 * has not, then who came first. Pure, but for the line itself.
 */

/** A job in the line. */
export interface Place {
  readonly job: string;
  /** tag of the account; who it is does not matter here */
  readonly account: string;
  /** what its stage needs: places of one group are served by the same servers */
  readonly group: string;
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
   * Puts a job in, at the place it has by its age. One that is in already is replaced. `competes` says which groups are
   * served by servers that can serve this one, too: an account that had nothing in the line begins level with theirs.
   */
  put(place: P, competes: OfGroup): void;
  /** Takes a job out; null where it is not in. */
  remove(job: string): P | null;
  get(job: string): P | null;
  /**
   * The places in the order in which they are to be served now, those of groups where `isServed` alone. The line may be
   * changed only after the last one was taken from here.
   */
  inOrder(isServed: OfGroup): Iterable<P>;
  /** An account has been given so much work in a group, TFLOPs; less than nothing where it came to nothing. */
  charge(account: string, group: string, tflops: number): void;
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

/** Most accounts remembered that wait for nothing. */
const MAX_IDLE = 1000;

/** Places of one account in one group, the oldest first. */
interface Queue<P> {
  readonly begun: P[];
  readonly fresh: P[];
  /** work of its places with all behind it, TFLOPs */
  restTflops: number;
}

interface Account<P> {
  readonly tag: string;
  /** work given so far, TFLOPs, counted from where the others were when it came */
  served: number;
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
const servedOf = ({ served }: { readonly served: number }): number => served;

export function makeLine<P extends Place>(): Line<P> {
  const places = new Map<string, P>();
  /** accounts that wait for something, and the same with least served first */
  const accounts = new Map<string, Account<P>>();
  const order: Account<P>[] = [];
  /** what was served to accounts that wait for nothing, as long as somebody waits */
  const idle = new Map<string, number>();
  /** what the account had been served that was last given something in a group */
  const levels = new Map<string, number>();
  const groups = new Map<string, Waiting>();

  const queueOf = ({ account, group, hasBegun }: P): P[] | undefined => {
    const queue = accounts.get(account)?.groups.get(group);
    return hasBegun ? queue?.begun : queue?.fresh;
  };

  const intoOrder = (account: Account<P>): void =>
    void order.splice(placeIn(order, servedOf, account.served), 0, account);
  const outOfOrder = (account: Account<P>): void => void order.splice(order.indexOf(account), 1);

  /** Where an account begins that had nothing in the line: level with who is least served of those it meets there. */
  function levelIn(competes: OfGroup): number {
    for (const { served, groups } of order) for (const group of groups.keys()) if (competes(group)) return served;
    return Math.max(0, ...[...levels].filter(([group]) => competes(group)).map(([, level]) => level));
  }

  function come(tag: string, competes: OfGroup): Account<P> {
    const known = accounts.get(tag);
    if (known) return known;
    // who comes back after a while is not owed what was given out meanwhile
    const served = Math.max(idle.get(tag) ?? 0, levelIn(competes));
    const account = { tag, served, groups: new Map<string, Queue<P>>() };
    idle.delete(tag);
    accounts.set(tag, account);
    intoOrder(account);
    return account;
  }

  function count(group: string, jobs: number, tflops: number): void {
    const before = groups.get(group) ?? { jobs: 0, tflops: 0 };
    if (before.jobs + jobs === 0) groups.delete(group);
    else groups.set(group, { jobs: before.jobs + jobs, tflops: before.tflops + tflops });
  }

  function leave(place: P): void {
    places.delete(place.job);
    count(place.group, -1, -place.restTflops);
    const account = accounts.get(place.account) as Account<P>;
    const list = queueOf(place) as P[];
    list.splice(list.indexOf(place), 1);
    const queue = account.groups.get(place.group) as Queue<P>;
    queue.restTflops -= place.restTflops;
    if (queue.begun.length + queue.fresh.length === 0) account.groups.delete(place.group);
    if (account.groups.size > 0) return;
    outOfOrder(account);
    accounts.delete(account.tag);
    remember(account.tag, account.served);
  }

  /** What an account was served that waits for nothing. Where nobody waits all are level again. */
  function remember(tag: string, served: number): void {
    if (accounts.size === 0) {
      idle.clear();
      levels.clear();
      return;
    }
    idle.delete(tag);
    idle.set(tag, served);
    for (const oldest of idle.keys()) {
      if (idle.size <= MAX_IDLE) break;
      idle.delete(oldest);
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
    put(place, competes) {
      const before = places.get(place.job);
      const account = come(place.account, competes);
      const queue = account.groups.get(place.group) ?? { begun: [], fresh: [], restTflops: 0 };
      account.groups.set(place.group, queue);
      const list = place.hasBegun ? queue.begun : queue.fresh;
      list.splice(placeIn(list, sinceOf, place.since), 0, place);
      queue.restTflops += place.restTflops;
      if (before) leave(before);
      places.set(place.job, place);
      count(place.group, 1, place.restTflops);
    },
    remove(job) {
      const place = places.get(job) ?? null;
      if (place) leave(place);
      return place;
    },
    get: (job) => places.get(job) ?? null,
    *inOrder(isServed) {
      for (const account of order) yield* ofAccount(account, isServed);
    },
    charge(tag, group, tflops) {
      const account = accounts.get(tag);
      const served = account?.served ?? idle.get(tag) ?? 0;
      if (tflops > 0) levels.set(group, Math.max(levels.get(group) ?? 0, served));
      if (!account) return remember(tag, served + tflops);
      outOfOrder(account);
      account.served += tflops;
      intoOrder(account);
    },
    *waitingIn(groups) {
      for (const { tag, groups: queues } of order) {
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
      for (const { tag, groups: queues } of order) {
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
