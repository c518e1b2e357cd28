/**
 * Where a job's stage requests went: one row for each stage and server, so that every server can be told to forget.
 * Nothing here awaits.
 */
import type { SentStage } from '../src/job/outbox.ts';

/** A request of one stage to one server. The same request has the same stage id. */
export interface Attempt extends SentStage {
  readonly stage: number;
}

type Row = {
  backend: string;
  stage_id: string;
  stage: number;
  outcome: Attempt['outcome'];
  worker: string | null;
};
const toAttempt = ({ stage_id, ...row }: Row): Attempt => ({ ...row, stageId: stage_id });

/** A request is about to go out; `number` counts the job's requests. */
export function beginAttempt(
  sql: SqlStorage,
  { backend, stageId, stage, number }: Omit<Attempt, 'outcome' | 'worker'> & { readonly number: number },
): void {
  // where the same request went before, a gateway's worker may be known already
  sql.exec(
    `INSERT INTO attempt (backend, stage_id, stage, number, outcome) VALUES (?, ?, ?, ?, 'sent')
     ON CONFLICT (backend, stage_id) DO UPDATE SET number = excluded.number, outcome = excluded.outcome`,
    backend,
    stageId,
    stage,
    number,
  );
}

/** The gateway before a server has named the worker that has request `number`. */
export function nameWorker(sql: SqlStorage, number: number, worker: string): void {
  sql.exec('UPDATE attempt SET worker = ? WHERE number = ?', worker, number);
}

/**
 * The worker behind `backend` that the next request should rather go to: it has the prompt encoded, and may still run
 * what was cut off. Null where none is known.
 */
export const workerFor = (attempts: readonly Attempt[], backend: string): string | null =>
  attempts.findLast((attempt) => attempt.backend === backend)?.worker ?? null;

/** What came of the last request. */
export function settleAttempt(sql: SqlStorage, outcome: 'stored' | 'failed'): void {
  sql.exec('UPDATE attempt SET outcome = ? WHERE number = (SELECT MAX(number) FROM attempt)', outcome);
}

/** The last request has ended at its worker without a result: that worker is no better than another. */
export function forgetWorker(sql: SqlStorage): void {
  sql.exec('UPDATE attempt SET worker = NULL WHERE number = (SELECT MAX(number) FROM attempt)');
}

/** Every stage and server that a request was sent to, the newest last. */
export const readAttempts = (sql: SqlStorage): readonly Attempt[] =>
  sql
    .exec<Row>('SELECT backend, stage_id, stage, outcome, worker FROM attempt ORDER BY number')
    .toArray()
    .map(toAttempt);
