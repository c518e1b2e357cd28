/**
 * A ledger as it is kept outside: its entries with their ids, times and order, what each job was charged, and usage by
 * day. Amounts are whole micro-dollars. Pure.
 */
import { z } from 'zod';
import { type Entry, endId, entryOf, holdId, LEDGER_ACCOUNTS, type LedgerAccount, sumOf } from './ledger.ts';
import { MAX_MICRO } from './money.ts';
import { MAX_USER } from './spending.ts';

const amount = z.int().min(0).max(MAX_MICRO);
/** a sum of amounts */
const sum = z
  .int()
  .min(0)
  .max(MAX_MICRO * 8);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const time = count;
const text = (max: number) => z.string().min(1).max(max);
const account = z.enum(LEDGER_ACCOUNTS);

const entry = z.strictObject({
  seq: z.int().min(1),
  id: text(300),
  at: time,
  kind: z.enum(['top_up', 'refund', 'adjustment', 'hold', 'capture', 'release']),
  debit: account,
  credit: account,
  amount,
  job: text(200).nullable(),
  reason: z.string().max(1000).nullable(),
});
const charge = z.strictObject({
  job: text(200),
  at: time,
  keyId: text(100),
  user: z.string().max(MAX_USER).nullable(),
  model: text(200),
  tariff: text(200),
  held: amount,
  captured: amount.nullable(),
  mflop: count.nullable(),
  endedAt: time.nullable(),
  refunded: amount,
  customer: text(200).nullable(),
  meter: z.enum(['waiting', 'taken']).nullable(),
});
const usage = z.strictObject({
  day: z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'must be a day such as 2026-11-27'),
  dimension: z.enum(['all', 'day', 'model', 'key', 'user', 'users']),
  name: z.string().max(MAX_USER),
  jobs: count,
  mflop: count,
  captured: sum,
  held: sum,
});

/** The rows of each part of a backup, strict. */
export const BACKUP_ROWS = { entries: entry, charges: charge, usage } as const;
export type BackupPart = keyof typeof BACKUP_ROWS;
export const BACKUP_PARTS = ['entries', 'charges', 'usage'] as const satisfies readonly BackupPart[];
export interface BackupRows {
  readonly entries: readonly z.infer<typeof entry>[];
  readonly charges: readonly z.infer<typeof charge>[];
  readonly usage: readonly z.infer<typeof usage>[];
}

const columns = z.strictObject({
  debitsPending: sum,
  debitsPosted: sum,
  creditsPending: sum,
  creditsPosted: sum,
});
/** What a whole ledger comes to. */
export const ledgerSums = z.strictObject({
  /** place of the last entry; 0: there is none */
  seq: count,
  charges: count,
  usage: count,
  columns: z.strictObject({ balance: columns, sales: columns, funds: columns, adjustments: columns }),
});
export type LedgerSums = z.infer<typeof ledgerSums>;

/** A part of a ledger after a place in it; empty text: from the first. */
export interface BackupQuery {
  readonly part: BackupPart;
  readonly after: string;
  readonly limit: number;
}

/** Rows of one part, and what the whole comes to now. */
export interface BackupPage {
  readonly sums: LedgerSums;
  readonly rows: BackupRows[BackupPart];
  /** place after which to go on; null: that was all */
  readonly next: string | null;
}

/** What is put back: rows of one part, or the end, by which everything is there; of a backup that comes to `sums`. */
export type RestorePage = { readonly sums: LedgerSums } & (
  | { readonly [Part in BackupPart]: { readonly part: Part; readonly rows: BackupRows[Part] } }[BackupPart]
  | { readonly part: 'end' }
);

/** What came of it. */
export type Restored =
  | { readonly kind: 'restored'; readonly written: number }
  | { readonly kind: 'not_suspended' }
  | { readonly kind: 'has_open_jobs'; readonly open: number }
  /** the ledger has, or the rows say, something else */
  | { readonly kind: 'refused'; readonly subject: string; readonly rule: string };

