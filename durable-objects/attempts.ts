/**
 * Where a job's stage requests went: one row for each stage and server, so that every server can be told to forget.
 * Nothing here awaits.
 */
import type { SentStage } from '../src/job/outbox.ts';

/** A request of one stage to one server. The same request has the same stage id. */
export interface Attempt extends SentStage {
  readonly stage: number;
}

type Row = { backend: string; stage_id: string; stage: number; outcome: Attempt['outcome'] };
const toAttempt = ({ stage_id, ...row }: Row): Attempt => ({ ...row, stageId: stage_id });

/** A request is about to go out; `number` counts the job's requests. */
export function beginAttempt(
  sql: SqlStorage,
  { backend, stageId, stage, number }: Omit<Attempt, 'outcome'> & { readonly number: number },
): void {
  sql.exec(
    "INSERT OR REPLACE INTO attempt (backend, stage_id, stage, number, outcome) VALUES (?, ?, ?, ?, 'sent')",
    backend,
    stageId,
    stage,
    number,
  );
}

/** What came of the last request. */
export function settleAttempt(sql: SqlStorage, outcome: 'stored' | 'failed'): void {
  sql.exec('UPDATE attempt SET outcome = ? WHERE number = (SELECT MAX(number) FROM attempt)', outcome);
}

/** Every stage and server that a request was sent to, the newest last. */
export const readAttempts = (sql: SqlStorage): readonly Attempt[] =>
  sql.exec<Row>('SELECT backend, stage_id, stage, outcome FROM attempt ORDER BY number').toArray().map(toAttempt);
