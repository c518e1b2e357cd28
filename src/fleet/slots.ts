/** What jobs and their dispatcher say to each other. Everything here travels over RPC. */
import type { Fit, Needs, Unfit } from './fit.ts';

/** A place at a stage server: as long as its lease is renewed the job may run a stage there. */
export interface Slot extends Fit {
  readonly lease: number;
  readonly backend: string;
}

/** What came of the stage that a slot was for. */
export type SlotOutcome =
  /** it was done in so much time, that in the server's own line not counted */
  | {
      readonly kind: 'done';
      readonly ms: number;
      /** the server refused a feature that its list names, and took the stage without; absent: no */
      readonly isOutdated?: boolean;
    }
  /** the server takes nothing for so long */
  | { readonly kind: 'busy'; readonly retryMs: number }
  /** the server is at fault, for this job and perhaps for all; `what` is for the operator */
  | {
      readonly kind: 'wrong';
      readonly what: string;
      /** it lacks a feature that its list names and the stage needs; absent: no */
      readonly isOutdated?: boolean;
    }
  /** it says nothing of the server: the job was stopped, or was at fault itself */
  | { readonly kind: 'dropped' };

/** A slot that is given back. */
export interface Released {
  readonly lease: number;
  readonly outcome: SlotOutcome;
  /** whose it is; a job of an earlier version leaves it out */
  readonly backend?: string;
}

/** What a stage is, to those who order stages. */
export interface StageShape {
  readonly needs: Needs;
  /** the class it has to run on; null: any */
  readonly engine: string | null;
  /** work of the stage, TFLOPs */
  readonly tflops: number;
}

/** A job asks for a slot for its next stage. */
export interface SlotRequest extends StageShape {
  readonly job: string;
  /** of the account: tells accounts apart, not who they are */
  readonly account: string;
  /** work of the stage and of all behind it, TFLOPs */
  readonly restTflops: number;
  /** stages of it are done */
  readonly hasBegun: boolean;
  /** when it was created, milliseconds since 1970 */
  readonly since: number;
  /** where its last stage ran */
  readonly last: string | null;
  /** what it costs to encode its prompt elsewhere, TFLOPs */
  readonly movingTflops: number;
  /** servers where this stage came to nothing */
  readonly tried: readonly string[];
  /** the slot of its stage before, given back in the same breath; null: it has none */
  readonly released: Released | null;
}

export type SlotAnswer =
  | { readonly kind: 'slot'; readonly slot: Slot }
  /**
   * it is in the line and will be called; `etaMs` null: nobody knows, `isDown`: every server that could take it is out
   */
  | {
      readonly kind: 'line';
      readonly position: number;
      readonly etaMs: number | null;
      readonly isDown: boolean;
    }
  /** no server here could take it, as far as is known */
  | { readonly kind: 'none'; readonly unfit: readonly { readonly id: string; readonly why: Unfit | 'drained' }[] }
  /** too many wait */
  | { readonly kind: 'full'; readonly retryMs: number };

/** Whether jobs that do not exist yet may come. */
export interface AdmissionRequest extends Omit<StageShape, 'engine'> {
  /** each with all its work; none: only the wait is asked for */
  readonly jobs: readonly string[];
  readonly account: string;
  /** longest wait that makes sense, milliseconds */
  readonly mostMs: number;
}

export type Admission =
  | { readonly kind: 'come'; readonly waiting: number; readonly waitMs: number | null }
  | { readonly kind: 'full'; readonly waitMs: number; readonly retryMs: number }
  | { readonly kind: 'none' };

/** What came of the stages that a server was given, counted since its dispatcher began. */
export type Outcomes = Readonly<Record<SlotOutcome['kind'], number>>;

/** A stage server as its dispatcher sees it; times are milliseconds since 1970. */
export interface ServerView {
  readonly id: string;
  /** `draining`: its weight is 0; `unknown`: it never said which models it has */
  readonly state: 'ready' | 'full' | 'probing' | 'out' | 'draining' | 'unknown';
  /** why it is not ready, in words, or what its last stage there came to; null: nothing is wrong */
  readonly reason: string | null;
  readonly weight: number;
  readonly slots: number;
  readonly held: number;
  readonly ms_per_tflop: number | null;
  readonly outstanding_tflops: number;
  /** when a stage may be sent to one that is out */
  readonly probe_at: number | null;
  readonly models: readonly { readonly id: string; readonly digest: string }[];
  /** when it last said which models it has; null: never */
  readonly said_at: number | null;
  /** why it could not be asked for its models the last time; null where it could */
  readonly said_fault: string | null;
  readonly cold_start_seconds: number | null;
  readonly stages: Outcomes;
  /** how often it was put out: its breaker opened */
  readonly openings: number;
}

/** What waits for one model. */
export interface LineView {
  readonly model: string;
  /** jobs */
  readonly waiting: number;
  /** the stages that these jobs wait for, and all behind them */
  readonly waiting_tflops: number;
  readonly accounts: number;
  readonly oldest_ms: number;
  /** until a job would begin that comes now, of an account that has none; null: no pace is known */
  readonly expected_wait_ms: number | null;
}

/** A dispatcher as operators see it. */
export interface DispatcherView {
  /** since when it counts, milliseconds since 1970 */
  readonly since: number;
  readonly servers: readonly ServerView[];
  readonly lines: readonly LineView[];
}
