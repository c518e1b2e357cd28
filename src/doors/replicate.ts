/** A job in the shape of Replicate's prediction, its events in the shape of Replicate's stream. Pure. */
import type { CostView } from '../billing/charge.ts';
import { dollars } from '../billing/sum-costs.ts';
import type { FollowedEvent } from '../job/events.ts';
import { type FailureKind, kindOf } from '../job/failures.ts';
import { hasEnded, type JobView } from '../job/job.ts';
import { logLines } from '../job/log-lines.ts';
import { listed } from '../job/view.ts';
import type { OneRequest } from './one-request.ts';
import { type ProblemFields, viewProblem } from './problem.ts';

type PredictionStatus = 'starting' | 'processing' | 'succeeded' | 'failed' | 'canceled';

export interface Prediction {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly status: PredictionStatus;
  readonly input: Readonly<Record<string, unknown>>;
  readonly output: readonly string[] | null;
  readonly error: string | null;
  readonly logs: string;
  readonly metrics: {
    /** seconds */
    readonly predict_time?: number;
    readonly total_time?: number;
    readonly image_count?: number;
    /** dollars; absent where nothing is charged */
    readonly cost_usd?: number;
  };
  readonly created_at: string;
  readonly started_at: string | null;
  readonly completed_at: string | null;
  readonly deadline: string | null;
  readonly data_removed: boolean;
  readonly source: 'api';
  readonly webhook?: string;
  readonly urls: { readonly get: string; readonly cancel: string; readonly stream: string };
  /** what was not as asked for */
  readonly warnings: readonly string[];
  /** what it costs, as far as that is known; null where nothing is charged */
  readonly cost: CostView | null;
  /** what the method did, once ended; see the native API */
  readonly receipt: JobView['receipt'];
  /** of all images, where there are several */
  readonly receipts?: OneRequest['receipts'];
  /** of all images, where there are several: each can be asked for by itself */
  readonly job_ids?: readonly string[];
}

/**
 * An error as Replicate's clients read it: problem details, 422 with `invalid_fields` where the request or fields of it
 * are at fault.
 */
export function viewError(fields: ProblemFields) {
  const { code, errors } = fields;
  const body = viewProblem(fields);
  if (fields.status !== 400 || !errors) return { status: fields.status, body };
  const invalid_fields = errors.map(({ field, rule }) => ({ type: code, field, description: rule }));
  return { status: 422 as const, body: { ...body, title: 'Input validation failed', status: 422, invalid_fields } };
}

function statusOf({ status, error }: Pick<OneRequest, 'status' | 'error'>): PredictionStatus {
  switch (status) {
    case 'queued':
      return 'starting';
    case 'running':
      return 'processing';
    case 'done':
      return 'succeeded';
    case 'cancelled':
      return 'canceled';
    case 'failed':
      return error ? statusOfFailure(kindOf(error.reason)) : 'failed';
  }
}

/**
 * Replicate's client polls for ever on a status it does not know, so a passed deadline is `canceled` there, as it is at
 * Replicate after the start.
 */
function statusOfFailure(kind: FailureKind): 'failed' | 'canceled' {
  switch (kind) {
    case 'deadline':
      return 'canceled';
    case 'request':
    case 'capacity':
    case 'fault':
      return 'failed';
  }
}

const date = (seconds: number): string => new Date(seconds * 1000).toISOString();

/**
 * The prediction. `isWaitedFor`: the answer to `Prefer: wait`, where Replicate's client takes everything but `starting`
 * for the end. `showsEach`: a webhook, which is told of each picture when it is there.
 */
