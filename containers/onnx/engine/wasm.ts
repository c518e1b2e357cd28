/**
 * ONNX Runtime as WebAssembly with SIMD, from the package onnxruntime-web: about five times slower than native, and
 * runs wherever Node does.
 */
import type { Engine } from './engine.ts';
import { loadGraph } from './onnx.ts';

/**
 * The WASM engine. The library starts once in a process, so the `threads` of the first engine count for all later ones,
 * and `engineClass` states those. WebAssembly's arithmetic is the same on every processor.
 */
export async function openWasm({ threads }: { readonly threads: number }): Promise<Engine> {
  const runtime = await import('onnxruntime-web');
  runtime.env.wasm.numThreads ??= threads;
  runtime.env.wasm.proxy = false;
  return {
    engineClass: `onnxruntime-web/${runtime.env.versions.web} wasm threads=${runtime.env.wasm.numThreads}`,
    isDeterministic: true,
    load: (bytes) => loadGraph(runtime, bytes, { executionProviders: ['wasm'] }),
  };
}
