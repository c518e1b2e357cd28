/**
 * What the stage server needs of a model, whichever engine runs it. `containers/onnx/load-model.ts` makes one,
 * `containers/onnx/run-stage.ts` uses it.
 */
import type { ModelFacts } from '../../src/stage/contract.ts';
import type { Colours } from './colours.ts';

/** A prompt as the transformer takes it. */
export interface EncodedText {
  /** [t, width] one row a text token; t may be 0 */
  readonly hidden: Float32Array;
  readonly numTokens: number;
  /** [width] */
  readonly pooled: Float32Array;
  /** sentences for the caller: words skipped, text cut */
  readonly warnings: readonly string[];
}

export interface Model {
  readonly facts: ModelFacts;
  /** the class of the engine that computes, see engine/engine.ts */
  readonly engine: string;
  /** whether two engines of that class give the same bytes */
  readonly isDeterministic: boolean;
  /** what colours its latents have, roughly; null where that could not be found out: it then shows no thumbnails */
  readonly colours: Colours | null;
  encodeText(prompt: string): Promise<EncodedText>;
  /** velocity [n, D], a new array each time, = noise - clean at `sigma`, for latents [n, D] at position ids [n, 3] */
  velocity(input: {
    readonly latents: Float32Array;
    readonly imgIds: Float32Array;
    readonly sigma: number;
    readonly guidance: number | null;
    readonly text: EncodedText;
  }): Promise<Float32Array>;
  /** RGB bytes [rows * token_pixels, cols * token_pixels, 3] of clean latents [rows * cols, D], row-major grid */
  decode(latents: Float32Array, rows: number, cols: number): Promise<Uint8Array>;
  close(): Promise<void>;
}
