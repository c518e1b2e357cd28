/** A job in the shape of Replicate's prediction. Pure. */
import { hasEnded, type JobView } from '../job/job.ts';
import type { LinkedJob } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';

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
  readonly metrics: { readonly predict_time?: number; readonly total_time?: number };
  readonly created_at: string;
  readonly started_at: string | null;
  readonly completed_at: string | null;
  readonly deadline: string | null;
  readonly data_removed: boolean;
  readonly source: 'api';
  readonly webhook?: string;
  readonly urls: { readonly get: string; readonly cancel: string; readonly stream: string };
  /** what the method did, once done; see the native API */
  readonly receipt: JobView['receipt'];
}

/**
 * Replicate's client polls for ever on a status it does not know, so a passed deadline is `canceled` there, as it is at
 * Replicate after the start.
 */
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
      return error?.reason === 'deadline_exceeded' ? 'canceled' : 'failed';
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
  const { id, model, receipt, prompt, width, height, seed, preset, output_format, links, error, webhook } = job;
  const path = `${origin}/v1/predictions/${id}`;
  const started = logs.find(({ message }) => message.startsWith('stage '))?.at ?? null;
  return {
    id,
    model,
    version: job.plan.model_digest,
    status: isWaitedFor && !hasEnded(job) ? 'starting' : statusOf(job),
    input: { prompt, width, height, seed, ...(preset !== null && { preset }), output_format },
    output: job.image && [origin + links.image],
    error: error && error.reason !== 'deadline_exceeded' ? error.message : null,
    logs: logs.map(({ message }) => `${message}\n`).join(''),
    metrics: receipt
      ? {
          predict_time: receipt.stages.reduce((sum, { wall_ms }) => sum + wall_ms, 0) / 1000,
          total_time: receipt.wall_ms.total / 1000,
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
    receipt,
  };
}
