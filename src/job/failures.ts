/**
 * What a stage that came to nothing means for its job: whether trying again can help, and the sentence a caller gets.
 * Pure.
 */
import type { SlotOutcome } from '../fleet/slots.ts';
import type { StageFailure } from '../stage/client.ts';
import { isStageErrorCode, type StageErrorCode } from '../stage/contract.ts';

/** Why a stage request came to nothing: there was no server to send it to, or that gave no result. */
export type StageFault = StageFailure | { readonly reason: 'no_server' };

/** Why a stage came to nothing: its request did, or the bucket would not take the image. */
export type Fault = StageFault | { readonly reason: 'storage_failed'; readonly detail: string };

/**
 * Why a job failed, as callers see it. The codes that a stage server reports come through where the contract names
 * them; any other is `reported`, and the message says it.
 */
export type FailureReason =
  | Exclude<Fault['reason'], 'busy' | 'no_server' | 'aborted'>
  | StageErrorCode
  | 'model_changed'
  | 'engine_changed'
  | 'no_capacity'
  | 'not_confirmed'
  | 'interrupted'
  | 'deadline_exceeded'
  | 'unreadable'
  | 'internal_error';

const isNamed = (code: string): code is StageErrorCode | 'model_changed' | 'engine_changed' =>
  isStageErrorCode(code) || code === 'model_changed' || code === 'engine_changed';

/** Every reason, so that one stored by an earlier version can be told from these. */
const REASONS: Readonly<Record<FailureReason, true>> = {
  unreachable: true,
  refused: true,
  server_error: true,
  gateway: true,
  invalid_response: true,
  reported: true,
  timeout: true,
  storage_failed: true,
  model_failed: true,
  orphaned: true,
  draining: true,
  not_finite: true,
  cancelled: true,
  model_changed: true,
  engine_changed: true,
  no_capacity: true,
  not_confirmed: true,
  interrupted: true,
  deadline_exceeded: true,
  unreadable: true,
  internal_error: true,
};

/** Every reason that a job can fail for. */
export const FAILURE_REASONS = Object.keys(REASONS) as [FailureReason, ...FailureReason[]];

/** A stored reason as one of these: a code that only a stage server knows is `reported`. */
export const knownReason = (reason: string): FailureReason =>
  Object.hasOwn(REASONS, reason) ? (reason as FailureReason) : 'reported';

/** The name under which a job fails that a fault ends. */
export function reasonOf(fault: Fault): FailureReason {
  switch (fault.reason) {
    case 'reported':
      return isNamed(fault.code) ? fault.code : 'reported';
    case 'busy':
    case 'no_server':
      return 'no_capacity';
    case 'aborted':
      return 'interrupted';
    case 'unreachable':
    case 'refused':
    case 'server_error':
    case 'gateway':
    case 'invalid_response':
    case 'timeout':
    case 'storage_failed':
      return fault.reason;
  }
}

/** What a failure is about: the request itself, a lack of free stage servers, the deadline, or a fault of ours. */
export type FailureKind = 'request' | 'capacity' | 'deadline' | 'fault';

/** The kind of a reason: what the doors decide their statuses by. */
export function kindOf(reason: FailureReason): FailureKind {
  switch (reason) {
    case 'refused':
      return 'request';
    case 'no_capacity':
    case 'not_confirmed':
      return 'capacity';
    case 'deadline_exceeded':
      return 'deadline';
    case 'unreachable':
    case 'server_error':
    case 'gateway':
    case 'invalid_response':
    case 'reported':
    case 'timeout':
    case 'storage_failed':
    case 'model_failed':
    case 'orphaned':
    case 'draining':
    case 'not_finite':
    case 'cancelled':
    case 'model_changed':
    case 'engine_changed':
    case 'interrupted':
    case 'unreadable':
    case 'internal_error':
      return 'fault';
  }
}

/**
 * What a refusal is called of a server that cannot read options which its list names and the job needs: it is an older
 * one than it was.
 */
export const FEATURE_LOST = 'feature_lost';
/** Refusals that say something of the server or the way to it: another server, or another try, may take the stage. */
const REFUSED_BY_SERVER = ['unauthorized', 'unknown_model', 'broken_body', 'stage_conflict', FEATURE_LOST];
/** What a server reports of itself, although it says that trying again there does not help. */
const REPORTED_OF_SERVER = ['model_changed', 'engine_changed'];
/** Reported of a stage that a `DELETE` stopped: one of ours that came late, for an earlier run of the stage there. */
const REPORTED_OF_US = ['cancelled'];

