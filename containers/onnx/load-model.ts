/**
 * A model from its folder: everything it says of itself comes from its manifest, so this file knows no model by name.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { unpackLatents } from '../../src/numerics/tokens.ts';
import { checkSizes, modelFacts } from '../../src/stage/contract.ts';
import { fitColours } from './colours.ts';
import { type EngineOptions, openEngine } from './engine/choose.ts';
import { type EmojiNames, emojiNames, namesWithin } from './engine/emoji.ts';
import type { EngineKind, FloatTensor, Graph, Tensor } from './engine/engine.ts';
import { startTokenizer, type TokenizerThread } from './engine/start-tokenizer.ts';
import type { Model } from './model.ts';

const MANIFEST = 'manifest.json';

/** Most files of a graph beside its own, and most words that a tokenizer's list of unlearned ones has. */
const MAX_PARTS = 64;
const MAX_UNLEARNED = 8192;

/** Graphs are of FLUX.1's shape, so what is published for that family holds for a model that states no other. */
const FAMILY = 'flux.1';

/** a file beside the manifest, never a path */
const fileName = z.string().regex(/^[\w-][\w.-]*$/, {
  error: ({ input }) => `${input} must be the name of a file, of letters, digits, dots, dashes and underscores`,
});
/** `parts`: the files that hold the graph's large constants, by the names under which the graph knows them */
const graph = z
  .strictObject({
    file: fileName,
    parts: z.array(fileName).max(MAX_PARTS).default([]),
    inputs: z.array(z.string()),
    outputs: z.array(z.string()),
  })
  .superRefine(({ file, parts }, context) => {
    for (const [i, part] of parts.entries())
      if (part === file || parts.indexOf(part) < i)
        context.addIssue({ code: 'custom', path: ['parts', i], message: `${part} must stand in the graph once` });
  });

/**
 * `manifest.json`. `files` lists every file that decides the output, so the manifest's own hash stands for all of them:
 * it is the model's digest.
 */
const manifest = z
  .strictObject({
    format: z.literal(1),
    facts: modelFacts
      .omit({ digest: true })
      .extend({ family: modelFacts.shape.family.default(FAMILY) })
      .superRefine(checkSizes),
    /**
     * `whole_words`: every word the model has learned is one token, so that a caller can be told which words are read
     * in pieces; `unlearned`: words that are one token and that the model has not learned to draw; `emoji`: the file
     * with the names that emoji are read as
     */
    tokenizer: z.strictObject({
      file: fileName,
      whole_words: z.boolean(),
      unlearned: z.array(z.string().min(1).max(100)).max(MAX_UNLEARNED).default([]),
      emoji: fileName.optional(),
    }),
    /** `encoder`: pictures to latents; nothing asks for it yet, so it is checked and not run */
    graphs: z.strictObject({ text_encoder: graph, transformer: graph, decoder: graph, encoder: graph.optional() }),
    files: z.record(fileName, z.strictObject({ bytes: z.int().positive(), sha256: z.hex().length(64) })),
  })
  .superRefine(({ files, tokenizer, graphs }, context) => {
    const used = Object.values(graphs).flatMap((each) => (each ? [each.file, ...each.parts] : []));
    for (const name of [tokenizer.file, tokenizer.emoji, ...used]) {
      if (name !== undefined && !files[name])
        context.addIssue({ code: 'custom', path: ['files', name], message: 'used by the model but not listed' });
    }
  });
type Manifest = z.infer<typeof manifest>;
type GraphEntry = z.infer<typeof graph>;

/** What each graph may ask for, and what it must answer with: the names of FLUX's own ONNX exports. */
const INPUTS = {
  text_encoder: ['input_ids'],
  transformer: [
    'hidden_states',
    'encoder_hidden_states',
    'pooled_projections',
    'timestep',
    'img_ids',
    'txt_ids',
    'guidance',
  ],
  decoder: ['latent_sample'],
  encoder: ['sample'],
} as const;
const OUTPUTS = {
  text_encoder: ['encoder_hidden_states', 'pooled_projections'],
  transformer: ['out_hidden_states'],
  decoder: ['sample'],
  encoder: ['latent_sample'],
} as const;
type GraphName = keyof typeof INPUTS;

export interface LoadOptions extends EngineOptions {
  /** a model's folder, or a folder that holds one model's folder */
  readonly dir: string;
  /** native, or WASM where native cannot load, when left out */
  readonly engine?: EngineKind | undefined;
}

/**
 * The model in `dir`, ready to run. Rejects, saying which file and why, when there is no model or more than one, the
 * manifest is not one, a file is missing or is not the one the manifest names, or a graph wants inputs nobody has.
 */