export function viewPrediction(
  request: OneRequest,
  {
    origin,
    streamToken,
    isWaitedFor = false,
    showsEach = false,
  }: {
    readonly origin: string;
    readonly streamToken: string;
    readonly isWaitedFor?: boolean;
    readonly showsEach?: boolean;
  },
): Prediction {
  const { id, first, jobs, receipts, error, cost, startedAt, finishedAt } = request;
  const { model, prompt, width, height, seed, preset, output_format, webhook, created_at, deadline_at } = first;
  const path = `${origin}/v1/predictions/${id}`;
  const status = statusOf(request);
  const isOver = hasEnded(request);
  const pictures = jobs.flatMap(({ image, links }) => (image ? [origin + links.image] : []));
  const isOne = jobs.length === 1;
  return {
    id,
    model,
    version: first.plan.model_digest,
    status: isWaitedFor && !isOver ? 'starting' : status,
    input: {
      prompt,
      width,
      height,
      seed,
      ...(preset !== null && { preset }),
      output_format,
      ...(!isOne && { num_outputs: jobs.length }),
    },
    // clients that ask take the first output for the end
    output: (isOver || showsEach) && pictures.length > 0 ? pictures : null,
    error: error && status === 'failed' ? error.message : null,
    logs: request.logs.map(({ message }) => `${message}\n`).join(''),
    metrics: isOver && receipts.length > 0 ? metricsOf(request, pictures.length) : {},
    created_at: date(created_at),
    started_at: startedAt === null ? null : new Date(startedAt).toISOString(),
    completed_at: finishedAt === null ? null : date(finishedAt),
    deadline: deadline_at === null ? null : date(deadline_at),
    data_removed: false,
    source: 'api',
    ...(webhook && { webhook: webhook.url }),
    urls: { get: path, cancel: `${path}/cancel`, stream: `${path}/stream?token=${streamToken}` },
    warnings: request.warnings,
    cost,
    receipt: first.receipt,
    ...(!isOne && { receipts, job_ids: jobs.map((job) => job.id) }),
  };
}

function metricsOf({ receipts, cost }: OneRequest, image_count: number): Prediction['metrics'] {
  const stages = receipts.flatMap((receipt) => receipt.stages);
  return {
    predict_time: stages.reduce((sum, { wall_ms }) => sum + wall_ms, 0) / 1000,
    total_time: Math.max(...receipts.map(({ wall_ms }) => wall_ms.total)) / 1000,
    image_count,
    ...(cost && cost.usd !== null && { cost_usd: dollars(cost.usd) }),
  };
}

/** The prediction as a list shows it: without receipt and logs, the prompt cut. */
export function viewListed(prediction: Prediction): Prediction {
  const { webhook: _webhook, receipts: _receipts, input, ...shown } = prediction;
  return { ...shown, input: { ...input, prompt: listed(String(input.prompt)) }, logs: '', receipt: null };
}

/** What an event is in Replicate's stream: types with their data, in order. */
type StreamEvents = readonly (readonly [type: string, data: string])[];

type Ended = Extract<FollowedEvent, { readonly type: 'done' | 'failed' | 'cancelled' }>;

const logsOf = (event: FollowedEvent): StreamEvents => logLines([event]).map(({ message }) => ['logs', message]);

/** Every event before a job's end. */
export function viewStreamEvent(event: Exclude<FollowedEvent, Ended>): StreamEvents {
  switch (event.type) {
    case 'preview':
      return [['output', `data:image/${event.data.format};base64,${event.data.b64_json}`]];
    case 'queued':
    case 'plan':
    case 'stage':
    case 'step':
    case 'retry':
    case 'selection':
      return logsOf(event);
  }
}

/** The end of a job that has its image; `imageUrl` opens it. */
export const viewStreamPicture = (event: Extract<Ended, { readonly type: 'done' }>, imageUrl: string): StreamEvents => [
  ...logsOf(event),
  ['output', imageUrl],
];

/** The end of a stream, by the job that has no image; null: all have theirs. */
export function viewStreamEnd(event: Exclude<Ended, { readonly type: 'done' }> | null): StreamEvents {
  switch (event?.type) {
    case 'failed':
      return [
        ['error', event.data.message],
        ['done', '{"reason": "error"}'],
      ];
    case 'cancelled':
      return [['done', '{"reason": "canceled"}']];
    case undefined:
      return [['done', '{}']];
  }
}

/** The place in a stream after which nothing comes. */
export const LAST_ID = 'done';

/** The id of an event of a stream: the number of the last event of each job that was told whole by then. */
export const streamId = (seen: readonly number[]): string => seen.join('.');

/**
 * After which event of each of `count` jobs a stream goes on, as a `Last-Event-ID` says; from the first where it says
 * nothing that this stream has said; `over` where all was told.
 */
export function streamPlace(id: string | undefined, count: number): readonly number[] | 'over' {
  if (id === LAST_ID) return 'over';
  const seen = /^\d{1,9}(?:\.\d{1,9})*$/.test(id ?? '') ? (id ?? '').split('.').map(Number) : [];
  return seen.length === count ? seen : new Array<number>(count).fill(0);
}
