/** A job in the shape of Replicate's prediction, its events in the shape of Replicate's stream. Pure. */
import type { CostView } from '../billing/charge.ts';
import { dollars } from '../billing/sum-costs.ts';
import type { SeenEvent } from '../job/events.ts';
import { type FailureKind, kindOf } from '../job/failures.ts';
import { hasEnded, type JobView } from '../job/job.ts';
import type { LinkedJob } from '../job/links.ts';
import { type LogLine, logLines } from '../job/log-lines.ts';
import { cut } from '../job/view.ts';

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
  /** what it costs, as far as that is known; null where nothing is charged */
  readonly cost: CostView | null;
  /** what the method did, once ended; see the native API */
  readonly receipt: JobView['receipt'];
}

function statusOf({ status, error }: JobView): PredictionStatus {
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
 * for the end.
 */
export function viewPrediction(
  job: LinkedJob,
  logs: readonly LogLine[],
  {
    origin,
    streamToken,
    isWaitedFor = false,
  }: { readonly origin: string; readonly streamToken: string; readonly isWaitedFor?: boolean },
): Prediction {
  const { id, model, receipt, prompt, width, height, seed, preset, output_format, links, error, webhook, cost } = job;
  const path = `${origin}/v1/predictions/${id}`;
  const status = statusOf(job);
  const started = logs.find(({ message }) => message.startsWith('stage '))?.at ?? null;
  return {
    id,
    model,
    version: job.plan.model_digest,
    status: isWaitedFor && !hasEnded(job) ? 'starting' : status,
    input: { prompt, width, height, seed, ...(preset !== null && { preset }), output_format },
    output: job.image && [origin + links.image],
    error: error && status === 'failed' ? error.message : null,
    logs: logs.map(({ message }) => `${message}\n`).join(''),
    metrics: receipt
      ? {
          predict_time: receipt.stages.reduce((sum, { wall_ms }) => sum + wall_ms, 0) / 1000,
          total_time: receipt.wall_ms.total / 1000,
          image_count: job.image ? 1 : 0,
          ...(cost && cost.usd !== null && { cost_usd: dollars(cost.usd) }),
        }
      : {},
    created_at: date(job.created_at),
    started_at: started === null ? null : new Date(started).toISOString(),
    completed_at: job.finished_at === null ? null : date(job.finished_at),
    deadline: job.deadline_at === null ? null : date(job.deadline_at),
    data_removed: false,
    source: 'api',
    ...(webhook && { webhook: webhook.url }),
    urls: { get: path, cancel: `${path}/cancel`, stream: `${path}/stream?token=${streamToken}` },
    cost,
    receipt,
  };
}

/** The prediction as a list shows it: without receipt and logs, the prompt cut. */
export function viewListed(prediction: Prediction): Prediction {
  const { webhook: _webhook, input, ...shown } = prediction;
  return { ...shown, input: { ...input, prompt: cut(String(input.prompt)) }, logs: '', receipt: null };
}

/** What an event is in Replicate's stream: types with their data, in order. */
type StreamEvents = readonly (readonly [type: string, data: string])[];

type Done = Extract<SeenEvent, { readonly type: 'done' }>;

const logsOf = (event: SeenEvent): StreamEvents => logLines([event]).map(({ message }) => ['logs', message]);

/** Every event but the last of a job that has its image. */
export function viewStreamEvent(event: Exclude<SeenEvent, Done>): StreamEvents {
  switch (event.type) {
    case 'preview':
      return [['output', `data:image/${event.data.format};base64,${event.data.b64_json}`]];
    case 'failed':
      return [
        ['error', event.data.message],
        ['done', '{"reason": "error"}'],
      ];
    case 'cancelled':
      return [['done', '{"reason": "canceled"}']];
    case 'queued':
    case 'plan':
    case 'stage':
    case 'step':
    case 'retry':
    case 'selection':
      return logsOf(event);
  }
}

/** The last event of a job that has its image; `imageUrl` opens it. */
export const viewStreamDone = (event: Done, imageUrl: string): StreamEvents => [
  ...logsOf(event),
  ['output', imageUrl],
  ['done', '{}'],
];
