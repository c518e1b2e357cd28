/**
 * TaylorSeer: the velocity of skipped steps is forecast from evaluated ones by finite differences.
 *
 *   F(k - j) ≈ Σ_{i ≤ order} Δ^i F · (j / interval)^i / i!
 *
 * Here Δ^i F is the i-th backward difference of the last evaluated velocities, which are `interval` steps apart, and j
 * counts steps after the last of them.
 *
 * From the paper: the formula, the interval, the order. Our reading: the paper forecasts every block's features inside
 * the model; here it is the velocity, the only thing a tokens-in, velocity-out model shows. Unevenly spaced evaluations
 * (after a warm-up, at the start) divide each difference by its own distance in steps, as its code does. `newton` is
 * ours: divided differences over sigma instead, exact wherever the velocity is a polynomial in sigma; the paper's sum
 * is exact to first order in the step only. Source: TaylorSeer, arXiv 2503.06923, eq. 5-7.
 */
import type { Sampler } from '../sampler.ts';
import { moveBy, type StartStage, walkStage } from './advance.ts';
import { canvasOf, firstTokens, plainSigmas } from './canvas.ts';

export interface TaylorOptions {
  /**
   * evaluations at the start of every stage, at least 1; the reading here of RALU's W, which its paper does not define
   */
  readonly warmup: number;
  /** after them every interval-th step is evaluated; 1 evaluates all */
  readonly interval: number;
  /** highest difference used, as far as evaluations reach */
  readonly order: number;
  readonly form: 'taylor' | 'newton';
}

/** Whether step `index` of a stage is evaluated. */
export const isEvaluated = (index: number, { warmup, interval }: Pick<TaylorOptions, 'warmup' | 'interval'>): boolean =>
  index < warmup || (index - warmup + 1) % interval === 0;

/** Differences of order 0, 1, … at the last evaluation, and where it and those before it stood on the clock. */
interface Memory {
  readonly places: readonly number[];
  readonly differences: readonly Float32Array[];
}

/**
 * The memory after one more evaluation: difference i + 1 is the change of difference i over the distance that belongs
 * to it.
 */
export function remember(
  { places, differences }: Memory,
  velocity: Float32Array,
  place: number,
  { order, form }: Pick<TaylorOptions, 'order' | 'form'>,
): Memory {
  const next: Float32Array[] = [velocity];
  for (let i = 0; i < order && i < differences.length; i++) {
    const before = differences[i]!;
    // newton: from the i-th evaluation before the last one; taylor: from the last one, whatever the order
    const distance = place - (form === 'newton' ? places[i]! : places[0]!);
    next.push(next[i]!.map((value, n) => (value - before[n]!) / distance));
  }
  return { places: [place, ...places].slice(0, order + 1), differences: next };
}

/** The velocity forecast at `place`. */
export function forecast({ places, differences }: Memory, place: number, form: TaylorOptions['form']): Float32Array {
  const total = differences[0]!.slice();
  let factor = 1;
  for (const [i, difference] of differences.entries()) {
    if (i === 0) continue;
    factor *= form === 'newton' ? place - places[i - 1]! : (place - places[0]!) / i;
    for (let n = 0; n < total.length; n++) total[n] = total[n]! + factor * difference[n]!;
  }
  return total;
}

/** Velocities of one stage, evaluated or forecast. */
export const taylorSteps =
  (options: TaylorOptions): StartStage =>
  (denoiser) => {
    let memory: Memory = { places: [], differences: [] };
    return async (tokens, at) => {
      const place = options.form === 'newton' ? at.sigma : at.index;
      if (!isEvaluated(at.index, options)) return moveBy(tokens, forecast(memory, place, options.form), at);
      const advanced = await denoiser.step(tokens, at.sigma, at.next);
      memory = remember(memory, advanced.velocity, place, options);
      return advanced;
    };
  };

/** The plain run with forecasts. Law: interval 1 is the plain run to the bit. */
export const taylorSeer =
  ({ steps, ...options }: TaylorOptions & { readonly steps: number }): Sampler =>
  async (denoiser) => {
    const tokens = firstTokens(denoiser, 1);
    const { latents } = await walkStage(
      tokens,
      plainSigmas(steps, canvasOf(denoiser).shift),
      taylorSteps(options)(denoiser),
    );
    return { ...tokens, latents };
  };
