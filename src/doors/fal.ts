/** A job in the shapes of fal's queue. Pure. */
import { hasEnded } from '../job/job.ts';
import type { LinkedJob } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';

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
  if (hasEnded(job))
    return {
      ...common,
      status: 'COMPLETED' as const,
      logs: common.logs ?? null,
      metrics: { inference_time: inferenceSeconds(job) },
    };
  if (job.status === 'running' && job.queue === null)
    return { ...common, status: 'IN_PROGRESS' as const, logs: common.logs ?? null };
  return { ...common, status: 'IN_QUEUE' as const, queue_position: job.queue?.position ?? 0 };
}

/** Seconds of the stages' computing; null where the job has no receipt. */
const inferenceSeconds = ({ receipt }: LinkedJob): number | null =>
  receipt &&
  receipt.stages.reduce((sum, { compute_ms, text_ms, decode_ms }) => sum + compute_ms + text_ms + decode_ms, 0) / 1000;

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
    receipt,
  };
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
      };
}
