/** The rows of an account's keys. Nothing here awaits. */
import type { KeyRecord, NewKey } from '../src/account/account.ts';
import { readScopes, writeScopes } from '../src/account/scopes.ts';

type KeyRow = {
  id: string;
  name: string;
  hash: string;
  created_at: number;
  revoked_at: number | null;
  arrival: number;
  tflops_per_minute: number | null;
  work_arrival: number;
  is_signed: number;
  scopes: string;
  expires_at: number | null;
  last_used_at: number | null;
  micro_usd_per_day: number | null;
  micro_usd_per_month: number | null;
};
const toKey = (row: KeyRow): KeyRecord => ({
  id: row.id,
  name: row.name,
  hash: row.hash,
  isSigned: row.is_signed === 1,
  scopes: readScopes(row.scopes),
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  revokedAt: row.revoked_at,
  lastUsedAt: row.last_used_at,
  arrival: row.arrival,
  tflopsPerMinute: row.tflops_per_minute,
  workArrival: row.work_arrival,
  microUsdPerDay: row.micro_usd_per_day,
  microUsdPerMonth: row.micro_usd_per_month,
});

export const readKeys = (sql: SqlStorage): readonly KeyRecord[] =>
  sql.exec<KeyRow>('SELECT * FROM key ORDER BY created_at, id').toArray().map(toKey);

export function readKey(sql: SqlStorage, id: string): KeyRecord | null {
  const [row] = sql.exec<KeyRow>('SELECT * FROM key WHERE id = ?', id).toArray();
  return row ? toKey(row) : null;
}

export function insertKey(
  sql: SqlStorage,
  {
    id,
    name,
    hash,
    scopes,
    expiresAt,
    createdAt,
    tflopsPerMinute,
    microUsdPerDay,
    microUsdPerMonth,
  }: NewKey & Pick<KeyRecord, 'createdAt'>,
): void {
  sql.exec(
    `INSERT OR IGNORE INTO key (id, name, hash, created_at, revoked_at, arrival, is_signed, scopes, expires_at, tflops_per_minute, micro_usd_per_day,
       micro_usd_per_month) VALUES (?, ?, ?, ?, NULL, 0, 1, ?, ?, ?, ?, ?)`,
    id,
    name,
    hash,
    createdAt,
    writeScopes(scopes),
    expiresAt,
    tflopsPerMinute,
    microUsdPerDay,
    microUsdPerMonth,
  );
}

export const countLiveKeys = (sql: SqlStorage, now: number): number =>
  sql
    .exec<{ count: number }>(
      'SELECT COUNT(*) AS count FROM key WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)',
      now,
    )
    .one().count;

/** Removes the oldest keys that open nothing any more, until at most `most` are left. */
export function deleteOutKeys(sql: SqlStorage, most: number, now: number): void {
  sql.exec(
    'DELETE FROM key WHERE id IN (SELECT id FROM key WHERE revoked_at IS NOT NULL OR expires_at <= ?1 ORDER BY created_at LIMIT MAX(0, (SELECT COUNT(*) FROM key) - ?2))',
    now,
    most,
  );
}

export function setExpiry(sql: SqlStorage, id: string, at: number): void {
  sql.exec('UPDATE key SET expires_at = ? WHERE id = ?', at, id);
}

/** The ids of a key and of those in whose place it is, or that are in its: their spending counts together. */
export const lineageOf = (sql: SqlStorage, id: string): readonly string[] =>
  sql
    .exec<{ id: string }>(
      'SELECT id FROM key WHERE COALESCE(lineage, id) = (SELECT COALESCE(lineage, id) FROM key WHERE id = ?)',
      id,
    )
    .toArray()
    .map((key) => key.id);

/**
 * What one key has used of its budgets, the other has used too, and what it will spend counts for both: replacing a key
 * gives nobody a new minute, or a new month.
 */
export function inheritArrivals(sql: SqlStorage, from: string, to: string): void {
  sql.exec(
    `UPDATE key SET (arrival, work_arrival, lineage) = (SELECT arrival, work_arrival, COALESCE(lineage, id) FROM key WHERE id = ?)
     WHERE id = ?`,
    from,
    to,
  );
}

/** Writes when a key was used, unless that is known to `precisionMs` already. */
export function noteUse(sql: SqlStorage, id: string, at: number, precisionMs: number): void {
  sql.exec(
    'UPDATE key SET last_used_at = ?1 WHERE id = ?2 AND (last_used_at IS NULL OR last_used_at <= ?1 - ?3)',
    at,
    id,
    precisionMs,
  );
}

/** False where there is no such key. One revoked before stays revoked since then. */
export const revokeKey = (sql: SqlStorage, id: string, at: number): boolean =>
  sql.exec('UPDATE key SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?', at, id).rowsWritten > 0;
