/** Jobs in the shapes of OpenAI's image API, with the facts of the method under `ralu`. Pure. */
import type { CostView } from '../billing/charge.ts';
import type { Receipt } from '../billing/receipt.ts';
import { dollars, sumCosts } from '../billing/sum-costs.ts';
import type { FollowedEvent } from '../job/events.ts';
import { type FailureKind, kindOf } from '../job/failures.ts';
import type { ImageView, JobView } from '../job/job.ts';
import type { ImageRequest } from './openai-request.ts';
import { type ProblemFields, UNKNOWN_FIELD } from './problem.ts';
import { progressOf } from './progress.ts';

export interface OpenAIError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string;
}

/** An error as OpenAI's clients read it: the value of `error` in a body or in an event. */
export function viewError({ status, code, detail, errors }: ProblemFields): OpenAIError {
  const [fault] = errors ?? [];
  const name =
    code !== 'invalid_request' ? code : fault?.rule === UNKNOWN_FIELD ? 'unsupported_parameter' : 'invalid_value';
  return { message: detail, type: errorType(status), param: fault?.field ?? null, code: name };
}

function errorType(status: ProblemFields['status']): string {
  switch (status) {
    case 401:
      return 'authentication_error';
    case 402:
      return 'insufficient_quota';
    case 403:
      return 'permission_error';
    case 429:
      return 'rate_limit_error';
    case 400:
    case 404:
    case 405:
    case 409:
    case 410:
    case 412:
    case 413:
    case 415:
    case 416:
    case 422:
    case 499:
      return 'invalid_request_error';
    case 500:
    case 503:
    case 504:
      return 'server_error';
  }
}

/**
 * Why a job that has ended came to no image. A cancelled one is gone (410), which no client takes for a reason to try
 * again by itself.
 */
export function failureOf({ id, error }: Pick<JobView, 'id' | 'error'>): ProblemFields {
  if (error === null) return { status: 410, code: 'job_cancelled', detail: `Job ${id} was cancelled.` };
  return { status: failureStatus(kindOf(error.reason)), code: error.reason, detail: error.message };
}

function failureStatus(kind: FailureKind): 400 | 500 | 503 {
  switch (kind) {
    case 'request':
      return 400;
    case 'capacity':
      return 503;
    case 'deadline':
    case 'fault':
      return 500;
  }
}

/** A job that has its image. */
export type DoneJob = JobView & { readonly image: ImageView; readonly receipt: Receipt };

export const isDone = (job: JobView): job is DoneJob => job.image !== null && job.receipt !== null;

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/**
 * `usage` as OpenAI's clients expect it. Output tokens are the work in this method's unit: image tokens, once for every
 * evaluation of the model that carried them. The prompt is not counted. `cost` is in dollars, a number as OpenRouter
 * has it; absent where nothing is charged.
 */
export function usageOf(receipts: readonly Receipt[]) {
  const image_tokens = sum(
    receipts.flatMap(({ stages }) => stages.map(({ tokens, evaluations }) => tokens * evaluations)),
  );
  const cost = costOf(receipts);
  return {
    input_tokens: 0,
    input_tokens_details: { image_tokens: 0, text_tokens: 0 },
    output_tokens: image_tokens,
    output_tokens_details: { image_tokens, text_tokens: 0 },
    total_tokens: image_tokens,
    ...(cost && cost.usd !== null && { cost: dollars(cost.usd) }),
  };
}

/** What these images cost together; null where nothing is charged. */
const costOf = (receipts: readonly Receipt[]): CostView | null => sumCosts(receipts.map(({ cost }) => cost));

/**
 * What the method did for some images: stages one by one with the image they belong to, work and cost added up over all
 * images. TFLOPs have attention counted.
 */
export function methodOf(receipts: readonly Receipt[]) {
  const [first] = receipts as readonly [Receipt, ...Receipt[]];
  return {
    job_id: first.job_id,
    job_ids: receipts.map(({ job_id }) => job_id),
    seeds: receipts.map(({ seed }) => seed),
    model: first.model,
    preset: first.preset,
    stages: receipts.flatMap(({ stages }, image_index) =>
      stages.map(({ stage, tokens, steps, compute_ms }) => ({ image_index, stage, tokens, steps, ms: compute_ms })),
    ),
    tflops: sum(receipts.map(({ tflops }) => tflops.denoise)),
    tflops_plain: sum(receipts.map(({ tflops }) => tflops.plain)),
    warnings: [...new Set(receipts.flatMap(({ warnings }) => warnings))],
    engine: [...new Set(receipts.map(({ engine }) => engine))].join(', '),
    cost: costOf(receipts),
  };
}

/** What of a request its answer repeats. */
type Asked = Pick<ImageRequest, 'quality' | 'safety_identifier'>;

/** The fields that every image event and the answer share. */
function commonFields({ quality, safety_identifier }: Asked, { width, height, enlarged, output_format }: JobView) {
  return {
    size: enlarged?.to ?? `${width}x${height}`,
    quality: quality ?? 'auto',
    background: 'opaque' as const,
    output_format,
    ...(safety_identifier && { safety_identifier }),
  };
}

