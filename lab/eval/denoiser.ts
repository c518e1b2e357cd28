/**
 * The model as a way of sampling sees it: tokens in, velocity out, and a count of everything it spends.
 *
 * One denoiser serves one job. All it asks goes through stage requests, so what is timed is what the stage server
 * reports. A stage request needs at least one step: a picture that no step of the sampler can carry rides on a step too
 * short to move a float, whose time and work are left out of the count.
 */
import type { Solver } from '../../src/numerics/adams-bashforth.ts';
import { type FlopFacts, stepFlops } from '../../src/numerics/flops.ts';
import type { Tokens } from '../../src/numerics/tokens.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { type Encoder, encodeFlopsPerPixel, encodePixels } from './samplers/encode.ts';

export interface Job {
  readonly prompt: string;
  /** 0 … 2³² - 1 */
  readonly seed: number;
  /** pixels of the final image */
  readonly width: number;
  readonly height: number;
}

/** RGB bytes [height, width, 3]. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** What a job has spent so far. Times are the stage server's own, milliseconds. */
export interface Spent {
  /** denoising alone; text and decoding are beside it */
  readonly computeMs: number;
  readonly textMs: number;
  readonly decodeMs: number;
  /** floating-point operations of all evaluations, attention counted and not */
  readonly denoiseFlops: number;
  readonly denoiseFlopsWithoutAttention: number;
  /** of all decoding, and of encoding */
  readonly decodeFlops: number;
  readonly textFlops: number;
  /** evaluations of the model by number of tokens, in the order they were first asked for */
  readonly evaluations: readonly { readonly tokens: number; readonly count: number }[];
  /** sentences of the stage server, each once */
  readonly warnings: readonly string[];
}

export interface Denoiser {
  readonly facts: ModelFacts;
  readonly job: Job;
  /**
   * One Euler step: latents to the bit as `steps` has them, and the velocity to the rounding of `latents / (sigma -
   * next)`. The tokens stay as they are.
   */
  step(
    tokens: Tokens,
    sigma: number,
    next: number,
  ): Promise<{ readonly latents: Float32Array; readonly velocity: Float32Array }>;
  /**
   * [n * D] latents after steps along `sigmas` [steps + 1], strictly decreasing, in one stage request: Euler's unless
   * `solver` says otherwise. The tokens stay as they are.
   */
  steps(tokens: Tokens, sigmas: ArrayLike<number>, solver?: Solver): Promise<Float32Array>;
  /** The same with the clean estimate at the last level, [n * D]. */
  stepsAndClean(
    tokens: Tokens,
    sigmas: ArrayLike<number>,
    solver?: Solver,
  ): Promise<{ readonly latents: Float32Array; readonly clean: Float32Array }>;
  /**
   * The same with the picture of the clean estimate at the last level: half the image's size where every token is low,
   * else all of it; that of a mixed grid is decoded at half size and enlarged.
   */
  stepsAndPicture(
    tokens: Tokens,
    sigmas: ArrayLike<number>,
    solver?: Solver,
  ): Promise<{ readonly latents: Float32Array; readonly picture: Pixels }>;
  /**
   * The picture of clean latents, sigma 0. Costs nothing where the very latents come from Euler's `steps` that ended at
   * 0 on the full grid: those brought it along.
   */
  decode(tokens: Tokens): Promise<Pixels>;
  /** [n * D] latents of a picture; the work is counted, the milliseconds of this process are not. */
  encode(picture: Pixels, encoder: Encoder): Float32Array;
  /** a snapshot */
  readonly spent: Spent;
}

/**
 * One stage request: steps along `sigmas`, with the clean estimate's latents where `clean` is set, and with its picture
 * where `picture` is.
 */
export interface RunRequest {
  readonly tokens: Tokens;
  /** [steps + 1] strictly decreasing */
  readonly sigmas: Float32Array;
  readonly solver: Solver;
  readonly clean: boolean;
  readonly picture: boolean;
}

export interface RunResult {
  readonly latents: Float32Array;
  readonly clean: Float32Array | null;
  readonly picture: Pixels | null;
  readonly computeMs: number;
  readonly textMs: number;
  readonly decodeMs: number;
  readonly warnings: readonly string[];
}

/**
 * Whatever computes: a stage server (stage-run.ts), or a closed form in a test. Must not write into the request's
 * arrays.
 */
export type Run = (job: Job, request: RunRequest) => Promise<RunResult>;

/**
 * Shortest step a float32 schedule can hold: it moves no latent, so the clean estimate of what it carries is the
 * latents themselves.
 */
const STILL = 1e-30;

