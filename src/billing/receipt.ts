/**
 * What a finished job did: work as the stage servers reported it, floating-point operations, wall time. Pure; a price
 * comes on top of it.
 */

/** What one finished stage cost, as its server reported it, with the wall time seen from the object. Milliseconds. */
export interface StageUsage {
  readonly stage: number;
  readonly tokens: number;
  readonly steps: number;
  readonly attempts: number;
  readonly computeMs: number;
  readonly textMs: number;
  readonly decodeMs: number;
  readonly encodeMs: number;
  readonly wallMs: number;
  readonly engine: string;
  readonly warnings: readonly string[];
}

/** Wire form. Tokens and steps are those reported done; TFLOPs have attention counted unless named otherwise. */
export interface Receipt {
  readonly job_id: string;
  readonly model: string;
  readonly model_digest: string;
  readonly engine: string;
  readonly seed: number;
  readonly preset: string | null;
  readonly stages: readonly {
    readonly stage: number;
    readonly tokens: number;
    readonly steps: number;
    readonly attempts: number;
    readonly compute_ms: number;
    readonly text_ms: number;
    readonly decode_ms: number;
    readonly encode_ms: number;
    readonly wall_ms: number;
    readonly tflops: number;
    readonly tflops_without_attention: number;
  }[];
  readonly tflops: {
    readonly denoise: number;
    readonly denoise_without_attention: number;
    readonly decode: number;
    readonly text: number;
    /** denoising of the plain full-resolution run */
    readonly plain: number;
    readonly plain_without_attention: number;
    /** plain / denoise */
    readonly ratio: number;
    readonly ratio_without_attention: number;
  };
  readonly wall_ms: {
    /** from the job's creation to its terminal state */
    readonly total: number;
    /** by room, in order: `stage1`, `select`, `stage2`, `stage3` */
    readonly rooms: readonly { readonly room: string; readonly ms: number }[];
    /**
     * total minus what the stage servers reported: Worker, object, storage, transfers, waiting and the mathematics
     * between stages
     */
    readonly orchestration: number;
  };
  readonly warnings: readonly string[];
}

/** Work of the planned stages and of the plain run it is compared with, floating-point operations. */
export interface Work {
  readonly stages: readonly {
    readonly stage: number;
    readonly flops: number;
    readonly flopsWithoutAttention: number;
  }[];
  readonly flops: {
    readonly denoise: number;
    readonly denoiseWithoutAttention: number;
    readonly decode: number;
    readonly text: number;
    readonly plain: number;
    readonly plainWithoutAttention: number;
  };
}

export interface ReceiptFacts {
  readonly jobId: string;
  readonly model: string;
  readonly modelDigest: string;
  readonly seed: number;
  readonly preset: string | null;
  readonly work: Work;
  readonly usage: readonly StageUsage[];
  /** wall time of each room, in order */
  readonly rooms: readonly { readonly room: string; readonly ms: number }[];
  readonly totalMs: number;
}

const tera = (flops: number): number => flops / 1e12;

/**
 * The receipt of a finished job. Steps are those the stage servers reported done, and each stage's work is its planned
 * work, which the reported steps had to match before the result was taken. Law: the stages' TFLOPs add up to
 * `tflops.denoise`.
 */
export function makeReceipt({
  jobId,
  model,
  modelDigest,
  seed,
  preset,
  work,
  usage,
  rooms,
  totalMs,
}: ReceiptFacts): Receipt {
  const { flops } = work;
  const served = usage.reduce(
    (sum, { computeMs, textMs, decodeMs, encodeMs }) => sum + computeMs + textMs + decodeMs + encodeMs,
    0,
  );
  return {
    job_id: jobId,
    model,
    model_digest: modelDigest,
    engine: [...new Set(usage.map(({ engine }) => engine))].join(', '),
    seed,
    preset,
    stages: usage.map((used) => {
      const planned = work.stages.find(({ stage }) => stage === used.stage);
      if (!planned) throw new RangeError(`usage of stage ${used.stage}, which was not planned`);
      return {
        stage: used.stage,
        tokens: used.tokens,
        steps: used.steps,
        attempts: used.attempts,
        compute_ms: used.computeMs,
        text_ms: used.textMs,
        decode_ms: used.decodeMs,
        encode_ms: used.encodeMs,
        wall_ms: used.wallMs,
        tflops: tera(planned.flops),
        tflops_without_attention: tera(planned.flopsWithoutAttention),
      };
    }),
    tflops: {
      denoise: tera(flops.denoise),
      denoise_without_attention: tera(flops.denoiseWithoutAttention),
      decode: tera(flops.decode),
      text: tera(flops.text),
      plain: tera(flops.plain),
      plain_without_attention: tera(flops.plainWithoutAttention),
      ratio: flops.plain / flops.denoise,
      ratio_without_attention: flops.plainWithoutAttention / flops.denoiseWithoutAttention,
    },
    wall_ms: { total: totalMs, rooms, orchestration: Math.max(0, totalMs - served) },
    warnings: [...new Set(usage.flatMap(({ warnings }) => warnings))],
  };
}
