/**
 * The rows of one account: schema, and every read and write of them. docs/storage.md shows each row with an example.
 * Nothing here awaits.
 */
import {
  type AccountLimits,
  type Arrivals,
  type Costs,
  DEFAULT_LIMITS,
  type IndexedJob,
  type JobQuery,
  type JobStatus,
  type KeyRecord,
  type NewKey,
  type RememberedRequest,
} from '../src/account/account.ts';

/** Each entry is one migration, run once, in order. One that has been deployed is never edited. */
export const ACCOUNT_MIGRATIONS = [
  `CREATE TABLE account (id TEXT PRIMARY KEY, name TEXT NOT NULL, limits TEXT NOT NULL, created_at INTEGER NOT NULL);
   CREATE TABLE key (id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL, created_at INTEGER NOT NULL, revoked_at INTEGER, arrival INTEGER NOT NULL);
   CREATE TABLE job (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, request_id TEXT NOT NULL, key_id TEXT NOT NULL, created_at INTEGER NOT NULL, status TEXT NOT NULL, is_created INTEGER NOT NULL);
   CREATE INDEX job_by_status ON job (status, seq);
   CREATE TABLE idempotency (key TEXT PRIMARY KEY, digest TEXT NOT NULL, request_id TEXT NOT NULL, job_ids TEXT NOT NULL, created_at INTEGER NOT NULL);`,
  `CREATE TABLE pace (model TEXT PRIMARY KEY, tflops REAL NOT NULL, ms REAL NOT NULL);
   ALTER TABLE idempotency ADD COLUMN attached REAL NOT NULL DEFAULT 0;`,
  `ALTER TABLE account ADD COLUMN webhook_generation INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE account ADD COLUMN webhook_rotated_at INTEGER;`,
  `ALTER TABLE account ADD COLUMN work_arrival REAL NOT NULL DEFAULT 0;
   ALTER TABLE key ADD COLUMN tflops_per_minute REAL;
   ALTER TABLE key ADD COLUMN work_arrival REAL NOT NULL DEFAULT 0;
   ALTER TABLE job ADD COLUMN key_cost REAL NOT NULL DEFAULT 0;
   ALTER TABLE job ADD COLUMN account_cost REAL NOT NULL DEFAULT 0;`,
  // a digest without a key confirms a guessed prompt
  `UPDATE idempotency SET digest = '';
   CREATE INDEX idempotency_by_request ON idempotency (request_id);`,
] as const;

export interface AccountRecord {
  readonly id: string;
  readonly name: string;
  readonly limits: AccountLimits;
  readonly createdAt: number;
  /** of `takeWork`: microseconds */
  readonly workArrival: number;
}

export function readAccount(sql: SqlStorage): AccountRecord | null {
  const [row] = sql
    .exec<{ id: string; name: string; limits: string; created_at: number; work_arrival: number }>(
      'SELECT id, name, limits, created_at, work_arrival FROM account',
    )
    .toArray();
  if (!row) return null;
  // an account opened before a limit existed has the default one
  const limits = { ...DEFAULT_LIMITS, ...(JSON.parse(row.limits) as Partial<AccountLimits>) };
  return { id: row.id, name: row.name, limits, createdAt: row.created_at, workArrival: row.work_arrival };
}

/** What a key and its account have left. */
export function setArrivals(sql: SqlStorage, keyId: string, { key, keyWork, accountWork }: Arrivals): void {
  sql.exec('UPDATE key SET arrival = ?, work_arrival = ? WHERE id = ?', key, keyWork, keyId);
  sql.exec('UPDATE account SET work_arrival = ?', accountWork);
}

/** Which secret of the account signs its webhooks, and since when; null: since the account was opened. */
export function readWebhookSecret(sql: SqlStorage): { readonly generation: number; readonly rotatedAt: number | null } {
  const { webhook_generation, webhook_rotated_at } = sql
    .exec<{ webhook_generation: number; webhook_rotated_at: number | null }>(
      'SELECT webhook_generation, webhook_rotated_at FROM account',
    )
    .one();
  return { generation: webhook_generation, rotatedAt: webhook_rotated_at };
}

export function rotateWebhookSecret(sql: SqlStorage, at: number): void {
  sql.exec('UPDATE account SET webhook_generation = webhook_generation + 1, webhook_rotated_at = ?', at);
}

