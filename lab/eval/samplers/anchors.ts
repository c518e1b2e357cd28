/**
 * Just-in-Time: full-resolution tokens from the start, but the model sees only a growing set of them, the anchors.
 *
 * From the paper: the whole latent state is driven by the velocities of a sparse set of anchor tokens, interpolated for
 * the others; tokens are activated stage by stage, where it matters first; a deterministic micro-flow takes an
 * activated token to a state of right structure and right statistics. Our reading: the first anchors are every other
 * row and column; interpolation weighs the anchors among the eight neighbours by 1 / distance² (bilinear on the first
 * anchors); it matters most where the anchors' clean estimates differ most around a token; the micro-flow is linear in
 * time, so its end point is taken directly: (1 - sigma) times the interpolated clean estimate, plus sigma times the
 * noise that the token itself began with – deterministic, no new noise. Source: arXiv 2603.10744.
 */
import { cleanEstimate, eulerStep } from '../../../src/numerics/flow.ts';
import { stageSigmas } from '../../../src/numerics/schedule.ts';
import { selectTop } from '../../../src/numerics/select.ts';
import type { Tokens } from '../../../src/numerics/tokens.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf, firstTokens } from './canvas.ts';

export interface AnchorOptions {
  readonly steps: readonly number[];
  /** t at the end of each stage; the last is 1 */
  readonly ends: readonly number[];
  /** share of all tokens the model sees in each stage, rising; ¼ is every other row and column, the last must be 1 */
  readonly shares: readonly number[];
}

/** [count] ascending indices of the tokens at even rows and columns. */
export function firstAnchors(rows: number, cols: number): Uint32Array {
  return Uint32Array.from({ length: rows * cols }, (_, n) => n).filter(
    (n) => Math.floor(n / cols) % 2 === 0 && (n % cols) % 2 === 0,
  );
}

/**
 * Where each token takes what it has not been given itself: its neighbouring anchors with weights that sum to 1; an
 * anchor takes its own.
 */
export type Neighbours = readonly (readonly { readonly anchor: number; readonly weight: number }[])[];

/** `anchor` counts places in `anchors`. Throws RangeError when a token has no anchor around it. */
export function neighboursOf(anchors: Uint32Array, rows: number, cols: number): Neighbours {
  const place = new Int32Array(rows * cols).fill(-1);
  for (const [i, n] of anchors.entries()) place[n] = i;
  return Array.from(place, (own, n) => {
    if (own >= 0) return [{ anchor: own, weight: 1 }];
    const row = Math.floor(n / cols);
    const col = n % cols;
    const around: { anchor: number; weight: number }[] = [];
    for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++) {
      for (let x = Math.max(0, col - 1); x <= Math.min(cols - 1, col + 1); x++) {
        const anchor = place[y * cols + x]!;
        if (anchor >= 0) around.push({ anchor, weight: 1 / ((y - row) ** 2 + (x - col) ** 2) });
      }
    }
    const sum = around.reduce((total, { weight }) => total + weight, 0);
    if (sum === 0) throw new RangeError(`anchors leave token (${row}, ${col}) without a neighbour`);
    return around.map(({ anchor, weight }) => ({ anchor, weight: weight / sum }));
  });
}

/** [n * D] values of all tokens from those of the anchors. Law: with every token an anchor it is the identity. */
export function spread(values: Float32Array, neighbours: Neighbours, width: number): Float32Array {
  const all = new Float32Array(neighbours.length * width);
  for (const [n, around] of neighbours.entries()) {
    for (const { anchor, weight } of around)
      for (let i = 0; i < width; i++) all[n * width + i]! += weight * values[anchor * width + i]!;
  }
  return all;
}

