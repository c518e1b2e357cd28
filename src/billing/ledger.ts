/**
 * The ledger of one account, after TigerBeetle's two-phase transfers: entries that never change, each with an id of its
 * own, and four cumulative columns for each of the ledger's accounts. Amounts are micro-dollars. Pure.
 *
 *   balance       what the caller paid in and has not used; never below what it may owe
 *   sales         what was charged for jobs
 *   funds         money that came from outside
 *   adjustments   what the deployment gave or took by its own decision
 *
 * A hold is pending until its job ends; then it is captured, in part or in whole, or released. Each resolves once.
 *
 * Laws: debits and credits of all accounts are equal, pending and posted each; a hold resolves once; the columns are
 * the sum of the entries.
 */
import { MAX_MICRO, type MicroUsd } from './money.ts';

export const LEDGER_ACCOUNTS = ['balance', 'sales', 'funds', 'adjustments'] as const;
export type LedgerAccount = (typeof LEDGER_ACCOUNTS)[number];

export const ENTRY_KINDS = ['top_up', 'refund', 'adjustment', 'hold', 'capture', 'release'] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** What of one ledger account was debited and credited, ever. */
export interface Columns {
  readonly debitsPending: MicroUsd;
  readonly debitsPosted: MicroUsd;
  readonly creditsPending: MicroUsd;
  readonly creditsPosted: MicroUsd;
}

export const NOTHING: Columns = { debitsPending: 0, debitsPosted: 0, creditsPending: 0, creditsPosted: 0 };

export interface Entry {
  /** the same id is the same entry: a message that comes twice writes one */
  readonly id: string;
  /** milliseconds since 1970 */
  readonly at: number;
  readonly kind: EntryKind;
  readonly debit: LedgerAccount;
  readonly credit: LedgerAccount;
  readonly amount: MicroUsd;
  /** the job that it is about; null: none */
  readonly job: string | null;
  /** why, in the words of whoever ordered it */
  readonly reason: string | null;
}

/** An entry in its place in the order. */
export type StoredEntry = Entry & { readonly seq: number };

export const holdId = (job: string): string => `hold:${job}`;
/** Of the one entry that resolves the hold of a job. */
export const endId = (job: string): string => `end:${job}`;

export const hold = (job: string, amount: MicroUsd, at: number): Entry => ({
  id: holdId(job),
  at,
  kind: 'hold',
  debit: 'balance',
  credit: 'sales',
  amount,
  job,
  reason: null,
});

/** What resolves a hold: a capture of `captured`, or a release where that is nothing. */
export const resolve = (job: string, captured: MicroUsd, at: number): Entry => ({
  ...hold(job, captured, at),
  id: endId(job),
  kind: captured > 0 ? 'capture' : 'release',
});

/** Money that comes in or is given, ordered from outside. */
export interface Posting {
  readonly id: string;
  readonly kind: 'top_up' | 'refund' | 'adjustment';
  /** an adjustment below 0 takes */
  readonly amount: MicroUsd;
  /** of a refund: whose charge is given back */
  readonly job: string | null;
  readonly reason: string | null;
}

/** The entry of a posting: an amount is never below 0, its direction is told by the accounts. */
export function entryOf({ amount, ...posting }: Posting, at: number): Entry {
  const source = { top_up: 'funds', refund: 'sales', adjustment: 'adjustments' } as const;
  const from = source[posting.kind];
  const [debit, credit] = amount < 0 ? (['balance', from] as const) : ([from, 'balance'] as const);
  return { ...posting, at, debit, credit, amount: Math.abs(amount) };
}

/** Whether two entries are one that came twice. */
export const isSame = (one: Entry, other: Entry): boolean =>
  one.id === other.id &&
  one.kind === other.kind &&
  one.debit === other.debit &&
  one.credit === other.credit &&
  one.amount === other.amount &&
  one.job === other.job;

/** What an entry adds to the columns of its debited account and of its credited one. */
export function effectOf(
  { kind, amount }: Pick<Entry, 'kind' | 'amount'>,
  held: MicroUsd,
): { readonly debited: Columns; readonly credited: Columns } {
  const pending = kind === 'hold' ? amount : kind === 'capture' || kind === 'release' ? -held : 0;
  const posted = kind === 'hold' || kind === 'release' ? 0 : amount;
  return {
    debited: { ...NOTHING, debitsPending: pending, debitsPosted: posted },
    credited: { ...NOTHING, creditsPending: pending, creditsPosted: posted },
  };
}

export const addColumns = (one: Columns, other: Columns): Columns => ({
  debitsPending: one.debitsPending + other.debitsPending,
  debitsPosted: one.debitsPosted + other.debitsPosted,
  creditsPending: one.creditsPending + other.creditsPending,
  creditsPosted: one.creditsPosted + other.creditsPosted,
});

/** What is posted to the caller's account: below 0 it owes. */
export const balanceOf = ({ creditsPosted, debitsPosted }: Columns): MicroUsd => creditsPosted - debitsPosted;

/** What further entries may take of the caller's account, where it may owe `creditLimit`; null: no limit. */
export const availableOf = (columns: Columns, creditLimit: MicroUsd | null): MicroUsd | null =>
  creditLimit === null ? null : balanceOf(columns) - columns.debitsPending + creditLimit;

/** Whether every sum stays one that a double counts exactly. */
export const isExact = (columns: Columns): boolean =>
  Object.values(columns).every((value) => value >= 0 && value <= MAX_MICRO * 8);

/** Why a posting is refused. */
export type PostRefusal =
  /** another posting came before under this id */
  | { readonly kind: 'conflict' }
  /** more than may be taken */
  | { readonly kind: 'not_enough'; readonly available: MicroUsd }
  /** a refund of more than the job was charged and was not given back */
  | { readonly kind: 'not_charged'; readonly refundable: MicroUsd }
  /** the sums would be larger than is counted exactly */
  | { readonly kind: 'too_large' };

/**
 * The columns of all accounts once these entries are in, in order. Throws RangeError for one that resolves no hold, or
 * resolves it again.
 */
export function sumOf(entries: readonly Entry[]): Readonly<Record<LedgerAccount, Columns>> {
  const sums: Record<LedgerAccount, Columns> = {
    balance: NOTHING,
    sales: NOTHING,
    funds: NOTHING,
    adjustments: NOTHING,
  };
  const held = new Map<string, MicroUsd>();
  for (const entry of entries) {
    const { id, kind, debit, credit, amount, job } = entry;
    const pending = held.get(job ?? '');
    if (kind === 'hold') held.set(job as string, amount);
    else if (kind === 'capture' || kind === 'release') {
      if (pending === undefined) throw new RangeError(`entry ${id} resolves no hold`);
      held.delete(job as string);
    }
    const { debited, credited } = effectOf(entry, pending ?? 0);
    sums[debit] = addColumns(sums[debit], debited);
    sums[credit] = addColumns(sums[credit], credited);
  }
  return sums;
}
