/** What a job is: the request as accepted, the plan made from it, and where it stands. The story moves it. */
import type { CostView } from '../billing/charge.ts';
import type { Price } from '../billing/price.ts';
import type { Receipt, StageUsage } from '../billing/receipt.ts';
import type { PlannedWork, StageWork, WorkView } from '../billing/work.ts';
import type { Solver } from '../numerics/adams-bashforth.ts';
import type { Size } from '../numerics/grid.ts';
import type { BoundaryAmplitude } from '../numerics/restart-amplitude.ts';
import type { Selection } from '../numerics/select.ts';
import type { TemporalCache } from '../numerics/taylor.ts';
import type { Tokens } from '../numerics/tokens.ts';
import type { UpsampleMode } from '../numerics/upsample.ts';
import type { ImageFormat, ModelFacts } from '../stage/contract.ts';
import type { FailureReason } from './failures.ts';
import type { Webhook } from './webhook.ts';

export type Upsampling = UpsampleMode;

/**
 * The jobs of one request of a door whose requests have one id: that of the first job, which speaks for them all. Each
 * of them has it.
 */
export interface Batch {
  /** ids in the order of the images */
  readonly jobs: readonly string[];
  /** whether the answer has the pictures as data, in place of links */
  readonly inline: boolean;
}

/** The same as it is stored. */
export interface StoredBatch extends Batch {
  /** the webhook of the first job hears of each picture as it is made: the others say so; absent: it does not */
  readonly tellsPictures?: true;
}

/**
 * A request after validation: every default filled in, the seed drawn. Nothing in it depends on a clock or a machine
 * any more.
 */
export interface JobRequest {
  readonly model: string;
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly guidance: number | null;
  readonly width: number;
  readonly height: number;
  /** 0 … 2³² - 1 */
  readonly seed: number;
  readonly schedule: ScheduleRequest;
  /** the caller wrote the schedule: values that overflow are its own doing */
  readonly isOwnSchedule: boolean;
  readonly solver: Solver;
  readonly selection: Selection;
  readonly upsampling: Upsampling;
  /**
   * reproduce the reference implementation: token repetition, unit variance for untouched tokens, clipped Canny input
   */
  readonly reference: boolean;
  /** the size that the finished picture is encoded at; absent: as it is computed */
  readonly enlarge?: Size;
  readonly format: ImageFormat;
  /** 1 … 100; lossy formats only */
  readonly quality: number;
  /** the finished picture says what it was made from; absent: it says nothing */
  readonly metadata?: true;
  /** whether its stages may run on stage servers of different engine classes, which round differently */
  readonly allowEngineChange: boolean;
  /** pictures of the first `count` stages before the last, and what they are encoded as */
  readonly previews: { readonly count: number; readonly format: ImageFormat };
  /** absent: the job is a request by itself, and its door has nothing to remember */
  readonly batch?: StoredBatch;
}

/** A request in the words of `POST /v1/jobs`: everything that decides the bytes of its picture, and nothing else. */
export interface RequestAgain {
  readonly model: string;
  readonly prompt: string;
  readonly negative_prompt?: string;
  readonly width: number;
  readonly height: number;
  readonly enlarge?: Size;
  readonly seed: number;
  readonly preset?: string;
  readonly published?: boolean;
  readonly N?: readonly number[];
  readonly e?: readonly number[];
  readonly h?: readonly number[];
  readonly Z?: readonly number[];
  readonly r?: readonly number[];
  readonly z_max?: number;
  readonly cache?: TemporalCache;
  readonly solver: Solver;
  readonly selection: Selection;
  readonly upsampling: Upsampling;
  readonly reference?: boolean;
  readonly guidance?: number;
  readonly output_format: ImageFormat;
  readonly quality?: number;
  /** absent in a picture: it has some */
  readonly metadata?: boolean;
}

/** N, e and r of every stage, with h and Z where the caller or the paper fixes them; null lets NT-Matching fit them. */
export interface ScheduleRequest {
  /** the preset it came from, or null for a custom schedule */
  readonly preset: string | null;
  readonly steps: readonly number[];
  readonly ends: readonly number[];
  /** cumulative shares of low-resolution tokens upsampled at each boundary but the last: K - 2 values for K stages */
  readonly ratios: readonly number[];
  readonly shifts: readonly number[] | null;
  /** one for each of K - 1 boundaries */
  readonly z: readonly number[] | null;
  /** upper bound of every fitted Z; null bounds each by the amplitude its boundary must keep */
  readonly zMax: number | null;
  /** which steps of every stage are forecast; null where all are evaluated */
  readonly cache: TemporalCache | null;
}

