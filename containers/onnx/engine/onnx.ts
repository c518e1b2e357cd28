/** ONNX Runtime's two packages share one API; this makes a `Graph` of a session of either. */
import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from 'onnxruntime-web';
import type { FloatTensor, Graph, GraphPart, Tensor } from './engine.ts';

/** The part of onnxruntime-node and onnxruntime-web that is used. */
export interface OnnxRuntime {
  readonly InferenceSession: {
    create(bytes: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: TensorConstructor;
}

/**
 * A graph that runs in `runtime`. The memory arena stays on although the number of tokens changes from stage to stage:
 * it is worth a few per cent.
 */
export async function loadGraph(
  runtime: OnnxRuntime,
  bytes: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<Graph> {
  const session = await runtime.InferenceSession.create(bytes, {
    graphOptimizationLevel: 'all',
    executionMode: 'sequential',
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    ...options,
  });
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(inputs) {
      const feeds = Object.fromEntries(session.inputNames.map((name) => [name, toOrt(runtime, name, inputs[name])]));
      const outputs = await session.run(feeds);
      return Object.fromEntries(session.outputNames.map((name) => [name, fromOrt(name, outputs[name])]));
    },
    close: () => session.release(),
  };
}

/** Parts of a graph as the runtimes take them. */
export const externalData = (parts: readonly GraphPart[]): { path: string; data: Uint8Array }[] =>
  parts.map(({ name, bytes }) => ({ path: name, data: bytes }));

function toOrt({ Tensor }: OnnxRuntime, name: string, tensor: Tensor | undefined): OrtTensor {
  if (!tensor) throw new RangeError(`the graph wants an input ${name} and was given none`);
  const { data, shape } = tensor;
  return data instanceof Float32Array ? new Tensor('float32', data, shape) : new Tensor('int64', data, shape);
}

function fromOrt(name: string, value: OrtTensor | undefined): FloatTensor {
  if (!(value?.data instanceof Float32Array))
    throw new RangeError(`output ${name} of the graph is ${value?.type ?? 'missing'}, expected float32`);
  return { data: value.data, shape: value.dims };
}
