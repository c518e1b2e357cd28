/**
 * The bytes of a stage request → a stage that can be run, or the one sentence that says why not. Pure.
 *
 *   400   the bytes are no stage request: not safetensors, a field or tensor missing, of another type or rank
 *   422   this server or this model cannot do it: a value out of range, an unknown model, a grid with holes
 */
import { firstNotFinite } from '../../src/numerics/finite.ts';
import { describeSizes, makesSize } from '../../src/numerics/grid.ts';
import {
  FEATURES,
  type Feature,
  type ModelFacts,
  parseMetadata,
  REQUEST_TEXTS,
  type StageOptions,
  type StageProblem,
  type StageTensors,
  stageOptions,
} from '../../src/stage/contract.ts';
import { decodeMessage, type Message, SafetensorsError } from '../../src/stage/safetensors.ts';
import type { Model } from './model.ts';

/** Optional parts of the contract that are supported here: all but a cache of blocks, which lie inside the graph. */
export const SUPPORTED: readonly Feature[] = FEATURES.filter((feature) => feature !== 'cache.taylor_blocks');

/** How many steps one stage may ask for; the plain runs of today's models take 50. */
export const MAX_STEPS = 1000;

/**
 * The full-resolution cells under the tokens, and how many of them one unit of a position id spans: 1 on the full
 * grid's ids, 2 on the small grid's.
 */
export interface Cover {
  readonly rows: number;
  readonly cols: number;
  readonly unit: 1 | 2;
}

/** A stage that can be run as it stands. `latents` belongs to it: running it overwrites them. */
export interface StageJob extends StageTensors {
  readonly model: Model;
  readonly options: StageOptions;
  /**
   * what the model is given: the request's, or the model's default where the request says null; null where the model
   * has none
   */
  readonly guidance: number | null;
  /** null when nothing is decoded */
  readonly cover: Cover | null;
}

export type Refusal = { readonly ok: false; readonly status: 400 | 422; readonly problem: StageProblem };
type Parsed<T> = { readonly ok: true; readonly value: T } | Refusal;

const refuse = (status: 400 | 422, code: string, field: string | null, message: string): Refusal => ({
  ok: false,
  status,
  problem: field === null ? { code, message } : { code, message, field },
});

/** The stage that `body` asks for, or the first thing wrong with it. `models` maps ids and aliases. */
export function parseStage(body: Uint8Array, models: ReadonlyMap<string, Model>): Parsed<StageJob> {
  const message = parseMessage(body);
  if (!message.ok) return message;
  const options = parseOptions(message.value.metadata);
  if (!options.ok) return options;
  const tensors = parseTensors(message.value);
  if (!tensors.ok) return tensors;
  const model = models.get(options.value.model);
  if (!model) {
    const known = [...new Set([...models.values()].map(({ facts }) => facts.id))].join(', ');
    return refuse(
      422,
      'unknown_model',
      'model',
      `model ${show(options.value.model)} is not served here, expected one of: ${known}`,
    );
  }
  const refusal = checkOptions(options.value, model) ?? checkTensors(tensors.value, model);
  if (refusal) return refusal;
  const cover = findCover(options.value, tensors.value, model);
  if (!cover.ok) return cover;
  const guidance = options.value.guidance ?? model.facts.guidance?.default ?? null;
  return { ok: true, value: { model, options: options.value, ...tensors.value, guidance, cover: cover.value } };
}

const show = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);

function parseMessage(body: Uint8Array): Parsed<Message> {
  try {
    return { ok: true, value: decodeMessage(body) };
  } catch (error) {
    if (error instanceof SafetensorsError)
      return refuse(400, 'not_safetensors', null, `the body is not one safetensors message: ${error.message}`);
    throw error;
  }
}

