/**
 * The rows of usage: what was done and spent on each day, by the account, its keys, models and customers. Nothing here
 * awaits.
 */
import {
  MAX_USERS_A_DAY,
  OTHER_USERS,
  type UsagePage,
  type UsageQuery,
  type UsageRow,
} from '../../src/billing/spending.ts';

/** One cell of usage as it is stored. */
export interface UsageCell {
  readonly day: string;
  readonly dimension: string;
  readonly name: string;
  readonly jobs: number;
  readonly mflop: number;
  readonly captured: number;
  readonly held: number;
}

/** Up to `limit` cells after a place: dimension, name and day as a JSON list; empty text: from the first. */
export function readUsageAfter(sql: SqlStorage, after: string, limit: number): readonly UsageCell[] {
  const [dimension, name, day] = after === '' ? ['', '', ''] : (JSON.parse(after) as [string, string, string]);
  return sql
    .exec<{ [Field in keyof UsageCell]: UsageCell[Field] }>(
      'SELECT * FROM usage WHERE (dimension, name, day) > (?, ?, ?) ORDER BY dimension, name, day LIMIT ?',
      dimension,
      name,
      day,
      limit,
    )
    .toArray();
}

/** Writes a cell of usage as it is kept outside. False where nothing changes. */
export const writeUsage = (
  sql: SqlStorage,
  { day, dimension, name, jobs, mflop, captured, held }: UsageCell,
): boolean =>
  sql.exec(
    `INSERT INTO usage (day, dimension, name, jobs, mflop, captured, held) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET jobs = excluded.jobs, mflop = excluded.mflop, captured = excluded.captured, held = excluded.held
     WHERE (jobs, mflop, captured, held) <> (excluded.jobs, excluded.mflop, excluded.captured, excluded.held)`,
    day,
    dimension,
    name,
    jobs,
    mflop,
    captured,
    held,
  ).rowsWritten > 0;

/** What is added to the usage of a day. */
export interface UsageChange {
  readonly day: string;
  readonly keyId: string;
  readonly user: string | null;
  readonly model: string;
  readonly jobs: number;
  readonly mflop: number;
  readonly captured: number;
  readonly held: number;
}

/** The name of a cell that counts for day, key and model at once: by it the cells of some days lie together. */
const allName = (day: string, keyId: string, model: string): string => `${day}/${keyId}/${model}`;
/** What such a name says. */
const KEY_OF_ALL = "SUBSTR(name, 12, INSTR(SUBSTR(name, 12), '/') - 1)";
const MODEL_OF_ALL = "SUBSTR(name, 12 + INSTR(SUBSTR(name, 12), '/'))";
/** The cells of such names between two days, both included: `0` is the sign after `/`. */
const ALL_BETWEEN = (from: string, to: string): string =>
  `dimension = 'all' AND name >= ${from} AND name < ${to} || '0'`;

/** Adds to the usage of a day: in one cell for day, key and model, and in one of the customer where there is one. */
export function addUsage(sql: SqlStorage, { day, keyId, user, model, jobs, mflop, captured, held }: UsageChange): void {
  const groups: readonly (readonly [string, string])[] = [
    ['all', allName(day, keyId, model)],
    ...(user === null ? [] : [['user', user] as const]),
  ];
  for (const [dimension, name] of groups)
    sql.exec(
      `INSERT INTO usage (day, dimension, name, jobs, mflop, captured, held) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
       ON CONFLICT DO UPDATE SET jobs = jobs + ?4, mflop = mflop + ?5, captured = captured + ?6, held = held + ?7`,
      day,
      dimension,
      name,
      jobs,
      mflop,
      captured,
      held,
    );
}

const knowsUser = (sql: SqlStorage, day: string, user: string): boolean =>
  sql.exec("SELECT 1 FROM usage WHERE dimension = 'user' AND name = ? AND day = ?", user, day).toArray().length > 0;

