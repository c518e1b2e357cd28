/** A statement: the entries of a ledger as its holder reads them, each with what it leaves. Pure. */
import type { StoredEntry } from './ledger.ts';
import type { MicroUsd } from './money.ts';

/** Where a ledger stood: what was posted to the balance, and what of it was held. */
export interface Standing {
  readonly balance: MicroUsd;
  readonly held: MicroUsd;
}

/** Consecutive entries, and where the ledger stood before them. */
export interface Statement {
  readonly before: Standing;
  readonly entries: readonly (StoredEntry & {
    /** of the hold that it resolves; 0: it resolves none */
    readonly resolves: MicroUsd;
  })[];
}

/** One line: what an entry changed, and where it left the ledger. */
export interface StatementLine extends Omit<StoredEntry, 'amount' | 'debit' | 'credit'> {
  /** what it added to the balance; below 0: took */
  readonly change: MicroUsd;
  /** what it added to what is held; below 0: let go */
  readonly heldChange: MicroUsd;
  readonly after: Standing;
}

/** What an entry adds to the balance and to what is held, where it resolves a hold of `resolves`. */
export function changeOf(
  { kind, amount, debit }: Pick<StoredEntry, 'kind' | 'amount' | 'debit'>,
  resolves: MicroUsd,
): Standing {
  if (kind === 'hold') return { balance: 0, held: amount };
  const balance = kind === 'release' || amount === 0 ? 0 : debit === 'balance' ? -amount : amount;
  return { balance, held: resolves === 0 ? 0 : -resolves };
}

/** The lines, in order. Law: read in pages or in one, they are the same, and the last stands where the ledger does. */
export function statementLines({ before, entries }: Statement): readonly StatementLine[] {
  let { balance, held } = before;
  return entries.map(({ amount, debit, credit: _, resolves, ...entry }) => {
    const change = changeOf({ kind: entry.kind, amount, debit }, resolves);
    balance += change.balance;
    held += change.held;
    return { ...entry, change: change.balance, heldChange: change.held, after: { balance, held } };
  });
}
