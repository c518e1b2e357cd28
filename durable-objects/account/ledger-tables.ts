/**
 * The rows of an account's money: entries, the columns they add up to, and what each job was charged, which stands in
 * the row of the job; those of usage are in usage-tables.ts. docs/billing.md shows each with an example. Nothing here
 * awaits.
 */
import type { JobStatus } from '../../src/account/account.ts';
import {
  addColumns,
  balanceOf,
  type Columns,
  type Entry,
  effectOf,
  LEDGER_ACCOUNTS,
  type StoredEntry,
} from '../../src/billing/ledger.ts';
import type { Statement } from '../../src/billing/statement.ts';
import type { Tally } from './tally-table.ts';

export const LEDGER_TABLES = `CREATE TABLE ledger (account TEXT PRIMARY KEY, debits_pending INTEGER NOT NULL DEFAULT 0, debits_posted INTEGER NOT NULL DEFAULT 0,
     credits_pending INTEGER NOT NULL DEFAULT 0, credits_posted INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
   INSERT INTO ledger (account) VALUES ${LEDGER_ACCOUNTS.map((name) => `('${name}')`).join(', ')};
   CREATE TABLE entry (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, kind TEXT NOT NULL,
     debit TEXT NOT NULL, credit TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount >= 0), job TEXT, reason TEXT,
     balance_after INTEGER NOT NULL, held_after INTEGER NOT NULL);
   CREATE TRIGGER entry_is_not_changed BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
   CREATE TRIGGER entry_is_not_removed BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
   CREATE TABLE charge (job TEXT PRIMARY KEY, at INTEGER NOT NULL, key_id TEXT NOT NULL, user TEXT, model TEXT NOT NULL, tariff TEXT NOT NULL,
     held INTEGER NOT NULL, captured INTEGER, mflop INTEGER, ended_at INTEGER, refunded INTEGER NOT NULL DEFAULT 0, customer TEXT, meter TEXT) WITHOUT ROWID;
   CREATE INDEX charge_unresolved ON charge (at) WHERE captured IS NULL;
   CREATE INDEX charge_on_a_meter ON charge (ended_at) WHERE meter IS NOT NULL;
   CREATE INDEX charge_by_user ON charge (user) WHERE user IS NOT NULL;
   CREATE TABLE usage (day TEXT NOT NULL, dimension TEXT NOT NULL, name TEXT NOT NULL, jobs INTEGER NOT NULL DEFAULT 0, mflop INTEGER NOT NULL DEFAULT 0,
     captured INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (dimension, name, day)) WITHOUT ROWID;`;

/**
 * As above, with nothing that a job needs twice: a hold and what resolves it are known by the job's row, so only
 * postings have an index by id. Rows are never removed, so places are never given again.
 */
export const ENTRY_TABLE = `CREATE TABLE entry (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
     debit TEXT NOT NULL, credit TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount >= 0), job TEXT, reason TEXT,
     balance_after INTEGER NOT NULL, held_after INTEGER NOT NULL);`;
export const ENTRY_GUARDS = `CREATE TRIGGER entry_is_not_changed BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
   CREATE TRIGGER entry_is_not_removed BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
   CREATE UNIQUE INDEX posting_by_id ON entry (id) WHERE kind IN ('top_up', 'refund', 'adjustment');`;

/** The columns of both accounts of an entry once it is in. */
export function columnsWith(
  { columns }: Pick<Tally, 'columns'>,
  entry: Entry,
  held: number,
): { readonly debited: Columns; readonly credited: Columns } {
  const { debited, credited } = effectOf(entry, held);
  return {
    debited: addColumns(columns[entry.debit], debited),
    credited: addColumns(columns[entry.credit], credited),
  };
}

/**
 * Writes an entry, and what it does to the columns. `held`: of the hold that it resolves; `seq`: its place, the next
 * where null.
 */
