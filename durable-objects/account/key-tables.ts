/** The rows of an account's keys. Nothing here awaits. */
import type { KeyRecord, NewKey } from '../../src/account/account.ts';
import { readScopes, writeScopes } from '../../src/account/scopes.ts';

type KeyRow = {
  id: string;
  name: string;
  hash: string;
  created_at: number;
  revoked_at: number | null;
  tflops_per_minute: number | null;
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
  tflopsPerMinute: row.tflops_per_minute,
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
    `INSERT OR IGNORE INTO key (id, name, hash, created_at, revoked_at, is_signed, scopes, expires_at, tflops_per_minute, micro_usd_per_day,
       micro_usd_per_month) VALUES (?, ?, ?, ?, NULL, 1, ?, ?, ?, ?, ?)`,
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

/**
 * The first of the keys in whose place a key is: their spending counts together, under that id. Null where the key is
 * not there any more.
 */
export const rootOf = (sql: SqlStorage, id: string): string | null =>
  sql.exec<{ root: string }>('SELECT COALESCE(lineage, id) AS root FROM key WHERE id = ?', id).toArray()[0]?.root ??
  null;

/** Every key that has a limit of spending, or is in the place of one: its id, and the first of those before it. */
export const limitedKeys = (sql: SqlStorage): readonly { readonly id: string; readonly root: string }[] =>
  sql
    .exec<{ id: string; root: string }>(
      `SELECT id, COALESCE(lineage, id) AS root FROM key
       WHERE micro_usd_per_day IS NOT NULL OR micro_usd_per_month IS NOT NULL`,
    )
    .toArray();

/** A key takes the place of another: what is spent with it counts for both, and replacing gives nobody a new month. */
export function inheritLineage(sql: SqlStorage, from: string, to: string): void {
  sql.exec('UPDATE key SET lineage = (SELECT COALESCE(lineage, id) FROM key WHERE id = ?) WHERE id = ?', from, to);
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