export interface PlannedStage extends StageWork {
  readonly steps: number;
  /** those of the steps that are evaluated; the others are forecast */
  readonly evaluations: number;
  /** t clock: where the stage starts (after renoise) and ends */
  readonly start: number;
  readonly end: number;
  readonly shift: number;
  /** N + 1 noise levels, strictly decreasing; the last stage ends at exactly 0 */
  readonly sigmas: readonly number[];
  /**
   * how the latents of the stage before become this stage's: `x ← signal · Up(x) + noise · z`; null for the first stage
   */
  readonly renoise: { readonly signal: number; readonly noise: number; readonly correlation: number } | null;
}

/**
 * How the numbers of a plan become those of a picture, where that has more than one version. 1: the noise of a boundary
 * is counted along the list of tokens, as the published runs have it. 2: it belongs to places on the final grid.
 */
export type Numerics = 1 | 2;

/** All numbers of a job, fixed before it exists. From here on nobody computes a coefficient. */
export interface Plan extends PlannedWork {
  readonly model: Pick<ModelFacts, 'id' | 'channels' | 'token_pixels' | 'digest'>;
  /** features of the stage contract that the stages need; a stage server without them cannot have the job */
  readonly features: readonly string[];
  readonly numerics: Numerics;
  /** full-resolution token grid */
  readonly rows: number;
  readonly cols: number;
  readonly stages: readonly PlannedStage[];
  /** renoise strength of each of K - 1 boundaries */
  readonly z: readonly number[];
  /** square root of the Jensen-Shannon divergence between the schedule and the model's own; null for one stage */
  readonly divergence: number | null;
  /** whether h and Z came from NT-Matching */
  readonly fitted: boolean;
  /** low-resolution tokens upsampled after each boundary but the last, cumulative */
  readonly selected: readonly number[];
  /** sentences for the caller, known before anything is computed */
  readonly warnings: readonly string[];
  /** by the tariff of the time; null: nothing is charged */
  readonly price: Price | null;
}

/**
 * Where a job stands. `stage` rooms are numbered; `select` comes once, after stage 1, when edges tell which tokens go
 * early.
 */
export type Room =
  | { readonly name: 'stage'; readonly stage: number }
  | { readonly name: 'select' }
  | { readonly name: 'done' | 'failed' | 'cancelled' };

/** The stored job: everything a room may read. Rooms return a new one; nobody else changes it. */
export interface Job {
  readonly id: string;
  readonly request: JobRequest;
  readonly plan: Plan;
  readonly room: Room;
  /** latents at the end of the last finished stage; null before the first and after the last */
  readonly tokens: Tokens | null;
  /** the decoded clean estimate that `select` reads, gone afterwards */
  readonly rgb: Rgb | null;
  /**
   * for every boundary but the last: the tokens upsampled there, ascending places among those the stage before hands
   * over; null until chosen, then never computed again
   */
  readonly selections: readonly (readonly number[])[] | null;
  readonly usage: readonly StageUsage[];
}

/**
 * The record of a job, one row in its object: what it is, where it stands, how it ended. Times are milliseconds since
 * 1970.
 */
export interface JobRecord {
  readonly id: string;
  /** whose it is */
  readonly account: string;
  /** ids of the regions it may use, in this order; one empty id where the deployment names none */
  readonly regions: readonly string[];
  readonly request: JobRequest;
  readonly plan: Plan;
  readonly createdAt: number;
  readonly room: Room;
  readonly roomSince: number;
  /** rooms already left, with the time spent in each */
  readonly roomTimes: readonly { readonly room: string; readonly ms: number }[];
  /** grows with every stage request; together with the room it is what a late answer is compared with */
  readonly attempt: number;
  /** requests of this stage that led to no stored result and were not turned away as busy: what the cap counts */
  readonly tries: number;
  readonly notBefore: number;
  readonly busySince: number | null;
  readonly selections: Job['selections'];
  readonly image: StoredImage | null;
  readonly receipt: Receipt | null;
  readonly failure: JobFailure | null;
  readonly finishedAt: number | null;
  readonly expiresAt: number | null;
  /** when it fails unless it has ended */
  readonly deadlineAt: number | null;
  readonly webhook: Webhook | null;
  /** when its account said that it is entered, and its price held; null: not yet, and no stage request goes out */
  readonly confirmedAt: number | null;
}

