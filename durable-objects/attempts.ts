/**
 * Where a job's stage requests went: one entry for each stage and server, so that every server can be told to forget.
 * Nothing here awaits.
 */
import type { Attempt } from './job-columns.ts';
import type { Rows } from './job-rows.ts';

export type { Attempt } from './job-columns.ts';

/** Every stage and server that a request was sent to, the newest last. */
export const readAttempts = (rows: Rows): readonly Attempt[] => rows.list('attempts') ?? [];

/** A request is about to go out; `number` counts the job's requests. */
export function beginAttempt(rows: Rows, sent: Pick<Attempt, 'backend' | 'stageId' | 'stage' | 'number'>): void {
  const attempts = readAttempts(rows);
  const isSame = ({ backend, stageId }: Attempt): boolean => backend === sent.backend && stageId === sent.stageId;
  // where the same request went before, a gateway's worker may be known already
  const worker = attempts.find(isSame)?.worker ?? null;
  rows.setList('attempts', [...attempts.filter((each) => !isSame(each)), { ...sent, outcome: 'sent', worker }]);
}

/** The gateway before a server has named the worker that has request `number`. */
export function nameWorker(rows: Rows, number: number, worker: string): void {
  const attempts = readAttempts(rows);
  const changed = attempts.map((each) => (each.number === number ? { ...each, worker } : each));
  if (changed.some((each, i) => each.worker !== attempts[i]?.worker)) rows.setList('attempts', changed);
}

/**
 * The worker behind `backend` that the next request should rather go to: it has the prompt encoded, and may still run
 * what was cut off. Null where none is known.
 */
export const workerFor = (attempts: readonly Attempt[], backend: string): string | null =>
  attempts.findLast((attempt) => attempt.backend === backend)?.worker ?? null;

/** What came of the last request. */
export const settleAttempt = (rows: Rows, outcome: 'stored' | 'failed'): void => changeLast(rows, { outcome });

/** The last request has ended at its worker without a result: that worker is no better than another. */
export const forgetWorker = (rows: Rows): void => changeLast(rows, { worker: null });

function changeLast(rows: Rows, changes: Partial<Attempt>): void {
  const attempts = readAttempts(rows);
  const last = attempts.at(-1);
  if (last) rows.setList('attempts', [...attempts.slice(0, -1), { ...last, ...changes }]);
}
