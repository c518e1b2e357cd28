/**
 * The step of an account's schema that gathers what a job writes: index and charge of a job in one row, what every job
 * changes in one row of the account. Copies every entry and charge once. Nothing here awaits.
 */
import { type Columns, LEDGER_ACCOUNTS, type LedgerAccount } from '../../src/billing/ledger.ts';
import { JOB_INDEXES, JOB_TABLES } from './index-tables.ts';
import { ENTRY_GUARDS, ENTRY_TABLE } from './ledger-tables.ts';
import { emptyTally, insertTally, TALLY_TABLES } from './tally-table.ts';

const OLD = ['job', 'charge', 'entry', 'ledger', 'idempotency', 'pace'] as const;

/** Of the version before: `arrival` is of requests, `work_arrival` of work. */
type KeyRow = { id: string; arrival: number; work_arrival: number };
type ColumnsRow = {
  account: LedgerAccount;
  debits_pending: number;
  debits_posted: number;
  credits_pending: number;
  credits_posted: number;
};

export function gatherRows(sql: SqlStorage): void {
  const one = (query: string): number => sql.exec<{ value: number | null }>(query).one().value ?? 0;
  const tally = {
    ...emptyTally(),
    place: one("SELECT MAX(seq) AS value FROM sqlite_sequence WHERE name = 'job'"),
    open: one("SELECT COUNT(*) AS value FROM job WHERE status = 'open'"),
    workArrival: one('SELECT MAX(work_arrival) AS value FROM account'),
    arrivals: Object.fromEntries(
      sql
        .exec<KeyRow>('SELECT id, arrival, work_arrival FROM key WHERE arrival > 0 OR work_arrival > 0')
        .toArray()
        .map(({ id, arrival, work_arrival }) => [id, [arrival, work_arrival] as const]),
    ),
    columns: Object.fromEntries(
      sql
        .exec<ColumnsRow>('SELECT * FROM ledger')
        .toArray()
        .map((row): [LedgerAccount, Columns] => [
          row.account,
          {
            debitsPending: row.debits_pending,
            debitsPosted: row.debits_posted,
            creditsPending: row.credits_pending,
            creditsPosted: row.credits_posted,
          },
        ]),
    ) as Record<LedgerAccount, Columns>,
    paces: Object.fromEntries(
      sql
        .exec<{ model: string; tflops: number; ms: number }>('SELECT model, tflops, ms FROM pace')
        .toArray()
        .map(({ model, tflops, ms }) => [model, { tflops, ms }]),
    ),
  };
  if (LEDGER_ACCOUNTS.some((name) => tally.columns[name] === undefined))
    throw new Error('the ledger has not all of its accounts');

  for (const name of [
    'charge_unresolved',
    'charge_on_a_meter',
    'charge_by_user',
    'job_by_status',
    'idempotency_by_request',
  ])
    sql.exec(`DROP INDEX IF EXISTS ${name}`);
  for (const name of OLD) sql.exec(`ALTER TABLE ${name} RENAME TO old_${name}`);
  sql.exec(`${JOB_TABLES} ${ENTRY_TABLE}`);
  sql.exec(`INSERT INTO idempotency (key, digest, request_id, job_ids, created_at, attached)
    SELECT key, digest, request_id, job_ids, created_at, attached FROM old_idempotency ORDER BY key`);
  sql.exec(`INSERT INTO job (id, created_at, key_id, user, model, tariff, held, captured, mflop, ended_at, refunded, customer, meter, is_created)
    SELECT job, at, key_id, user, model, tariff, held, captured, mflop, ended_at, refunded, customer, meter, 1 FROM old_charge ORDER BY job`);
  sql.exec(`INSERT INTO job (id, seq, request_id, idempotency, key_id, created_at, status, is_created, key_cost, account_cost)
    SELECT id, seq, request_id, (SELECT MAX(key) FROM old_idempotency WHERE request_id = old_job.request_id), key_id, created_at, status, is_created,
      key_cost, account_cost FROM old_job WHERE TRUE
    ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, request_id = excluded.request_id, idempotency = excluded.idempotency, status = excluded.status,
      is_created = excluded.is_created, key_cost = excluded.key_cost, account_cost = excluded.account_cost`);
  sql.exec(`INSERT INTO entry (seq, id, at, kind, debit, credit, amount, job, reason, balance_after, held_after)
    SELECT seq, id, at, kind, debit, credit, amount, job, reason, balance_after, held_after FROM old_entry ORDER BY seq`);
  for (const name of OLD) sql.exec(`DROP TABLE old_${name}`);
  sql.exec(`${TALLY_TABLES} ${JOB_INDEXES} ${ENTRY_GUARDS}`);
  sql.exec(
    `ALTER TABLE account DROP COLUMN work_arrival; ALTER TABLE key DROP COLUMN arrival; ALTER TABLE key DROP COLUMN work_arrival`,
  );
  insertTally(sql, tally);
}