function parseOptions(metadata: Readonly<Record<string, string>>): Parsed<StageOptions> {
  let values: Record<string, unknown>;
  try {
    values = parseMetadata(metadata, REQUEST_TEXTS);
  } catch {
    const key = Object.keys(metadata).find((each) => !isJson(each, metadata[each] as string)) ?? '';
    return refuse(400, 'bad_metadata', key, `metadata ${show(key)} is not JSON`);
  }
  const options = stageOptions.safeParse(values);
  if (options.success && options.data.cache?.kind === 'taylor_blocks')
    return refuse(
      400,
      'bad_metadata',
      'cache.kind',
      'metadata cache.kind: got taylor_blocks, expected taylor_velocity',
    );
  if (options.success) return { ok: true, value: options.data };
  const issue = options.error.issues[0];
  const field = issue?.code === 'unrecognized_keys' ? (issue.keys[0] ?? '') : (issue?.path.join('.') ?? '');
  return refuse(400, 'bad_metadata', field, `metadata ${field}: ${issue?.message}`);
}

function isJson(key: string, text: string): boolean {
  try {
    parseMetadata({ [key]: text }, REQUEST_TEXTS);
    return true;
  } catch {
    return false;
  }
}

const TENSORS = { latents: 'F32', img_ids: 'F32', scale: 'U8', sigmas: 'F32' } as const;

/** The four tensors, once their names, types, ranks and common length n agree. */
function parseTensors({ tensors }: Message): Parsed<StageTensors & { readonly width: number }> {
  const stranger = Object.keys(tensors).find((name) => !Object.hasOwn(TENSORS, name));
  if (stranger !== undefined)
    return refuse(
      400,
      'bad_tensor',
      stranger,
      `tensor ${show(stranger)} is unknown, expected ${Object.keys(TENSORS).join(', ')}`,
    );
  for (const [name, dtype] of Object.entries(TENSORS)) {
    const tensor = tensors[name];
    if (!tensor) return refuse(400, 'bad_tensor', name, `tensor ${name} is missing`);
    const got = tensor.data instanceof Float32Array ? 'F32' : 'U8';
    if (got !== dtype) return refuse(400, 'bad_tensor', name, `tensor ${name} has dtype ${got}, expected ${dtype}`);
  }
  const {
    latents,
    img_ids: imgIds,
    scale,
    sigmas,
  } = tensors as { [name in keyof typeof TENSORS]: Message['tensors'][string] };
  const [n = 0, width = 0] = latents.shape;
  if (latents.shape.length !== 2) return wrongShape('latents', latents.shape, '[n, 4 * channels]');
  if (n < 1) return refuse(422, 'no_tokens', 'latents', 'latents hold 0 tokens, expected at least 1');
  if (imgIds.shape.length !== 2 || imgIds.shape[0] !== n || imgIds.shape[1] !== 3)
    return wrongShape('img_ids', imgIds.shape, `[${n}, 3]`);
  if (scale.shape.length !== 1 || scale.shape[0] !== n) return wrongShape('scale', scale.shape, `[${n}]`);
  if (sigmas.shape.length !== 1) return wrongShape('sigmas', sigmas.shape, '[N + 1]');
  return {
    ok: true,
    value: {
      latents: latents.data as Float32Array,
      imgIds: imgIds.data as Float32Array,
      scale: scale.data as Uint8Array,
      sigmas: sigmas.data as Float32Array,
      width,
    },
  };
}

const wrongShape = (name: string, shape: readonly number[], expected: string): Refusal =>
  refuse(400, 'bad_tensor', name, `tensor ${name} has shape [${shape}], expected ${expected}`);

