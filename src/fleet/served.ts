/** What accounts have been given by servers of each kind, counted so that those who wait can take turns. */

/** Most accounts remembered, for each kind of servers, that wait for nothing. */
const MAX_IDLE = 1000;

export interface Served {
  /**
   * An account waits for servers of a kind from now on; one that does already goes on. It begins level with who is
   * least served of those that wait for them: who comes back after a while is not owed what was given out meanwhile.
   */
  come(account: string, kind: string): void;
  /** It waits for them no longer. Where nobody does all are level again. */
  leave(account: string, kind: string): void;
  /** They were given so much of its work, TFLOPs; less than nothing where it came to nothing. */
  charge(account: string, kind: string, tflops: number): void;
  /** The accounts that wait for them, least served first, then who came first. */
  inOrder(kind: string): Iterable<string>;
}

/** What one kind of servers has given: TFLOPs by account, counted from where the others were when it came. */
interface Counts {
  readonly waiting: Map<string, number>;
  /** of those that wait for nothing, as long as somebody waits */
  readonly idle: Map<string, number>;
}

export function makeServed(): Served {
  const kinds = new Map<string, Counts>();

  function remember({ idle }: Counts, account: string, served: number): void {
    idle.delete(account);
    idle.set(account, served);
    for (const oldest of idle.keys()) {
      if (idle.size <= MAX_IDLE) break;
      idle.delete(oldest);
    }
  }

  return {
    come(account, kind) {
      const counts = kinds.get(kind) ?? { waiting: new Map(), idle: new Map() };
      kinds.set(kind, counts);
      const { waiting, idle } = counts;
      if (waiting.has(account)) return;
      let least = Number.POSITIVE_INFINITY;
      for (const served of waiting.values()) if (served < least) least = served;
      waiting.set(account, Math.max(idle.get(account) ?? 0, waiting.size > 0 ? least : 0));
      idle.delete(account);
    },
    leave(account, kind) {
      const counts = kinds.get(kind);
      const served = counts?.waiting.get(account);
      if (!counts || served === undefined) return;
      counts.waiting.delete(account);
      if (counts.waiting.size === 0) kinds.delete(kind);
      else remember(counts, account, served);
    },
    charge(account, kind, tflops) {
      const counts = kinds.get(kind);
      // nobody waits: all are level
      if (!counts) return;
      const { waiting, idle } = counts;
      const before = waiting.get(account) ?? idle.get(account) ?? 0;
      if (!waiting.has(account)) return remember(counts, account, before + tflops);
      // behind those that have had as much
      waiting.delete(account);
      waiting.set(account, before + tflops);
    },
    *inOrder(kind) {
      const waiting = kinds.get(kind)?.waiting;
      if (!waiting) return;
      let first: string | null = null;
      let least = Number.POSITIVE_INFINITY;
      for (const [account, served] of waiting)
        if (served < least) {
          first = account;
          least = served;
        }
      if (first === null) return;
      yield first;
      // mostly the first one is taken
      const others = [...waiting].filter(([account]) => account !== first).sort(([, a], [, b]) => a - b);
      for (const [account] of others) yield account;
    },
  };
}