/**
 * Whose a fault is: of the `server` or the way to it, so that another may take the stage; of the `job`, so that every
 * server would say so; of the `bucket`; of `nobody`, where servers are busy or the request was stopped.
 */
export type Blame = 'server' | 'job' | 'bucket' | 'nobody';

export function blameOf(fault: Fault): Blame {
  switch (fault.reason) {
    case 'refused':
      return REFUSED_BY_SERVER.includes(fault.code) ? 'server' : 'job';
    case 'reported':
      if (REPORTED_OF_US.includes(fault.code)) return 'nobody';
      return fault.retryable || REPORTED_OF_SERVER.includes(fault.code) ? 'server' : 'job';
    case 'unreachable':
    case 'server_error':
    case 'gateway':
    case 'invalid_response':
    case 'timeout':
      return 'server';
    case 'storage_failed':
      return 'bucket';
    case 'busy':
    case 'no_server':
    case 'aborted':
      return 'nobody';
  }
}

/**
 * Whether a server cannot read the options of a request. One that is older than its list refuses a feature so: the same
 * request without the options that change no number may be taken.
 */
export const isOfOptions = (failure: StageFailure): boolean =>
  failure.reason === 'refused' && failure.code === 'bad_metadata';

/** Whether a server says itself that the stage failed there: only that is counted. */
export const isReported = (fault: Fault): boolean =>
  fault.reason === 'reported' && !REPORTED_OF_SERVER.includes(fault.code);

/** Servers at which a stage may come to nothing before it is no longer held against the next one. */
const SUSPECT_AFTER = 2;

/** Whether the stage may be what a server fails at: it had the stage, or lacks what the stage asks for. */
const mayBeOfStage = (fault: Fault): boolean =>
  ['server_error', 'invalid_response', 'reported', 'timeout'].includes(fault.reason) ||
  (fault.reason === 'refused' && fault.code === FEATURE_LOST);

/**
 * What a fault tells the dispatcher of the server that had the slot. `elsewhere`: other servers where the stage came to
 * nothing. A stage at which one server after the other fails says nothing of them any more.
 */
export function slotOutcomeOf(fault: Fault, elsewhere: number): SlotOutcome {
  if (fault.reason === 'busy') return { kind: 'busy', retryMs: fault.retryAfterMs };
  const isSuspect = elsewhere >= SUSPECT_AFTER && mayBeOfStage(fault);
  return blameOf(fault) === 'server' && !isSuspect
    ? { kind: 'wrong', what: describeFailure(fault) }
    : { kind: 'dropped' };
}

/**
 * Whether a stage came to nothing because nobody could take it: that is no attempt. A connection that was refused, or
 * that nobody answered, is such a case; one that broke inside an answer is not.
 */
export const isWaiting = (fault: Fault): boolean =>
  fault.reason === 'busy' || fault.reason === 'no_server' || (fault.reason === 'unreachable' && !fault.isAnswered);

/**
 * Whether a stage may go on where it was sent although its request came to nothing: its repetition belongs there. Of a
 * server that hangs nothing is expected any more.
 */
export const mayStillRun = ({ reason }: Fault): boolean =>
  reason === 'unreachable' || reason === 'gateway' || reason === 'aborted';

/** One sentence a caller can act on. Addresses and tokens never appear in it. */
export function describeFailure(failure: Fault): string {
  switch (failure.reason) {
    case 'unreachable':
      return 'The stage server could not be reached or closed the connection.';
    case 'no_server':
      return 'No stage server could take the job; try again later.';
    case 'busy':
      return 'The stage server was busy for too long; try again later.';
    case 'refused':
      return `The stage server refused the stage (${failure.code}): ${failure.message}`;
    case 'server_error':
      return `The stage server answered with status ${failure.status}.`;
    case 'gateway':
      return `Something between here and the stage server answered with status ${failure.status}.`;
    case 'invalid_response':
      return `The stage server's answer was not a stage result: ${failure.detail}.`;
    case 'reported':
      return `The stage server reported ${failure.code}: ${failure.message}`;
    case 'timeout':
      return failure.kind === 'total'
        ? `The stage took longer than ${failure.ms / 1000} s.`
        : `The stage server said nothing for ${failure.ms / 1000} s.`;
    case 'aborted':
      return 'The stage was stopped.';
    case 'storage_failed':
      return 'The finished picture could not be stored.';
  }
}
