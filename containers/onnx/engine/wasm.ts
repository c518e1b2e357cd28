/**
 * ONNX Runtime as WebAssembly with SIMD, from the package onnxruntime-web: about five times slower than native, and
 * runs wherever Node does.
 */
import type { Engine } from './engine.ts';
import { externalData, loadGraph } from './onnx.ts';

/**
 * Settles when the graphs asked for so far have loaded. The library has one place for the parts of the graph that it
 * loads, and empties it after each, whichever engine asked.
 */
let lastLoad: Promise<unknown> = Promise.resolve();

function inTurn<T>(load: () => Promise<T>): Promise<T> {
  const loaded = lastLoad.then(load);
  lastLoad = loaded.catch(() => undefined);
  return loaded;
}

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
    load: (bytes, { parts = [] } = {}) =>
      inTurn(() => loadGraph(runtime, bytes, { executionProviders: ['wasm'], externalData: externalData(parts) })),
  };
}
