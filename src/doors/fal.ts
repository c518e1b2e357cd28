/** A request and its errors in the shapes of fal's queue, of fal.run and of fal's streams. Pure. */
import type { CostView } from '../billing/charge.ts';
import type { Receipt } from '../billing/receipt.ts';
import { paidTflops } from '../billing/sum-costs.ts';
import type { JobEvent, JobEventType } from '../job/events.ts';
import { type FailureKind, kindOf } from '../job/failures.ts';
import type { LinkedJob } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';
import { FIRST_ROOM, roomName } from '../job/story.ts';
import { linesAfter, type OneRequest } from './one-request.ts';
import { type ProblemFields, WHOLE_BODY } from './problem.ts';

/** fields that stand in the address */
const IN_QUERY = ['fal_webhook', 'logs'];

/** Where a field is: headers alone have names with a dash. */
const placeOf = (field: string): readonly string[] => {
  if (field === WHOLE_BODY) return ['body'];
  if (IN_QUERY.includes(field)) return ['query', field];
  return field.includes('-') ? ['header', field] : ['body', ...field.split('.')];
};

/**
 * An error as fal's clients read it: `detail` is a sentence beside an `error_type`, or, where fields of the request are
 * at fault, a list of `{loc, msg, type}` under 422. `message` is the sentence for clients that look for it there.
 */
export function viewError({ status, code, detail, errors }: ProblemFields) {
  if (status !== 400 || !errors) return { status, body: { detail, error_type: code, message: detail } };
  const faults = errors.map(({ field, rule }) => ({ loc: placeOf(field), msg: rule, type: code }));
  return { status: 422 as const, body: { detail: faults, message: detail } };
}

/** Whether all jobs of a request stand in a line, ours or a stage server's. */
const isInQueue = ({ status, queue }: Pick<OneRequest, 'status' | 'queue'>): boolean =>
  status === 'queued' || (status === 'running' && queue !== null);

/** Whether no stage of a request has begun. */
export const isUnbegun = (request: OneRequest): boolean =>
  isInQueue(request) && request.jobs.every(({ room }) => room === roomName(FIRST_ROOM));

/** The status of a request. */
export interface FalStatus {
  readonly request_id: string;
  readonly status: 'IN_QUEUE' | 'IN_PROGRESS' | 'COMPLETED';
  readonly response_url: string;
  readonly status_url: string;
  readonly cancel_url: string;
  /** in the queue */
  readonly queue_position?: number;
  /** null: not asked for */
  readonly logs?: readonly FalLog[] | null;
  /** completed */
  readonly metrics?: { readonly inference_time: number | null };
  /** what was not as asked for; as it is submitted */
  readonly warnings?: readonly string[];
}

interface FalLog {
  readonly message: string;
  readonly level: LogLine['level'];
  readonly source: 'USER';
  /** RFC 3339 */
  readonly timestamp: string;
}

/** The status, at the address `base` of the request. */
export function viewStatus(request: OneRequest, base: string, { withLogs, seen = [] }: ShownLogs): FalStatus {
  const urls = { response_url: base, status_url: `${base}/status`, cancel_url: `${base}/cancel` };
  const common = {
    request_id: request.id,
    ...urls,
    ...(withLogs && {
      logs: linesAfter(request.logs, seen).map(({ message, level, at }) => ({
        message,
        level,
        source: 'USER' as const,
        timestamp: new Date(at).toISOString(),
      })),
    }),
  };
  if (isInQueue(request))
    return { ...common, status: 'IN_QUEUE' as const, queue_position: request.queue?.position ?? 0 };
  const shown = common.logs ?? null;
  switch (request.status) {
    case 'queued':
    case 'running':
      return { ...common, status: 'IN_PROGRESS' as const, logs: shown };
    case 'done':
    case 'failed':
    case 'cancelled': {
      const metrics = { inference_time: inferenceSeconds(request) };
      return { ...common, status: 'COMPLETED' as const, logs: shown, metrics };
    }
  }
}

export interface ShownLogs {
  readonly withLogs: boolean;
  /** how many lines of each image are left out; none where absent */
  readonly seen?: readonly number[];
}

