/**
 * Where a job's stage requests went: one entry for each stage and server, so that every server can be told to forget.
 * Nothing here awaits.
 */
import type { Room } from '../../src/job/job.ts';
import type { Attempt } from './columns.ts';
import type { Rows } from './rows.ts';

export type { Attempt } from './columns.ts';

/** Every stage and server that a request was sent to, the newest last. */
export const readAttempts = (rows: Rows): readonly Attempt[] => rows.list('attempts') ?? [];

/**
 * A request is about to go out; `number` counts the job's requests. It takes the place of what went to the same server
 * for the same stage before, whose faults count on: see `giveUpOthers` for one with other bytes.
 */
export function beginAttempt(
  rows: Rows,
  { isPlain, ...sent }: Pick<Attempt, 'backend' | 'stageId' | 'stage' | 'number'> & { readonly isPlain: boolean },
): void {
  const attempts = readAttempts(rows);
  const isBefore = ({ backend, stage }: Attempt): boolean => backend === sent.backend && stage === sent.stage;
  // where a request went before, a gateway's worker may be known already
  const { worker = null, faults = 0, reported = 0 } = attempts.findLast(isBefore) ?? {};
  rows.setList('attempts', [
    ...attempts.filter((each) => !isBefore(each)),
    { ...sent, outcome: 'sent', worker, faults, reported, ...(isPlain && { isPlain }) },
  ]);
}

/** What a stage has met so far: where it came to nothing for good, and how often. */
export interface MetSoFar {
  /** backends where it is not sent again as long as there is another */
  readonly tried: readonly string[];
  /** failures of the stage that servers reported */
  readonly reported: number;
  /** how often it came to nothing at the backend of the last request */
  readonly faultsThere: number;
}

export function metSoFar(rows: Rows, stage: number): MetSoFar {
  const attempts = readAttempts(rows).filter((attempt) => attempt.stage === stage);
  return {
    tried: attempts
      .filter(({ outcome, faults }) => isGivenUp(outcome) || (faults ?? 0) > 1)
      .map(({ backend }) => backend),
    reported: attempts.reduce((sum, { reported }) => sum + (reported ?? 0), 0),
    faultsThere: attempts.at(-1)?.faults ?? 0,
  };
}

/** Whether the last request may run for the stage of a room. */
export const isUnderWay = (last: Attempt | undefined, room: Room): boolean =>
  last?.outcome === 'sent' && room.name === 'stage' && last.stage === room.stage;

/** Whether nothing at all was heard of a request: whoever sent it was cut off. */
export const isCutOff = (last: Attempt | undefined): boolean => last?.outcome === 'sent' && (last.faults ?? 0) === 0;

const isGivenUp = (outcome: Attempt['outcome']): boolean => outcome === 'failed' || outcome === 'given_up';

/**
 * The requests of a stage that are given up because another goes out now: to another server, or with other bytes to the
 * same one. They are to be stopped where they may still run. From now on they count as told.
 */
export function giveUpOthers(
  rows: Rows,
  { stage, backend, stageId }: Pick<Attempt, 'stage' | 'backend' | 'stageId'>,
): readonly Attempt[] {
  const isLeft = (attempt: Attempt): boolean =>
    attempt.stage === stage &&
    (attempt.backend !== backend || attempt.stageId !== stageId) &&
    (attempt.outcome === 'sent' || attempt.outcome === 'failed');
  const attempts = readAttempts(rows);
  const left = attempts.filter(isLeft);
  if (left.length > 0)
    rows.setList(
      'attempts',
      attempts.map((each) => (isLeft(each) ? { ...each, outcome: 'given_up' as const } : each)),
    );
  return left;
}

/** The gateway before a server has named the worker that has request `number`. */
export function nameWorker(rows: Rows, number: number, worker: string): void {
  const attempts = readAttempts(rows);
  const changed = attempts.map((each) => (each.number === number ? { ...each, worker } : each));
  if (changed.some((each, i) => each.worker !== attempts[i]?.worker)) rows.setList('attempts', changed);
}

/** Whether a server has refused the options that change no number: the job's requests go there without. */
export const isPlainAt = (attempts: readonly Attempt[], backend: string): boolean =>
  attempts.some((attempt) => attempt.backend === backend && attempt.isPlain === true);

/**
 * The worker behind `backend` that the next request should rather go to: it has the prompt encoded, and may still run
 * what was cut off. Null where none is known.
 */
export const workerFor = (attempts: readonly Attempt[], backend: string): string | null =>
  attempts.findLast((attempt) => attempt.backend === backend)?.worker ?? null;

/** What came of the last request. */
export const settleAttempt = (rows: Rows, outcome: 'stored' | 'failed'): void => changeLast(rows, () => ({ outcome }));

/**
 * The last request came to nothing. Where it `mayStillRun`, its repetition belongs there, once; `isReported`: the
 * server said itself that the stage failed.
 */
export function faultAttempt(
  rows: Rows,
  { mayStillRun, isReported }: { readonly mayStillRun: boolean; readonly isReported: boolean },
): void {
  changeLast(rows, ({ faults = 0, reported = 0 }) => ({
    outcome: mayStillRun ? 'sent' : 'failed',
    faults: faults + 1,
    reported: reported + (isReported ? 1 : 0),
  }));
}

/** The last request has ended at its worker without a result: that worker is no better than another. */
export const forgetWorker = (rows: Rows): void => changeLast(rows, () => ({ worker: null }));

function changeLast(rows: Rows, changes: (last: Attempt) => Partial<Attempt>): void {
  const attempts = readAttempts(rows);
  const last = attempts.at(-1);
  if (last) rows.setList('attempts', [...attempts.slice(0, -1), { ...last, ...changes(last) }]);
}
