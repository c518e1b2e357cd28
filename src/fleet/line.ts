/**
 * The line of jobs that wait for a stage server. Fair by account: of A accounts with work waiting each receives at least
 * 1/A of the work that is given out, give or take one stage. Within an account what has begun goes before what has not,
 * then who came first. Pure, but for the line itself.
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

export interface Line<P extends Place> {
  readonly size: number;
  /** Puts a job in, at the place it has by its age. One that is in already is replaced. */
  put(place: P): void;
  /** Takes a job out; null where it is not in. */
  remove(job: string): P | null;
  get(job: string): P | null;
  /**
   * The places in the order in which they are to be served now, those of groups where `isServed` alone. The line may be
   * changed only after the last one was taken from here.
   */
  inOrder(isServed: (group: string) => boolean): Iterable<P>;
  /** An account has been given so much work, TFLOPs. */
  charge(account: string, tflops: number): void;
  /** Work that goes out before a job of this account that joins now, TFLOPs, as far as it can be told. */
  ahead(account: string, group: string): number;
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
}

interface Account<P> {
  /** work given so far, TFLOPs, counted from where the others were when it came */
  served: number;
  readonly groups: Map<string, Queue<P>>;
  /** all work that its places have before them, TFLOPs */
  waiting: number;
}

/** Where `since` puts a place among others: behind those as old as it. */
function placeIn(queue: readonly { readonly since: number }[], since: number): number {
  let low = 0;
  let high = queue.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((queue[middle] as { since: number }).since <= since) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function makeLine<P extends Place>(): Line<P> {
  const places = new Map<string, P>();
  const accounts = new Map<string, Account<P>>();
  const groups = new Map<string, Waiting>();
  /** work given to the account that has been given least, of those that wait */
  let floor = 0;

  const queueOf = ({ account, group, hasBegun }: P): P[] | undefined => {
    const queue = accounts.get(account)?.groups.get(group);
    return hasBegun ? queue?.begun : queue?.fresh;
  };

  function count(group: string, jobs: number, tflops: number): void {
    const before = groups.get(group) ?? { jobs: 0, tflops: 0 };
    if (before.jobs + jobs === 0) groups.delete(group);
    else groups.set(group, { jobs: before.jobs + jobs, tflops: before.tflops + tflops });
  }

  function leave(place: P): void {
    places.delete(place.job);
    count(place.group, -1, -place.restTflops);
    const account = accounts.get(place.account) as Account<P>;
    const queue = queueOf(place) as P[];
    queue.splice(queue.indexOf(place), 1);
    account.waiting -= place.restTflops;
    const { begun, fresh } = account.groups.get(place.group) as Queue<P>;
    if (begun.length + fresh.length === 0) account.groups.delete(place.group);
    if (account.groups.size === 0) forgetIdle();
  }

  /** Accounts that wait for nothing are forgotten once they are not ahead of the others any more. */
  function forgetIdle(): void {
    const waiting = [...accounts.values()].filter(({ groups }) => groups.size > 0);
    if (waiting.length > 0) floor = Math.max(floor, Math.min(...waiting.map(({ served }) => served)));
    for (const [tag, { groups, served }] of accounts)
      if (groups.size === 0 && (served <= floor || waiting.length === 0)) accounts.delete(tag);
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
    put(place) {
      const before = places.get(place.job);
      if (before) leave(before);
      const account = accounts.get(place.account) ?? { served: floor, groups: new Map<string, Queue<P>>(), waiting: 0 };
      // who comes back after a while is not owed what was given out meanwhile
      account.served = Math.max(account.served, floor);
      accounts.set(place.account, account);
      if (!account.groups.has(place.group)) account.groups.set(place.group, { begun: [], fresh: [] });
      const queue = queueOf(place) as P[];
      queue.splice(placeIn(queue, place.since), 0, place);
      places.set(place.job, place);
      account.waiting += place.restTflops;
      count(place.group, 1, place.restTflops);
    },
    remove(job) {
      const place = places.get(job) ?? null;
      if (place) leave(place);
      return place;
    },
    get: (job) => places.get(job) ?? null,
    *inOrder(isServed) {
      const waiting = [...accounts.values()].filter(({ groups }) => groups.size > 0);
      waiting.sort((a, b) => a.served - b.served);
      for (const account of waiting) yield* ofAccount(account, isServed);
    },
    charge(tag, tflops) {
      const account = accounts.get(tag);
      if (account) account.served += tflops;
      else accounts.set(tag, { served: floor + tflops, groups: new Map(), waiting: 0 });
    },
    ahead(tag, group) {
      const own = accounts.get(tag)?.waiting ?? 0;
      // of each other account that much goes out in between as of this one
      let sum = own;
      for (const [other, { waiting }] of accounts) if (other !== tag) sum += Math.min(waiting, own);
      // with nothing of its own in the line one stage of each other may go first
      if (own > 0) return sum;
      for (const place of firstOfEach(accounts, tag, group)) sum += place.restTflops;
      return sum;
    },
    waiting: () => groups,
    all: () => places.values(),
  };
}

/** The first place of every other account in a group. */
function* firstOfEach<P>(accounts: ReadonlyMap<string, Account<P>>, tag: string, group: string): Iterable<P> {
  for (const [other, { groups }] of accounts) {
    const queue = groups.get(group);
    const first = queue?.begun[0] ?? queue?.fresh[0];
    if (other !== tag && first) yield first;
  }
}
