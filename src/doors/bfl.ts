/** A request for Black Forest Labs' API in the words of a job, and a job in its shapes. Pure. */
import { dollars } from '../billing/sum-costs.ts';
import { isAlias } from '../fleet/models.ts';
import type { JobView } from '../job/job.ts';
import type { LinkedJob } from '../job/links.ts';
import { chooseModel, type Draft, type DraftTools, draftRequest, renamed } from '../job/plan-request.ts';
import type { Planned } from '../job/schedule-request.ts';
import type { Size } from '../numerics/grid.ts';
import type { ImageFormat, ModelFacts } from '../stage/contract.ts';
import { askedSize } from './any-size.ts';
import { guidanceOf } from './guidance.ts';
import { type IgnoredFields, ignoredIn } from './ignored.ts';
import { meaningOf, type OtherWords } from './openai-words.ts';
import { progressOf } from './progress.ts';
import { AS_WRITTEN, JUDGE, NO_PICTURE, NO_RAW } from './reasons.ts';

/** Fields of BFL's requests that change nothing here. */
export const BFL_IGNORED = {
  prompt_upsampling: { why: AS_WRITTEN, anyway: [false] },
  safety_tolerance: { why: JUDGE },
  raw: { why: NO_RAW, anyway: [false] },
  image_prompt_strength: { why: NO_PICTURE },
} as const satisfies IgnoredFields;

const FROM_TEXT = 'pictures are drawn from text alone';
const INPUTS = ['', ...Array.from({ length: 9 }, (_, i) => `_${i + 2}`)].map((number) => `input_image${number}`);
/** Fields that would make another picture if they were taken. */
export const BFL_REFUSED: Readonly<Record<string, string>> = Object.fromEntries(
  ['image_prompt', 'mask', ...INPUTS].map((field) => [field, FROM_TEXT]),
);

/** The body of a request, its shapes checked, its nulls left out. */
export interface BflRequest extends Pick<OtherWords, 'width' | 'height' | 'aspect_ratio'> {
  readonly prompt: string;
  readonly seed?: number | undefined;
  /** a plain run of so many */
  readonly steps?: number | undefined;
  readonly guidance?: number | undefined;
  readonly output_format?: ImageFormat | undefined;
  /** where to tell that it is over */
  readonly webhook_url?: string | undefined;
  /** what that is signed with, besides the account's own */
  readonly webhook_secret?: string | undefined;
}

/** The draft of a request, one job, for the model of this name. Refuses fields by their names in the body. */
export function draftBfl(
  request: BflRequest,
  name: string,
  models: readonly ModelFacts[],
  tools: DraftTools,
): Planned<Draft> {
  const model = chooseModel(models, name);
  if (!model.ok) return model;
  const facts = model.value;
  const { aspect_ratio, steps } = request;
  // a side alone has the other of the model's first size beside it
  const [first] = facts.sizes as [Size];
  const width = request.width ?? (request.height && first.width);
  const height = request.height ?? (request.width && first.height);
  const isFree = tools.mayEnlarge === true && isAlias(models, name);
  const meaning = meaningOf({ width, height, aspect_ratio, steps }, facts, isFree);
  if (!meaning.ok) return meaning;
  const size = askedSize(meaning.value.size, { name, models, facts, tools });
  const scale = guidanceOf('guidance', request.guidance, facts);
  const isIdle = request.webhook_secret !== undefined && request.webhook_url === undefined;
  const unsigned = isIdle ? ['webhook_secret is ignored: there is no webhook_url'] : [];
  const planned = draftRequest(
    {
      prompt: request.prompt,
      seed: request.seed,
      output_format: request.output_format ?? 'jpeg',
      guidance: scale.guidance,
      ...size.input,
      ...(steps !== undefined && { N: [steps], e: [1] }),
    },
    facts,
    tools,
    {
      notes: [...ignoredIn(request, BFL_IGNORED), ...meaning.value.notes, ...scale.notes, ...size.notes, ...unsigned],
    },
  );
  return renamed(planned, (field) => (field === 'N' || field === 'e' ? 'steps' : field === 'enlarge' ? SIDES : field));
}
const SIDES = 'width, height';

const CENTS = 100;
const PIXELS_PER_MP = 1e6;

/** What tells of fields that were not taken by the letter; nothing where all were. */
const warningsOf = ({ plan }: JobView) => (plan.warnings.length > 0 ? { warnings: plan.warnings } : {});

/** The answer to a request that was taken. A credit of BFL's is a cent. */
export const viewSubmitted = (job: JobView, pollingUrl: string) => ({
  id: job.id,
  polling_url: pollingUrl,
  ...(job.cost && { cost: CENTS * dollars(job.cost.quote_usd) }),
  input_mp: 0,
  output_mp: (job.width * job.height) / PIXELS_PER_MP,
  ...(job.webhook && { status: statusOf(job), webhook_url: job.webhook.url }),
  ...warningsOf(job),
});

function statusOf({ status }: JobView): 'Pending' | 'Ready' | 'Error' {
  switch (status) {
    case 'queued':
    case 'running':
      return 'Pending';
    case 'done':
      return 'Ready';
    case 'failed':
    case 'cancelled':
      return 'Error';
  }
}

/** A request as it stands; `origin` is that of this service. */
export function viewResult(job: LinkedJob, origin: string) {
  const { id, image, receipt, error, status, created_at, finished_at, seed, prompt } = job;
  const why = error ? { reason: error.reason, message: error.message } : { reason: status };
  return {
    id,
    status: statusOf(job),
    result: image &&
      receipt && {
        sample: origin + job.links.image,
        seed,
        prompt,
        start_time: created_at,
        end_time: finished_at,
        duration: receipt.wall_ms.total / 1000,
      },
    progress: progressOf(job),
    details: statusOf(job) === 'Error' ? why : null,
    preview: null,
    ...(job.cost?.usd && { cost: CENTS * dollars(job.cost.usd) }),
    ...warningsOf(job),
  };
}

/** What a webhook is told of a request that is over: the request, and since when. `now` is milliseconds since 1970. */
export function viewEnded(job: LinkedJob, origin: string, now: number) {
  const { details, ...shown } = viewResult(job, origin);
  return {
    ...shown,
    details,
    ...(details && { error: details.reason, message: details.message ?? details.reason }),
    timestamp: new Date(now).toISOString(),
  };
}

/** What a client polls for that is not there, or no more. */
export const viewMissing = (id: string, detail: string) => ({ id, status: 'Task not found', result: null, detail });
