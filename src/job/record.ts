/** How a job's record changes: born, delayed by a fault, finished. Pure; the object stores what comes back. */
import { makeReceipt } from '../billing/receipt.ts';
import type { JobEvent } from './events.ts';
import { describeFailure, type FailureReason, type Fault, isFinal, reasonOf } from './failures.ts';
import type { ImageView, Job, JobRecord } from './job.ts';
import { FIRST_ROOM, roomName } from './story.ts';
import { jobPath } from './view.ts';

const BACKOFF_MS = { first: 500, most: 30_000 } as const;
const BUSY_MS = { least: 200, most: 10_000 } as const;

/** The record of a job just accepted. */
export function newRecord(
  {
    id,
    account,
    request,
    plan,
    deadlineAt,
    webhook,
  }: Pick<JobRecord, 'id' | 'account' | 'request' | 'plan' | 'deadlineAt' | 'webhook'>,
  now: number,
): JobRecord {
  const undecided = {
    busySince: null,
    backend: null,
    stageId: null,
    selections: null,
    image: null,
    receipt: null,
    failure: null,
    finishedAt: null,
    expiresAt: null,
    toldAt: null,
  };
  return {
    id,
    account,
    request,
    plan,
    deadlineAt,
    webhook,
    createdAt: now,
    room: FIRST_ROOM,
    roomSince: now,
    roomTimes: [],
    attempt: 0,
    tries: 0,
    notBefore: 0,
    ...undecided,
  };
}

/** The times of the rooms left once the present one is. */
export const timesAfter = ({ room, roomSince, roomTimes }: JobRecord, now: number): JobRecord['roomTimes'] => [
  ...roomTimes,
  { room: roomName(room), ms: now - roomSince },
];

/** What a fault of a stage does to its job: a delay with what to store and tell, or the end with its reason. */
export type Verdict =
  | { readonly kind: 'delay'; readonly changes: Partial<JobRecord>; readonly event: JobEvent | null }
  | { readonly kind: 'end'; readonly reason: FailureReason; readonly message: string };

export interface Patience {
  /** tries of one stage that may fail */
  readonly attempts: number;
  /** longest wait for a busy server */
  readonly queueMs: number;
}

/**
 * Wait where waiting helps, try again where that may, end otherwise. A busy server is waited for and no try is counted;
 * a passing fault is tried again after a pause that doubles; both go on with the next server of the plan. `record` is
 * the job as it was when the request was begun.
 */
export function afterFault(
  record: JobRecord,
  stage: number,
  fault: Fault,
  { attempts, queueMs }: Patience,
  now: number,
): Verdict {
  const tries = record.tries + 1;
  const { backends } = record.plan;
  const backend = backends[
    (backends.indexOf(record.backend ?? (backends[0] as string)) + 1) % backends.length
  ] as string;
  const message = describeFailure(fault);
  if (fault.reason === 'busy') {
    const busySince = record.busySince ?? now;
    if (now - busySince >= queueMs) return { kind: 'end', reason: 'no_capacity', message };
    const wait = Math.min(BUSY_MS.most, Math.max(BUSY_MS.least, fault.retryAfterMs));
    const event: JobEvent = { type: 'queued', data: { job_id: record.id, stage, position: null, eta_ms: null } };
    // told once for each wait, however often the server is asked
    return {
      kind: 'delay',
      changes: { tries: record.tries, busySince, notBefore: now + wait, backend, stageId: null },
      event: record.busySince === null ? event : null,
    };
  }
  if (isFinal(fault) || tries >= attempts) return { kind: 'end', reason: reasonOf(fault), message };
  const wait = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** (tries - 1));
  const event: JobEvent = { type: 'retry', data: { stage, attempt: tries, reason: fault.reason, wait_ms: wait } };
  return { kind: 'delay', changes: { busySince: null, notBefore: now + wait, backend, stageId: null }, event };
}

/** Image and receipt of a job whose last room is walked. */
export function outcomeOf(
  record: JobRecord,
  job: Job,
  numBytes: number,
  now: number,
): { readonly image: ImageView; readonly receipt: NonNullable<JobRecord['receipt']> } {
  const { id, request, plan } = record;
  return {
    image: {
      url: `${jobPath(id)}/image`,
      format: request.format,
      width: request.width,
      height: request.height,
      bytes: numBytes,
    },
    receipt: makeReceipt({
      jobId: id,
      model: plan.model.id,
      modelDigest: plan.model.digest,
      seed: request.seed,
      preset: request.schedule.preset,
      work: plan,
      usage: job.usage,
      rooms: timesAfter(record, now),
      totalMs: now - record.createdAt,
    }),
  };
}