export function insertAccount(
  sql: SqlStorage,
  { id, name, limits, createdAt }: Omit<AccountRecord, 'workArrival'>,
): void {
  sql.exec(
    'INSERT INTO account (id, name, limits, created_at) VALUES (?, ?, ?, ?)',
    id,
    name,
    JSON.stringify(limits),
    createdAt,
  );
}

type KeyRow = {
  id: string;
  name: string;
  hash: string;
  created_at: number;
  revoked_at: number | null;
  arrival: number;
  tflops_per_minute: number | null;
  work_arrival: number;
};
const toKey = ({ id, name, hash, created_at, revoked_at, arrival, ...work }: KeyRow): KeyRecord => ({
  id,
  name,
  hash,
  createdAt: created_at,
  revokedAt: revoked_at,
  arrival,
  tflopsPerMinute: work.tflops_per_minute,
  workArrival: work.work_arrival,
});

export const readKeys = (sql: SqlStorage): readonly KeyRecord[] =>
  sql.exec<KeyRow>('SELECT * FROM key ORDER BY created_at, id').toArray().map(toKey);

export function readKey(sql: SqlStorage, id: string): KeyRecord | null {
  const [row] = sql.exec<KeyRow>('SELECT * FROM key WHERE id = ?', id).toArray();
  return row ? toKey(row) : null;
}

export function insertKey(
  sql: SqlStorage,
  { id, name, hash, createdAt, tflopsPerMinute }: NewKey & Pick<KeyRecord, 'createdAt'>,
): void {
  sql.exec(
    'INSERT OR IGNORE INTO key (id, name, hash, created_at, revoked_at, arrival, tflops_per_minute) VALUES (?, ?, ?, ?, NULL, 0, ?)',
    id,
    name,
    hash,
    createdAt,
    tflopsPerMinute,
  );
}

/** False where there is no such key. One revoked before stays revoked since then. */
export const revokeKey = (sql: SqlStorage, id: string, at: number): boolean =>
  sql.exec('UPDATE key SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?', at, id).rowsWritten > 0;

export const countOpen = (sql: SqlStorage): number =>
  sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM job WHERE status = 'open'").one().count;

export function insertJob(
  sql: SqlStorage,
  { id, requestId, keyId, createdAt }: Omit<IndexedJob, 'status'>,
  costs: Costs,
): void {
  sql.exec(
    "INSERT INTO job (id, request_id, key_id, created_at, status, is_created, key_cost, account_cost) VALUES (?, ?, ?, ?, 'open', 0, ?, ?)",
    id,
    requestId,
    keyId,
    createdAt,
    costs.key,
    costs.account,
  );
}

export const readStatus = (sql: SqlStorage, id: string): JobStatus | null =>
  sql.exec<{ status: JobStatus }>('SELECT status FROM job WHERE id = ?', id).toArray()[0]?.status ?? null;

export const hasJob = (sql: SqlStorage, id: string): boolean =>
  sql.exec('SELECT 1 FROM job WHERE id = ?', id).toArray().length > 0;

export function markCreated(sql: SqlStorage, ids: readonly string[]): void {
  for (const id of ids) sql.exec('UPDATE job SET is_created = 1 WHERE id = ?', id);
}

/** A job's end, told by its object; told again it changes nothing. */
/** False where the job was not open. */
export const setStatus = (sql: SqlStorage, id: string, status: JobStatus): boolean =>
  sql.exec("UPDATE job SET status = ?, is_created = 1 WHERE id = ? AND status = 'open'", status, id).rowsWritten > 0;

/** What older jobs still count of work and time, each time a new one is added. */
const PACE_DECAY = 0.9;

export function addWork(
  sql: SqlStorage,
  { model, tflops, ms }: { readonly model: string; readonly tflops: number; readonly ms: number },
): void {
  sql.exec(
    'INSERT INTO pace (model, tflops, ms) VALUES (?1, ?2, ?3) ON CONFLICT (model) DO UPDATE SET tflops = tflops * ?4 + excluded.tflops, ms = ms * ?4 + excluded.ms',
    model,
    tflops,
    ms,
    PACE_DECAY,
  );
}

export function readPace(sql: SqlStorage, model: string): number | null {
  const [row] = sql
    .exec<{ tflops: number; ms: number }>('SELECT tflops, ms FROM pace WHERE model = ?', model)
    .toArray();
  return row ? row.ms / row.tflops : null;
}

