/**
 * One stage from its first step to its last byte: N steps, then decode and encode as asked. Everything it does is
 * in `runStage`, top to bottom.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { adamsBashforthStep, type StepBefore } from '../../src/numerics/adams-bashforth.ts';
import { doublePicture } from '../../src/numerics/enlarge.ts';
import { firstNotFinite } from '../../src/numerics/finite.ts';
import { cleanEstimate, eulerStep } from '../../src/numerics/flow.ts';
import type { Size } from '../../src/numerics/grid.ts';
import { fitPicture } from '../../src/numerics/lanczos.ts';
import {
  type Differences,
  evaluatedSteps,
  forecastVelocity,
  isEvaluated,
  rememberVelocity,
} from '../../src/numerics/taylor.ts';
import type { Tokens } from '../../src/numerics/tokens.ts';
import { wholeGrid } from '../../src/numerics/whole-grid.ts';
import type { StageEvent } from '../../src/stage/contract.ts';
import type { Tensor } from '../../src/stage/safetensors.ts';
import { encodeImage, encodeSmall } from './encode.ts';
import type { Model } from './model.ts';
import type { Pixels } from './pixels.ts';
import type { Encoding } from './text-cache.ts';
import type { Cover, StageJob } from './validate.ts';

export interface StageMessage {
  readonly event: StageEvent;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** What the newest step leaves behind, beside the latents that it has moved. */
export interface NewestStep {
  /** its number, from 1 */
  readonly step: number;
  /** noise level that it ended at */
  readonly sigma: number;
  /** [n, D], never written to again */
  readonly velocity: Float32Array;
}

/** The text of a prompt; `accountTag` says for whom, undefined where the request names nobody. */
export type EncodeText = (prompt: string, accountTag: string | undefined) => Promise<Encoding>;

/**
 * The part of a stage that failed; `cause` has the evidence, which for the text part may hold the prompt and so belongs
 * in no log.
 */
export class ModelFailure extends Error {
  override name = 'ModelFailure';
  readonly part: Part;
  constructor(part: Part, cause: unknown) {
    super(`the model failed in ${part}`, { cause });
    this.part = part;
  }
}
type Part = 'text' | 'velocity' | 'decode' | 'encode';

/** A model's answer that is no number: the same request would end the same way again. */
export class NotFiniteError extends Error {
  override name = 'NotFiniteError';
}

/**
 * The messages of a stage: one `step` after each of the N steps, forecast ones too, then `done` with `latents` (unless
 * decode is `image`), and as asked `clean_latents`, `rgb`, `preview`, `image`. With `late_preview` that is not in
 * `done`: it is made and told after it. Overwrites `job.latents`. Law: same job, same model → same tensor bytes.
 *
 * `note` is told of each step in the moment in which the latents have moved, so that both always belong together.
 *
 * `signal` is looked at before every step, before decode and before encode; aborted, the generator throws its reason.
 * Throws ModelFailure when the model does, NotFiniteError when it answers NaN or Infinity.
 */