function checkOptions(
  {
    width,
    height,
    guidance,
    negative_prompt,
    decode,
    rgb,
    preview,
    clean_latents,
    late_preview,
    enlarge,
    solver,
    cache,
  }: StageOptions,
  { facts }: Model,
): Refusal | null {
  if (!makesSize({ width, height }, facts))
    return refuse(
      422,
      'unsupported_size',
      'width',
      `${facts.id} does not make ${width}x${height}, expected one of: ${describeSizes(facts)}`,
    );
  if (guidance !== null && facts.guidance === null)
    return refuse(422, 'unsupported_option', 'guidance', `${facts.id} has no guidance, got ${guidance}, expected null`);
  if (guidance !== null && facts.guidance && !(guidance >= facts.guidance.min && guidance <= facts.guidance.max)) {
    return refuse(
      422,
      'out_of_range',
      'guidance',
      `guidance is ${guidance}, expected ${facts.guidance.min} to ${facts.guidance.max}`,
    );
  }
  // the text itself stays out of the answer: answers are logged by those who get them
  if (negative_prompt !== '' && !facts.negative_prompt)
    return refuse(
      422,
      'unsupported_option',
      'negative_prompt',
      `${facts.id} takes no negative prompt, expected an empty one`,
    );
  if (rgb && decode !== 'clean')
    return refuse(422, 'unsupported_option', 'rgb', `rgb needs decode clean, got ${decode}`);
  if (clean_latents && decode === 'image')
    return refuse(422, 'unsupported_option', 'clean_latents', 'clean_latents needs decode none or clean, got image');
  if (preview && decode === 'none')
    return refuse(422, 'unsupported_option', 'preview', 'a preview needs decode clean or image, got none');
  if (late_preview && !(preview && decode === 'clean'))
    return refuse(
      422,
      'unsupported_option',
      'late_preview',
      `late_preview needs decode clean and a preview, got ${decode} and ${preview ? 'one' : 'none'}`,
    );
  if (enlarge && decode !== 'image')
    return refuse(422, 'unsupported_option', 'enlarge', `enlarge needs decode image, got ${decode}`);
  if (cache && !facts.caches.includes(cache.kind))
    return refuse(422, 'unsupported_option', 'cache', `${facts.id} cannot be run with a cache ${cache.kind}`);
  if (cache && solver === 'ab2')
    return refuse(422, 'unsupported_option', 'cache', 'a cache needs solver euler, got ab2');
  return null;
}

function checkTensors(
  { latents, imgIds, scale, sigmas, width }: StageTensors & { readonly width: number },
  { facts }: Model,
): Refusal | null {
  const n = scale.length;
  if (width !== 4 * facts.channels)
    return refuse(
      422,
      'out_of_range',
      'latents',
      `latents hold ${width} values a token, ${facts.id} expects ${4 * facts.channels}`,
    );
  if (n > facts.max_tokens)
    return refuse(422, 'too_many_tokens', 'latents', `${n} tokens, ${facts.id} takes at most ${facts.max_tokens}`);
  const broken = firstNotFinite(latents);
  if (broken >= 0)
    return refuse(
      422,
      'not_finite',
      'latents',
      `latents[${Math.floor(broken / width)}, ${broken % width}] is ${latents[broken]}, expected a finite number`,
    );
  const id = (at: number) => `img_ids[${Math.floor(at / 3)}, ${at % 3}] is ${imgIds[at]}`;
  const lost = firstNotFinite(imgIds);
  if (lost >= 0) return refuse(422, 'not_finite', 'img_ids', `${id(lost)}, expected a finite number`);
  const frame = imgIds.findIndex((value, i) => i % 3 === 0 && value !== 0);
  if (frame >= 0) return refuse(422, 'out_of_range', 'img_ids', `${id(frame)}, expected frame 0`);
  const odd = scale.findIndex((value) => value !== 1 && value !== 2);
  if (odd >= 0) return refuse(422, 'out_of_range', 'scale', `scale[${odd}] is ${scale[odd]}, expected 1 or 2`);
  return checkSigmas(sigmas);
}

