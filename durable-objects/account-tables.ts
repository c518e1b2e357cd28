/**
 * The rows of one account: schema, and every read and write of them. docs/storage.md shows each row with an example.
 * Nothing here awaits.
 */
import {
  type AccountLimits,
  type Act,
  type Actor,
  type Arrivals,
  type AuditEntry,
  type Costs,
  DEFAULT_LIMITS,
  type IndexedJob,
  type JobQuery,
  type JobStatus,
  type KeyRecord,
  type NewKey,
  type PageQuery,
  type RememberedRequest,
  type Terms,
  UNLIMITED,
} from '../src/account/account.ts';
import { readScopes, writeScopes } from '../src/account/scopes.ts';
import type { WebhookGeneration } from '../src/account/webhook-secret.ts';
import { LEDGER_TABLES } from './ledger-tables.ts';

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
  // keys of before may all that there is, have no MAC, and their account's webhook secret goes on being what it was
  `ALTER TABLE key ADD COLUMN is_signed INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE key ADD COLUMN scopes TEXT NOT NULL DEFAULT 'generate,read,admin';
   ALTER TABLE key ADD COLUMN expires_at INTEGER;
   ALTER TABLE key ADD COLUMN last_used_at INTEGER;
   ALTER TABLE account ADD COLUMN suspended_at INTEGER;
   ALTER TABLE account ADD COLUMN cancels_jobs INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE account ADD COLUMN erases_through INTEGER;
   ALTER TABLE account ADD COLUMN is_listed INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE account ADD COLUMN webhook_derived_from INTEGER NOT NULL DEFAULT 0;
   UPDATE account SET webhook_derived_from = webhook_generation + 1;
   CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL, subject TEXT, detail TEXT NOT NULL);
   CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
   CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;`,
  // a digest without a key confirms a guessed prompt
  `UPDATE idempotency SET digest = '';
   CREATE INDEX idempotency_by_request ON idempotency (request_id);`,
  `ALTER TABLE account ADD COLUMN terms TEXT;
   ALTER TABLE key ADD COLUMN micro_usd_per_day INTEGER;
   ALTER TABLE key ADD COLUMN micro_usd_per_month INTEGER;
   ALTER TABLE key ADD COLUMN lineage TEXT;
   ${LEDGER_TABLES}`,
] as const;

export interface AccountRecord {
  readonly id: string;
  readonly name: string;
  readonly limits: AccountLimits;
  readonly terms: Terms;
  readonly createdAt: number;
  /** of `takeWork`: microseconds */
  readonly workArrival: number;
  readonly suspendedAt: number | null;
  /** its open jobs are to be cancelled, as long as it is suspended */
  readonly cancelsJobs: boolean;
  /** jobs up to this place are to be erased; null: none */
  readonly erasesThrough: number | null;
  /** the directory has it as it is */
  readonly isListed: boolean;
}

type AccountRow = {
  id: string;
  name: string;
  limits: string;
  created_at: number;
  suspended_at: number | null;
  cancels_jobs: number;
  erases_through: number | null;
  is_listed: number;
  work_arrival: number;
  terms: string | null;
};

export function readAccount(sql: SqlStorage): AccountRecord | null {
  const [row] = sql.exec<AccountRow>('SELECT * FROM account').toArray();
  if (!row) return null;
  // an account opened before a limit existed has the default one
  const limits = { ...DEFAULT_LIMITS, ...(JSON.parse(row.limits) as Partial<AccountLimits>) };
  return {
    id: row.id,
    name: row.name,
    limits,
    // one opened before there were prices pays as it did: not ahead
    terms: row.terms === null ? UNLIMITED : (JSON.parse(row.terms) as Terms),
    createdAt: row.created_at,
    workArrival: row.work_arrival,
    suspendedAt: row.suspended_at,
    cancelsJobs: row.cancels_jobs === 1,
    erasesThrough: row.erases_through,
    isListed: row.is_listed === 1,
  };
}

/** What a key and its account have left. */
export function setArrivals(sql: SqlStorage, keyId: string, { key, keyWork, accountWork }: Arrivals): void {
  sql.exec('UPDATE key SET arrival = ?, work_arrival = ? WHERE id = ?', key, keyWork, keyId);
  sql.exec('UPDATE account SET work_arrival = ?', accountWork);
}

/** What the directory shows of an account is changed, so it has to be told. */
export function changeAccount(
  sql: SqlStorage,
  {
    name,
    limits,
    terms,
    suspendedAt,
    cancelsJobs,
  }: Pick<AccountRecord, 'name' | 'limits' | 'terms' | 'suspendedAt' | 'cancelsJobs'>,
): void {
  sql.exec(
    'UPDATE account SET name = ?, limits = ?, terms = ?, suspended_at = ?, cancels_jobs = ?, is_listed = 0',
    name,
    JSON.stringify(limits),
    JSON.stringify(terms),
    suspendedAt,
    cancelsJobs ? 1 : 0,
  );
}

export function markListed(sql: SqlStorage): void {
  sql.exec('UPDATE account SET is_listed = 1');
}

/** Orders that all jobs there are now be erased, or that no more are. */
export function setErasesThrough(sql: SqlStorage, seq: number | null): void {
  sql.exec('UPDATE account SET erases_through = ?', seq);
}

export const lastPlace = (sql: SqlStorage): number =>
  sql.exec<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM job').one().seq ?? 0;

