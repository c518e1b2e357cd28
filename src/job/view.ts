/** A job as its owner sees it. Pure. */

import { type CostView, viewQuotedCost } from '../billing/charge.ts';
import { cutText } from './cut-text.ts';
import { viewEnlarged } from './enlarge.ts';
import type { JobEvent } from './events.ts';
import type { ImageView, JobRecord, JobRequest, JobSummary, JobView, Plan, Quote, StoredImage } from './job.ts';
import { againOf } from './label.ts';
import { queueOf } from './log-lines.ts';
import { viewPlan } from './plan.ts';
import { roomName } from './story.ts';

/** Path of a job; the parts below it are `/events`, `/image`, `/thumbnail` and `/cancel`. */
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

/** What a job costs, as far as that is known; null where nothing is charged. */
export function costOf({ plan, receipt }: Pick<JobRecord, 'plan' | 'receipt'>): CostView | null {
  if (!plan.price) return null;
  const { usd = null, ...cost } = receipt?.cost ?? viewQuotedCost(plan.price);
  return { usd, quote_usd: cost.quote_usd, plain_usd: cost.plain_usd, tariff: cost.tariff };
}

/** What a job of this request would be. `pace` is milliseconds a TFLOP. */
export function viewQuote(
  request: JobRequest,
  plan: Plan,
  { pace, queue }: Pick<Quote, 'queue'> & { readonly pace: number | null },
): Quote {
  const { model, width, height, seed, schedule } = request;
  const view = viewPlan(plan, request);
  return {
    object: 'quote',
    model,
    width,
    height,
    enlarged: viewEnlarged(request),
    seed,
    preset: schedule.preset,
    plan: view,
    tflops: view.tflops.total,
    cost: plan.price && viewQuotedCost(plan.price),
    seconds: pace === null ? null : (view.tflops.total * pace) / 1000,
    queue,
  };
}

/**
 * The wire form of a stored job; its newest event tells where it waits. Times are Unix seconds, as in OpenAI's objects.
 */
export function viewJob(record: JobRecord, lastEvent: JobEvent | undefined): JobView {
  const { id, request, plan, webhook } = record;
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
    enlarged: viewEnlarged(request),
    seed: request.seed,
    preset: request.schedule.preset,
    output_format: request.format,
    request: { ...againOf(request, plan).request, metadata: request.metadata ?? false },
    plan: viewPlan(plan, request),
    image: record.image && viewImage(record.image),
    receipt: record.receipt,
    error: record.failure,
    cost: costOf(record),
    deadline_at: seconds(record.deadlineAt),
    queue: queueOf(lastEvent, record.busySince !== null && record.finishedAt === null),
    webhook: webhook && { url: webhook.url, state: webhook.state, tries: webhook.tries },
    ...(request.batch && { batch: { jobs: request.batch.jobs, inline: request.batch.inline } }),
    urls: {
      get: path,
      events: `${path}/events`,
      image: `${path}/image`,
      thumbnail: record.image?.thumbnail ? `${path}/thumbnail` : null,
      cancel: `${path}/cancel`,
    },
  };
}

/** What is said of a finished picture. */
const viewImage = ({ thumbnail: _, ...said }: StoredImage): ImageView => said;

const MAX_LISTED = 200;
/** A text as a list shows it: its first 200 characters. */
export const listed = (text: string): string => cutText(text, MAX_LISTED);

/** The job without its plan, its receipt and the end of a long prompt. */
export function summarize({
  id,
  object,
  status,
  created_at,
  finished_at,
  expires_at,
  model,
  prompt,
  width,
  height,
  seed,
  preset,
  output_format,
  image,
  error,
  cost,
  urls,
}: JobView): JobSummary {
  return {
    id,
    object,
    status,
    created_at,
    finished_at,
    expires_at,
    model,
    prompt: listed(prompt),
    width,
    height,
    seed,
    preset,
    output_format,
    image,
    error: error && { ...error, message: listed(error.message) },
    cost,
    urls,
  };
}
