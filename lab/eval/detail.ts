/**
 * A judge beside the detector: how much of a thing's fine detail a picture keeps, how much it has that is not the
 * thing's, and how much of the picture is neither thing nor background. Scenes are made of known sprites, so what a
 * picture should show can be fitted to it. Pure.
 */
import type { Pixels } from './denoiser.ts';
import type { Detail, ThingDetail } from './detail-figures.ts';
import { blur, type Fit, fitSprite, type Scene, type Square, sceneOf } from './fit-sprite.ts';
import type { SeenObject } from './judge.ts';
import type { Sprites } from './sprite.ts';

/** Least correlation of a sprite with what is there: below it, the thing is too badly drawn to have detail. */
export const LEAST_CORRELATION = 0.9;
/** Things that are looked at in one picture, the surest first. */
const MOST_THINGS = 8;
/** Alpha from which a pixel, after a slight blur, belongs to the sprite. */
const BELONGS = 0.02;
/** Distance in levels, of red, green and blue together, from which a pixel is not the background. */
const STANDS_OUT = 32;
/** Pixels around a thing, in shorter sides of the picture, in which nothing is a ghost: its soft edge. */
const MARGIN = 1 / 32;

/**
 * What the picture has of the things `asked` for among those `seen`, each as it is or in the colour it was seen in.
 * Fine detail is what a blur of 1 2 1 takes away: half of what has four pixels a period, all of what has two.
 *
 *   kept = <picture, sprite> / <sprite, sprite>   false = |picture - kept sprite|² / <sprite, sprite>
 *
 * of fine detail within the fitted sprite's support. Laws: a picture made of the sprites has kept 1, false 0 and no
 * ghosts; blur lowers kept, noise raises false, and what is pasted beside the things raises ghosts. Throws RangeError
 * for a name without a sprite.
 */
export function detailOf(
  picture: Pixels,
  seen: readonly Pick<SeenObject, 'name' | 'colour' | 'x' | 'y' | 'side'>[],
  { asked, sprites }: { readonly asked: readonly string[]; readonly sprites: Sprites },
): Detail {
  const scene = sceneOf(picture);
  const short = Math.min(picture.width, picture.height);
  const isThing = new Uint8Array(picture.width * picture.height);
  const things: ThingDetail[] = [];
  for (const { name, colour, x, y, side } of seen
    .filter((each) => each.name !== null && asked.includes(each.name))
    .slice(0, MOST_THINGS)) {
    const square = { x: x * short, y: y * short, side: side * short };
    const natural = sprites(name!, null);
    const fit = fitSprite(scene, colour === null ? [natural] : [natural, sprites(name!, colour)], square);
    if (!fit || fit.correlation < LEAST_CORRELATION) markSquare(isThing, scene, square);
    else {
      markSprite(isThing, scene, fit);
      things.push({ name: name!, correlation: fit.correlation, ...fineDetail(fit) });
    }
  }
  const isWhole = asked.every((name) => things.some((thing) => thing.name === name));
  return { things, ghosts: isWhole ? ghostShare(scene, widen(isThing, scene, Math.round(MARGIN * short))) : null };
}

function fineDetail({ window: { width, height }, alpha, drawn, shown }: Fit): Pick<ThingDetail, 'kept' | 'false'> {
  const support = blur(alpha, width, height);
  let [both, own, all] = [0, 0, 0];
  for (let k = 0; k < 3; k++) {
    const softDrawn = blur(drawn[k]!, width, height);
    const softShown = blur(shown[k]!, width, height);
    for (let p = 0; p < support.length; p++) {
      if (support[p]! < BELONGS) continue;
      const mine = drawn[k]![p]! - softDrawn[p]!;
      const theirs = shown[k]![p]! - softShown[p]!;
      both += mine * theirs;
      own += mine * mine;
      all += theirs * theirs;
    }
  }
  const kept = both / own;
  return { kept, false: Math.max(0, all / own - kept * kept) };
}

// ---- ghosts ----

function markSprite(isThing: Uint8Array, { width }: Scene, { window, alpha }: Fit): void {
  for (let p = 0; p < alpha.length; p++)
    if (alpha[p]! >= BELONGS)
      isThing[(window.top + Math.floor(p / window.width)) * width + window.left + (p % window.width)] = 1;
}

function markSquare(isThing: Uint8Array, { width, height }: Scene, { x, y, side }: Square): void {
  const between = (at: number, most: number): number => Math.min(most, Math.max(0, Math.round(at)));
  const [left, right] = [between(x - side / 2, width), between(x + side / 2, width)];
  for (let row = between(y - side / 2, height); row < between(y + side / 2, height); row++)
    isThing.fill(1, row * width + left, row * width + right);
}

/** All pixels at most `by` away along each axis. */
function widen(marked: Uint8Array, { width, height }: Scene, by: number): Uint8Array {
  const along = (from: Uint8Array, step: number, count: number, at: (line: number) => number, lines: number) => {
    const wide = new Uint8Array(from.length);
    for (let line = 0; line < lines; line++) {
      const begin = at(line);
      for (let i = 0, last = Number.NEGATIVE_INFINITY; i < count; i++) {
        if (from[begin + i * step]) last = i;
        if (i - last <= by) wide[begin + i * step] = 1;
      }
      for (let i = count - 1, last = Number.POSITIVE_INFINITY; i >= 0; i--) {
        if (from[begin + i * step]) last = i;
        if (last - i <= by) wide[begin + i * step] = 1;
      }
    }
    return wide;
  };
  const across = along(marked, 1, width, (line) => line * width, height);
  return along(across, width, height, (line) => line, width);
}

function ghostShare({ over, width, height }: Scene, isThing: Uint8Array): number {
  const [r, g, b] = over as [Float32Array, Float32Array, Float32Array];
  let count = 0;
  for (let p = 0; p < isThing.length; p++)
    if (!isThing[p] && r[p]! ** 2 + g[p]! ** 2 + b[p]! ** 2 > STANDS_OUT ** 2) count++;
  return count / (width * height);
}
