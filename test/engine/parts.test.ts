/**
 * A model whose transformer stands in several files, none of which would be too large, computes bit for bit what it
 * computes in one; parts that are not what the manifest says are refused.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openEngine } from '../../containers/onnx/engine/choose.ts';
import type { Graph, Tensor } from '../../containers/onnx/engine/engine.ts';
import { loadModel } from '../../containers/onnx/load-model.ts';
import { type SplitGraph, splitGraph } from './split-graph.ts';

const MODELS = new URL('../../models', import.meta.url).pathname;
const [name = ''] = readdirSync(MODELS);
const scratch = mkdtempSync(join(tmpdir(), 'ralu-parts-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const LARGEST = 4 * 2 ** 20;
const nameOf = (part: number): string => `transformer.${part}.bin`;
const transformer = new Uint8Array(readFileSync(join(MODELS, name, 'transformer.onnx')));
const { graph, parts } = splitGraph(transformer, { smallest: 1024, largest: LARGEST, nameOf });

interface Manifest {
  graphs: { transformer: { file: string; parts?: string[] } };
  files: Record<string, { bytes: number; sha256: string }>;
}

const listed = (bytes: Uint8Array) => ({
  bytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

/** The embedded model with its transformer in parts, after `change` has been at it. */
function splitModel(change: (folder: string, manifest: Manifest) => void = () => undefined): string {
  const folder = mkdtempSync(join(scratch, 'model-'));
  cpSync(join(MODELS, name), folder, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Manifest;
  for (const [file, bytes] of [['transformer.onnx', graph] as const, ...parts.map((p) => [p.name, p.bytes] as const)]) {
    writeFileSync(join(folder, file), bytes);
    manifest.files[file] = listed(bytes);
  }
  manifest.graphs.transformer.parts = parts.map((part) => part.name);
  change(folder, manifest);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return folder;
}

/** What the transformer answers to 64 tokens and four of text. */
async function velocityOf(loaded: Graph): Promise<Float32Array | undefined> {
  const waves = (...shape: number[]): Tensor => ({
    data: Float32Array.from({ length: shape.reduce((product, side) => product * side) }, (_, i) => Math.sin(i)),
    shape,
  });
  const { out_hidden_states } = await loaded.run({
    hidden_states: waves(1, 64, 64),
    encoder_hidden_states: waves(1, 4, 256),
    pooled_projections: waves(1, 256),
    timestep: { data: Float32Array.of(0.7), shape: [1] },
    img_ids: waves(64, 3),
    txt_ids: waves(4, 3),
  });
  await loaded.close();
  return out_hidden_states?.data;
}

it('the transformer is split: a small graph, and parts of at most 4 MiB or one constant', () => {
  expect(graph.length).toBeLessThan(100_000);
  expect(parts.length).toBeGreaterThanOrEqual(4);
  // the modulations of all blocks are one matrix of 5.5 MiB
  expect(parts.filter(({ bytes }) => bytes.length > LARGEST).map(({ bytes }) => bytes.length)).toEqual([5_767_168]);
});

describe.each(['native', 'wasm'] as const)('on the %s engine a graph in parts', (kind) => {
  const opened = openEngine(kind, { threads: 1 });

  it('gives the numbers of the one in a single file, bit for bit, whatever becomes of the bytes it was made of', async () => {
    const engine = await opened;
    const whole = await velocityOf(await engine.load(transformer));
    const copies = parts.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
    const loaded = await engine.load(graph, { parts: copies });
    for (const { bytes } of copies) bytes.fill(77);
    expect(await velocityOf(loaded)).toEqual(whole);
    expect(whole?.some((value) => value !== 0) && whole.every(Number.isFinite)).toBe(true);
  });

  it('is refused when it keeps constants in a file that it is not given, wherever that lies', async () => {
    const { load } = await opened;
    const file = 'elsewhere.bin';
    const four = addition(Float32Array.of(1, 2, 3, 4));
    const { graph, parts } = splitGraph(four, { smallest: 1, largest: 16, nameOf: () => file });
    await expect(load(graph, { parts: [{ name: 'other.bin', bytes: new Uint8Array(16) }] })).rejects.toThrow(file);
    const before = process.cwd();
    writeFileSync(join(scratch, file), parts[0]?.bytes ?? '');
    process.chdir(scratch);
    try {
      await expect(load(graph)).rejects.toThrow(file);
    } finally {
      process.chdir(before);
    }
  });

  it('has its own parts though another with parts of these names is loaded at once', async () => {
    const { load } = await opened;
    const sumOf = async ({ graph, parts }: SplitGraph): Promise<number> => {
      const loaded = await load(graph, { parts });
      const { y } = await loaded.run({ x: { data: new Float32Array(4), shape: [4] } });
      await loaded.close();
      return y?.data.reduce((sum, value) => sum + value, 0) ?? 0;
    };
    const all = [1, 2, 3].map((value) =>
      splitGraph(addition(Float32Array.of(value, value, value, value)), { smallest: 1, largest: 1, nameOf }),
    );
    expect(all[0]?.parts.map((part) => part.name)).toEqual(['transformer.0.bin']);
    expect(await Promise.all(all.map(sumOf))).toEqual([4, 8, 12]);
  });
});

it('a model in parts loads, and computes what it computes in one file', async () => {
  const options = { engine: 'native', threads: 1 } as const;
  const [whole, split] = await Promise.all([
    loadModel({ dir: MODELS, ...options }),
    loadModel({ dir: splitModel(), ...options }),
  ]);
  const text = await whole.encodeText('a red apple');
  const latents = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
  const input = { latents, imgIds: new Float32Array(3), sigma: 0.7, guidance: null, text };
  expect(await split.velocity(input)).toEqual(await whole.velocity(input));
  await Promise.all([whole.close(), split.close()]);
});

describe('a model in parts is refused', () => {
  it('when its graph wants another part', async () => {
    const dir = splitModel((_, { graphs }) => graphs.transformer.parts?.pop());
    await expect(loadModel({ dir, engine: 'native' })).rejects.toThrow(
      new RegExp(
        `transformer\\.onnx: onnxruntime-node.* cannot load it: .*transformer\\.${parts.length - 1}\\.bin`,
        's',
      ),
    );
  });

  it('when a part is missing, another or not listed', async () => {
    const missing = splitModel((folder) => rmSync(join(folder, nameOf(1))));
    await expect(loadModel({ dir: missing })).rejects.toThrow(/transformer\.1\.bin: cannot be read/);
    const other = splitModel((folder) => {
      const bytes = new Uint8Array(parts[2]?.bytes ?? []);
      bytes[100] = (bytes[100] as number) ^ 1;
      writeFileSync(join(folder, nameOf(2)), bytes);
    });
    await expect(loadModel({ dir: other })).rejects.toThrow(
      /transformer\.2\.bin: has SHA-256 [0-9a-f]{64}, the manifest says [0-9a-f]{64}/,
    );
    const unlisted = splitModel((_, { files }) => delete files[nameOf(1)]);
    await expect(loadModel({ dir: unlisted })).rejects.toThrow(
      /manifest\.json: files\.transformer\.1\.bin: used by the model but not listed/,
    );
  });

  const NO_FOLDER = 'must be the name of a file, of letters, digits, dots, dashes and underscores';
  it.each([
    ['in another folder', ['../transformer.0.bin'], `parts.0: ../transformer.0.bin ${NO_FOLDER}`],
    ['a path', ['/etc/passwd'], `parts.0: /etc/passwd ${NO_FOLDER}`],
    ['one twice', [nameOf(0), nameOf(0)], 'parts.1: transformer.0.bin must stand in the graph once'],
    ['the graph itself', ['transformer.onnx'], 'parts.0: transformer.onnx must stand in the graph once'],
    ['65', Array.from({ length: 65 }, (_, i) => nameOf(i)), 'parts: Too big: expected array to have <=64 items'],
    ['no list', nameOf(0), 'parts: Invalid input: expected array, received string'],
  ])('when its parts are %s', async (_, named, fault) => {
    const dir = splitModel((_, { graphs }) => Object.assign(graphs.transformer, { parts: named }));
    await expect(loadModel({ dir })).rejects.toThrow(`manifest.json: graphs.transformer.${fault}`);
  });
});

/** The ONNX graph y = x + constant, four floats each. */
function addition(constant: Float32Array): Uint8Array {
  const bytes = (number: number, content: Uint8Array | string | number[]): number[] => {
    const data = [...(typeof content === 'string' ? new TextEncoder().encode(content) : content)];
    return [(number << 3) | 2, data.length, ...data];
  };
  const integer = (number: number, value: number): number[] => [number << 3, value];
  const value = (name: string): number[] => [
    ...bytes(1, name),
    ...bytes(2, bytes(1, [...integer(1, 1), ...bytes(2, bytes(1, integer(1, 4)))])),
  ];
  const tensor = [...integer(1, 4), ...integer(2, 1), ...bytes(8, 'c'), ...bytes(9, new Uint8Array(constant.buffer))];
  const node = [...bytes(1, 'x'), ...bytes(1, 'c'), ...bytes(2, 'y'), ...bytes(4, 'Add')];
  return Uint8Array.from([
    ...integer(1, 10),
    ...bytes(7, [
      ...bytes(1, node),
      ...bytes(2, 'addition'),
      ...bytes(5, tensor),
      ...bytes(11, value('x')),
      ...bytes(12, value('y')),
    ]),
    ...bytes(8, [...bytes(1, ''), ...integer(2, 20)]),
  ]);
}