export function appendEntry(sql: SqlStorage, tally: Tally, entry: Entry, held = 0, seq: number | null = null): void {
  const { id, at, kind, debit, credit, amount, job, reason } = entry;
  const { debited, credited } = columnsWith(tally, entry, held);
  const after = debit === 'balance' ? debited : credited;
  sql.exec(
    `INSERT INTO entry (seq, id, at, kind, debit, credit, amount, job, reason, balance_after, held_after)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    seq,
    id,
    at,
    kind,
    debit,
    credit,
    amount,
    job,
    reason,
    balanceOf(after),
    after.debitsPending,
  );
  tally.columns[debit] = debited;
  tally.columns[credit] = credited;
}

/** What an entry says. Beside it stand balance and what is held as it left them: every entry is one of the balance. */
const ENTRY = 'seq, id, at, kind, debit, credit, amount, job, reason';
type EntryRow = { [Field in keyof StoredEntry]: StoredEntry[Field] };

/** The entry of a posting; null where there is none such. */
export const readPosting = (sql: SqlStorage, id: string): StoredEntry | null =>
  sql
    .exec<EntryRow>(`SELECT ${ENTRY} FROM entry WHERE id = ? AND kind IN ('top_up', 'refund', 'adjustment')`, id)
    .toArray()[0] ?? null;

/** An entry by its id. Quick only while `indexEntries` holds: else all are read. */
export const readEntry = (sql: SqlStorage, id: string): StoredEntry | null =>
  sql.exec<EntryRow>(`SELECT ${ENTRY} FROM entry WHERE id = ?`, id).toArray()[0] ?? null;

/** While a ledger is put back every entry is looked for by its id, and none may be there twice. */
export function indexEntries(sql: SqlStorage): void {
  sql.exec('CREATE UNIQUE INDEX IF NOT EXISTS entry_by_id ON entry (id)');
}

export function endIndexOfEntries(sql: SqlStorage): void {
  sql.exec('DROP INDEX IF EXISTS entry_by_id');
}

/** Up to `limit` entries after place `after`, oldest first. */
export const readEntries = (
  sql: SqlStorage,
  { after, limit }: { readonly after: number; readonly limit: number },
): readonly StoredEntry[] =>
  sql.exec<EntryRow>(`SELECT ${ENTRY} FROM entry WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit).toArray();

/** Up to `limit` entries after place `after`, oldest first, and where the ledger stood before them. */
export function readStatement(
  sql: SqlStorage,
  { after, limit }: { readonly after: number; readonly limit: number },
): Statement {
  const [before] = sql
    .exec<{ balance: number; held: number }>(
      'SELECT balance_after AS balance, held_after AS held FROM entry WHERE seq <= ? ORDER BY seq DESC LIMIT 1',
      after,
    )
    .toArray();
  const entries = sql
    .exec<EntryRow & { resolves: number | null }>(
      `SELECT ${ENTRY.replaceAll(/\w+/g, 'entry.$&')}, job.held AS resolves FROM entry
       LEFT JOIN job ON entry.kind IN ('capture', 'release') AND job.id = entry.job
       WHERE entry.seq > ? ORDER BY entry.seq LIMIT ?`,
      after,
      limit,
    )
    .toArray()
    .map((row) => ({ ...row, resolves: row.resolves ?? 0 }));
  return { before: before ?? { balance: 0, held: 0 }, entries };
}

/** What a job was charged. Times are milliseconds since 1970, amounts micro-dollars. */
export interface ChargeRow {
  readonly job: string;
  /** when it was held */
  readonly at: number;
  readonly keyId: string;
  readonly user: string | null;
  readonly model: string;
  readonly tariff: string;
  readonly held: number;
  /** null until the job has ended */
  readonly captured: number | null;
  readonly mflop: number | null;
  readonly endedAt: number | null;
  readonly refunded: number;
  /** whom a meter outside bills for it, as it was when it was held; null: nobody */
  readonly customer: string | null;
  /** whether a meter outside has taken it: `waiting`, `taken`; null: none is told */
  readonly meter: 'waiting' | 'taken' | null;
}

type StoredCharge = {
  job: string;
  at: number;
  key_id: string;
  user: string | null;
  model: string;
  tariff: string;
  held: number;
  captured: number | null;
  mflop: number | null;
  ended_at: number | null;
  refunded: number;
  customer: string | null;
  meter: string | null;
};
const toCharge = ({ key_id, ended_at, meter, ...row }: StoredCharge): ChargeRow => ({
  ...row,
  keyId: key_id,
  endedAt: ended_at,
  meter: meter as ChargeRow['meter'],
});

export function readCharge(sql: SqlStorage, job: string): ChargeRow | null {
  const [row] = sql.exec<StoredCharge>('SELECT * FROM charge WHERE job = ?', job).toArray();
  return row ? toCharge(row) : null;
}

/** How a hold is resolved. */
export interface Resolved {
  readonly captured: number;
  readonly mflop: number;
  readonly endedAt: number;
  readonly meter: ChargeRow['meter'];
}

/** A job has ended, and its hold is resolved: what of both is not null, in one row. */
export function endJob(
  sql: SqlStorage,
  job: string,
  { status, resolved }: { readonly status: JobStatus | null; readonly resolved: Resolved | null },
): void {
  if (status !== null || resolved !== null)
    sql.exec(
      `UPDATE job SET status = COALESCE(?1, status), is_created = CASE WHEN ?1 IS NULL THEN is_created ELSE 1 END,
         captured = COALESCE(?2, captured), mflop = COALESCE(?3, mflop), ended_at = COALESCE(?4, ended_at), meter = COALESCE(?5, meter) WHERE id = ?6`,
      status,
      resolved?.captured ?? null,
      resolved?.mflop ?? null,
      resolved?.endedAt ?? null,
      resolved?.meter ?? null,
      job,
    );
}

/** Whether a meter outside has yet to take a charge. */
export const hasUnmetered = (sql: SqlStorage): boolean =>
  sql.exec("SELECT 1 FROM job WHERE meter = 'waiting' LIMIT 1").toArray().length > 0;

/** A meter outside has taken a charge. */
export function setMetered(sql: SqlStorage, job: string): void {
  sql.exec("UPDATE job SET meter = 'taken' WHERE id = ? AND meter IS NOT NULL", job);
}

/** Of the charges that a meter is told, made from `from` on and before `to`: what it has taken, and what not. */
export function sumMetered(
  sql: SqlStorage,
  { from, to }: { readonly from: number; readonly to: number },
): { readonly taken: number; readonly waiting: number } {
  const rows = sql
    .exec<{ meter: string; sum: number }>(
      'SELECT meter, SUM(captured) AS sum FROM job WHERE meter IS NOT NULL AND ended_at >= ? AND ended_at < ? GROUP BY meter',
      from,
      to,
    )
    .toArray();
  const sumOf = (state: ChargeRow['meter']): number => rows.find(({ meter }) => meter === state)?.sum ?? 0;
  return { taken: sumOf('taken'), waiting: sumOf('waiting') };
}

export function addRefund(sql: SqlStorage, job: string, amount: number): void {
  sql.exec('UPDATE job SET refunded = refunded + ? WHERE id = ?', amount, job);
}

/** Up to `limit` charges of jobs after one, by their ids. */
export const readChargesAfter = (sql: SqlStorage, job: string, limit: number): readonly ChargeRow[] =>
  sql.exec<StoredCharge>('SELECT * FROM charge WHERE job > ? ORDER BY job LIMIT ?', job, limit).toArray().map(toCharge);

/**
 * Writes a charge as it is kept outside. One that is there stays the customer's that it is, and taken by a meter. False
 * where nothing changes.
 */
export function writeCharge(sql: SqlStorage, row: ChargeRow): boolean {
  const { job, at, keyId, user, model, tariff, held, captured, mflop, endedAt, refunded, customer, meter } = row;
  return (
    sql.exec(
      `INSERT INTO job (id, created_at, key_id, user, model, tariff, held, captured, mflop, ended_at, refunded, customer, meter, is_created)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT (id) DO UPDATE SET model = COALESCE(model, excluded.model),
         tariff = COALESCE(tariff, excluded.tariff), held = COALESCE(held, excluded.held), captured = excluded.captured, mflop = excluded.mflop,
         ended_at = excluded.ended_at, refunded = excluded.refunded, meter = CASE WHEN meter = 'taken' THEN meter ELSE excluded.meter END
       WHERE held IS NULL OR captured IS NOT excluded.captured OR mflop IS NOT excluded.mflop OR refunded <> excluded.refunded`,
      job,
      at,
      keyId,
      user,
      model,
      tariff,
      held,
      captured,
      mflop,
      endedAt,
      refunded,
      customer,
      meter,
    ).rowsWritten > 0
  );
}
