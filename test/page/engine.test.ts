/** What the page calls an engine: the classes are those that stage servers name. */
import { expect, test } from 'vitest';
import { describeEngine } from '../../playground/session/engine.js';

test.each([
  ['onnxruntime-node/1.30.0 cpu linux-x64+avx512+avx512vnni threads=2', 'ONNX Runtime 1.30 on the CPU'],
  ['onnxruntime-web/1.30.0 wasm threads=2', 'ONNX Runtime 1.30 in WebAssembly'],
  ['onnxruntime-node/1.30.0 cuda', 'ONNX Runtime 1.30 on a GPU'],
  ['torch/2.13.0 cuda/13.0 NVIDIA-H100 bfloat16 cudnn/9.8', 'PyTorch 2.13 on a GPU'],
  ['torch/2.13.0 cpu linux-x86_64 float32 threads=2', 'PyTorch 2.13 on the CPU'],
  ['jax/0.9.1 tpu v6', 'jax/0.9.1 tpu v6'],
  ['torch/2.13.0 abacus', 'torch/2.13.0 abacus'],
  ['', ''],
])('%s', (engine, words) => {
  expect(describeEngine(engine)).toBe(words);
});
