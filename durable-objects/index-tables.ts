/**
 * The rows of an account's index: its jobs, the requests that it remembers, its pace. Nothing here awaits.
 */
import type { Costs, IndexedJob, JobQuery, JobStatus, RememberedRequest } from '../src/account/account.ts';

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
