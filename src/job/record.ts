/** How a job's record changes: born, delayed by a fault, finished. Pure; the object stores what comes back. */
import type { JobEnd, JobWork } from '../account/account.ts';
import { type Charge, chargeOf, type Paying, type StageDone, viewCharge } from '../billing/charge.ts';
import { parseUsd } from '../billing/money.ts';
import { wholeMflop } from '../billing/price.ts';
import { makeReceipt, type Receipt, type StageUsage } from '../billing/receipt.ts';
import { plainWork, totalFlops, viewPlannedWork } from '../billing/work.ts';
import { evaluatedSteps } from '../numerics/taylor.ts';
import type { JobEvent } from './events.ts';
import {
  blameOf,
  describeFailure,
  type FailureReason,
  type Fault,
  isReported,
  isWaiting,
  reasonOf,
} from './failures.ts';
import type { ImageView, JobRecord, Room } from './job.ts';
import { selectionOf } from './selection.ts';
import { FIRST_ROOM, roomName } from './story.ts';
import { jobPath } from './view.ts';

/** Pauses before a stage goes again to a server where it came to nothing: they double. */
const BACKOFF_MS = { first: 500, most: 30_000 } as const;
/** Servers that a stage is sent to one after the other without a pause. */
const AT_ONCE = 3;
/**
 * When a job in a line looks whether it still stands there, counted from when it began to wait, and then again and
 * again. It is called: it looks only in case its place was lost, and by the second time its place is written. Nothing
 * is stored at a look, and its alarm is a row: ten minutes in a line cost two more than ten seconds.
 */
const IN_LINE_MS = { looks: [30_000, 90_000], every: 600_000 } as const;
/** Where nobody can take it a job looks again, after twice as long each time. */
const NOBODY_MS = { first: 1000, most: 600_000 } as const;

/**
 * A job was let in because its expected wait was short enough. In a line that moves it has so many times its patience:
 * the servers may be slower than they were.
 */
const MOVING_LINE = 2;

/** The longest pause that a job is given. */
export const LONGEST_PAUSE_MS = IN_LINE_MS.every;

/**
 * The record of a job just accepted. It is as old as its entry in the account, `enteredAt`: jobs of one account wait in
 * the order in which they were entered, however long each of their objects took to come.
 */
