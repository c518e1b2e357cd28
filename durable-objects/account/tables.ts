/**
 * The rows of one account: the schema of all its tables, the account itself and the trail of who changed what.
 * docs/storage.md shows each row with an example. Nothing here awaits.
 */
import {
  type AccountLimits,
  type Act,
  type Actor,
  type AuditEntry,
  DEFAULT_LIMITS,
  type PageQuery,
  type Terms,
  UNLIMITED,
} from '../../src/account/account.ts';
import type { Jurisdiction } from '../../src/account/place.ts';
import type { WebhookGeneration } from '../../src/account/webhook-secret.ts';
import type { Step } from '../migrate.ts';
import { gatherRows } from './gather-rows.ts';
import { LEDGER_TABLES } from './ledger-tables.ts';

/** Each entry is one migration, run once, in order. One that has been deployed is never edited. */
export const ACCOUNT_MIGRATIONS: readonly Step[] = [
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
  `ALTER TABLE account ADD COLUMN jurisdiction TEXT`,
  gatherRows,
];

export interface AccountRecord {
  readonly id: string;
  readonly name: string;
  readonly limits: AccountLimits;
  readonly terms: Terms;
  /** where its jobs have to stay; null: anywhere */
  readonly jurisdiction: Jurisdiction | null;
  readonly createdAt: number;
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
  terms: string | null;
  jurisdiction: string | null;
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
    jurisdiction: row.jurisdiction as Jurisdiction | null,
    createdAt: row.created_at,
    suspendedAt: row.suspended_at,
    cancelsJobs: row.cancels_jobs === 1,
    erasesThrough: row.erases_through,
    isListed: row.is_listed === 1,
  };
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
  {
    id,
    name,
    limits,
    terms,
    jurisdiction,
    createdAt,
  }: Pick<AccountRecord, 'id' | 'name' | 'limits' | 'terms' | 'jurisdiction' | 'createdAt'>,
): void {
  sql.exec(
    'INSERT INTO account (id, name, limits, terms, jurisdiction, created_at) VALUES (?, ?, ?, ?, ?, ?)',
    id,
    name,
    JSON.stringify(limits),
    JSON.stringify(terms),
    jurisdiction,
    createdAt,
  );
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
