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
} from '../../src/billing/backup.ts';
import { type Entry, endId, holdId, isExact, isSame } from '../../src/billing/ledger.ts';
import {
  appendEntry,
  type ChargeRow,
  columnsWith,
  endIndexOfEntries,
  indexEntries,
  readChargesAfter,
  readEntries,
  readEntry,
  writeCharge,
} from './ledger-tables.ts';
import { letGo } from './money.ts';
import { readTally, type Tally, withTally } from './tally-table.ts';
import { readUsageAfter, writeUsage } from './usage-tables.ts';

const count = (sql: SqlStorage, select: string): number => sql.exec<{ count: number }>(select).one().count;
const lastSeq = (sql: SqlStorage): number => count(sql, 'SELECT COALESCE(MAX(seq), 0) AS count FROM entry');

/** What the whole ledger comes to. */
export const readSums = (sql: SqlStorage): LedgerSums => ({
  seq: lastSeq(sql),
  charges: count(sql, 'SELECT COUNT(*) AS count FROM charge'),
  usage: count(sql, 'SELECT COUNT(*) AS count FROM usage'),
  columns: readTally(sql).columns,
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
          indexEntries(sql);
          return withTally(sql, (tally) => page.rows.filter((row) => restoreEntry(sql, tally, row)).length);
        case 'charges':
          requireEntries(sql, page.sums);
          return page.rows.filter((row) => restoreCharge(sql, row)).length;
        case 'usage':
          requireEntries(sql, page.sums);
          return page.rows.filter((row) => writeUsage(sql, row)).length;
        case 'end':
          return withTally(sql, (tally) => {
            const released = endRestore(sql, tally, page.sums, now);
            endIndexOfEntries(sql);
            tally.spent = null;
            return released;
          });
      }
    });
    return { kind: 'restored', written };
  } catch (error) {
    if (!(error instanceof NotRestored)) throw error;
    return { kind: 'refused', subject: error.subject, rule: error.message };
  }
}

/** What was charged and spent is put back beside the very entries that say so, and never beside later ones. */
function requireEntries(sql: SqlStorage, { seq }: LedgerSums): void {
  const last = lastSeq(sql);
  if (last !== seq) throw new NotRestored('entries', `come to ${last}; they must come to ${seq} before anything else`);
}

/** Whether it was written. */
function restoreEntry(sql: SqlStorage, tally: Tally, { seq, ...entry }: BackupRows['entries'][number]): boolean {
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
  appendEntry(sql, tally, entry, heldBy(sql, tally, entry), seq);
  return true;
}

/** What the hold is that an entry resolves. */
function heldBy(sql: SqlStorage, tally: Tally, entry: Entry): number {
  const { id, kind, job, amount } = entry;
  const resolves = kind === 'capture' || kind === 'release' ? readEntry(sql, holdId(job as string)) : null;
  if (!resolves && (kind === 'capture' || kind === 'release'))
    throw new NotRestored(`entry ${id}`, 'must come after the hold that it resolves');
  const held = resolves?.amount ?? 0;
  if (resolves && amount > held) throw new NotRestored(`entry ${id}`, `must be at most the ${held} that was held`);
  const { debited, credited } = columnsWith(tally, entry, held);
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

/** Whether nothing but releases came after a place, and no hold is open. */
const isLetGoSince = (sql: SqlStorage, seq: number): boolean =>
  sql.exec("SELECT 1 FROM entry WHERE seq > ? AND kind <> 'release' LIMIT 1", seq).toArray().length === 0 &&
  sql.exec('SELECT 1 FROM charge WHERE captured IS NULL LIMIT 1').toArray().length === 0;

/** How many holds were let go: their jobs are not there any more. */
function endRestore(sql: SqlStorage, tally: Tally, sums: LedgerSums, now: number): number {
  const are = readSums(sql);
  // told again: all that came after it is what it let go
  if (are.seq > sums.seq && isLetGoSince(sql, sums.seq)) return 0;
  for (const name of ['seq', 'charges', 'usage'] as const)
    if (are[name] !== sums[name]) throw new NotRestored(name, `comes to ${are[name]}; it must be ${sums[name]}`);
  const fault = sumsFault(sums, are.columns);
  if (fault !== null) throw new NotRestored('columns', fault);
  const open = sql.exec<{ job: string }>('SELECT job FROM charge WHERE captured IS NULL').toArray();
  for (const { job } of open) letGo(sql, tally, job, now);
  return open.length;
}
