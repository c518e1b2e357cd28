/** What is counted of one class of objects, and what it costs on Cloudflare. Pure. */

/** What one text of SQL came to, over all times it ran. */
export interface StatementTally {
  times: number;
  read: number;
  written: number;
}

/** What the objects of one class came to. */
export interface Tally {
  /** by text of SQL; `setAlarm()` and `deleteAll()` are a row each */
  readonly statements: Record<string, StatementTally>;
  /** requests to the objects, by method: calls, alarms, messages of WebSockets */
  readonly calls: Record<string, number>;
  /** in which an alarm ran, milliseconds */
  ms: number;
}

export interface Counted {
  /** to the Worker */
  requests: number;
  readonly tallies: Record<string, Tally>;
}

export const emptyTally = (): Tally => ({ statements: {}, calls: {}, ms: 0 });

/** Adds what a statement read and wrote. */
export function addTo(
  { statements }: Tally,
  text: string,
  { rowsRead, rowsWritten }: { readonly rowsRead: number; readonly rowsWritten: number },
): void {
  const before = statements[text] ?? { times: 0, read: 0, written: 0 };
  statements[text] = {
    times: before.times + 1,
    read: before.read + rowsRead,
    written: before.written + rowsWritten,
  };
}

/**
 * Cloudflare's prices beyond what a paid plan includes, dollars. Source:
 * https://developers.cloudflare.com/durable-objects/platform/pricing/ and
 * https://developers.cloudflare.com/workers/platform/pricing/ (November 2026). An object is billed 128 MB while it is
 * active: .128 GB · 12.50 per million GB-s is 1.60 per million seconds.
 */
export const PRICES = {
  rowWritten: 1 / 1e6,
  rowRead: 0.001 / 1e6,
  objectRequest: 0.15 / 1e6,
  workerRequest: 0.3 / 1e6,
  objectSecond: (0.128 * 12.5) / 1e6,
} as const;

/** Counts of one class for each of `images`, or of all classes together. */
export interface ImageCost {
  readonly written: number;
  readonly read: number;
  /** to objects; to the Worker only in the sum of all */
  readonly requests: number;
  readonly seconds: number;
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

export function costOf({ statements, calls, ms }: Tally, images: number): ImageCost {
  const all = Object.values(statements);
  return {
    written: sum(all.map(({ written }) => written)) / images,
    read: sum(all.map(({ read }) => read)) / images,
    requests: sum(Object.values(calls)) / images,
    seconds: ms / 1000 / images,
  };
}

/** Dollars for 1,000 images: rows and requests to objects; requests to the Worker; duration. */
export interface Dollars {
  readonly rows: number;
  readonly requests: number;
  readonly duration: number;
}

export const dollarsOf = (costs: readonly ImageCost[], workerRequests: number): Dollars => ({
  rows: 1000 * sum(costs.map(({ written, read }) => written * PRICES.rowWritten + read * PRICES.rowRead)),
  requests:
    1000 * (sum(costs.map(({ requests }) => requests * PRICES.objectRequest)) + workerRequests * PRICES.workerRequest),
  duration: 1000 * sum(costs.map(({ seconds }) => seconds * PRICES.objectSecond)),
});

/** What was counted in two spans of time together. */
export function mergeCounted(a: Counted, b: Counted): Counted {
  const tallies: Record<string, Tally> = {};
  for (const [name, { statements, calls, ms }] of [...Object.entries(a.tallies), ...Object.entries(b.tallies)]) {
    const tally = tallies[name] ?? emptyTally();
    for (const [text, { times, read, written }] of Object.entries(statements)) {
      const before = tally.statements[text] ?? { times: 0, read: 0, written: 0 };
      tally.statements[text] = {
        times: before.times + times,
        read: before.read + read,
        written: before.written + written,
      };
    }
    for (const [method, times] of Object.entries(calls)) tally.calls[method] = (tally.calls[method] ?? 0) + times;
    tally.ms += ms;
    tallies[name] = tally;
  }
  return { requests: a.requests + b.requests, tallies };
}