/** Why an entry is none that a ledger writes; null where it is one. */
export function entryFault({ id, kind, debit, credit, amount: of, job, reason, at }: Entry): string | null {
  if (kind === 'hold' || kind === 'capture' || kind === 'release') {
    if (job === null) return `is a ${kind} without a job`;
    if (id !== (kind === 'hold' ? holdId(job) : endId(job))) return `is the ${kind} of ${job} under another id`;
    if (debit !== 'balance' || credit !== 'sales') return `is a ${kind} from ${debit} to ${credit}`;
    return kind === 'hold' || (kind === 'release') === (of === 0) ? null : `is a ${kind} of ${of}`;
  }
  const isTaken = debit === 'balance';
  if (isTaken && kind !== 'adjustment') return `is a ${kind} that takes`;
  const right = entryOf({ id, kind, amount: isTaken ? -of : of, job, reason }, at);
  if (of === 0 || right.debit !== debit || right.credit !== credit)
    return `is a ${kind} of ${of} from ${debit} to ${credit}`;
  return kind === 'refund' && job === null ? 'is a refund without a job' : null;
}

/**
 * Why these rows are not a whole ledger of these sums, as a sentence; null where they are. Law: of a ledger as it was
 * exported, null; with any amount of it changed, dropped or doubled, not.
 */
export function backupFault(sums: LedgerSums, { entries, charges, usage: days }: BackupRows): string | null {
  const resolved = new Map<string, number>();
  const held = new Map<string, number>();
  const refunds = new Map<string, number>();
  const ids = new Set<string>();
  for (const [i, row] of entries.entries()) {
    if (row.seq !== i + 1) return `entry ${row.id} has place ${row.seq}; it must be ${i + 1}`;
    if (ids.has(row.id)) return `entry ${row.id} is there twice`;
    ids.add(row.id);
    const fault = entryFault(row);
    if (fault !== null) return `entry ${row.id} ${fault}`;
    const { kind, job, amount: of } = row;
    if (kind === 'hold') held.set(job as string, of);
    else if (kind === 'refund') refunds.set(job as string, (refunds.get(job as string) ?? 0) + of);
    else if (kind === 'capture' || kind === 'release') {
      if (of > (held.get(job as string) ?? -1)) return `entry ${row.id} captures more than was held`;
      resolved.set(job as string, of);
    }
  }
  if (entries.length !== sums.seq) return `there are ${entries.length} entries; there must be ${sums.seq}`;
  const columnsFault = sumsFault(sums, sumOf(entries));
  if (columnsFault !== null) return columnsFault;

  if (charges.length !== sums.charges || new Set(charges.map(({ job }) => job)).size !== charges.length)
    return `there are ${charges.length} charges; there must be ${sums.charges}, each of another job`;
  if (charges.length !== held.size) return `there are ${held.size} holds and ${charges.length} charges`;
  for (const row of charges) {
    if (held.get(row.job) !== row.held) return `the charge of ${row.job} says it held ${row.held}; its hold does not`;
    if ((resolved.get(row.job) ?? null) !== row.captured)
      return `the charge of ${row.job} says it captured ${row.captured}; its entries do not`;
    if ((refunds.get(row.job) ?? 0) !== row.refunded)
      return `the charge of ${row.job} says ${row.refunded} was given back; its entries do not`;
  }

  if (days.length !== sums.usage) return `there are ${days.length} rows of usage; there must be ${sums.usage}`;
  const open = charges.reduce((total, row) => total + (row.captured === null ? row.held : 0), 0);
  const captured = charges.reduce((total, row) => total + (row.captured ?? 0), 0);
  for (const dimension of ['day', 'key', 'model'] as const) {
    const own = days.filter((row) => row.dimension === dimension || row.dimension === 'all');
    if (own.reduce((total, row) => total + row.captured, 0) !== captured)
      return `usage by ${dimension} does not add up to the ${captured} that was captured`;
    if (own.reduce((total, row) => total + row.held, 0) !== open)
      return `usage by ${dimension} does not add up to the ${open} that is held`;
  }
  return null;
}

/** The first column that is not what it must be, as a sentence; null where all are. */
export function sumsFault({ columns: must }: LedgerSums, are: LedgerSums['columns']): string | null {
  for (const name of LEDGER_ACCOUNTS satisfies readonly LedgerAccount[])
    for (const [column, value] of Object.entries(must[name])) {
      const found = are[name][column as keyof (typeof are)[typeof name]];
      if (found !== value) return `${column} of ${name} comes to ${found}; it must be ${value}`;
    }
  return null;
}