/** [count] ascending: `anchors`, and of the others those around which the anchors' values differ most. */
export function growAnchors(
  anchors: Uint32Array,
  values: Float32Array,
  neighbours: Neighbours,
  { width, count }: { width: number; count: number },
): Uint32Array {
  const isAnchor = new Uint8Array(neighbours.length);
  for (const n of anchors) isAnchor[n] = 1;
  const mean = spread(values, neighbours, width);
  const scores = Uint32Array.from(neighbours, (around, n) => {
    if (isAnchor[n] === 1) return 2 ** 32 - 1;
    let sum = 0;
    for (const { anchor, weight } of around)
      for (let i = 0; i < width; i++) sum += weight * (values[anchor * width + i]! - mean[n * width + i]!) ** 2;
    return Math.min(2 ** 32 - 2, Math.round((1e4 * sum) / width));
  });
  return selectTop(scores, count);
}

const gather = ({ latents, imgIds, scale }: Tokens, chosen: Uint32Array, width: number): Tokens => {
  const picked = {
    latents: new Float32Array(chosen.length * width),
    imgIds: new Float32Array(chosen.length * 3),
    scale: new Uint8Array(chosen.length),
  };
  for (const [to, from] of chosen.entries()) {
    picked.latents.set(latents.subarray(from * width, (from + 1) * width), to * width);
    picked.imgIds.set(imgIds.subarray(from * 3, (from + 1) * 3), to * 3);
    picked.scale[to] = scale[from]!;
  }
  return picked;
};

/** Law: one stage of all tokens is the plain run. */
export const anchorTokens =
  ({ steps, ends, shares }: AnchorOptions): Sampler =>
  async (denoiser) => {
    const { rows, cols, width, shift } = canvasOf(denoiser);
    const noise = firstTokens(denoiser, 1);
    const numTokens = rows * cols;
    let state = noise;
    let anchors = firstAnchors(rows, cols);
    // clean estimates of the anchors at the last step, and who takes them
    let last: { readonly clean: Float32Array; readonly neighbours: Neighbours } | null = null;
    for (const [k, share] of shares.entries()) {
      const start = ends[k - 1] ?? 0;
      const sigmas = Float32Array.from(stageSigmas({ start, end: ends[k]!, steps: steps[k]!, shift }));
      const count = Math.round(share * numTokens);
      if (last) {
        const before = anchors;
        anchors = growAnchors(before, last.clean, last.neighbours, { width, count });
        state = {
          ...state,
          latents: activate(state.latents, noise.latents, { ...last, width, sigma: sigmas[0]!, before, now: anchors }),
        };
      }
      if (count === numTokens) {
        state = { ...state, latents: await denoiser.steps(state, sigmas) };
        continue;
      }
      const neighbours = neighboursOf(anchors, rows, cols);
      for (let i = 0; i + 1 < sigmas.length; i++) {
        const seen = gather(state, anchors, width);
        const { latents, velocity } = await denoiser.step(seen, sigmas[i]!, sigmas[i + 1]!);
        state = {
          ...state,
          latents: eulerStep(state.latents.slice(), spread(velocity, neighbours, width), sigmas[i]!, sigmas[i + 1]!),
        };
        for (const [from, to] of anchors.entries())
          state.latents.set(latents.subarray(from * width, (from + 1) * width), to * width);
        last = { clean: cleanEstimate(latents, velocity, sigmas[i + 1]!), neighbours };
      }
    }
    return state;
  };

/** The state with newly active tokens where the micro-flow takes them. */
function activate(
  latents: Float32Array,
  noise: Float32Array,
  {
    clean,
    neighbours,
    width,
    sigma,
    before,
    now,
  }: {
    clean: Float32Array;
    neighbours: Neighbours;
    width: number;
    sigma: number;
    before: Uint32Array;
    now: Uint32Array;
  },
): Float32Array {
  const wasActive = new Set(before);
  const structure = spread(clean, neighbours, width);
  const next = latents.slice();
  for (const n of now) {
    if (wasActive.has(n)) continue;
    for (let i = n * width; i < (n + 1) * width; i++) next[i] = (1 - sigma) * structure[i]! + sigma * noise[i]!;
  }
  return next;
}