function checkSigmas(sigmas: Float32Array): Refusal | null {
  const steps = sigmas.length - 1;
  if (steps < 1 || steps > MAX_STEPS)
    return refuse(
      422,
      'out_of_range',
      'sigmas',
      `${sigmas.length} sigmas, expected 2 to ${MAX_STEPS + 1}: one more than there are steps`,
    );
  for (const [i, sigma] of sigmas.entries()) {
    if (Number.isNaN(sigma))
      return refuse(422, 'not_finite', 'sigmas', `sigmas[${i}] is NaN, expected a finite number`);
    if (sigma < 0 || sigma > 1)
      return refuse(422, 'out_of_range', 'sigmas', `sigmas[${i}] is ${sigma}, expected 0 to 1`);
    const before = sigmas[i - 1];
    if (before !== undefined && sigma >= before)
      return refuse(
        422,
        'not_decreasing',
        'sigmas',
        `sigmas[${i}] is ${sigma} after ${before}, expected strictly decreasing`,
      );
  }
  return null;
}

/** How the tokens lie on the full grid, for stages that are decoded: every cell under exactly one token. */
function findCover(options: StageOptions, tensors: StageTensors, { facts }: Model): Parsed<Cover | null> {
  const { decode } = options;
  const { scale, sigmas } = tensors;
  if (decode === 'none') return { ok: true, value: null };
  if (decode === 'image') {
    const end = sigmas[sigmas.length - 1];
    if (end !== 0)
      return refuse(422, 'unfinished_image', 'sigmas', `decode image with sigmas that end at ${end}, expected 0`);
    const low = scale.indexOf(2);
    if (low >= 0)
      return refuse(
        422,
        'unfinished_image',
        'scale',
        `decode image with scale[${low}] 2, expected every token at full resolution`,
      );
  }
  return coverOf(options, tensors, facts);
}

/** How the tokens lie on the full grid; a refusal where they do not cover each cell exactly once. */
export function coverOf(
  { decode, width, height }: Pick<StageOptions, 'decode' | 'width' | 'height'>,
  { imgIds, scale }: Pick<StageTensors, 'imgIds' | 'scale'>,
  facts: Pick<ModelFacts, 'token_pixels'>,
): Parsed<Cover> {
  // a mixed stage whose tokens are all upsampled still has the small grid's ids, halves among them; ids of whole
  // numbers alone are the full grid's
  const unit = scale.includes(2) || !imgIds.every(Number.isInteger) ? 2 : 1;
  const cover: Cover = { rows: height / facts.token_pixels, cols: width / facts.token_pixels, unit };
  const fault = coverFault(imgIds, scale, cover);
  if (fault === null) return { ok: true, value: cover };
  return refuse(
    422,
    'bad_grid',
    'img_ids',
    `decode ${decode} needs every cell of the ${cover.rows} x ${cover.cols} grid under exactly one token: ${fault}`,
  );
}

/**
 * What keeps the tokens from covering each of rows x cols cells exactly once, or null when they do. A token at id (r,
 * c) covers scale x scale cells from (r, c) * unit, which is a multiple of its scale.
 */
export function coverFault(imgIds: Float32Array, scale: Uint8Array, { rows, cols, unit }: Cover): string | null {
  const taken = new Uint8Array(rows * cols);
  for (const [i, side] of scale.entries()) {
    const row = (imgIds[3 * i + 1] as number) * unit;
    const col = (imgIds[3 * i + 2] as number) * unit;
    const isInside =
      Number.isInteger(row) &&
      Number.isInteger(col) &&
      row >= 0 &&
      col >= 0 &&
      // low tokens are those of the small grid
      row % side === 0 &&
      col % side === 0 &&
      row + side <= rows &&
      col + side <= cols;
    if (!isInside) return `token ${i} of scale ${side} lies at cell (${row}, ${col})`;
    for (let cell = 0; cell < side * side; cell++) {
      const at = (row + Math.floor(cell / side)) * cols + col + (cell % side);
      if (taken[at] === 1) return `token ${i} covers cell (${Math.floor(at / cols)}, ${at % cols}) again`;
      taken[at] = 1;
    }
  }
  const hole = taken.indexOf(0);
  return hole < 0 ? null : `nothing covers cell (${Math.floor(hole / cols)}, ${hole % cols})`;
}
