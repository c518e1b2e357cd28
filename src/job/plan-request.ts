/**
 * From a request in its own words to planned jobs: every default filled in, the seed drawn, the plan made. Pure:
 * models and chance come from outside, and a request that cannot be planned is a value.
 *
 * It goes in two steps, so that what costs time is done for those alone who may start the job:
 *
 *   request → draft, or what is wrong with it: cheap, and nothing is refused after it
 *   draft → plan: the fits
 */
import { type Price, priceOf } from '../billing/price.ts';
import type { Tariff } from '../billing/tariff.ts';
import { plainWork, totalFlops } from '../billing/work.ts';
import type { Needs } from '../fleet/fit.ts';
import { namesOf, resolveModel } from '../fleet/models.ts';
import type { Solver } from '../numerics/adams-bashforth.ts';
import { makesSize, type Size } from '../numerics/grid.ts';
import type { ImageFormat, ModelFacts } from '../stage/contract.ts';
import { refuseEnlarge } from './enlarge.ts';
import type { JobRequest, Plan, Upsampling } from './job.ts';
import { completePlan, type FitMemo, featuresOf, type Outline, outlinePlan } from './plan.ts';
import { chooseSchedule, MAX_STAGES, type Planned, refuse, type ScheduleInput } from './schedule-request.ts';
import { atSpeed, fastestSchedule } from './speed.ts';

const DEFAULT_QUALITY = 90;
const NUM_SEEDS = 2 ** 32;
/** How many tools write a seed that is to be drawn. */
export const RANDOM_SEED = -1;

/** What a caller says about a picture. The shapes are checked already, the meaning is not. */
export interface RequestInput extends ScheduleInput {
  readonly prompt: string;
  readonly negative_prompt?: string | undefined;
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** the size that the finished picture is encoded at; as it is computed when absent */
  readonly enlarge?: Size | undefined;
  /** 0 … 2³² - 1; -1, as without one: drawn at random */
  readonly seed?: number | undefined;
  /** how many times less denoising than the plain run, at least; decides N */
  readonly speed?: number | undefined;
  readonly solver?: Solver | undefined;
  readonly upsampling?: Upsampling | undefined;
  readonly reference?: boolean | undefined;
  readonly guidance?: number | undefined;
  readonly output_format?: ImageFormat | undefined;
  readonly quality?: number | undefined;
  readonly allow_engine_change?: boolean | undefined;
  /** whether the finished picture says what it was made from */
  readonly metadata?: boolean | undefined;
  /** whether the stages before the last are shown; true when absent */
  readonly preview?: boolean | undefined;
}

/** A request as it will be stored, with its plan. */
export interface PlannedJob {
  readonly request: JobRequest;
  readonly plan: Plan;
}

/** A request that can be planned, with what its jobs will cost. */
export interface Draft {
  readonly model: string;
  /** what its stages need of their servers */
  readonly needs: Needs;
  /** images, each a job of its own */
  readonly count: number;
  readonly prompt: string;
  readonly negativePrompt: string;
  /** denoising, decoding and text of all images together, FLOPs; a speed may come to less */
  readonly flops: number;
  /** steps of one image; a speed may come to less */
  readonly steps: number;
  /** denoising, decoding and text of one image by the plain run of the model at this size, FLOPs */
  readonly plainFlops: number;
  /** of one image, with the most that it costs; null where nothing is charged */
  readonly price: Price | null;
  /** the planned jobs, one an image: this takes the time of the fits */
  readonly plan: (memo: FitMemo) => readonly PlannedJob[];
}

export interface DraftTools {
  /** what a request gets that does not say whether its stages may change engines */
  readonly allowEngineChange: boolean;
  /** what a request gets that does not say whether its picture tells what it was made from; absent: it does not */
  readonly metadata?: boolean;
  /** whether pictures may be encoded at another size than they are computed at; absent: they may not */
  readonly mayEnlarge?: boolean;
  /** what work costs; null: nothing is charged */
  readonly tariff: Tariff | null;
  /** a random seed, 0 … 2³² - 1 */
  readonly draw: () => number;
}

/** What a door says beside the request. */
export interface DraftOptions {
  /** images, each a job of its own; 1 when absent */
  readonly count?: number;
  readonly previews?: JobRequest['previews'];
  /** warnings of its own: what of the caller's words is not as they say */
  readonly notes?: readonly string[];
}

/** The model of this id or alias; the first one where none is named. Refuses `model`. */
export function chooseModel(models: readonly ModelFacts[], name: string | undefined): Planned<ModelFacts> {
  const value = resolveModel(models, name);
  if (!value) return refuse('model', name, `must be ${namesOf(models)}`);
  return { ok: true, value };
}

/**
 * A draft of one job for each of `count` images: all alike but for the seed, which is one more each time and follows
 * 2³² - 1 with 0. Refuses fields by their names in `RequestInput`. Law: image i is what a request for one image with
 * seed + i gets.
 */