/** The name under which a customer is counted on a day: its own, or, once there are many, that of all others. */
export function countedUser(sql: SqlStorage, day: string, user: string): string {
  if (knowsUser(sql, day, user)) return user;
  const [row] = sql
    .exec<{ jobs: number }>("SELECT jobs FROM usage WHERE dimension = 'users' AND name = '' AND day = ?", day)
    .toArray();
  return (row?.jobs ?? 0) >= MAX_USERS_A_DAY ? OTHER_USERS : user;
}

/** Counts a customer of a day who was not counted yet: in a row of its own, so that nobody has to read them all. */
export function countUser(sql: SqlStorage, day: string, user: string): void {
  if (knowsUser(sql, day, user)) return;
  sql.exec(
    "INSERT INTO usage (day, dimension, name, jobs) VALUES (?, 'users', '', 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1",
    day,
  );
}

/** What was spent by a customer, and is held for it, since a day: a row a day is read. Micro-dollars. */
export const spentByUser = (sql: SqlStorage, user: string, since: string): number =>
  sql
    .exec<{ spent: number | null }>(
      "SELECT SUM(captured + held) AS spent FROM usage WHERE dimension = 'user' AND name = ? AND day >= ?",
      user,
      since,
    )
    .one().spent ?? 0;

/** Micro-dollars spent and held since a day, by key: read from the cells, where nobody has added them up. */
export const spentByKeys = (sql: SqlStorage, since: string): ReadonlyMap<string, number> =>
  new Map(
    sql
      .exec<{ key: string; spent: number }>(
        `SELECT key, SUM(spent) AS spent FROM (
           SELECT name AS key, captured + held AS spent FROM usage WHERE dimension = 'key' AND day >= ?1
           UNION ALL SELECT ${KEY_OF_ALL}, captured + held FROM usage WHERE dimension = 'all' AND name >= ?1) GROUP BY key`,
        since,
      )
      .toArray()
      .map(({ key, spent }) => [key, spent]),
  );

type Sums = { jobs: number; mflop: number; captured: number; held: number };
const SUMS = 'SUM(jobs) AS jobs, SUM(mflop) AS mflop, SUM(captured) AS captured, SUM(held) AS held';
const FIGURES = 'jobs, mflop, captured, held';

/** Usage between two days, by group, in the order of their names. */
const readUsageRows = (sql: SqlStorage, { from, to, groupBy, after, limit }: UsageQuery): readonly UsageRow[] => {
  const [own, ofAll] = {
    day: ['day', 'day'],
    key: ['name', KEY_OF_ALL],
    model: ['name', MODEL_OF_ALL],
    user: ['', ''],
  }[groupBy] as [string, string];
  // cells of an earlier version are of one dimension each
  const query =
    groupBy === 'user'
      ? `SELECT name AS "group", ${SUMS} FROM usage WHERE dimension = ?1 AND day >= ?2 AND day <= ?3 AND name > ?4
         GROUP BY name ORDER BY name LIMIT ?5`
      : `SELECT "group", ${SUMS} FROM (
           SELECT ${own} AS "group", ${FIGURES} FROM usage WHERE dimension = ?1 AND day >= ?2 AND day <= ?3
           UNION ALL SELECT ${ofAll}, ${FIGURES} FROM usage WHERE ${ALL_BETWEEN('?2', '?3')})
         WHERE "group" > ?4 GROUP BY "group" ORDER BY "group" LIMIT ?5`;
  return sql.exec<Sums & { group: string }>(query, groupBy, from, to, after ?? '', limit).toArray();
};

/** A page of usage between two days, and all that there was in them. */
export function readUsage(sql: SqlStorage, query: UsageQuery): UsagePage {
  const { jobs, mflop, captured, held } = sql
    .exec<Record<keyof Sums, number | null>>(
      `SELECT ${SUMS} FROM (
         SELECT ${FIGURES} FROM usage WHERE dimension = 'day' AND name = '' AND day >= ?1 AND day <= ?2
         UNION ALL SELECT ${FIGURES} FROM usage WHERE ${ALL_BETWEEN('?1', '?2')})`,
      query.from,
      query.to,
    )
    .one();
  const totals = { jobs: jobs ?? 0, mflop: mflop ?? 0, captured: captured ?? 0, held: held ?? 0 };
  return { rows: readUsageRows(sql, query), totals };
}
