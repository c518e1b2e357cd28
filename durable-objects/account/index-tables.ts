/**
 * The rows of an account's jobs, and of the requests that it remembers. A job has one row: its place in the index, what
 * is held and what was charged for it. An erased job keeps the row where it had a price, without what listed it.
 * Nothing here awaits.
 */
import type { Costs, IndexedJob, JobQuery, JobStatus, RememberedRequest } from '../../src/account/account.ts';

/** `seq`, `request_id` and `status` are null once a job is not listed any more; `held` where it has no price. */
export const JOB_TABLES = `CREATE TABLE job (id TEXT PRIMARY KEY, seq INTEGER, request_id TEXT, idempotency TEXT, key_id TEXT NOT NULL, created_at INTEGER NOT NULL,
     status TEXT, is_created INTEGER NOT NULL, key_cost REAL NOT NULL DEFAULT 0, account_cost REAL NOT NULL DEFAULT 0, user TEXT, model TEXT, tariff TEXT,
     held INTEGER, captured INTEGER, mflop INTEGER, ended_at INTEGER, refunded INTEGER NOT NULL DEFAULT 0, customer TEXT, meter TEXT) WITHOUT ROWID;
   CREATE TABLE idempotency (key TEXT PRIMARY KEY, digest TEXT NOT NULL, request_id TEXT NOT NULL, job_ids TEXT NOT NULL, created_at INTEGER NOT NULL,
     attached REAL NOT NULL DEFAULT 0) WITHOUT ROWID;`;

export const JOB_INDEXES = `CREATE INDEX job_by_status ON job (status, seq) WHERE status IS NOT NULL;
   CREATE INDEX job_by_request ON job (request_id, seq) WHERE request_id IS NOT NULL;
   CREATE INDEX job_on_a_meter ON job (ended_at) WHERE meter IS NOT NULL;
   CREATE INDEX job_by_user ON job (user) WHERE user IS NOT NULL;
   CREATE INDEX idempotency_by_age ON idempotency (created_at);
   CREATE VIEW charge AS SELECT id AS job, created_at AS at, key_id, user, model, tariff, held, captured, mflop, ended_at, refunded, customer, meter
     FROM job WHERE held IS NOT NULL;`;

const STATUSES = ['open', 'done', 'failed', 'cancelled'] as const satisfies readonly JobStatus[];

/** The first of all listed jobs in the order of their places: each status has an index, so nothing else is read. */
const ofAnyStatus = (columns: string, where: string, order: 'ASC' | 'DESC'): string =>
  STATUSES.map((status) => `SELECT ${columns} FROM job WHERE status = '${status}' AND ${where}`).join(' UNION ALL ') +
  ` ORDER BY seq ${order} LIMIT`;

/** What a job is entered with that is paid for. */
export interface NewHold {
  readonly user: string | null;
  readonly model: string;
  readonly tariff: string;
  readonly held: number;
  readonly customer: string | null;
}

export function insertJob(
  sql: SqlStorage,
  {
    id,
    seq,
    requestId,
    idempotency,
    keyId,
    createdAt,
  }: Omit<IndexedJob, 'status'> & { readonly seq: number; readonly idempotency: string | null },
  costs: Costs,
  hold: NewHold | null,
): void {
  sql.exec(
    `INSERT INTO job (id, seq, request_id, idempotency, key_id, created_at, status, is_created, key_cost, account_cost, user, model, tariff, held, customer)
     VALUES (?, ?, ?, ?, ?, ?, 'open', 0, ?, ?, ?, ?, ?, ?, ?)`,
    id,
    seq,
    requestId,
    idempotency,
    keyId,
    createdAt,
    costs.key,
    costs.account,
    hold?.user ?? null,
    hold?.model ?? null,
    hold?.tariff ?? null,
    hold?.held ?? null,
    hold?.customer ?? null,
  );
}

/** Null where the account lists no such job. */
export const readStatus = (sql: SqlStorage, id: string): JobStatus | null =>
  sql.exec<{ status: JobStatus | null }>('SELECT status FROM job WHERE id = ?', id).toArray()[0]?.status ?? null;

/** With which key a job was started; null where no such job is listed. */
export const readKeyOfJob = (sql: SqlStorage, id: string): string | null =>
  sql.exec<{ key_id: string }>('SELECT key_id FROM job WHERE id = ? AND status IS NOT NULL', id).toArray()[0]?.key_id ??
  null;

/** A job of the index beside what its account holds or charged for it, micro-dollars; nulls: nothing. */
export interface IndexedCharge {
  readonly seq: number;
  readonly id: string;
  readonly status: JobStatus;
  /** whether its object is known to have been there */
  readonly isCreated: boolean;
  readonly held: number | null;
  readonly captured: number | null;
}

/** Up to `limit` jobs after place `after`, oldest first, with their charges. */
export const chargesAfter = (
  sql: SqlStorage,
  { after, limit }: { readonly after: number; readonly limit: number },
): readonly IndexedCharge[] =>
  sql
    .exec<Omit<{ [Field in keyof IndexedCharge]: IndexedCharge[Field] }, 'isCreated'> & { is_created: number }>(
      `${ofAnyStatus('seq, id, status, is_created, held, captured', 'seq > ?1', 'ASC')} ?2`,
      after,
      limit,
    )
    .toArray()
    .map(({ is_created, ...row }) => ({ ...row, isCreated: is_created === 1 }));

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
      onlyOpen
        ? "SELECT id, seq FROM job WHERE status = 'open' AND seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3"
        : `${ofAnyStatus('id, seq', 'seq > ?1 AND seq <= ?2', 'ASC')} ?3`,
      after,
      through,
      limit,
    )
    .toArray();

export const hasJob = (sql: SqlStorage, id: string): boolean => readStatus(sql, id) !== null;