export async function loadModel({ dir, engine: kind, ...options }: LoadOptions): Promise<Model> {
  const folder = await findModel(dir);
  const manifestBytes = await read(folder, MANIFEST);
  const { facts, tokenizer, graphs: entries, files } = parseManifest(join(folder, MANIFEST), manifestBytes);
  const contents = new Map(
    await Promise.all(
      Object.entries(files).map(async ([name, expected]) => [name, await readChecked(folder, name, expected)] as const),
    ),
  );
  const bytesOf = (name: string): Uint8Array => contents.get(name) as Uint8Array; // parseManifest saw that it is listed

  for (const name of Object.keys(INPUTS) as GraphName[]) {
    const entry = entries[name];
    if (entry) checkNames(join(folder, entry.file), name, entry);
  }
  const tokenizerFile = parseJson(join(folder, tokenizer.file), bytesOf(tokenizer.file));
  const emoji =
    tokenizer.emoji === undefined ? undefined : parseEmoji(join(folder, tokenizer.emoji), bytesOf(tokenizer.emoji));
  const engine = await openEngine(kind, options);
  const open: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(open.splice(0).map((each) => each.close()));
  };
  const openGraph = async (name: Exclude<GraphName, 'encoder'>): Promise<Graph> => {
    const entry = entries[name];
    const parts = entry.parts.map((part) => ({ name: part, bytes: bytesOf(part) }));
    // of the three only the transformer gains by it
    const options = { parts, spins: name === 'transformer' };
    const loaded = await engine.load(bytesOf(entry.file), options).catch((cause: unknown) => {
      throw new Error(
        `${join(folder, entry.file)}: ${engine.engineClass} cannot load it: ${cause instanceof Error ? cause.message : cause}`,
        { cause },
      );
    });
    open.push(loaded);
    checkSameNames(join(folder, entry.file), entry, loaded);
    return loaded;
  };
  try {
    const tokenizerThread = await startTokenizer(tokenizerFile, {
      maxTokens: facts.text_tokens,
      wholeWords: tokenizer.whole_words,
      unlearned: tokenizer.unlearned,
      emoji,
    }).catch((cause: unknown) => {
      throw new Error(`${join(folder, tokenizer.file)}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    });
    open.push(tokenizerThread);
    // one after the other: the WASM library cannot start twice at once
    const textEncoder = await openGraph('text_encoder');
    const transformer = await openGraph('transformer');
    const decoder = await openGraph('decoder');
    contents.clear(); // the engine has copies
    const decodeGrid: Model['decode'] = (latents, rows, cols) => decode(decoder, facts, latents, rows, cols);
    // a decoder that takes no grid but its own sizes shows no thumbnails, and serves all the same
    const colours = await fitColours(decodeGrid, facts).catch((error: unknown) => {
      options.log?.(`no thumbnails: ${error instanceof Error ? error.message : error}`);
      return null;
    });
    return {
      colours,
      facts: {
        ...facts,
        // the names of the others lead to nothing that it has learned to draw
        ...(emoji &&
          facts.vocabulary && { emoji: facts.emoji ?? namesWithin(emoji, Object.values(facts.vocabulary).flat()) }),
        digest: sha256(manifestBytes),
      },
      engine: engine.engineClass,
      isDeterministic: engine.isDeterministic,
      encodeText: (prompt) => encodeText(textEncoder, tokenizerThread, prompt),
      velocity: (input) => velocity(transformer, 4 * facts.channels, input),
      decode: decodeGrid,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function encodeText(graph: Graph, tokenizer: TokenizerThread, prompt: string): ReturnType<Model['encodeText']> {
  const { ids, warnings } = await tokenizer.tokenize(prompt);
  const outputs = await graph.run({ input_ids: { data: BigInt64Array.from(ids, BigInt), shape: [1, ids.length] } });
  return {
    hidden: output(outputs, 'encoder_hidden_states').data,
    numTokens: ids.length,
    pooled: output(outputs, 'pooled_projections').data,
    warnings,
  };
}

async function velocity(
  graph: Graph,
  width: number,
  { latents, imgIds, sigma, guidance, text }: Parameters<Model['velocity']>[0],
): Promise<Float32Array> {
  const n = latents.length / width;
  if (!Number.isInteger(n) || n === 0)
    throw new RangeError(`latents has ${latents.length} values, expected a positive multiple of ${width}`);
  if (imgIds.length !== 3 * n)
    throw new RangeError(`imgIds has ${imgIds.length} values, expected ${3 * n} for ${n} tokens`);
  const t = text.numTokens;
  const offered: Record<string, Tensor> = {
    hidden_states: { data: latents, shape: [1, n, width] },
    // the pooled vector tells the width of a text row even when there is none
    encoder_hidden_states: { data: text.hidden, shape: [1, t, t === 0 ? text.pooled.length : text.hidden.length / t] },
    pooled_projections: { data: text.pooled, shape: [1, text.pooled.length] },
    timestep: { data: Float32Array.of(sigma), shape: [1] },
    img_ids: { data: imgIds, shape: [n, 3] },
    txt_ids: { data: new Float32Array(3 * t), shape: [t, 3] },
  };
  if (guidance !== null) offered.guidance = { data: Float32Array.of(guidance), shape: [1] };
  return output(await graph.run(offered), 'out_hidden_states').data;
}

/**
 * Latents as the transformer knows them; a scale or shift the autoencoder wants is inside its graph, which answers with
 * [1, 3, height, width] in about [-1, 1].
 */
async function decode(
  graph: Graph,
  facts: { channels: number; token_pixels: number },
  latents: Float32Array,
  rows: number,
  cols: number,
): Promise<Uint8Array> {
  const { channels, token_pixels: pixels } = facts;
  const image = unpackLatents(latents, { channels, rows, cols });
  const { data } = output(
    await graph.run({ latent_sample: { data: image, shape: [1, channels, 2 * rows, 2 * cols] } }),
    'sample',
  );
  const area = rows * cols * pixels * pixels;
  if (data.length !== 3 * area)
    throw new RangeError(
      `the decoder answered with ${data.length} values, expected 3 x ${rows * pixels} x ${cols * pixels}`,
    );
  return toBytes(data, area);
}

/** [area, 3] bytes of planes [3, area]: [-1, 1] becomes 0..255, nearest, ties to even; what is outside is clipped. */
function toBytes(planes: Float32Array, area: number): Uint8Array {
  const rgb = new Uint8ClampedArray(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    const start = channel * area;
    for (let pixel = 0; pixel < area; pixel++)
      rgb[3 * pixel + channel] = ((planes[start + pixel] as number) + 1) * 127.5;
  }
  return new Uint8Array(rgb.buffer);
}

function output(outputs: Readonly<Record<string, FloatTensor>>, name: string): FloatTensor {
  const tensor = outputs[name];
  if (!tensor) throw new RangeError(`the graph has no output ${name}`); // checkNames and checkSameNames saw it
  return tensor;
}

/** The one folder with a manifest: `dir` itself or a folder in it. */
async function findModel(dir: string): Promise<string> {
  if (existsSync(join(dir, MANIFEST))) return dir;
  if (!existsSync(dir)) throw new Error(`${dir}: there is no such folder, expected one with a model`);
  const folders = (await readdir(dir)).sort().filter((name) => existsSync(join(dir, name, MANIFEST)));
  const [only] = folders;
  if (only === undefined)
    throw new Error(`${dir}: holds no model, expected a ${MANIFEST} in it or in one of its folders`);
  if (folders.length > 1)
    throw new Error(
      `${dir}: holds ${folders.length} models, expected one: name the folder of ${folders.map((name) => basename(name)).join(' or ')}`,
    );
  return join(dir, only);
}

async function read(folder: string, name: string): Promise<Uint8Array> {
  return readFile(join(folder, name)).catch((cause: unknown) => {
    throw new Error(`${join(folder, name)}: cannot be read: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  });
}

async function readChecked(folder: string, name: string, expected: Manifest['files'][string]): Promise<Uint8Array> {
  const bytes = await read(folder, name);
  if (bytes.length !== expected.bytes)
    throw new Error(`${join(folder, name)}: has ${bytes.length} bytes, the manifest says ${expected.bytes}`);
  const hash = sha256(bytes);
  if (hash !== expected.sha256)
    throw new Error(`${join(folder, name)}: has SHA-256 ${hash}, the manifest says ${expected.sha256}`);
  return bytes;
}

function parseManifest(path: string, bytes: Uint8Array): Manifest {
  const { success, data, error } = manifest.safeParse(parseJson(path, bytes));
  if (!success) throw new Error(`${path}: ${describeIssues(error, 'manifest')}`);
  return data;
}

function parseEmoji(path: string, bytes: Uint8Array): EmojiNames {
  const { success, data, error } = emojiNames.safeParse(parseJson(path, bytes));
  if (!success) throw new Error(`${path}: ${describeIssues(error, 'names')}`);
  return data;
}

/** Each issue with the field it is about, or `whole` where it is about all. */
const describeIssues = ({ issues }: z.ZodError, whole: string): string =>
  issues.map(({ path, message }) => `${path.join('.') || whole}: ${message}`).join('; ');

function parseJson(path: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new Error(`${path}: is not JSON`, { cause });
  }
}

/** Throws unless the manifest's graph asks for nothing unknown and answers with what is needed. */
function checkNames(path: string, name: GraphName, { inputs, outputs }: GraphEntry): void {
  const known: readonly string[] = INPUTS[name];
  const stranger = inputs.find((each) => !known.includes(each));
  if (stranger !== undefined) throw new Error(`${path}: wants an input ${stranger}, expected only ${known.join(', ')}`);
  const missing = OUTPUTS[name].find((each) => !outputs.includes(each));
  if (missing !== undefined) throw new Error(`${path}: has no output ${missing}`);
}

/** Throws unless the graph is the one the manifest describes. */
function checkSameNames(path: string, { inputs, outputs }: GraphEntry, { inputNames, outputNames }: Graph): void {
  const areSame = (got: readonly string[], want: readonly string[]): boolean =>
    got.length === want.length && want.every((each) => got.includes(each));
  if (!areSame(inputNames, inputs) || !areSame(outputNames, outputs)) {
    throw new Error(
      `${path}: has ${inputNames.join(', ')} → ${outputNames.join(', ')}, the manifest says ${inputs.join(', ')} → ${outputs.join(', ')}`,
    );
  }
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