/** Which secret of the account signs its webhooks, and since when; null: since the account was opened. */
export function readWebhookSecret(sql: SqlStorage): {
  readonly newest: WebhookGeneration;
  readonly before: WebhookGeneration;
  readonly rotatedAt: number | null;
} {
  const row = sql
    .exec<{ webhook_generation: number; webhook_rotated_at: number | null; webhook_derived_from: number }>(
      'SELECT webhook_generation, webhook_rotated_at, webhook_derived_from FROM account',
    )
    .one();
  const at = (generation: number): WebhookGeneration => ({
    generation,
    isUnderived: generation < row.webhook_derived_from,
  });
  return {
    newest: at(row.webhook_generation),
    before: at(row.webhook_generation - 1),
    rotatedAt: row.webhook_rotated_at,
  };
}

export function rotateWebhookSecret(sql: SqlStorage, at: number): void {
  sql.exec('UPDATE account SET webhook_generation = webhook_generation + 1, webhook_rotated_at = ?', at);
}

export function insertAccount(
  sql: SqlStorage,
  { id, name, limits, terms, createdAt }: Pick<AccountRecord, 'id' | 'name' | 'limits' | 'terms' | 'createdAt'>,
): void {
  sql.exec(
    'INSERT INTO account (id, name, limits, terms, created_at) VALUES (?, ?, ?, ?, ?)',
    id,
    name,
    JSON.stringify(limits),
    JSON.stringify(terms),
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

/** With which key a job was started; null where there is no such job. */
export const readKeyOfJob = (sql: SqlStorage, id: string): string | null =>
  sql.exec<{ key_id: string }>('SELECT key_id FROM job WHERE id = ?', id).toArray()[0]?.key_id ?? null;

/** A job of the index beside what its account holds or charged for it, micro-dollars; nulls: nothing. */
export interface IndexedCharge {
  readonly seq: number;
  readonly id: string;
  readonly status: JobStatus;
  readonly held: number | null;
  readonly captured: number | null;
}

/** Up to `limit` jobs after place `after` that may have begun, oldest first, with their charges. */
export const chargesAfter = (
  sql: SqlStorage,
  { after, limit }: { readonly after: number; readonly limit: number },
): readonly IndexedCharge[] =>
  sql
    .exec<{ [Field in keyof IndexedCharge]: IndexedCharge[Field] }>(
      `SELECT job.seq, job.id, job.status, charge.held, charge.captured FROM job LEFT JOIN charge ON charge.job = job.id
       WHERE job.seq > ? AND job.is_created = 1 ORDER BY job.seq LIMIT ?`,
      after,
      limit,
    )
    .toArray();

/** Up to `limit` jobs after place `after` and not beyond `through`, oldest first; only open ones where asked. */
export const jobsAfter = (
  sql: SqlStorage,
  {
    after,
    through,
    onlyOpen,
    limit,
  }: { readonly after: number; readonly through: number; readonly onlyOpen: boolean; readonly limit: number },
): readonly { readonly id: string; readonly seq: number }[] =>
  sql
    .exec<{ id: string; seq: number }>(
      "SELECT id, seq FROM job WHERE seq > ?1 AND seq <= ?2 AND (?3 = 0 OR status = 'open') ORDER BY seq LIMIT ?4",
      after,
      through,
      onlyOpen ? 1 : 0,
      limit,
    )
    .toArray();

export const hasJob = (sql: SqlStorage, id: string): boolean =>
  sql.exec('SELECT 1 FROM job WHERE id = ?', id).toArray().length > 0;

/** Whether the job's object was ever heard of. */
export const isCreated = (sql: SqlStorage, id: string): boolean =>
  sql.exec('SELECT 1 FROM job WHERE id = ? AND is_created = 1', id).toArray().length > 0;

export function markCreated(sql: SqlStorage, ids: readonly string[]): void {
  for (const id of ids) sql.exec('UPDATE job SET is_created = 1 WHERE id = ?', id);
}

/** A job's end, told by its object; told again it changes nothing. False where the job was not open. */
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

/**
 * Up to `most` open jobs whose objects were heard of, drawn at random, that were entered before `silentMs`, or later
 * than now: the clock stepped.
 */
export const drawOpen = (
  sql: SqlStorage,
  { now, silentMs, most }: { readonly now: number; readonly silentMs: number; readonly most: number },
): readonly string[] =>
  sql
    .exec<{ id: string }>(
      "SELECT id FROM job WHERE status = 'open' AND is_created = 1 AND (created_at <= ?1 OR created_at > ?2) ORDER BY RANDOM() LIMIT ?3",
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

/** What the account remembers of requests and of its work, beside the jobs themselves. */
export function deleteTraces(sql: SqlStorage): void {
  sql.exec('DELETE FROM idempotency');
  sql.exec('DELETE FROM pace');
}

export function appendAudit(sql: SqlStorage, { at, actor, act, subject, detail }: Omit<AuditEntry, 'seq'>): void {
  sql.exec(
    'INSERT INTO audit (at, actor, act, subject, detail) VALUES (?, ?, ?, ?, ?)',
    at,
    actor,
    act,
    subject,
    JSON.stringify(detail),
  );
}

type AuditRow = { seq: number; at: number; actor: string; act: string; subject: string | null; detail: string };

/** Up to `limit` lines after place `after`, oldest first. */
export const readAudit = (sql: SqlStorage, { after, limit }: PageQuery): readonly AuditEntry[] =>
  sql
    .exec<AuditRow>(
      'SELECT seq, at, actor, act, subject, detail FROM audit WHERE seq > ? ORDER BY seq LIMIT ?',
      after,
      limit,
    )
    .toArray()
    .map(({ actor, act, detail, ...row }) => ({
      ...row,
      actor: actor as Actor,
      act: act as Act,
      detail: JSON.parse(detail),
    }));
