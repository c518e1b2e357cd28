/**
 * From one low-resolution token to the four full ones in its place. Pure.
 *
 *   child      0 (0, 0)   1 (0, ½)
 *   at parent  2 (½, 0)   3 (½, ½)
 *
 * In `latent` mode a child is one latent pixel of the parent, enlarged: the four equal values are (c, ·, ·) within the
 * child. In `token` mode, the reference's, each child repeats the parent: the four equal values are one slot of the
 * four children.
 */
import { requireInteger } from './bounds.ts';
import { type Tokens, tokenWidth } from './tokens.ts';

export const UPSAMPLE_MODES = ['latent', 'token'] as const;
export type UpsampleMode = (typeof UPSAMPLE_MODES)[number];

/** `target` with the values of child 0 … 3 of a token `parent` [D] written from index `at` on. */
function fillChild(
  target: Float32Array,
  at: number,
  parent: Float32Array,
  child: number,
  mode: UpsampleMode,
): Float32Array {
  if (mode === 'token') target.set(parent, at);
  else for (let c = 0; c < parent.length; c += 4) target.fill(parent[c + child]!, at + c, at + c + 4);
  return target;
}

/**
 * `tokens` with each of the `chosen` replaced by its four children: the others first, in order, then the children,
 * parent by parent. `chosen` are strictly ascending indices of low tokens (scale 2); throws RangeError otherwise. Law:
 * the mean of each group of four equal values gives the parent back.
 */
export function upsampleTokens(tokens: Tokens, chosen: Uint32Array, mode: UpsampleMode): Tokens {
  const width = tokenWidth(tokens);
  const { latents, imgIds, scale } = tokens;
  const isChosen = new Uint8Array(scale.length);
  for (const [i, n] of chosen.entries()) {
    requireInteger(`chosen[${i}]`, n, i === 0 ? 0 : chosen[i - 1]! + 1, scale.length - 1);
    if (scale[n] !== 2)
      throw new RangeError(`chosen[${i}] is ${n}, a token of scale ${scale[n]}; expected one of scale 2`);
    isChosen[n] = 1;
  }
  const count = scale.length + 3 * chosen.length;
  const out = {
    latents: new Float32Array(count * width),
    imgIds: new Float32Array(count * 3),
    scale: new Uint8Array(count),
  };
  let at = 0;
  for (let n = 0; n < scale.length; n++) {
    if (isChosen[n] === 1) continue;
    out.latents.set(latents.subarray(n * width, (n + 1) * width), at * width);
    out.imgIds.set(imgIds.subarray(n * 3, (n + 1) * 3), at * 3);
    out.scale[at++] = scale[n]!;
  }
  for (const n of chosen) {
    const parent = latents.subarray(n * width, (n + 1) * width);
    for (let child = 0; child < 4; child++) {
      fillChild(out.latents, at * width, parent, child, mode);
      out.imgIds.set(
        [imgIds[3 * n]!, imgIds[3 * n + 1]! + (child >> 1) / 2, imgIds[3 * n + 2]! + (child & 1) / 2],
        at * 3,
      );
      out.scale[at++] = 1;
    }
  }
  return out;
}

/** Ids counted in full tokens, from ids counted in low ones: everything times 2. */
export function doubleIds(imgIds: Float32Array): Float32Array {
  return imgIds.map((id) => 2 * id);
}
