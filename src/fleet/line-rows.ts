/**
 * When what a dispatcher knows is written, and when it wakes for a lease: each is a row, so a line costs as many in ten
 * minutes as in ten seconds. What is lost with a line that is not written is order alone: who stands in it asks again.
 */

/** A line is written that has lasted so long, then when it has grown, and that at most so often. */
const FIRST_MS = 10_000;
const AGAIN_MS = 60_000;
/** How much longer for each job in it: what is written grows with the line. */
const A_JOB_MS = 5;
/** While nobody waits, what was learnt of servers is written so often at most. */
const IDLE_MS = 300_000;
/** The pauses between two looks for a lease that is over grow by this; a renewal or a job that comes looks, too. */
const TIMES = 4;
const LOOK_MS = 30_000;
const MOST_LOOK_MS = 600_000;

/** The line of a desk now. */
export interface LineNow {
  readonly jobs: number;
  /** jobs that have come into it so far */
  readonly arrivals: number;
  /** stages that told something of their server so far */
  readonly outcomes: number;
  /** when a slot would be free that nobody renews; null: nobody waits for one */
  readonly leaseEndsAt: number | null;
}

export interface LineRows {
  /** Whether what the desk knows is to be written now. */
  isDue(line: LineNow, now: number): boolean;
  /** It was written. */
  written(line: LineNow, now: number): void;
  /** When to look for a lease that is over; null: not. */
  lookAt(line: LineNow, now: number): number | null;
}

/** What was read back: whether jobs waited in it, and when it was written; null: nobody knows. */
export function makeLineRows(read: { readonly isLine: boolean; readonly writtenAt: number | null }): LineRows {
  let since: number | null = null;
  let writtenAt = read.writtenAt ?? Number.NEGATIVE_INFINITY;
  let outcomes = 0;
  let lineWrittenAt = Number.NEGATIVE_INFINITY;
  let arrivals = 0;
  let isLineWritten = read.isLine;
  let look: number | null = null;
  let pauseMs = 0;
  return {
    isDue(line, now) {
      if (line.jobs === 0) {
        since = null;
        // who waited once must not be read back as waiting
        return isLineWritten || (line.outcomes > outcomes && Math.abs(now - writtenAt) >= IDLE_MS);
      }
      since ??= now;
      const isGrown = !isLineWritten || line.arrivals > arrivals;
      return isGrown && now >= Math.max(since + FIRST_MS, lineWrittenAt + AGAIN_MS + A_JOB_MS * line.jobs);
    },
    written(line, now) {
      writtenAt = now;
      isLineWritten = line.jobs > 0;
      ({ arrivals, outcomes } = line);
      if (isLineWritten) lineWrittenAt = now;
    },
    lookAt({ leaseEndsAt }, now) {
      if (leaseEndsAt === null) {
        look = null;
        pauseMs = 0;
      } else if (look === null || look <= now) {
        look = Math.max(leaseEndsAt, now + pauseMs);
        pauseMs = Math.min(MOST_LOOK_MS, TIMES * Math.max(LOOK_MS, pauseMs));
      }
      return look;
    },
  };
}
