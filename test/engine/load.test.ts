/**
 * A model folder that is not what its manifest says is refused with the file and the reason, and the engine is chosen
 * as promised.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openEngine } from '../../containers/onnx/engine/choose.ts';
import { loadModel } from '../../containers/onnx/load-model.ts';

const MODELS = new URL('../../models', import.meta.url).pathname;
const [name = ''] = readdirSync(MODELS);
const scratch = mkdtempSync(join(tmpdir(), 'ralu-model-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Manifest {
  facts: Record<string, unknown>;
  tokenizer: Record<string, unknown>;
  graphs: Record<string, { file: string; inputs: string[]; outputs: string[] }>;
  files: Record<string, { bytes: number; sha256: string }>;
}

/** A copy of the embedded model that `change` has been at. */
function copyOf(change: (folder: string, manifest: Manifest) => void): string {
  const folder = mkdtempSync(join(scratch, 'copy-'));
  cpSync(join(MODELS, name), folder, { recursive: true });
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Manifest;
  change(folder, manifest);
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return folder;
}

describe('a model folder is refused', () => {
  it('when one byte of a file is another', async () => {
    const dir = copyOf((folder, { graphs }) => {
      const path = join(folder, graphs.transformer?.file as string);
      const bytes = readFileSync(path);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      writeFileSync(path, bytes);
    });
    await expect(loadModel({ dir })).rejects.toThrow(
      /transformer\.onnx: has SHA-256 [0-9a-f]{64}, the manifest says [0-9a-f]{64}/,
    );
  });

  it('when a file is cut short or missing', async () => {
    const short = copyOf((folder) => writeFileSync(join(folder, 'tokenizer.json'), '{}'));
    await expect(loadModel({ dir: short })).rejects.toThrow(/tokenizer\.json: has 2 bytes, the manifest says \d+/);
    const missing = copyOf((folder) => rmSync(join(folder, 'decoder.onnx')));
    await expect(loadModel({ dir: missing })).rejects.toThrow(/decoder\.onnx: cannot be read/);
  });

  it('when the manifest breaks a rule, naming the field', async () => {
    const noSteps = copyOf((_, { facts }) => delete facts.steps);
    await expect(loadModel({ dir: noSteps })).rejects.toThrow(/manifest\.json: facts\.steps: /);
    const noGrid = copyOf((_, { facts }) => Object.assign(facts, { sizes: [{ width: 100, height: 128 }] }));
    await expect(loadModel({ dir: noGrid })).rejects.toThrow(
      /manifest\.json: facts\.sizes\.0: 100x128 must have sides that are multiples of token_pixels, \d+/,
    );
    const unlisted = copyOf((_, { files }) => delete files['tokenizer.json']);
    await expect(loadModel({ dir: unlisted })).rejects.toThrow(
      /files\.tokenizer\.json: used by the model but not listed/,
    );
    const bareTokenizer = copyOf((_, manifest) => Object.assign(manifest, { tokenizer: 'tokenizer.json' }));
    await expect(loadModel({ dir: bareTokenizer })).rejects.toThrow(/manifest\.json: tokenizer: /);
    const silentTokenizer = copyOf((_, manifest) => Object.assign(manifest, { tokenizer: { file: 'tokenizer.json' } }));
    await expect(loadModel({ dir: silentTokenizer })).rejects.toThrow(/manifest\.json: tokenizer\.whole_words: /);
    const unlistedEmoji = copyOf((_, { files }) => delete files['emoji.json']);
    await expect(loadModel({ dir: unlistedEmoji })).rejects.toThrow(
      /files\.emoji\.json: used by the model but not listed/,
    );
    const outside = copyOf((_, { files }) => {
      files['../secret'] = { bytes: 1, sha256: 'a'.repeat(64) };
    });
    await expect(loadModel({ dir: outside })).rejects.toThrow(/manifest\.json: files/);
  });

  it('when its names of emoji are none', async () => {
    const dir = copyOf((_, manifest) =>
      Object.assign(manifest, { tokenizer: { ...manifest.tokenizer, emoji: 'tokenizer.json' } }),
    );
    await expect(loadModel({ dir })).rejects.toThrow(/tokenizer\.json: truncation: .*expected string/);
  });

  it('when a graph is not the one the manifest describes', async () => {
    const dir = copyOf((_, { graphs }) => graphs.decoder?.outputs.push('depth'));
    await expect(loadModel({ dir })).rejects.toThrow(
      /decoder\.onnx: has latent_sample → sample, the manifest says latent_sample → sample, depth/,
    );
    const swapped = copyOf((_, { graphs }) => Object.assign(graphs, { text_encoder: graphs.decoder }));
    await expect(loadModel({ dir: swapped })).rejects.toThrow(
      /decoder\.onnx: wants an input latent_sample, expected only input_ids/,
    );
  });

  it('when its encoder is not listed, is another file, or has other inputs and outputs', async () => {
    const withEncoder = (change: (folder: string, manifest: Manifest) => void = () => undefined): string =>
      copyOf((folder, manifest) => {
        manifest.graphs.encoder = { file: 'encoder.onnx', inputs: ['sample'], outputs: ['latent_sample'] };
        writeFileSync(join(folder, 'encoder.onnx'), 'a graph');
        manifest.files['encoder.onnx'] = {
          bytes: 7,
          sha256: createHash('sha256').update('a graph').digest('hex'),
        };
        change(folder, manifest);
      });
    const unlisted = withEncoder((_, { files }) => delete files['encoder.onnx']);
    await expect(loadModel({ dir: unlisted })).rejects.toThrow(
      /files\.encoder\.onnx: used by the model but not listed/,
    );
    const other = withEncoder((folder) => writeFileSync(join(folder, 'encoder.onnx'), 'another'));
    await expect(loadModel({ dir: other })).rejects.toThrow(/encoder\.onnx: has SHA-256 /);
    const wrong = withEncoder((_, { graphs }) => graphs.encoder?.inputs.push('mask'));
    await expect(loadModel({ dir: wrong })).rejects.toThrow(/encoder\.onnx: wants an input mask, expected only sample/);
    // nothing runs it, so that it is no graph does not matter
    await (await loadModel({ dir: withEncoder() })).close();
  });

  it('when there is none, or more than one to choose from', async () => {
    await expect(loadModel({ dir: join(scratch, 'nowhere') })).rejects.toThrow(/nowhere: there is no such folder/);
    const empty = mkdtempSync(join(scratch, 'empty-'));
    await expect(loadModel({ dir: empty })).rejects.toThrow(/holds no model/);
    for (const each of ['one', 'two']) {
      mkdirSync(join(empty, each));
      writeFileSync(join(empty, each, 'manifest.json'), '{');
    }
    await expect(loadModel({ dir: empty })).rejects.toThrow(
      /holds 2 models, expected one: name the folder of one or two/,
    );
    await expect(loadModel({ dir: join(empty, 'one') })).rejects.toThrow(/manifest\.json: is not JSON/);
  });
});

