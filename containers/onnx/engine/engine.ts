/** What runs a graph. Two engines implement this, and one suite (`test/engine/`) holds both to the same numbers. */

/** A row-major array with its shape. Token ids are 64-bit integers in ONNX, everything else is float32. */
export interface Tensor {
  readonly data: Float32Array | BigInt64Array;
  readonly shape: readonly number[];
}

export interface FloatTensor extends Tensor {
  readonly data: Float32Array;
}

/** One ONNX graph, loaded. */
export interface Graph {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * Every output of the graph by name. Inputs are read, not kept, and outputs are the caller's own. Both engines
   * compute on the calling thread, so the event loop stands still for as long as one run takes. Rejects when an input
   * is missing, has a wrong type or shape, or when an output is not float32.
   */
  run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, FloatTensor>>;
  /** Frees the graph's memory; running it afterwards rejects. */
  close(): Promise<void>;
}

/** A file that holds constants of a graph, under the name by which the graph knows it. */
export interface GraphPart {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface GraphOptions {
  /** the files that the graph keeps constants in (ONNX's external data); none when absent */
  readonly parts?: readonly GraphPart[];
  /**
   * Whether the graph's threads wait awake for the next part of a run, which is faster where its parts are small and
   * many. Once the run is over they sleep: awake they would take the cores from the next graph. False when absent.
   */
  readonly spins?: boolean;
}

export interface Engine {
  /**
   * What decides the bytes beside the graph: library with version, device, instruction sets, threads. For example
   * `onnxruntime-node/1.30.0 cpu linux-x64+avx2 threads=2`, `onnxruntime-web/1.30.0 wasm threads=2`,
   * `onnxruntime-node/1.30.0 cuda`.
   */
  readonly engineClass: string;
  /** whether two engines of this class give the same bytes for the same input */
  readonly isDeterministic: boolean;
  /**
   * A graph of the bytes of an `.onnx` file and its parts, which are copied. Rejects when the engine cannot read or run
   * it, and when it keeps constants in a file that is not among the parts.
   */
  load(bytes: Uint8Array, options?: GraphOptions): Promise<Graph>;
}

export type EngineKind = 'native' | 'wasm';
export type Device = 'cpu' | 'cuda';
