/** A job as its owner sees it. Pure. */
import type { JobRecord, JobView } from './job.ts';
import { viewPlan } from './plan.ts';
import { roomName } from './story.ts';

/** Path of a job; the parts below it are `/events`, `/image` and `/cancel`. */
export const jobPath = (id: string): string => `/v1/jobs/${id}`;

function statusOf({ room, attempt }: JobRecord): JobView['status'] {
  switch (room.name) {
    case 'stage':
    case 'select':
      return attempt === 0 ? 'queued' : 'running';
    case 'done':
    case 'failed':
    case 'cancelled':
      return room.name;
  }
}

/** The wire form of a stored job. Times are Unix seconds, as in OpenAI's objects. */
export function viewJob(record: JobRecord): JobView {
  const { id, request, plan } = record;
  const seconds = (ms: number | null) => (ms === null ? null : Math.floor(ms / 1000));
  const path = jobPath(id);
  return {
    id,
    object: 'job',
    status: statusOf(record),
    room: roomName(record.room),
    created_at: Math.floor(record.createdAt / 1000),
    finished_at: seconds(record.finishedAt),
    expires_at: seconds(record.expiresAt),
    model: request.model,
    prompt: request.prompt,
    width: request.width,
    height: request.height,
    seed: request.seed,
    preset: request.schedule.preset,
    output_format: request.format,
    plan: viewPlan(plan, request),
    image: record.image,
    receipt: record.receipt,
    error: record.failure,
    urls: { get: path, events: `${path}/events`, image: `${path}/image`, cancel: `${path}/cancel` },
  };
}
