/**
 * What every job of an account changes, gathered in one row: places and open jobs, budgets, the ledger's columns,
 * pace, what was spent. So a call changes it once, whatever it does. Nothing here awaits.
 */
import type { Arrivals } from '../../src/account/account.ts';
import { type Columns, LEDGER_ACCOUNTS, type LedgerAccount, NOTHING } from '../../src/billing/ledger.ts';
import type { Spent } from '../../src/billing/spending.ts';

export const TALLY_TABLES = `CREATE TABLE tally (one INTEGER PRIMARY KEY CHECK (one = 1), place INTEGER NOT NULL, open INTEGER NOT NULL,
     work_arrival REAL NOT NULL, arrivals TEXT NOT NULL, columns TEXT NOT NULL, paces TEXT NOT NULL, spent TEXT);
   CREATE VIEW ledger AS SELECT json_each.key AS account, json_extract(json_each.value, '$[0]') AS debits_pending,
     json_extract(json_each.value, '$[1]') AS debits_posted, json_extract(json_each.value, '$[2]') AS credits_pending,
     json_extract(json_each.value, '$[3]') AS credits_posted FROM tally, json_each(tally.columns);`;

/** Changed in place by whoever is given it. */
export interface Tally {
  /** of the job that was entered last */
  place: number;
  /** jobs that are open */
  open: number;
  /** of `takeWork`: microseconds */
  workArrival: number;
  /** of each key that has not all of its budgets: of `takeRequests` and of `takeWork`, microseconds */
  arrivals: Record<string, readonly [number, number]>;
  readonly columns: Record<LedgerAccount, Columns>;
  /** by model: TFLOPs and milliseconds of the last done jobs */
  paces: Record<string, { readonly tflops: number; readonly ms: number }>;
  /** null: to be counted anew */
  spent: Spent | null;
}

type TallyRow = {
  place: number;
  open: number;
  work_arrival: number;
  arrivals: string;
  columns: string;
  paces: string;
  spent: string | null;
};
type FourSums = readonly [number, number, number, number];

const toRow = ({ place, open, workArrival, arrivals, columns, paces, spent }: Tally): TallyRow => ({
  place,
  open,
  work_arrival: workArrival,
  arrivals: JSON.stringify(arrivals),
  columns: JSON.stringify(
    Object.fromEntries(
      LEDGER_ACCOUNTS.map((name) => {
        const { debitsPending, debitsPosted, creditsPending, creditsPosted } = columns[name];
        return [name, [debitsPending, debitsPosted, creditsPending, creditsPosted] satisfies FourSums];
      }),
    ),
  ),
  paces: JSON.stringify(paces),
  spent: spent && JSON.stringify(spent),
});

function toTally({ place, open, work_arrival, arrivals, columns, paces, spent }: TallyRow): Tally {
  const sums = JSON.parse(columns) as Record<LedgerAccount, FourSums>;
  return {
    place,
    open,
    workArrival: work_arrival,
    arrivals: JSON.parse(arrivals),
    columns: Object.fromEntries(
      LEDGER_ACCOUNTS.map((name) => {
        const [debitsPending, debitsPosted, creditsPending, creditsPosted] = sums[name];
        return [name, { debitsPending, debitsPosted, creditsPending, creditsPosted }];
      }),
    ) as Record<LedgerAccount, Columns>,
    paces: JSON.parse(paces),
    spent: spent === null ? null : JSON.parse(spent),
  };
}

/** Of an account that has done nothing yet. */
export const emptyTally = (): Tally => ({
  place: 0,
  open: 0,
  workArrival: 0,
  arrivals: {},
  columns: { balance: NOTHING, sales: NOTHING, funds: NOTHING, adjustments: NOTHING },
  paces: {},
  spent: null,
});

export function insertTally(sql: SqlStorage, tally: Tally): void {
  const { place, open, work_arrival, arrivals, columns, paces, spent } = toRow(tally);
  sql.exec(
    'INSERT INTO tally (one, place, open, work_arrival, arrivals, columns, paces, spent) VALUES (1, ?, ?, ?, ?, ?, ?, ?)',
    place,
    open,
    work_arrival,
    arrivals,
    columns,
    paces,
    spent,
  );
}

const readRow = (sql: SqlStorage): TallyRow =>
  sql.exec<TallyRow>('SELECT place, open, work_arrival, arrivals, columns, paces, spent FROM tally').one();

export const readTally = (sql: SqlStorage): Tally => toTally(readRow(sql));

/** What `use` gives; what it changed of the tally is written once, after it. */
export function withTally<T>(sql: SqlStorage, use: (tally: Tally) => T): T {
  const before = readRow(sql);
  const tally = toTally(before);
  const result = use(tally);
  const after = toRow(tally);
  if (Object.entries(after).some(([name, value]) => before[name as keyof TallyRow] !== value))
    sql.exec(
      'UPDATE tally SET place = ?, open = ?, work_arrival = ?, arrivals = ?, columns = ?, paces = ?, spent = ?',
      after.place,
      after.open,
      after.work_arrival,
      after.arrivals,
      after.columns,
      after.paces,
      after.spent,
    );
  return result;
}

/** What a key and its account have left. */
export const arrivalsOf = ({ workArrival, arrivals }: Tally, keyId: string): Arrivals => {
  const [key, keyWork] = arrivals[keyId] ?? [0, 0];
  return { key, keyWork, accountWork: workArrival };
};

/** Keeps what a key and its account have left. Of keys that have everything again nothing is kept. */
export function setArrivals(tally: Tally, keyId: string, { key, keyWork, accountWork }: Arrivals, now: number): void {
  tally.workArrival = accountWork;
  const all = { ...tally.arrivals, [keyId]: [key, keyWork] as const };
  tally.arrivals = Object.fromEntries(
    Object.entries(all).filter(([, arrivals]) => arrivals.some((arrival) => arrival > now * 1000)),
  );
}

/** What older jobs still count of work and time, each time a new one is added. */
const PACE_DECAY = 0.9;

export function addWork(
  { paces }: Tally,
  { model, tflops, ms }: { readonly model: string; readonly tflops: number; readonly ms: number },
): void {
  const before = paces[model] ?? { tflops: 0, ms: 0 };
  paces[model] = { tflops: before.tflops * PACE_DECAY + tflops, ms: before.ms * PACE_DECAY + ms };
}

/** Milliseconds a TFLOP that the last jobs on a model took; null before the first. */
export function paceOf({ paces }: Tally, model: string): number | null {
  const pace = paces[model];
  return pace ? pace.ms / pace.tflops : null;
}