/** RGB bytes [height, width, 3]. */
export interface Rgb {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface JobFailure {
  readonly reason: FailureReason;
  readonly message: string;
  readonly stage: number | null;
  readonly attempts: number;
}

/** What a job would be. */
export interface Quote extends Pick<JobView, 'model' | 'width' | 'height' | 'enlarged' | 'seed' | 'preset' | 'plan'> {
  readonly object: 'quote';
  /** all of it: denoising, decoding, text */
  readonly tflops: number;
  /** its `usd` is null; null where this deployment charges nothing */
  readonly cost: CostView | null;
  /** at the pace of the account's last jobs on this model, without waiting; null before the first */
  readonly seconds: number | null;
  /** the line it would join now; null where no dispatcher answers, or none has a server for it */
  readonly queue: Queue | null;
}

/** A line as a caller sees it who has no place in it. */
export interface Queue {
  /** jobs in it */
  readonly waiting: number;
  /** until the caller's job would begin, milliseconds; null: no pace of a server is known */
  readonly eta_ms: number | null;
}

/** The job as `GET /v1/jobs/{id}` shows it. */
export interface JobView {
  readonly id: string;
  readonly object: 'job';
  readonly status: 'queued' | 'running' | 'done' | 'failed' | 'cancelled';
  /** `stage1`, `select`, `stage2`, …, `done`, `failed`, `cancelled` */
  readonly room: string;
  readonly created_at: number;
  readonly finished_at: number | null;
  readonly expires_at: number | null;
  readonly model: string;
  readonly prompt: string;
  readonly width: number;
  readonly height: number;
  /** where the picture is encoded at another size than it is computed at; null: it is not */
  readonly enlarged: Enlarged | null;
  readonly seed: number;
  readonly preset: string | null;
  readonly output_format: ImageFormat;
  /** a body of `POST /v1/jobs` that makes the picture again, with everything that decides its bytes */
  readonly request: RequestAgain;
  readonly plan: PlanView;
  readonly image: ImageView | null;
  readonly receipt: Receipt | null;
  readonly error: JobFailure | null;
  /** null where nothing is charged */
  readonly cost: CostView | null;
  readonly deadline_at: number | null;
  /** the place in the stage server's queue and the wait from there; null where it is not known or does not wait */
  readonly queue: { readonly position: number | null; readonly eta_ms: number | null } | null;
  readonly webhook: { readonly url: string; readonly state: Webhook['state']; readonly tries: number } | null;
  /** absent: the job is a request by itself */
  readonly batch?: Batch;
  readonly urls: {
    readonly get: string;
    readonly events: string;
    readonly image: string;
    /** null: there is no small one, or none yet */
    readonly thumbnail: string | null;
    readonly cancel: string;
  };
}

/** A job as a list shows it: what tells it from the others, and where the rest is. */
export type JobSummary = Pick<
  JobView,
  | 'id'
  | 'object'
  | 'status'
  | 'created_at'
  | 'finished_at'
  | 'expires_at'
  | 'model'
  | 'prompt'
  | 'width'
  | 'height'
  | 'seed'
  | 'preset'
  | 'output_format'
  | 'image'
  | 'error'
  | 'cost'
  | 'urls'
>;

/** Whether nothing about the job changes any more. */
export const hasEnded = ({ status }: Pick<JobView, 'status'>): boolean =>
  status === 'done' || status === 'failed' || status === 'cancelled';

/** The size that a picture was computed at, and that of its file: `256x128`. */
export interface Enlarged {
  readonly from: string;
  readonly to: string;
  /** times larger along a side; below 1: smaller */
  readonly factor: number;
}

export interface ImageView {
  readonly url: string;
  readonly format: ImageFormat;
  /** of the file, which may be another size than the job's */
  readonly width: number;
  readonly height: number;
  readonly bytes: number;
}

/** A finished picture as a job keeps it: what is said of it, and the picture once more, small. */
export interface StoredImage extends ImageView {
  /** absent: its server sent none, or too large a one, or an earlier version stored it */
  readonly thumbnail?: { readonly format: ImageFormat; readonly b64_json: string };
}

/** The plan in wire form: counts, schedule and work. */
export interface PlanView {
  readonly model_digest: string;
  readonly numerics: Numerics;
  readonly stages: readonly {
    readonly stage: number;
    readonly tokens: number;
    readonly steps: number;
    /** those of the steps that are evaluated; the others are forecast */
    readonly evaluations: number;
    readonly start: number;
    readonly end: number;
    readonly shift: number;
    readonly sigmas: readonly number[];
  }[];
  /** fitted or given: one h a stage; one Z a boundary; s, the restart of every stage on the t clock */
  readonly h: readonly number[];
  readonly z: readonly number[];
  readonly s: readonly number[];
  /** at each boundary, how loud things stand above the noise after it, and how loud they should */
  readonly amplitude: readonly BoundaryAmplitude[];
  readonly divergence: number | null;
  readonly fitted: boolean;
  readonly selected: readonly number[];
  readonly solver: Solver;
  /** null where every step is evaluated */
  readonly cache: TemporalCache | null;
  /** how the tokens that go early are found; `none` where no token does */
  readonly selection: Selection;
  readonly upsampling: Upsampling;
  readonly tflops: WorkView;
  /** what the model will not read of the prompt */
  readonly warnings: readonly string[];
}
