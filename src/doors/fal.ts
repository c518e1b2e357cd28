/** A job and its errors in the shapes of fal's queue. Pure. */
import { paidTflops } from '../billing/sum-costs.ts';
import type { JobEventType } from '../job/events.ts';
import { type FailureKind, kindOf } from '../job/failures.ts';
import type { LinkedJob } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';
import { type ProblemFields, WHOLE_BODY } from './problem.ts';

/**
 * An error as fal's client reads it: `detail` is a sentence, or, where fields of the request are at fault, a list of
 * `{loc, msg, type}` under 422.
 */
export function viewError({ status, code, detail, errors }: ProblemFields) {
  if (status !== 400 || !errors) return { status, body: { detail } };
  const faults = errors.map(({ field, rule }) => ({
    loc: field === WHOLE_BODY ? ['body'] : ['body', ...field.split('.')],
    msg: rule,
    type: code,
  }));
  return { status: 422 as const, body: { detail: faults } };
}

/** The status, at the address `base` of the request. */
export function viewStatus(job: LinkedJob, logs: readonly LogLine[], base: string, withLogs: boolean) {
  const urls = { response_url: base, status_url: `${base}/status`, cancel_url: `${base}/cancel` };
  const common = {
    request_id: job.id,
    ...urls,
    ...(withLogs && {
      logs: logs.map(({ message, level, at }) => ({
        message,
        level,
        source: 'USER',
        timestamp: new Date(at).toISOString(),
      })),
    }),
  };
  const inQueue = { ...common, status: 'IN_QUEUE' as const, queue_position: job.queue?.position ?? 0 };
  const shown = common.logs ?? null;
  switch (job.status) {
    case 'queued':
      return inQueue;
    case 'running':
      return job.queue === null ? { ...common, status: 'IN_PROGRESS' as const, logs: shown } : inQueue;
    case 'done':
    case 'failed':
    case 'cancelled': {
      const metrics = { inference_time: inferenceSeconds(job) };
      return { ...common, status: 'COMPLETED' as const, logs: shown, metrics };
    }
  }
}

/** Seconds of the stages' computing; null where the job has no receipt. */
const inferenceSeconds = ({ receipt }: LinkedJob): number | null =>
  receipt && receipt.stages.reduce((sum, { compute_ms, decode_ms }) => sum + compute_ms + decode_ms, 0) / 1000;

/** The result of a finished job; null where it has none. */
export function viewResult(job: LinkedJob, origin: string) {
  const { image, receipt } = job;
  if (!image || !receipt) return null;
  return {
    images: [
      {
        url: origin + job.links.image,
        width: image.width,
        height: image.height,
        content_type: `image/${image.format}`,
      },
    ],
    timings: { inference: inferenceSeconds(job) },
    seed: job.seed,
    prompt: job.prompt,
    cost: job.cost,
    receipt,
  };
}

/** What fal counts in units of its own, in TFLOPs here: the work that is paid. Null where nothing is charged. */
export const billableUnits = ({ receipt }: Pick<LinkedJob, 'receipt'>): string | null =>
  receipt?.cost ? paidTflops(receipt.cost.lines) : null;

/** Why a request has no result. Throws a RangeError for one that has. */
export function whyNoResult({ status, error }: Pick<LinkedJob, 'status' | 'error'>): ProblemFields {
  switch (status) {
    case 'done':
      throw new RangeError('a done job has a result');
    case 'queued':
    case 'running':
      return { status: 400, code: 'in_progress', detail: 'The request is still in progress.' };
    case 'cancelled':
      return { status: 409, code: 'cancelled', detail: 'The request was cancelled.' };
    case 'failed':
      if (!error) throw new RangeError('a failed job states its failure');
      return { status: failureStatus(kindOf(error.reason)), code: error.reason, detail: error.message };
  }
}

/** Every failure is a 500: after 429, 502, 503 and 504 fal's client asks again, and a failed job stays failed. */
function failureStatus(kind: FailureKind): 500 {
  switch (kind) {
    case 'request':
    case 'capacity':
    case 'deadline':
    case 'fault':
      return 500;
  }
}

/** Whether an event changes the status or the logs of its request. */
export function isTold(type: JobEventType): boolean {
  switch (type) {
    case 'step':
    case 'preview':
      return false;
    case 'queued':
    case 'plan':
    case 'stage':
    case 'retry':
    case 'selection':
    case 'done':
    case 'failed':
    case 'cancelled':
      return true;
  }
}

/** The body of fal's webhook. */
export function viewCompletion(job: LinkedJob, origin: string) {
  const payload = viewResult(job, origin);
  const ids = { request_id: job.id, gateway_request_id: job.id };
  return payload
    ? { ...ids, status: 'OK' as const, payload }
    : {
        ...ids,
        status: 'ERROR' as const,
        error: job.error?.message ?? `The request was ${job.status}.`,
        payload: null,
        cost: job.cost,
      };
}
