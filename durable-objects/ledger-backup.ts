/** An account's ledger read out in pages, and put back in them. Each page is one transaction. Nothing here awaits. */
import {
  type BackupPage,
  type BackupQuery,
  type BackupRows,
  entryFault,
  type LedgerSums,
  type Restored,
  type RestorePage,
  sumsFault,
} from '../src/billing/backup.ts';
import { type Entry, endId, holdId, isExact, isSame, LEDGER_ACCOUNTS } from '../src/billing/ledger.ts';
import { letGo } from './account-money.ts';
import {
  appendEntry,
  type ChargeRow,
  columnsWith,
  readChargesAfter,
  readColumns,
  readEntries,
  readEntry,
  writeCharge,
} from './ledger-tables.ts';
import { readUsageAfter, writeUsage } from './usage-tables.ts';

const count = (sql: SqlStorage, select: string): number => sql.exec<{ count: number }>(select).one().count;
const lastSeq = (sql: SqlStorage): number => count(sql, 'SELECT COALESCE(MAX(seq), 0) AS count FROM entry');

/** What the whole ledger comes to. */
export const readSums = (sql: SqlStorage): LedgerSums => ({
  seq: lastSeq(sql),
  charges: count(sql, 'SELECT COUNT(*) AS count FROM charge'),
  usage: count(sql, 'SELECT COUNT(*) AS count FROM usage'),
  columns: Object.fromEntries(
    LEDGER_ACCOUNTS.map((name) => [name, readColumns(sql, name)]),
  ) as unknown as LedgerSums['columns'],
});

/** A page of one part. */
export function readBackup(sql: SqlStorage, { part, after, limit }: BackupQuery): BackupPage {
  const page = <Row>(rows: readonly Row[], placeOf: (row: Row) => string) => {
    const last = rows.at(-1);
    return { sums: readSums(sql), rows, next: rows.length < limit || last === undefined ? null : placeOf(last) };
  };
  switch (part) {
    case 'entries':
      return page(readEntries(sql, { after: Number(after), limit }), ({ seq }) => String(seq));
    case 'charges':
      return page(readChargesAfter(sql, after, limit), ({ job }) => job);
    case 'usage':
      return page(readUsageAfter(sql, after, limit) as BackupRows['usage'], ({ dimension, name, day }) =>
        JSON.stringify([dimension, name, day]),
      );
  }
}

/** Ends the transaction of a page that cannot be put back, with nothing written. */
class NotRestored extends Error {
  override name = 'NotRestored';
  readonly subject: string;

  constructor(subject: string, rule: string) {
    super(rule);
    this.subject = subject;
  }
}

/** Puts a page back, or none of it. What is there already is left as it is. */
export function restore(storage: DurableObjectStorage, page: RestorePage, now: number): Restored {
  const { sql } = storage;
  try {
    const written = storage.transactionSync(() => {
      switch (page.part) {
        case 'entries':
          return page.rows.filter((row) => restoreEntry(sql, row)).length;
        case 'charges':
          return page.rows.filter((row) => restoreCharge(sql, row)).length;
        case 'usage':
          return page.rows.filter((row) => writeUsage(sql, row)).length;
        case 'end':
          return endRestore(sql, page.sums, now);
      }
    });
    return { kind: 'restored', written };
  } catch (error) {
    if (!(error instanceof NotRestored)) throw error;
    return { kind: 'refused', subject: error.subject, rule: error.message };
  }
}

/** Whether it was written. */
function restoreEntry(sql: SqlStorage, { seq, ...entry }: BackupRows['entries'][number]): boolean {
  const { id } = entry;
  const before = readEntry(sql, id);
  if (before) {
    if (before.seq === seq && before.at === entry.at && before.reason === entry.reason && isSame(before, entry))
      return false;
    throw new NotRestored(`entry ${id}`, 'must be as the ledger has it');
  }
  const last = lastSeq(sql);
  if (seq !== last + 1) throw new NotRestored(`entry ${id}`, `has place ${seq}; the ledger goes on with ${last + 1}`);
  const fault = entryFault(entry);
  if (fault !== null) throw new NotRestored(`entry ${id}`, fault);
  appendEntry(sql, entry, heldBy(sql, entry), seq);
  return true;
}

/** What the hold is that an entry resolves. */
function heldBy(sql: SqlStorage, entry: Entry): number {
  const { id, kind, job, amount } = entry;
  const resolves = kind === 'capture' || kind === 'release' ? readEntry(sql, holdId(job as string)) : null;
  if (!resolves && (kind === 'capture' || kind === 'release'))
    throw new NotRestored(`entry ${id}`, 'must come after the hold that it resolves');
  const held = resolves?.amount ?? 0;
  if (resolves && amount > held) throw new NotRestored(`entry ${id}`, `must be at most the ${held} that was held`);
  const { debited, credited } = columnsWith(sql, entry, held);
  if (!isExact(debited) || !isExact(credited)) throw new NotRestored(`entry ${id}`, 'makes a sum too large');
  return held;
}

/** Whether it was written. */
function restoreCharge(sql: SqlStorage, row: ChargeRow): boolean {
  const { job, held, captured } = row;
  const [hold, end] = [readEntry(sql, holdId(job)), readEntry(sql, endId(job))];
  if (hold?.amount !== held || (end?.amount ?? null) !== captured)
    throw new NotRestored(`charge of ${job}`, 'must say what its entries in the ledger say');
  return writeCharge(sql, row);
}

/** How many holds were let go: their jobs are not there any more. */
function endRestore(sql: SqlStorage, sums: LedgerSums, now: number): number {
  const are = readSums(sql);
  for (const name of ['seq', 'charges', 'usage'] as const)
    if (are[name] !== sums[name]) throw new NotRestored(name, `comes to ${are[name]}; it must be ${sums[name]}`);
  const fault = sumsFault(sums, are.columns);
  if (fault !== null) throw new NotRestored('columns', fault);
  const open = sql.exec<{ job: string }>('SELECT job FROM charge WHERE captured IS NULL').toArray();
  for (const { job } of open) letGo(sql, job, now);
  return open.length;
}
