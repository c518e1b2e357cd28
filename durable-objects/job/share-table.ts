/**
 * The shares of a job, in a table of their own beside the job's: only an object that has ever had one has the table.
 * docs/storage.md shows a row. Nothing here awaits.
 */
import type { Share } from '../../src/job/share.ts';

const CREATE_TABLE =
  'CREATE TABLE IF NOT EXISTS share (id TEXT PRIMARY KEY, created_at INTEGER, expires_at INTEGER) WITHOUT ROWID';

const isThere = (sql: SqlStorage): boolean =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'share'").toArray().length > 0;

/** The shares that open at `now`, oldest first. */
export const readShares = (sql: SqlStorage, now: number): readonly Share[] =>
  isThere(sql)
    ? sql
        .exec<{ id: string; created_at: number; expires_at: number }>(
          'SELECT id, created_at, expires_at FROM share WHERE expires_at > ? ORDER BY created_at, id',
          now,
        )
        .toArray()
        .map(({ id, created_at, expires_at }) => ({ id, createdAt: created_at, expiresAt: expires_at }))
    : [];

/** Stores a share, in the place of those that open no more. */
export function addShare(sql: SqlStorage, { id, createdAt, expiresAt }: Share): void {
  sql.exec(CREATE_TABLE);
  sql.exec('DELETE FROM share WHERE expires_at <= ?', createdAt);
  sql.exec('INSERT INTO share (id, created_at, expires_at) VALUES (?, ?, ?)', id, createdAt, expiresAt);
}

export function deleteShare(sql: SqlStorage, id: string): void {
  sql.exec('DELETE FROM share WHERE id = ?', id);
}

/** Removes all of them. */
export function deleteShares(sql: SqlStorage): void {
  sql.exec('DROP TABLE IF EXISTS share');
}
