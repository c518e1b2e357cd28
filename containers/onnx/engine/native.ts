/** ONNX Runtime as a native library, from the package onnxruntime-node: the fast engine. */
import type { Device, Engine } from './engine.ts';
import { externalData, loadGraph } from './onnx.ts';
import { describeProcessor, readProcessor } from './processor.ts';

/**
 * A part that no graph has. Where the library is given no parts, it reads those that a graph names from the working
 * directory, and nobody has checked them.
 */
const NO_PART = { path: '/', data: new Uint8Array(1) };

/**
 * The native engine with `threads` threads. Rejects where the package has no binary for this platform. Equal classes
 * give equal bytes on the CPU: its kernels add up in an order that depends on instruction sets and threads alone.
 *
 * Device `cuda` asks for NVIDIA's execution provider and refuses a graph rather than run it on the CPU when the
 * provider is missing. It needs Linux x64, CUDA and the provider's libraries, which this project's installation skips
 * (`onnxruntime-node-install=skip` in .npmrc). It is unrun: no GPU was at hand when this was written.
 */
export async function openNative({
  threads,
  device,
}: {
  readonly threads: number;
  readonly device: Device;
}): Promise<Engine> {
  const { default: runtime } = await import('onnxruntime-node');
  const library = `onnxruntime-node/${runtime.env.versions.node} ${device}`;
  return {
    engineClass: device === 'cpu' ? `${library} ${describeProcessor(readProcessor())} threads=${threads}` : library,
    // the library does not say which GPU it runs on, and its CUDA kernels may add up in any order
    isDeterministic: device === 'cpu',
    load: (bytes, { parts = [], spins = false } = {}) =>
      loadGraph(runtime, bytes, {
        executionProviders: [device],
        externalData: [...externalData(parts), NO_PART],
        intraOpNumThreads: threads,
        // awake from one part of a run to the next, never behind its end: that would take a core from what comes next
        extra: { session: { intra_op: { allow_spinning: spins ? '1' : '0' }, force_spinning_stop: '1' } },
      }),
  };
}