/** The JSON answer to a request whose jobs have all ended with an image; `data` has each one's bytes or address. */
export function viewAnswer(
  asked: Asked,
  jobs: readonly DoneJob[],
  data: readonly ({ readonly url: string } | { readonly b64_json: string })[],
) {
  const [first] = jobs as readonly [DoneJob, ...DoneJob[]];
  const receipts = jobs.map(({ receipt }) => receipt);
  const method = methodOf(receipts);
  return {
    created: first.created_at,
    data: [...data],
    ...(method.warnings.length > 0 && { warnings: method.warnings }),
    ...commonFields(asked, first),
    usage: usageOf(receipts),
    ralu: { ...method, enlarged: first.enlarged },
  };
}

/** Where a request stands that nobody waits for, in the words of OpenAI's own long tasks. */
type TaskStatus = 'queued' | 'in_progress' | 'completed' | 'failed' | 'cancelled';

function statusOf(jobs: readonly JobView[]): TaskStatus {
  const all = jobs.map(({ status }) => status);
  if (all.includes('failed')) return 'failed';
  if (all.includes('cancelled')) return 'cancelled';
  if (all.every((status) => status === 'done')) return 'completed';
  return all.every((status) => status === 'queued') ? 'queued' : 'in_progress';
}

/**
 * A request that was answered before its images were there. `id` finds it again. Once all of them are, `answer` is the
 * one that a request gets which waits.
 */
export function viewTask(id: string, jobs: readonly JobView[], answer: ReturnType<typeof viewAnswer> | null) {
  const [first] = jobs as readonly [JobView, ...JobView[]];
  const lost = jobs.find(({ status }) => status === 'failed' || status === 'cancelled');
  const warnings = [...new Set(jobs.flatMap(({ plan }) => plan.warnings))];
  return {
    id,
    task_id: id,
    object: 'image.generation' as const,
    status: answer ? ('completed' as const) : statusOf(jobs),
    // percent
    progress: Math.floor((100 * sum(jobs.map((job) => progressOf(job)))) / jobs.length),
    error: lost ? viewError(failureOf(lost)) : null,
    ...(answer ?? {
      created: first.created_at,
      data: [],
      ...(warnings.length > 0 && { warnings }),
      ralu: {
        job_id: first.id,
        job_ids: jobs.map(({ id }) => id),
        seeds: jobs.map(({ seed }) => seed),
        enlarged: first.enlarged,
      },
    }),
  };
}

/** Text that any header may hold: everything but ASCII as JSON escapes. */
const ascii = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** The facts of one image as headers, for an answer that is nothing but its bytes. */
export function methodHeaders(receipt: Receipt): Record<string, string> {
  const { job_id, seeds, preset, tflops, tflops_plain, warnings, engine } = methodOf([receipt]);
  return {
    'x-ralu-job-id': job_id,
    'x-ralu-seed': String(seeds[0]),
    ...(preset !== null && { 'x-ralu-preset': preset }),
    'x-ralu-tflops': String(tflops),
    'x-ralu-tflops-plain': String(tflops_plain),
    'x-ralu-engine': engine,
    'x-ralu-warnings': ascii(warnings),
  };
}

/** An event of the image stream: on the wire `event: type`, `data: JSON` with the same `type`. */
export interface ImageEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Which picture of which request an event is about. */
export interface EventPlace {
  readonly asked: Asked;
  readonly job: JobView;
  readonly image_index: number;
  readonly partial_image_index: number;
}

type Ended = 'done' | 'failed' | 'cancelled';

/**
 * What happens before a job's end: the clean estimate of a stage as a partial image, everything else as an event of
 * ours, which OpenAI's clients hand on untouched. A client throws at any event with a truthy `error`, so none here has
 * one.
 */
export function viewProgress(
  event: Exclude<FollowedEvent, { readonly type: Ended }>,
  { asked, job, image_index, partial_image_index }: EventPlace,
): ImageEvent {
  switch (event.type) {
    case 'preview': {
      const { b64_json, width, height, format, stage } = event.data;
      // the size told is that of this picture: an early stage is decoded small
      return {
        created_at: job.created_at,
        ...commonFields(asked, job),
        type: 'image_generation.partial_image',
        b64_json,
        partial_image_index,
        size: `${width}x${height}`,
        output_format: format,
        image_index,
        stage,
      };
    }
    case 'queued':
    case 'plan':
    case 'stage':
    case 'step':
    case 'retry':
    case 'selection':
      return { job_id: job.id, image_index, ...event.data, type: `ralu.${event.type}` };
  }
}

/** The last event of a job that has its image. */
export function viewCompleted(
  receipt: Receipt,
  b64_json: string,
  { asked, job, image_index }: Omit<EventPlace, 'partial_image_index'>,
): ImageEvent {
  return {
    created_at: job.created_at,
    ...commonFields(asked, job),
    type: 'image_generation.completed',
    b64_json,
    usage: usageOf([receipt]),
    image_index,
    ralu: { ...methodOf([receipt]), enlarged: job.enlarged },
  };
}

/**
 * The last event of a stream that came to nothing. A client hands on no more than `error`, so what the job cost is in
 * there; `ended` is null where no job has ended.
 */
export const viewStreamError = (
  problem: ProblemFields,
  ended: { readonly job_id: string; readonly cost: CostView | null } | null,
): ImageEvent => ({
  type: 'error',
  error: { ...viewError(problem), ...(ended && { ralu: { job_id: ended.job_id, cost: ended.cost } }) },
});