/** A denoiser for one job on whatever `run` reaches. Throws what `run` throws. */
export function makeDenoiser(facts: ModelFacts, job: Job, run: Run): Denoiser {
  const pictures = new WeakMap<Float32Array, Pixels>();
  const counts = new Map<number, number>();
  const warnings = new Set<string>();
  const ms = { compute: 0, text: 0, decode: 0 };
  let decodedPixels = 0;
  let encodeFlops = 0;
  const fullTokens = (job.width / facts.token_pixels) * (job.height / facts.token_pixels);

  async function ask(request: RunRequest, isCounted: boolean): Promise<RunResult> {
    const result = await run(job, request);
    if (isCounted) {
      counts.set(
        request.tokens.scale.length,
        (counts.get(request.tokens.scale.length) ?? 0) + request.sigmas.length - 1,
      );
      ms.compute += result.computeMs;
    }
    ms.text += result.textMs;
    ms.decode += result.decodeMs;
    if (result.picture) decodedPixels += job.width * job.height * (isFullGrid(request.tokens) ? 1 : 1 / 4);
    for (const warning of result.warnings) warnings.add(warning);
    return result;
  }

  async function walk(tokens: Tokens, sigmas: Float32Array, solver: Solver): Promise<Float32Array> {
    const isFinal = sigmas[sigmas.length - 1] === 0 && tokens.scale.length === fullTokens && !tokens.scale.includes(2);
    // the picture is of the clean estimate, and where Euler's last step ends at 0 that is the latents themselves
    const hasPicture = isFinal && solver === 'euler';
    const { latents, picture } = await ask({ tokens, sigmas, solver, clean: false, picture: hasPicture }, true);
    if (picture) pictures.set(latents, picture);
    return latents;
  }

  return {
    facts,
    job,

    async step(tokens, sigma, next) {
      const sigmas = Float32Array.of(sigma, next);
      const latents = await walk(tokens, sigmas, 'euler');
      return { latents, velocity: velocityBetween(tokens.latents, latents, sigmas) };
    },

    steps: (tokens, sigmas, solver = 'euler') => walk(tokens, Float32Array.from(sigmas), solver),

    async stepsAndClean(tokens, sigmas, solver = 'euler') {
      const request = { tokens, sigmas: Float32Array.from(sigmas), solver, clean: true, picture: false };
      const { latents, clean } = await ask(request, true);
      if (!clean) throw new Error('clean latents were asked for and none came');
      return { latents, clean };
    },

    async stepsAndPicture(tokens, sigmas, solver = 'euler') {
      const request = { tokens, sigmas: Float32Array.from(sigmas), solver, clean: false, picture: true };
      const { latents, picture } = await ask(request, true);
      if (!picture) throw new Error('a picture was asked for and none came');
      return { latents, picture };
    },

    async decode(tokens) {
      const kept = pictures.get(tokens.latents);
      if (kept) return kept;
      const still = {
        tokens,
        sigmas: Float32Array.of(STILL, 0),
        solver: 'euler',
        clean: false,
        picture: true,
      } as const;
      const { picture } = await ask(still, false);
      if (!picture) throw new Error('a picture was asked for and none came');
      pictures.set(tokens.latents, picture);
      return picture;
    },

    encode(picture, encoder) {
      encodeFlops += encodeFlopsPerPixel(encoder) * picture.width * picture.height;
      return encodePixels(picture, encoder);
    },

    get spent() {
      const evaluations = Array.from(counts, ([tokens, count]) => ({ tokens, count }));
      return {
        computeMs: ms.compute,
        textMs: ms.text,
        decodeMs: ms.decode,
        ...evaluationFlops(facts.flops, evaluations),
        decodeFlops: facts.flops.decode_per_pixel * decodedPixels + encodeFlops,
        textFlops: facts.flops.text,
        evaluations,
        warnings: [...warnings],
      };
    },
  };
}

/** Whether ids count full tokens: those of a grid with low tokens count low ones, halves among them. */
const isFullGrid = ({ imgIds, scale }: Tokens): boolean => !scale.includes(2) && imgIds.every(Number.isInteger);

/** [n * D] the velocity that took `before` to `after` in one Euler step along `sigmas` [2]. */
function velocityBetween(before: Float32Array, after: Float32Array, [sigma = 1, next = 0]: Float32Array): Float32Array {
  return after.map((value, i) => (value - before[i]!) / (next - sigma));
}

/** Work of evaluations, attention counted and not. */
export function evaluationFlops(
  flops: FlopFacts,
  evaluations: Spent['evaluations'],
): Pick<Spent, 'denoiseFlops' | 'denoiseFlopsWithoutAttention'> {
  const steps = evaluations.map(({ tokens, count }) => ({ ...stepFlops(flops, tokens), count }));
  return {
    denoiseFlops: steps.reduce((sum, { total, count }) => sum + total * count, 0),
    denoiseFlopsWithoutAttention: steps.reduce((sum, { withoutAttention, count }) => sum + withoutAttention * count, 0),
  };
}
