/**
 * The list of accounts: one object, written when an account is opened or changed, read by the admin. Each account tells
 * it, at least once; what the list says of one may be a moment old, and nothing decides by it.
 */
import { DurableObject } from 'cloudflare:workers';
import type { ListedAccount, PageQuery } from '../src/account/account.ts';
import type { DirectoryCalls } from '../src/job/rpc.ts';
import { hasTables, migrate } from './migrate.ts';

/** Each entry is one migration, run once, in order. One that has been deployed is never edited. */
const MIGRATIONS = [
  'CREATE TABLE account (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created_at INTEGER NOT NULL, suspended_at INTEGER);',
] as const;

type Row = { seq: number; id: string; name: string; created_at: number; suspended_at: number | null };

export class DirectoryObject extends DurableObject implements DirectoryCalls {
  readonly #sql = this.ctx.storage.sql;

  /** Enters an account, or what has changed of it. */
  enter({ id, name, createdAt, suspendedAt }: ListedAccount): void {
    this.ctx.storage.transactionSync(() => {
      migrate(this.#sql, MIGRATIONS);
      this.#sql.exec(
        'INSERT INTO account (id, name, created_at, suspended_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, suspended_at = excluded.suspended_at',
        id,
        name,
        createdAt,
        suspendedAt,
      );
    });
  }

  /** Up to `limit` accounts after place `after`, in the order they were entered. */
  accounts({ after, limit }: PageQuery): readonly (ListedAccount & { readonly seq: number })[] {
    if (!hasTables(this.#sql)) return [];
    return this.#sql
      .exec<Row>(
        'SELECT seq, id, name, created_at, suspended_at FROM account WHERE seq > ? ORDER BY seq LIMIT ?',
        after,
        limit,
      )
      .toArray()
      .map(({ created_at, suspended_at, ...row }) => ({ ...row, createdAt: created_at, suspendedAt: suspended_at }));
  }
}