it('loads without names of emoji, which it then skips', async () => {
  const dir = copyOf((_, { tokenizer }) => delete tokenizer.emoji);
  const model = await loadModel({ dir });
  expect((await model.encodeText('a 🍎')).warnings).toEqual(['skipped words the model does not know: 🍎']);
  await model.close();
});

it('is of the family of FLUX.1, whose shape the graphs have, unless its manifest says otherwise', async () => {
  const families = [
    copyOf(() => {}),
    copyOf((_, { facts }) => Object.assign(facts, { family: 'flux.0' })),
    copyOf((_, { facts }) => Object.assign(facts, { family: null })),
  ];
  for (const [i, family] of ['flux.1', 'flux.0', null].entries()) {
    const model = await loadModel({ dir: families[i] as string });
    expect(model.facts.family).toBe(family);
    await model.close();
  }
});

it('gives another digest when anything in the manifest is another', async () => {
  const changed = copyOf((_, { facts }) => Object.assign(facts, { steps: 49 }));
  const [a, b] = await Promise.all([loadModel({ dir: MODELS }), loadModel({ dir: changed })]);
  expect(b.facts.digest).not.toBe(a.facts.digest);
  await Promise.all([a.close(), b.close()]);
});

describe('the engine', () => {
  it('is native unless told otherwise', async () => {
    expect((await openEngine()).engineClass).toMatch(/^onnxruntime-node\/\S+ cpu /);
    expect((await openEngine('wasm')).engineClass).toMatch(/^onnxruntime-web\/\S+ wasm /);
    expect((await openEngine(undefined, { device: 'cuda' })).engineClass).toMatch(/^onnxruntime-node\/\S+ cuda$/);
  });

  it('states its threads; WASM states those of the first engine, since its library starts once', async () => {
    for (const threads of [1, 2])
      expect((await openEngine('native', { threads })).engineClass).toMatch(new RegExp(` threads=${threads}$`));
    const first = await openEngine('wasm');
    expect((await openEngine('wasm', { threads: 999 })).engineClass).toBe(first.engineClass);
  });

  it('promises equal bytes on the CPU alone', async () => {
    expect((await openEngine('native')).isDeterministic).toBe(true);
    expect((await openEngine('wasm')).isDeterministic).toBe(true);
    expect((await openEngine('native', { device: 'cuda' })).isDeterministic).toBe(false);
  });

  it('rejects options nobody can meet', async () => {
    await expect(openEngine('native', { threads: 0 })).rejects.toThrow('threads is 0, expected a positive integer');
    await expect(openEngine('wasm', { device: 'cuda' })).rejects.toThrow(
      'device is cuda, expected cpu with the wasm engine',
    );
  });

  it('refuses bytes that are no graph', async () => {
    for (const kind of ['native', 'wasm'] as const)
      await expect((await openEngine(kind)).load(Uint8Array.of(1, 2, 3))).rejects.toThrow();
  });

  // a process of its own, in which the native package cannot be found
  const withoutNative = (expression: string): string => {
    const hooks = `import { registerHooks } from 'node:module'; registerHooks({ resolve(name, context, next) { if (name === 'onnxruntime-node') throw new Error('no such binary'); return next(name, context); } });`;
    const program = `import { openEngine } from ${JSON.stringify(new URL('../../containers/onnx/engine/choose.ts', import.meta.url).href)};
      const lines = []; const log = (line) => lines.push(line);
      const name = await (${expression}).then((engine) => engine.engineClass, (error) => error.message);
      console.log(JSON.stringify({ name, lines }));`;
    return execFileSync(
      process.execPath,
      ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`, '--input-type=module', '--eval', program],
      { encoding: 'utf8' },
    );
  };

  it('is WASM where native cannot load, with the reason told', () => {
    const { name: chosen, lines } = JSON.parse(withoutNative('openEngine(undefined, { log })')) as {
      name: string;
      lines: string[];
    };
    expect(chosen).toMatch(/^onnxruntime-web\/\S+ wasm /);
    expect(lines).toEqual(['the native engine cannot load, using wasm: no such binary']);
  });

  it('is not replaced when it was asked for by name or by device', () => {
    for (const expression of [`openEngine('native', { log })`, `openEngine(undefined, { log, device: 'cuda' })`]) {
      expect(JSON.parse(withoutNative(expression))).toEqual({
        name: 'the native engine cannot load: no such binary',
        lines: [],
      });
    }
  });
});
