/**
 * What a job did until it ended, however it ended: work as the stage servers reported it, floating-point operations,
 * wall time. Pure; a price comes on top of it.
 */
import type { Solver } from '../numerics/adams-bashforth.ts';
import type { Selection } from '../numerics/select.ts';
import type { TemporalCache } from '../numerics/taylor.ts';
import type { ReceiptCost } from './charge.ts';
import { type PlannedWork, tera, viewWorkDone, type WorkView, workDone } from './work.ts';

/**
 * What one finished stage cost, as its server reported it, with the wall time seen from the object. Milliseconds. The
 * time of encoding the prompt is not here: a server that remembers prompts would tell by it what it was asked before.
 */
export interface StageUsage {
  readonly stage: number;
  readonly tokens: number;
  readonly steps: number;
  /** those of the steps that were evaluated */
  readonly evaluations: number;
  readonly attempts: number;
  readonly computeMs: number;
  readonly decodeMs: number;
  readonly encodeMs: number;
  readonly wallMs: number;
  /** tokens of the prompt; null where the server does not say */
  readonly textTokens: number | null;
  readonly engine: string;
  /** the engine class that the server stated before it ran the stage; null where it stated none */
  readonly engineClass: string | null;
  readonly warnings: readonly string[];
}

/**
 * Wire form. Stages are those that a server finished, tokens, steps and evaluations as it reported them; TFLOPs have
 * attention counted unless named otherwise.
 */
export interface Receipt {
  readonly job_id: string;
  readonly model: string;
  readonly model_digest: string;
  /** every engine that computed a stage, each once; empty where no stage was finished */
  readonly engine: string;
  /** whether stages were computed by different engines, so that the picture is no single engine's */
  readonly engine_changed: boolean;
  readonly seed: number;
  readonly preset: string | null;
  readonly solver: Solver;
  /** null where every step was evaluated */
  readonly cache: TemporalCache | null;
  /** how the tokens that went early were found; `none` where no token did */
  readonly selection: Selection;
  readonly stages: readonly {
    readonly stage: number;
    readonly tokens: number;
    readonly steps: number;
    /** those of the steps that were evaluated; the others were forecast */
    readonly evaluations: number;
    readonly attempts: number;
    readonly compute_ms: number;
    readonly decode_ms: number;
    readonly encode_ms: number;
    readonly wall_ms: number;
    readonly text_tokens: number | null;
    readonly tflops: number;
    readonly tflops_without_attention: number;
  }[];
  /** what is charged; null where nothing is */
  readonly cost: ReceiptCost | null;
  /** of the stages above; the ratios to the plain run are null where the picture was not finished */
  readonly tflops: WorkView<number | null>;
  readonly wall_ms: {
    /** from the job's creation to its terminal state */
    readonly total: number;
    /** by room, in order: `stage1`, `select`, `stage2`, `stage3` */
    readonly rooms: readonly { readonly room: string; readonly ms: number }[];
    /**
     * total minus denoising, decoding and encoding: Worker, object, storage, transfers, waiting, encoding the prompt
     * and the mathematics between stages
     */
    readonly orchestration: number;
  };
  readonly warnings: readonly string[];
}

export interface ReceiptFacts {
  readonly jobId: string;
  readonly model: string;
  readonly modelDigest: string;
  readonly seed: number;
  readonly preset: string | null;
  readonly solver: Solver;
  readonly cache: TemporalCache | null;
  readonly selection: Selection;
  readonly work: PlannedWork;
  /** of the plan; those of the stages follow */
  readonly warnings: readonly string[];
  readonly usage: readonly StageUsage[];
  readonly cost: ReceiptCost | null;
  /** wall time of each room, in order */
  readonly rooms: readonly { readonly room: string; readonly ms: number }[];
  readonly totalMs: number;
}

/**
 * The receipt of a job that has ended. `usage` holds the stages that a server finished, none of them or all. Steps are
 * those the stage servers reported done, and each stage's work is its planned work, which the reported steps had to
 * match before the result was taken. Law: the stages' TFLOPs add up to `tflops.denoise`. Throws RangeError for a stage
 * that was never planned.
 */
export function makeReceipt({
  jobId,
  model,
  modelDigest,
  seed,
  preset,
  solver,
  cache,
  selection,
  work,
  warnings,
  usage,
  cost,
  rooms,
  totalMs,
}: ReceiptFacts): Receipt {
  const engines = [...new Set(usage.map(({ engine }) => engine))];
  const served = usage.reduce((sum, { computeMs, decodeMs, encodeMs }) => sum + computeMs + decodeMs + encodeMs, 0);
  return {
    job_id: jobId,
    model,
    model_digest: modelDigest,
    engine: engines.join(', '),
    engine_changed: engines.length > 1,
    seed,
    preset,
    solver,
    cache,
    selection,
    stages: usage.map((used) => {
      const { denoise, denoiseWithoutAttention } = workDone(work, [used.stage]);
      return {
        stage: used.stage,
        tokens: used.tokens,
        steps: used.steps,
        evaluations: used.evaluations,
        attempts: used.attempts,
        compute_ms: used.computeMs,
        decode_ms: used.decodeMs,
        encode_ms: used.encodeMs,
        wall_ms: used.wallMs,
        // usage stored by a program that did not ask for it has no such field
        text_tokens: used.textTokens ?? null,
        tflops: tera(denoise),
        tflops_without_attention: tera(denoiseWithoutAttention),
      };
    }),
    cost,
    tflops: viewWorkDone(
      work,
      usage.map(({ stage }) => stage),
    ),
    wall_ms: { total: totalMs, rooms, orchestration: Math.max(0, totalMs - served) },
    warnings: [...new Set([...warnings, ...usage.flatMap((used) => used.warnings)])],
  };
}