/** Whether the job's object is known to have been there. */
export const isCreated = (sql: SqlStorage, id: string): boolean =>
  sql.exec('SELECT 1 FROM job WHERE id = ? AND is_created = 1', id).toArray().length > 0;

export function markCreated(sql: SqlStorage, id: string): void {
  sql.exec('UPDATE job SET is_created = 1 WHERE id = ? AND is_created = 0', id);
}

/** An open job: when it was entered, and whether its object is known to have been there. */
export interface OpenJob {
  readonly id: string;
  readonly seq: number;
  readonly createdAt: number;
  readonly isCreated: boolean;
}

/** Up to `limit` open jobs after a place, oldest first. */
export const openAfter = (sql: SqlStorage, after: number, limit: number): readonly OpenJob[] =>
  sql
    .exec<{ id: string; seq: number; created_at: number; is_created: number }>(
      "SELECT id, seq, created_at, is_created FROM job WHERE status = 'open' AND seq > ? ORDER BY seq LIMIT ?",
      after,
      limit,
    )
    .toArray()
    .map(({ id, seq, created_at, is_created }) => ({ id, seq, createdAt: created_at, isCreated: is_created === 1 }));

/** Counts the open jobs: as many rows are read as there are. */
export const countOpen = (sql: SqlStorage): number =>
  sql.exec<{ count: number }>("SELECT COUNT(*) AS count FROM job WHERE status = 'open'").one().count;

/** Of an open job whose object is not known to have been there: its key, and what it took; null: there is none. */
export function readUncreated(sql: SqlStorage, id: string): { readonly keyId: string; readonly costs: Costs } | null {
  const [row] = sql
    .exec<{ key_id: string; key_cost: number; account_cost: number }>(
      "SELECT key_id, key_cost, account_cost FROM job WHERE id = ? AND is_created = 0 AND status = 'open'",
      id,
    )
    .toArray();
  return row ? { keyId: row.key_id, costs: { key: row.key_cost, account: row.account_cost } } : null;
}

/** A job is not listed any more. What was charged for it stays. */
export function unlistJob(sql: SqlStorage, id: string): void {
  sql.exec('DELETE FROM job WHERE id = ? AND held IS NULL', id);
  sql.exec(
    'UPDATE job SET seq = NULL, request_id = NULL, idempotency = NULL, status = NULL WHERE id = ? AND status IS NOT NULL',
    id,
  );
}

type JobRow = { seq: number; id: string; request_id: string; key_id: string; created_at: number; status: JobStatus };

/** Up to `limit` jobs entered before place `before` (the newest where null), newest first, with their places. */
export function listJobs(
  sql: SqlStorage,
  { before, limit, status, requestId, keyId }: JobQuery,
): readonly (IndexedJob & { readonly seq: number })[] {
  const columns = 'seq, id, request_id, key_id, created_at, status';
  const [query, ...values] =
    requestId !== null
      ? ([
          `SELECT ${columns} FROM job WHERE request_id = ?1 AND seq < ?2 AND status IS NOT NULL AND (?4 IS NULL OR status = ?4)
           ORDER BY seq DESC LIMIT ?3`,
          requestId,
          before ?? Number.MAX_SAFE_INTEGER,
          limit,
          status,
        ] as const)
      : status !== null
        ? ([
            `SELECT ${columns} FROM job WHERE status = ?1 AND seq < ?2 AND (?4 IS NULL OR key_id = ?4)
             ORDER BY seq DESC LIMIT ?3`,
            status,
            before ?? Number.MAX_SAFE_INTEGER,
            limit,
            keyId ?? null,
          ] as const)
        : ([`${ofAnyStatus(columns, 'seq < ?1', 'DESC')} ?2`, before ?? Number.MAX_SAFE_INTEGER, limit] as const);
  return sql
    .exec<JobRow>(query, ...values)
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
  const [row] = sql
    .exec<{ key: string | null; request_id: string | null }>(
      'SELECT idempotency AS key, request_id FROM job WHERE id = ?',
      jobId,
    )
    .toArray();
  // another request may have come under the key since
  if (row && row.key !== null)
    sql.exec('DELETE FROM idempotency WHERE key = ? AND request_id = ?', row.key, row.request_id);
}

/**
 * Up to `most` open jobs after a place drawn at random, and round to the first: those that were entered before
 * `silentMs`, or later than now: the clock stepped.
 */
export function drawOpen(
  sql: SqlStorage,
  { now, silentMs, most }: { readonly now: number; readonly silentMs: number; readonly most: number },
): readonly string[] {
  const { place } = sql
    .exec<{ place: number | null }>(
      `SELECT first + ABS(RANDOM() % (last - first + 1)) AS place FROM (SELECT
         (SELECT MIN(seq) FROM job WHERE status = 'open') AS first, (SELECT MAX(seq) FROM job WHERE status = 'open') AS last)`,
    )
    .one();
  if (place === null) return [];
  const behind = openAfter(sql, place - 1, most);
  const before = openAfter(sql, 0, most - behind.length).filter(({ seq }) => seq < place);
  return [...behind, ...before]
    .filter(({ createdAt }) => createdAt <= now - silentMs || createdAt > now)
    .map(({ id }) => id);
}

/** Forgets up to `most` requests that came before `at`. */
export function deleteIdempotencyBefore(sql: SqlStorage, at: number, most: number): void {
  sql.exec(
    'DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)',
    at,
    most,
  );
}

export const oldestIdempotency = (sql: SqlStorage): number | null =>
  sql.exec<{ at: number | null }>('SELECT MIN(created_at) AS at FROM idempotency').one().at;

/** What the account remembers of requests. */
export function deleteRequests(sql: SqlStorage): void {
  sql.exec('DELETE FROM idempotency');
}
