/**
 * The anchor between the two stage servers: the embedded model on ONNX Runtime in the one, its transformer in PyTorch
 * in the other, and the same requests to both. Places, noise levels, solvers, caches and decoding have to agree for the
 * numbers to.
 */
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadModel } from '../../containers/onnx/load-model.ts';
import { type ModelFacts, modelList } from '../../src/stage/contract.ts';
import type { Tensor } from '../../src/stage/safetensors.ts';
import type { Started } from './conformance.ts';
import { PATIENCE_MS, RALU_PYTHON, startPython } from './python.ts';
import { call, evenSigmas, finish, freshId, put, type RequestShape, stageBody } from './requests.ts';
import { startServer } from './start.ts';

/** Largest difference of latents, of their largest value; of pixels, in levels of 255. */
const LATENTS = 2e-3;
const PIXELS = 2;

const CASES: readonly (readonly [string, RequestShape])[] = [
  ['low tokens', { layout: 'low', sigmas: evenSigmas(3, 1, 0.7) }],
  ['a mixed grid', { layout: 'mixed', sigmas: evenSigmas(3, 0.9, 0.5) }],
  ['every token upsampled', { layout: 'all-upsampled', sigmas: evenSigmas(2, 0.6, 0.4) }],
  ['the full grid', { layout: 'full', sigmas: evenSigmas(5, 0.8) }],
  ['a longer prompt', { layout: 'low', options: { prompt: 'two foxes left of a tiny zebra on a blue background' } }],
  ['no prompt', { layout: 'low', options: { prompt: '' } }],
  ['the second-order solver', { layout: 'full', sigmas: evenSigmas(5, 1, 0.2), options: { solver: 'ab2' } }],
  [
    'velocities that are forecast',
    {
      layout: 'full',
      sigmas: evenSigmas(7, 1, 0.2),
      options: { cache: { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 2 } },
    },
  ],
];

const f32 = (tensor: Tensor | undefined): Float32Array => tensor?.data as Float32Array;
const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const apart = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a).toHaveLength(b.length);
  return largest(Array.from(a, (value, i) => value - (b[i] as number)));
};

describe.skipIf(RALU_PYTHON === undefined)('the embedded model in PyTorch and in ONNX Runtime', () => {
  let servers: readonly Started[] = [];
  let facts: ModelFacts;
  // Python imports for some seconds
  beforeAll(async () => {
    servers = await Promise.all([
      startServer([await loadModel({ dir: 'models', engine: 'native' })]),
      startPython(['tests/serve_embedded.py', '../../models/fluent-scenes', '0']),
    ]);
    const [onnx] = servers as [Started, Started];
    facts = modelList.parse(await (await call(onnx, 'GET', 'v1/models')).json()).models[0] as ModelFacts;
  }, PATIENCE_MS);
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  const both = async (shape: RequestShape) => {
    const ask = async (server: Started) => finish(await put(server, freshId(), stageBody(facts, shape)));
    return Promise.all(servers.map(ask)) as Promise<[Awaited<ReturnType<typeof ask>>, Awaited<ReturnType<typeof ask>>]>;
  };

  test.each(CASES)('agree on %s', async (_, shape) => {
    const [onnx, python] = await both({
      ...shape,
      options: { ...shape.options, decode: 'clean', rgb: true, clean_latents: true },
    });
    for (const name of ['latents', 'clean_latents']) {
      const expected = f32(onnx.tensors[name]);
      expect(apart(f32(python.tensors[name]), expected) / largest(expected)).toBeLessThan(LATENTS);
    }
    expect(python.tensors.rgb?.shape).toEqual(onnx.tensors.rgb?.shape);
    expect(apart(python.tensors.rgb?.data as Uint8Array, onnx.tensors.rgb?.data as Uint8Array)).toBeLessThanOrEqual(
      PIXELS,
    );
    const { steps_done, evaluations, text_tokens } = onnx.done;
    expect(python.done).toMatchObject({ steps_done, evaluations, text_tokens });
  });

  test('agree on a finished image', async () => {
    const pixels = async ({ tensors }: { tensors: Readonly<Record<string, Tensor>> }) =>
      new Uint8Array(
        await sharp(tensors.image?.data as Uint8Array)
          .raw()
          .toBuffer(),
      );
    const answers = await both({ layout: 'full', sigmas: evenSigmas(4), options: { decode: 'image' } });
    const [onnx, python] = await Promise.all(answers.map(pixels));
    expect(apart(python as Uint8Array, onnx as Uint8Array)).toBeLessThanOrEqual(PIXELS);
  });
});
