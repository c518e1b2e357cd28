/** Days, months and whose spending is counted in them. Times are UTC. Pure. */

/** What usage is grouped by. */
export const DIMENSIONS = ['day', 'model', 'key', 'user'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** `2026-11-27`: the day of a time in milliseconds since 1970. */
export const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** The first day of the month of a day. */
export const monthOf = (day: string): string => `${day.slice(0, 7)}-01`;

/**
 * Callers' customers that are counted one by one in a day, an account; those that come later that day are counted, and
 * limited, together.
 */
export const MAX_USERS_A_DAY = 10_000;
/** The name under which those go; a customer of that name is one of them. */
export const OTHER_USERS = '*';
/** Longest name of a customer. */
export const MAX_USER = 512;

/** What was done and spent, of one group. */
export interface UsageRow {
  /** the day, or the name of the model, key or customer */
  readonly group: string;
  /** jobs that ended, those that cost nothing included */
  readonly jobs: number;
  /** work that was paid, MFLOPs */
  readonly mflop: number;
  /** micro-dollars */
  readonly captured: number;
  /** held for jobs that have not ended */
  readonly held: number;
}

/** All groups of a period together: of the account, jobs without a customer included. */
export type UsageTotals = Omit<UsageRow, 'group'>;

export interface UsagePage {
  readonly rows: readonly UsageRow[];
  readonly totals: UsageTotals;
}

/** The longest period that is asked for at once, days. */
export const MAX_DAYS = 366;

/** Whether text is a day of the calendar. */
export const isDay = (text: string): boolean =>
  /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)) && dayOf(Date.parse(text)) === text;

/** How many days a period has, both ends included; 0 or less where it ends before it begins. */
export const daysOf = (from: string, to: string): number => (Date.parse(to) - Date.parse(from)) / 86_400_000 + 1;

export interface UsageQuery {
  /** days, both included */
  readonly from: string;
  readonly to: string;
  readonly groupBy: Dimension;
  /** group after which to go on; null: from the first */
  readonly after: string | null;
  readonly limit: number;
}

/** What was spent and is held in a day and in its month, micro-dollars. */
export type DayAndMonth = readonly [day: number, month: number];

/** What was spent and is held in the day `day` and its month: by the account, and by keys that have a limit. */
export interface Spent {
  readonly day: string;
  readonly account: DayAndMonth;
  /** by the first of the keys that took each other's place */
  readonly keys: Readonly<Record<string, DayAndMonth>>;
}

/** The same on `day`. A later day begins at 0, and so does a later month; an earlier one changes nothing. */
export function onDay(spent: Spent, day: string): Spent {
  if (day <= spent.day) return spent;
  const isSameMonth = monthOf(day) === monthOf(spent.day);
  const next = ([, month]: DayAndMonth): DayAndMonth => [0, isSameMonth ? month : 0];
  return {
    day,
    account: next(spent.account),
    keys: isSameMonth ? Object.fromEntries(Object.entries(spent.keys).map(([key, sums]) => [key, next(sums)])) : {},
  };
}

/**
 * The same with `micro` more that counts on the day `day`, by the keys of `key` where they have a limit. What counts on
 * another day or in another month is in neither sum.
 */
export function withSpent(
  spent: Spent,
  { day, key, micro }: { readonly day: string; readonly key: string | null; readonly micro: number },
): Spent {
  const more = ([ofDay, ofMonth]: DayAndMonth): DayAndMonth => [
    ofDay + (day === spent.day ? micro : 0),
    ofMonth + (monthOf(day) === monthOf(spent.day) ? micro : 0),
  ];
  return {
    ...spent,
    account: more(spent.account),
    keys: key === null ? spent.keys : { ...spent.keys, [key]: more(spent.keys[key] ?? [0, 0]) },
  };
}
