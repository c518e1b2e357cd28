/**
 * When those may come back who were refused because too much waits: not all at once, and nobody later because somebody
 * else asks again and again.
 */

/** The longest that somebody who is refused is told to stay away. */
const MOST_MS = 600_000;
/** Most accounts that are remembered; the one refused first goes first. */
const MAX_ACCOUNTS = 1_000;

/** Jobs of one account that are refused. */
export interface Refusal {
  readonly account: string;
  /** in how many milliseconds the line is short enough */
  readonly leastMs: number;
  /** how long the servers take for these jobs, milliseconds */
  readonly ownMs: number;
}

export interface Refused {
  /**
   * In how many milliseconds they may come back: behind every account that was refused before and has not come back,
   * each counted with one request, and behind what the same account was told before. Law: however often others ask,
   * one account is told at most one request of each of them more; and nobody more than ten minutes.
   */
  refuse(refusal: Refusal, now: number): number;
}

/** Nobody has been refused yet. */
export function makeRefused(): Refused {
  /** by account, in the order in which they were refused first: until when, and how long its first request takes */
  const waiting = new Map<string, { until: number; readonly onceMs: number }>();
  return {
    refuse({ account, leastMs, ownMs }, now) {
      for (const [other, { until }] of waiting) if (until <= now) waiting.delete(other);
      let aheadMs = 0;
      for (const [other, { onceMs }] of waiting) {
        if (other === account) break;
        aheadMs += onceMs;
      }
      const own = waiting.get(account);
      const least = now + leastMs + aheadMs;
      const until = Math.min(now + MOST_MS, own ? Math.max(least, own.until + ownMs) : least);
      if (own) own.until = until;
      else waiting.set(account, { until, onceMs: ownMs });
      for (const oldest of waiting.keys()) {
        if (waiting.size <= MAX_ACCOUNTS) break;
        waiting.delete(oldest);
      }
      return until - now;
    },
  };
}
