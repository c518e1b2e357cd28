/** What the page calls an engine. Pure. */

/** Libraries that run models, by how an engine class names them. */
const LIBRARIES = new Map([
  ['onnxruntime-node', 'ONNX Runtime'],
  ['onnxruntime-web', 'ONNX Runtime'],
  ['torch', 'PyTorch'],
]);
/** What they run it on. */
const DEVICES = new Map([
  ['cpu', 'on the CPU'],
  ['wasm', 'in WebAssembly'],
  ['cuda', 'on a GPU'],
]);

/**
 * An engine class in words: `ONNX Runtime 1.30 on the CPU`. One that is not known stays as it is.
 *
 * @param {string} engine as a receipt names it, `onnxruntime-node/1.30.0 cpu linux-x64+avx2 threads=2`
 */
export function describeEngine(engine) {
  const [, library = '', version, device = ''] = /^([\w-]+)\/(\d+\.\d+)\S* ([a-z]+)/.exec(engine) ?? [];
  const [name, place] = [LIBRARIES.get(library), DEVICES.get(device)];
  return name && place ? `${name} ${version} ${place}` : engine;
}
