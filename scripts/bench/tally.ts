/** What is counted of one class of objects, and what it costs on Cloudflare. Pure. */

/** What one text of SQL came to, over all times it ran. */
export interface StatementTally {
  times: number;
  read: number;
  written: number;
}

/** What one object, or all of a class, came to. */
export interface Tally {
  /** by text of SQL; `setAlarm()` and `deleteAll()` are a row each */
  readonly statements: Record<string, StatementTally>;
  /** requests to the objects, by method: calls, alarms, messages of WebSockets */
  readonly calls: Record<string, number>;
}

export interface Counted {
  /** to the Worker */
  requests: number;
  /** by class and name of an object, a space between them */
  readonly tallies: Record<string, Tally>;
}

export const emptyTally = (): Tally => ({ statements: {}, calls: {} });

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
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

export function costOf({ statements, calls }: Tally, images: number): ImageCost {
  const all = Object.values(statements);
  return {
    written: sum(all.map(({ written }) => written)) / images,
    read: sum(all.map(({ read }) => read)) / images,
    requests: sum(Object.values(calls)) / images,
  };
}

/** Dollars for 1,000 images: rows and requests to objects; requests to the Worker; duration. */
export interface Dollars {
  readonly rows: number;
  readonly requests: number;
  readonly duration: number;
}

/** `seconds`: for which the job's object was active, an image. */
export const dollarsOf = (costs: readonly ImageCost[], workerRequests: number, seconds: number): Dollars => ({
  rows: 1000 * sum(costs.map(({ written, read }) => written * PRICES.rowWritten + read * PRICES.rowRead)),
  requests:
    1000 * (sum(costs.map(({ requests }) => requests * PRICES.objectRequest)) + workerRequests * PRICES.workerRequest),
  duration: 1000 * seconds * PRICES.objectSecond,
});

/** The tallies of several objects as one. */
function mergeTallies(tallies: readonly Tally[]): Tally {
  const merged = emptyTally();
  for (const { statements, calls } of tallies) {
    for (const [text, { times, read, written }] of Object.entries(statements)) {
      const before = merged.statements[text] ?? { times: 0, read: 0, written: 0 };
      merged.statements[text] = {
        times: before.times + times,
        read: before.read + read,
        written: before.written + written,
      };
    }
    for (const [method, times] of Object.entries(calls)) merged.calls[method] = (merged.calls[method] ?? 0) + times;
  }
  return merged;
}

/** What was counted in two spans of time together. */
export const mergeCounted = (a: Counted, b: Counted): Counted => ({
  requests: a.requests + b.requests,
  tallies: Object.fromEntries(
    [...new Set([...Object.keys(a.tallies), ...Object.keys(b.tallies)])].map((key) => [
      key,
      mergeTallies([a.tallies[key] ?? emptyTally(), b.tallies[key] ?? emptyTally()]),
    ]),
  ),
});

/** The tallies of each class, of those objects that `isMeant` takes. */
export function byClass(
  { tallies }: Counted,
  isMeant: (name: string) => boolean = () => true,
): Readonly<Record<string, Tally>> {
  const classes: Record<string, Tally> = {};
  for (const [key, tally] of Object.entries(tallies)) {
    const [className = '', name = ''] = key.split(' ');
    if (isMeant(name)) classes[className] = mergeTallies([classes[className] ?? emptyTally(), tally]);
  }
  return classes;
}