/** Seconds of the stages' computing; null where no job has a receipt. */
const inferenceSeconds = ({ receipts }: Pick<OneRequest, 'receipts'>): number | null =>
  receipts.length === 0
    ? null
    : receipts
        .flatMap(({ stages }) => stages)
        .reduce((sum, { compute_ms, decode_ms }) => sum + compute_ms + decode_ms, 0) / 1000;

/** Where a job's picture is: an address, or the picture itself as a data URI. */
export type UrlOf = (job: LinkedJob) => string;

/** The addresses of pictures at a service. */
export const linkAt =
  (origin: string): UrlOf =>
  ({ links }) =>
    origin + links.image;

/** The result of a request. */
export interface FalResult {
  readonly images: readonly {
    readonly url: string;
    readonly width: number;
    readonly height: number;
    readonly content_type: string;
  }[];
  /** seconds */
  readonly timings: { readonly inference: number | null };
  /** of the first image */
  readonly seed: number;
  readonly prompt: string;
  readonly warnings: readonly string[];
  readonly cost: CostView | null;
  /** of the first image */
  readonly receipt: Receipt | null;
  /** of all images, where there are several */
  readonly receipts?: readonly Receipt[];
}

/** The result of a finished request; null where it has none. */
export function viewResult(request: OneRequest, urlOf: UrlOf): FalResult | null {
  const { status, first, jobs, receipts, cost, warnings } = request;
  if (status !== 'done') return null;
  return {
    images: jobs.flatMap((job) =>
      job.image
        ? [
            {
              url: urlOf(job),
              width: job.image.width,
              height: job.image.height,
              content_type: `image/${job.image.format}`,
            },
          ]
        : [],
    ),
    timings: { inference: inferenceSeconds(request) },
    seed: first.seed,
    prompt: first.prompt,
    warnings,
    cost,
    receipt: first.receipt,
    ...(jobs.length > 1 && { receipts }),
  };
}

/** A picture of a stage as a stream shows it: in the shape of the result, so that every client of it draws it. */
export function viewPartial(
  request: Pick<OneRequest, 'id'>,
  { data }: Extract<JobEvent, { readonly type: 'preview' }>,
  { job, index }: { readonly job: Pick<LinkedJob, 'seed' | 'prompt'>; readonly index: number },
) {
  const { stage, format, width, height, b64_json } = data;
  const content_type = `image/${format}`;
  return {
    images: [{ url: `data:${content_type};base64,${b64_json}`, width, height, content_type }],
    seed: job.seed,
    prompt: job.prompt,
    request_id: request.id,
    partial: { stage, image_index: index },
  };
}

/** What fal counts in units of its own, in TFLOPs here: the work that is paid. Null where nothing is charged. */
export function billableUnits({ receipts }: Pick<OneRequest, 'receipts'>): string | null {
  const lines = receipts.map(({ cost }) => cost?.lines ?? null);
  return lines.length === 0 || lines.includes(null) ? null : paidTflops(lines.flatMap((each) => each ?? []));
}

/** Why a request has no result. Throws a RangeError for one that has. */
export function whyNoResult({ status, error }: Pick<OneRequest, 'status' | 'error'>): ProblemFields {
  switch (status) {
    case 'done':
      throw new RangeError('a done job has a result');
    case 'queued':
    case 'running':
      return { status: 400, code: 'in_progress', detail: 'The request is still in progress.' };
    case 'cancelled':
      // 409 would be asked again by fal's client in Python
      return { status: 499, code: 'client_cancelled', detail: 'The request was cancelled.' };
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
export function viewCompletion(request: OneRequest, origin: string) {
  const payload = viewResult(request, linkAt(origin));
  const ids = { request_id: request.id, gateway_request_id: request.id };
  return payload
    ? { ...ids, status: 'OK' as const, payload }
    : {
        ...ids,
        status: 'ERROR' as const,
        error: request.error?.message ?? `The request was ${request.status}.`,
        payload: null,
        cost: request.cost,
      };
}