export function draftRequest(
  input: RequestInput,
  facts: ModelFacts,
  tools: DraftTools,
  { count = 1, previews = everyStage(input), notes = [] }: DraftOptions = {},
): Planned<Draft> {
  const format = input.output_format ?? 'png';
  if (input.quality !== undefined && format === 'png')
    return refuse('quality', input.quality, 'belongs to webp and jpeg; png is lossless');
  const size = chooseSize(input, facts);
  const enlarge = otherSize(input.enlarge, size);
  const tooFar = enlarge && refuseEnlarge(size, enlarge, { isAllowed: tools.mayEnlarge ?? false, count });
  if (tooFar && makesSize(size, facts)) return { ok: false, refusal: tooFar };
  const { speed } = input;
  const schedule =
    speed === undefined ? chooseSchedule(input, facts, size) : fastestSchedule(speed, input, facts, size);
  if (!schedule.ok) return schedule;
  const solver = input.solver ?? 'euler';
  if (input.published && solver !== 'euler')
    return refuse('solver', solver, 'the published schedule steps by euler: leave it out or say euler');
  const request: JobRequest = {
    model: facts.id,
    prompt: input.prompt,
    negativePrompt: input.negative_prompt ?? '',
    guidance: input.guidance ?? facts.guidance?.default ?? null,
    ...size,
    seed: input.seed === undefined || input.seed === RANDOM_SEED ? tools.draw() : input.seed,
    schedule: schedule.value,
    isOwnSchedule: isOwn(input),
    solver,
    selection: input.selection ?? 'canny',
    upsampling: input.upsampling ?? (input.reference ? 'token' : facts.upsampling[0]!),
    reference: input.reference ?? false,
    ...(enlarge && { enlarge }),
    format,
    quality: input.quality ?? DEFAULT_QUALITY,
    ...((input.metadata ?? tools.metadata) && { metadata: true }),
    allowEngineChange: input.allow_engine_change ?? tools.allowEngineChange,
    previews,
  };
  const search = speed === undefined ? null : atSpeed(speed, request, facts);
  if (search && !search.ok) return search;
  const outline = outlinePlan(request, facts);
  if (!outline.ok) return outline;
  const { work } = outline.value;
  const { decode, text } = work.flops;
  // a speed is priced by the most work that it may come to
  const atMost = search && { flops: search.value.flops, evaluations: search.value.steps };
  const price = tools.tariff && priceOf(tools.tariff, facts.id, outline.value.toPrice, atMost);
  return {
    ok: true,
    value: {
      model: facts.id,
      needs: {
        model: facts.id,
        digest: facts.digest,
        features: featuresOf(request, outline.value.selection),
      },
      count,
      prompt: request.prompt,
      negativePrompt: request.negativePrompt,
      flops: count * ((search?.value.flops ?? work.flops.denoise) + decode + text),
      steps: search?.value.steps ?? request.schedule.steps.reduce((sum, steps) => sum + steps, 0),
      plainFlops: totalFlops(plainWork(work)),
      price,
      plan: (memo) => {
        const found = search ? search.value.find(memo) : request;
        const fitting = search ? outlineOf(found, facts) : outline.value;
        const own = price && tools.tariff && priceOf(tools.tariff, facts.id, fitting.toPrice);
        const complete = completePlan(found, fitting, facts, memo);
        const plan = {
          ...complete,
          warnings: [...notes, ...complete.warnings],
          price: own && { ...own, quoted: (price as Price).quoted },
        };
        return Array.from({ length: count }, (_, i) => ({
          request: { ...found, seed: (found.seed + i) % NUM_SEEDS },
          plan,
        }));
      },
    },
  };
}

/** Whether a request says itself how far each step goes: by stages of its own, or shifts or strengths of its own. */
const isOwn = ({ N, h, Z }: RequestInput): boolean => (N?.length ?? 0) > 1 || h !== undefined || Z !== undefined;

/** The outline of a request that differs in its steps alone from one that has an outline. */
function outlineOf(request: JobRequest, facts: ModelFacts): Outline {
  const outline = outlinePlan(request, facts);
  if (!outline.ok) throw new RangeError(`${outline.refusal.field} ${outline.refusal.rule}`);
  return outline.value;
}

/** The same, with the refused field called by the name it has in the caller's own request. */
export function renamed<T>(planned: Planned<T>, nameOf: (field: string) => string): Planned<T> {
  if (planned.ok) return planned;
  return { ok: false, refusal: { ...planned.refusal, field: nameOf(planned.refusal.field) } };
}

/** Every stage's picture unless told otherwise, in the format that is smallest. */
const everyStage = ({ preview = true }: RequestInput): JobRequest['previews'] => ({
  count: preview ? MAX_STAGES - 1 : 0,
  format: 'webp',
});

/** The size to encode at, where it is another than the one to compute at. */
const otherSize = (enlarge: Size | undefined, { width, height }: Size): Size | null =>
  enlarge && (enlarge.width !== width || enlarge.height !== height) ? enlarge : null;

/** The size asked for; a missing side is the default size's. */
function chooseSize({ width, height }: RequestInput, { sizes }: ModelFacts): { width: number; height: number } {
  const [first] = sizes as [ModelFacts['sizes'][number]];
  return { width: width ?? first.width, height: height ?? first.height };
}