export async function* runStage(
  job: StageJob,
  encodeText: EncodeText,
  signal: AbortSignal,
  note: (newest: NewestStep) => void = () => undefined,
): AsyncGenerator<StageMessage> {
  const { model, options, latents, imgIds, scale, sigmas, guidance } = job;
  const steps = sigmas.length - 1;
  const { value: encoding } = await timed('text', () => encodeText(options.prompt, options.account_tag));

  let computeMs = 0;
  let before: StepBefore | null = null;
  let remembered: Differences | null = null;
  let clean: Float32Array | null = null;
  for (let step = 1; step <= steps; step++) {
    // a native engine computes on this very thread: one turn of the event loop lets messages out and a DELETE in
    await nextTurn();
    signal.throwIfAborted();
    const sigma = sigmas[step - 1] as number;
    const known = isEvaluated(step - 1, options.cache) ? null : remembered;
    const answer = await timed('velocity', async () =>
      known
        ? forecastVelocity(known, step - 1)
        : model.velocity({ latents, imgIds, sigma, guidance, text: encoding.text }),
    );
    const velocity = answer.value;
    if (options.cache && !known) remembered = rememberVelocity(remembered, velocity, step - 1, options.cache.order);
    const next = sigmas[step] as number;
    const wantsClean = step === steps && (options.decode === 'clean' || options.clean_latents);
    if (options.solver === 'ab2') {
      if (wantsClean) clean = cleanEstimate(latents, velocity, sigma);
      adamsBashforthStep(latents, velocity, sigma, next, before);
      before = { velocity, sigma };
    } else {
      eulerStep(latents, velocity, sigma, next);
      // the same anywhere along a step of Euler, forecast or not
      if (wantsClean) clean = cleanEstimate(latents, velocity, next);
    }
    note({ step, sigma: next, velocity });
    computeMs += answer.ms;
    yield { event: { event: 'step', step, steps, sigma, ms: answer.ms }, tensors: {} };
  }
  const broken = firstNotFinite(latents);
  if (broken >= 0) throw new NotFiniteError(`after ${steps} steps latents[${broken}] is ${latents[broken]}`);

  const tensors: Record<string, Tensor> = {};
  if (options.decode !== 'image')
    tensors.latents = { data: latents, shape: [scale.length, latents.length / scale.length] };
  if (options.clean_latents && clean)
    tensors.clean_latents = { data: clean, shape: [scale.length, clean.length / scale.length] };
  const decode = async (cover: Cover): Promise<Timed<Pixels>> => {
    await nextTurn();
    signal.throwIfAborted();
    return timed('decode', () => decodePicture(model, { latents: clean ?? latents, imgIds, scale }, cover));
  };
  const encode = async (pixels: Pixels): Promise<Timed<Record<string, Tensor>>> => {
    await nextTurn();
    signal.throwIfAborted();
    return timed('encode', () => encodeAsked(job, pixels));
  };
  const { cover } = job;
  const isLate = options.late_preview === true;
  // what `done` does not need is made behind it
  const decoded = cover && (options.rgb || !isLate) ? await decode(cover) : null;
  const encoded = decoded && !isLate ? await encode(decoded.value) : null;
  if (decoded && options.rgb) {
    const { data, width, height } = decoded.value;
    tensors.rgb = { data, shape: [height, width, 3] };
  }
  Object.assign(tensors, encoded?.value);
  yield {
    event: {
      event: 'done',
      compute_ms: computeMs,
      encode_text_ms: encoding.ms,
      decode_ms: decoded?.ms ?? 0,
      encode_ms: encoded?.ms ?? 0,
      steps_done: steps,
      evaluations: evaluatedSteps(steps, options.cache).length,
      text_tokens: encoding.text.numTokens,
      engine: model.engine,
      model_digest: model.facts.digest,
      warnings: [...encoding.text.warnings],
    },
    tensors,
  };
  if (!isLate || !cover) return;
  const { value: pixels, ms: decode_ms } = decoded ? { ...decoded, ms: 0 } : await decode(cover);
  const { value: files, ms: encode_ms } = await encode(pixels);
  yield { event: { event: 'preview', decode_ms, encode_ms }, tensors: files };
}

interface Timed<T> {
  readonly value: T;
  readonly ms: number;
}

async function timed<T>(part: Part, work: () => Promise<T>): Promise<Timed<T>> {
  const start = performance.now();
  try {
    return { value: await work(), ms: performance.now() - start };
  } catch (cause) {
    throw new ModelFailure(part, cause);
  }
}

/**
 * The picture of tokens that cover a grid, decoded at the size that their places count: half in both directions before
 * the last stage. Low tokens alone stay that size; a mixed grid's picture is enlarged to the image's.
 */
async function decodePicture(model: Model, tokens: Tokens, { rows, cols, unit }: Cover): Promise<Pixels> {
  const grid = { rows: rows / unit, cols: cols / unit };
  const data = await model.decode(wholeGrid(tokens, grid.rows, grid.cols), grid.rows, grid.cols);
  const side = model.facts.token_pixels;
  const pixels = { data, width: grid.cols * side, height: grid.rows * side };
  if (unit === 1 || !tokens.scale.includes(1)) return pixels;
  return {
    data: doublePicture(data, pixels.width, pixels.height),
    width: 2 * pixels.width,
    height: 2 * pixels.height,
  };
}

const atSize = (pixels: Pixels, size: Size): Pixels => ({ data: fitPicture(pixels.data, pixels, size), ...size });

async function encodeAsked(
  { options: { decode, format, quality, preview, enlarge } }: StageJob,
  pixels: Pixels,
): Promise<Record<string, Tensor>> {
  const asTensor = (data: Uint8Array): Tensor => ({ data, shape: [data.length] });
  // side by side: each file is encoded on a thread of its own
  const [image, file] = await Promise.all([
    decode === 'image' ? encodeImage(enlarge ? atSize(pixels, enlarge) : pixels, format, quality) : null,
    preview ? encodeSmall(pixels, { format: preview.format, longestSide: preview.longest_side, quality }) : null,
  ]);
  return { ...(image && { image: asTensor(image) }), ...(file && { preview: asTensor(file.bytes) }) };
}
