/** What a finished job did: work as the stage servers reported it, floating-point operations, wall time. Pure; a price comes on top of it. */

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
    /** total minus what the stage servers reported: Worker, object, storage, transfers, waiting and the mathematics between stages */
    readonly orchestration: number;
  };
  readonly warnings: readonly string[];
}