export function newRecord(
  {
    id,
    account,
    regions = [''],
    enteredAt,
    request,
    plan,
    deadlineAt,
    webhook,
  }: Pick<JobRecord, 'id' | 'account' | 'request' | 'plan' | 'deadlineAt' | 'webhook'> &
    Partial<Pick<JobRecord, 'regions'>> & { readonly enteredAt?: number | undefined },
  now: number,
): JobRecord {
  const undecided = {
    busySince: null,
    selections: null,
    image: null,
    receipt: null,
    failure: null,
    finishedAt: null,
    expiresAt: null,
    confirmedAt: null,
  };
  return {
    id,
    account,
    regions,
    request,
    plan,
    deadlineAt,
    webhook,
    // the account's clock may be ahead
    createdAt: Math.min(now, enteredAt ?? now),
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
  | { readonly kind: 'end'; readonly reason: FailureReason; readonly message: string; readonly attempts: number };

export interface Patience {
  /** failures of one stage that servers may report before it is held to be the stage itself */
  readonly attempts: number;
  /** longest time without a result of the stage */
  readonly queueMs: number;
}

/** What a stage has met so far. */
export interface Met {
  /** servers reported so many failures of it */
  readonly reported: number;
  /** it came to nothing so often at the server it was just at, before now */
  readonly faultsThere: number;
  /** servers where it came to nothing before */
  readonly elsewhere: number;
  /** there is a server where it has not come to nothing yet */
  readonly hasOther: boolean;
  /** a dispatcher gave the slot: it knows when a busy server takes something again */
  readonly isDispatched: boolean;
}

/**
 * Milliseconds that a job has to wait at `now`; 0: none. A stored pause that ends later than any pause may was stored
 * before the clock stepped back, and is over.
 */
export function pauseLeft({ notBefore }: Pick<JobRecord, 'notBefore'>, now: number): number {
  const left = notBefore - now;
  return left > LONGEST_PAUSE_MS ? 0 : Math.max(0, left);
}

/** Milliseconds until a job's deadline, never more than it was given; 0: it is over, `Infinity`: it has none. */
export function timeLeft({ deadlineAt, createdAt }: Pick<JobRecord, 'deadlineAt' | 'createdAt'>, now: number): number {
  if (deadlineAt === null) return Number.POSITIVE_INFINITY;
  return Math.max(0, Math.min(deadlineAt - now, deadlineAt - createdAt));
}

/** Since when a stage has had no result, seen at `now`: a clock that has stepped back begins the wait anew. */
const since = ({ busySince }: Pick<JobRecord, 'busySince'>, now: number): number => Math.min(busySince ?? now, now);

/** Whether a stage has waited for a result as long as it may. */
export const isOutOfPatience = (record: Pick<JobRecord, 'busySince'>, { queueMs }: Patience, now: number): boolean =>
  record.busySince !== null && now - since(record, now) >= queueMs;

/**
 * Try again where that may help, end otherwise. A fault of the job ends it. Every other is tried again as long as the
 * patience lasts, which is a time and not a count: an outage uses up any count in seconds. Only failures of the stage
 * that servers report themselves are counted. At another server it goes on at once; at one where it came to nothing
 * before, after a pause that grows. `record` is the job as it was when the request was begun.
 */
export function afterFault(
  record: JobRecord,
  stage: number,
  fault: Fault,
  { patience, met, now }: { readonly patience: Patience; readonly met: Met; readonly now: number },
): Verdict {
  const message = describeFailure(fault);
  const isNoTry = isWaiting(fault);
  const tries = record.tries + (isNoTry ? 0 : 1);
  const end = { kind: 'end', reason: reasonOf(fault), message, attempts: tries } as const;
  const isOver = isReported(fault) && met.reported + 1 >= patience.attempts;
  // waiting for a slot is over once a stage runs: then its first failure begins another wait
  const busySince = !isNoTry && record.tries === 0 ? now : since(record, now);
  // whoever is in line by an estimate is not given up for a server that is busy after all
  const longestMs = patience.queueMs * (isNoTry && met.isDispatched ? MOVING_LINE : 1);
  const left = longestMs - (now - busySince);
  if (blameOf(fault) === 'job' || isOver || left <= 0) return end;
  const wait = Math.min(left, pauseFor(fault, met, now - busySince));
  const event: JobEvent =
    fault.reason === 'busy' || fault.reason === 'no_server'
      ? { type: 'queued', data: { job_id: record.id, stage, position: null, eta_ms: null } }
      : {
          type: 'retry',
          data: { stage, attempt: record.tries + 1, reason: fault.reason, wait_ms: wait },
        };
  return {
    kind: 'delay',
    changes: { tries, busySince, notBefore: now + wait },
    // told once, however often a server that takes nothing is asked
    event: isNoTry && met.faultsThere > 0 ? null : event,
  };
}

/** Milliseconds until the stage goes out again. `waitedMs` is how long it has come to nothing. */
function pauseFor(fault: Fault, { faultsThere, elsewhere, hasOther, isDispatched }: Met, waitedMs: number): number {
  if (fault.reason === 'busy')
    return isDispatched ? 0 : Math.min(BACKOFF_MS.most, Math.max(BACKOFF_MS.first, fault.retryAfterMs));
  // a stage that fails everywhere does not run through the whole fleet at once
  if (blameOf(fault) === 'server' && hasOther && elsewhere < AT_ONCE && faultsThere === 0) return 0;
  // as long again as it has been, so that a server that fell over is not hit by everybody at once
  if (isWaiting(fault) || blameOf(fault) === 'bucket')
    return Math.min(BACKOFF_MS.most, Math.max(BACKOFF_MS.first, waitedMs));
  return Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** Math.max(faultsThere, elsewhere - AT_ONCE));
}

/** A job that waits: what to store, null where that is stored, and when it looks again. */
export interface Waiting {
  readonly changes: Pick<JobRecord, 'busySince' | 'notBefore'> | null;
  readonly lookAt: number;
  readonly event: JobEvent | null;
}

/**
 * What waiting does to a job that no server has a slot for: in a line it is called, elsewhere it looks again. Stored
 * and told once, however long it takes. Null where it has waited as long as it may.
 */
export function whileWaiting(
  record: JobRecord,
  stage: number,
  line: { readonly position: number; readonly etaMs: number | null } | null,
  { patience, now }: { readonly patience: Patience; readonly now: number },
): Waiting | null {
  const longest = line && line.etaMs !== null ? { ...patience, queueMs: MOVING_LINE * patience.queueMs } : patience;
  if (isOutOfPatience(record, longest, now)) return null;
  const busySince = since(record, now);
  const pause = line ? pauseInLine(now - busySince) : Math.min(NOBODY_MS.most, NOBODY_MS.first + now - busySince);
  const lookAt = Math.min(now + pause, busySince + longest.queueMs);
  const { position = null, etaMs = null } = line ?? {};
  const event: JobEvent = { type: 'queued', data: { job_id: record.id, stage, position, eta_ms: etaMs } };
  return {
    // a clock that has stepped back begins the wait anew
    changes: record.busySince === busySince ? null : { busySince, notBefore: lookAt },
    lookAt,
    event: record.busySince === null ? event : null,
  };
}

/** Milliseconds until a job in a line looks again that has waited so long. */
function pauseInLine(waitedMs: number): number {
  const next = IN_LINE_MS.looks.find((at) => at > waitedMs);
  return next === undefined ? IN_LINE_MS.every : next - waitedMs;
}

/**
 * Whether a job waits for something else than its own stage request, and has an alarm for it: who wakes it before need
 * not look.
 */
export const isWaitingOnly = ({ busySince, room }: Pick<JobRecord, 'busySince' | 'room'>): boolean =>
  room.name === 'stage' && busySince !== null;

/** The finished image of a job as callers see it. */
export const imageOf = ({ id, request }: JobRecord, numBytes: number): ImageView => ({
  url: `${jobPath(id)}/image`,
  format: request.format,
  ...(request.enlarge ?? { width: request.width, height: request.height }),
  bytes: numBytes,
});

/** How a job ends: its last room, and why it failed where it did. */
export interface End {
  readonly room: Extract<Room, { readonly name: 'done' | 'failed' | 'cancelled' }>;
  readonly reason: FailureReason | null;
}

/**
 * What is paid of a job that ends. Who cancels or sets a deadline pays for the steps heard of, and so does who wrote a
 * schedule that overflows; every other failure is ours.
 */
export function payingOf({ isOwnSchedule }: JobRecord['request'], { room, reason }: End): Paying {
  if (room.name === 'done') return 'whole';
  if (room.name === 'cancelled' || reason === 'deadline_exceeded') return 'heard';
  return reason === 'not_finite' && isOwnSchedule ? 'heard' : 'nothing';
}

/** Work of a job that was heard of: its finished stages, and `steps` of the one under way. */
export function workHeard(
  { plan, request, room }: Pick<JobRecord, 'plan' | 'request' | 'room'>,
  usage: readonly StageUsage[],
  steps: number,
): readonly StageDone[] {
  const finished = usage.map(({ stage, evaluations, textTokens }) => ({
    stage,
    evaluations,
    isFinished: true,
    textTokens: textTokens ?? null,
  }));
  const planned = room.name === 'stage' ? plan.stages[room.stage - 1] : undefined;
  if (!planned || steps === 0 || finished.some(({ stage }) => stage === planned.stage)) return finished;
  const evaluations = evaluatedSteps(planned.steps, request.schedule.cache).filter((index) => index < steps).length;
  return [...finished, { stage: planned.stage, evaluations, isFinished: false, textTokens: null }];
}

/** The charge of a job that ends; null where it has no price. */
export const chargeAtEnd = (record: JobRecord, end: End, usage: readonly StageUsage[], steps: number): Charge | null =>
  record.plan.price && chargeOf(record.plan.price, workHeard(record, usage, steps), payingOf(record.request, end));

/**
 * Work that stage servers did for a job beyond what it was let in for, when `steps` says how many were heard of each
 * stage in all its runs together: what nobody pays still counts against the account's budget of work. Null: none.
 */
export function excessWork({ plan }: Pick<JobRecord, 'plan'>, steps: ReadonlyMap<number, number>): JobEnd['excess'] {
  const done = plan.stages.reduce((sum, { stage, flops, evaluations }) => {
    return sum + (evaluations === 0 ? 0 : (flops / evaluations) * (steps.get(stage) ?? 0));
  }, 0);
  const { denoise, decode, text } = plan.flops;
  const mflop = wholeMflop(done - (denoise + decode + text));
  return mflop > 0 ? { mflop, plainMflop: wholeMflop(totalFlops(plainWork(plan))) } : null;
}

/** The receipt of a job that ends at `now`, however it ends: the work that stage servers reported, and its charge. */
export const receiptOf = (
  record: JobRecord,
  { usage, charge, end }: { readonly usage: readonly StageUsage[]; readonly charge: Charge | null; readonly end: End },
  now: number,
): Receipt =>
  makeReceipt({
    jobId: record.id,
    model: record.plan.model.id,
    modelDigest: record.plan.model.digest,
    seed: record.request.seed,
    preset: record.request.schedule.preset,
    solver: record.request.solver,
    cache: record.request.schedule.cache,
    selection: selectionOf(record.request, record.plan),
    work: record.plan,
    warnings: record.plan.warnings,
    usage,
    cost: record.plan.price && charge && viewCharge(record.plan.price, charge, payingOf(record.request, end)),
    rooms: timesAfter(record, now),
    totalMs: now - record.createdAt,
  });

/** What an account learns of a done job: its work, and the time its stages had. */
export const jobWorkOf = ({ plan }: Pick<JobRecord, 'plan'>, { stages }: Receipt): JobWork => ({
  model: plan.model.id,
  tflops: viewPlannedWork(plan).total,
  ms: stages.reduce((sum, { wall_ms }) => sum + wall_ms, 0),
});

/** How an ended job ended, as its account is told; null for one that has not. */
export function endOf(record: Pick<JobRecord, 'plan' | 'room' | 'receipt'>, excess: JobEnd['excess']): JobEnd | null {
  const { room, receipt } = record;
  if (room.name === 'stage' || room.name === 'select') return null;
  const cost = receipt?.cost ?? null;
  return {
    status: room.name,
    work: room.name === 'done' && receipt ? jobWorkOf(record, receipt) : null,
    charge: cost && {
      micro: parseUsd(cost.usd),
      mflop: cost.lines.reduce((sum, { tflops }) => sum + Math.round(tflops * 1e6), 0),
    },
    excess,
  };
}