/** Removes an open job whose object was never heard of: its key, and what it took; null where there is no such job. */
export function withdrawJob(sql: SqlStorage, id: string): { readonly keyId: string; readonly costs: Costs } | null {
  const [row] = sql
    .exec<{ key_id: string; key_cost: number; account_cost: number }>(
      "DELETE FROM job WHERE id = ? AND is_created = 0 AND status = 'open' RETURNING key_id, key_cost, account_cost",
      id,
    )
    .toArray();
  return row ? { keyId: row.key_id, costs: { key: row.key_cost, account: row.account_cost } } : null;
}

export function deleteJob(sql: SqlStorage, id: string): void {
  sql.exec('DELETE FROM job WHERE id = ?', id);
}

/** Up to 32 open jobs entered before `before` whose objects were never heard of. */
export const readUncreated = (sql: SqlStorage, before: number): readonly string[] =>
  sql
    .exec<{ id: string }>(
      "SELECT id FROM job WHERE is_created = 0 AND status = 'open' AND created_at < ? ORDER BY seq LIMIT 32",
      before,
    )
    .toArray()
    .map(({ id }) => id);

/** When the oldest of them was entered; null where there is none. */
export const oldestUncreated = (sql: SqlStorage): number | null =>
  sql
    .exec<{ at: number | null }>("SELECT MIN(created_at) AS at FROM job WHERE is_created = 0 AND status = 'open'")
    .one().at;

type JobRow = { seq: number; id: string; request_id: string; key_id: string; created_at: number; status: JobStatus };

/** Up to `limit` jobs entered before place `before` (the newest where null), newest first, with their places. */
export function listJobs(
  sql: SqlStorage,
  { before, limit, status, requestId }: JobQuery,
): readonly (IndexedJob & { readonly seq: number })[] {
  return sql
    .exec<JobRow>(
      'SELECT seq, id, request_id, key_id, created_at, status FROM job WHERE seq < ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR request_id = ?3) ORDER BY seq DESC LIMIT ?4',
      before ?? Number.MAX_SAFE_INTEGER,
      status,
      requestId,
      limit,
    )
    .toArray()
    .map(({ request_id, key_id, created_at, ...row }) => ({
      ...row,
      requestId: request_id,
      keyId: key_id,
      createdAt: created_at,
    }));
}

export function readIdempotency(sql: SqlStorage, key: string): RememberedRequest | null {
  const [row] = sql
    .exec<{ digest: string; request_id: string; job_ids: string; created_at: number; attached: number }>(
      'SELECT digest, request_id, job_ids, created_at, attached FROM idempotency WHERE key = ?',
      key,
    )
    .toArray();
  return row
    ? {
        digest: row.digest,
        requestId: row.request_id,
        jobIds: JSON.parse(row.job_ids),
        createdAt: row.created_at,
        attached: row.attached,
      }
    : null;
}

export function writeIdempotency(
  sql: SqlStorage,
  key: string,
  { digest, requestId, jobIds, createdAt, attached }: RememberedRequest,
): void {
  sql.exec(
    'INSERT OR REPLACE INTO idempotency (key, digest, request_id, job_ids, created_at, attached) VALUES (?, ?, ?, ?, ?, ?)',
    key,
    digest,
    requestId,
    JSON.stringify(jobIds),
    createdAt,
    attached,
  );
}

export function deleteIdempotency(sql: SqlStorage, key: string): void {
  sql.exec('DELETE FROM idempotency WHERE key = ?', key);
}

/** Forgets the request that a job belongs to: with one of its jobs gone its key is free. */
export function deleteIdempotencyOf(sql: SqlStorage, jobId: string): void {
  sql.exec('DELETE FROM idempotency WHERE request_id = (SELECT request_id FROM job WHERE id = ?)', jobId);
}

/** Up to `most` open jobs, drawn at random, that were entered before `silentMs`, or later than now: the clock stepped. */
export const drawOpen = (
  sql: SqlStorage,
  { now, silentMs, most }: { readonly now: number; readonly silentMs: number; readonly most: number },
): readonly string[] =>
  sql
    .exec<{ id: string }>(
      "SELECT id FROM job WHERE status = 'open' AND (created_at <= ?1 OR created_at > ?2) ORDER BY RANDOM() LIMIT ?3",
      now - silentMs,
      now,
      most,
    )
    .toArray()
    .map(({ id }) => id);

export function deleteIdempotencyBefore(sql: SqlStorage, at: number): void {
  sql.exec('DELETE FROM idempotency WHERE created_at < ?', at);
}

export const oldestIdempotency = (sql: SqlStorage): number | null =>
  sql.exec<{ at: number | null }>('SELECT MIN(created_at) AS at FROM idempotency').one().at;
