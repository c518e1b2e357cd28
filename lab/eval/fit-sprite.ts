/**
 * Finds how a sprite stands in a picture: mirrored or not, place and size to a part of a pixel, and its colours. Pure.
 *
 * A picture is the background where a sprite's alpha is 0 and, where it is 1, an affine map of the sprite's colours:
 * scenes recolour things. The map is fitted by least squares, place and size by Gauss-Newton steps from where the
 * detector saw the thing, coarse to fine. Everything is compared after a slight blur, so that no fine detail takes part
 * in the fit that fine detail is then measured by.
 */
import type { Pixels } from './denoiser.ts';
import { backgroundEnds } from './detect.ts';
import { drawSprite, type Placed, type Sprite, type Window } from './sprite.ts';

/** The square of what was seen, in pixels. */
export interface Square {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/** A fitted sprite in the window around it. Planes are [height * width]. */
export interface Fit {
  readonly placed: Placed;
  readonly window: Window;
  /** how much of what stands out of the background it explains: root of the share of the squares, 0 to 1 */
  readonly correlation: number;
  /** [height * width], 0 to 1 */
  readonly alpha: Float32Array;
  /** red, green, blue: what the sprite adds to the background, in levels */
  readonly drawn: readonly Float32Array[];
  /** red, green, blue: what the picture has over the background, in levels */
  readonly shown: readonly Float32Array[];
}

/** How far, in sides, a sprite may stand from where it was seen, and how much larger or smaller it may be. */
const FARTHEST = 0.2;
const LARGEST = 1.3;
/** sides of what was seen that the window is wide */
const ROOM = 1.25;
/**
 * edge of the sprite at the coarse fit, at most, in pixels; steps there from each start, from the likeliest, and then
 * at full size
 */
const COARSE = 32;
const FIRST_STEPS = 3;
const COARSE_STEPS = 6;
const FINE_STEPS = 4;
/** sizes the coarse fit starts from, of what was seen */
const STARTS = [1, 0.88, 1.13];
/** a step shorter than this, in sides, ends the fit */
const CLOSE = 3e-4;
/** how strongly the map of colours is held to that which leaves them as they are */
const HELD = 1e-3;

/** A picture less its background, red, green and blue, and the background itself, by row. */
export interface Scene {
  readonly width: number;
  readonly height: number;
  readonly over: readonly Float32Array[];
  /** [height] each */
  readonly background: readonly Float32Array[];
}

/** The picture apart from its background: a vertical ramp read from its border, as the detector reads it. */
export function sceneOf({ data, width, height }: Pixels): Scene {
  const { ends } = backgroundEnds({ data: Float64Array.from(data), width, height });
  const [first, last] = ends;
  const background = [0, 1, 2].map((k) =>
    Float32Array.from({ length: height }, (_, y) => first[k]! + ((last[k]! - first[k]!) * y) / Math.max(1, height - 1)),
  );
  const over = background.map((ramp, k) => {
    const plane = new Float32Array(width * height);
    for (let p = 0; p < plane.length; p++) plane[p] = data[p * 3 + k]! - ramp[Math.floor(p / width)]!;
    return plane;
  });
  return { width, height, over, background };
}

/**
 * The likeliest fit near `seen` of a thing that may look like any of `looks`, sprites of one shape in several colours;
 * null where nothing stands out there. The same picture gives the same fit. Bounded: at most 6 x 3 + 6 coarse steps and
 * 4 fine ones a look, each of at most 2 tries. Law: a sprite drawn into a plain picture is found at its place and size,
 * whatever its colours were mapped to.
 */
export function fitSprite(scene: Scene, looks: readonly [Sprite, ...Sprite[]], seen: Square): Fit | null {
  const shrink = 2 ** Math.max(0, Math.ceil(Math.log2(seen.side / COARSE)));
  const small = partOf(scene, seen, shrink);
  const whole = partOf(scene, seen, 1);
  if (!small || !whole) return null;
  const tried = [false, true].flatMap((isFlipped) =>
    STARTS.map((size) => {
      const start = { x: seen.x / shrink, y: seen.y / shrink, side: (seen.side * size) / shrink, isFlipped };
      return climb(small, looks[0], start, FIRST_STEPS);
    }),
  );
  const likeliest = lowest(tried).placed;
  const { x, y, side, isFlipped } = climb(small, looks[0], likeliest, COARSE_STEPS).placed;
  const start = { x: x * shrink, y: y * shrink, side: side * shrink, isFlipped };
  const fine = lowest(looks.map((look) => climb(whole, look, start, FINE_STEPS)));
  const drawn = fine.map.map((weights, k) => blend(fine.planes, weights, whole.background[k]!, whole.window.width));
  return {
    placed: fine.placed,
    window: whole.window,
    correlation: Math.sqrt(Math.max(0, 1 - fine.error / whole.energy)),
    alpha: fine.planes[3]!.map((level) => level / 255),
    drawn,
    shown: whole.sharp,
  };
}

const lowest = (tried: readonly Tried[]): Tried => tried.reduce((a, b) => (b.error < a.error ? b : a));

/** Mean of each pixel and its neighbours, weights 1 2 1 each way: halves what has 4 pixels a period. */
export function blur(plane: Float32Array, width: number, height: number): Float32Array {
  const across = new Float32Array(plane.length);
  const both = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) {
    const line = y * width;
    for (let x = 0; x < width; x++)
      across[line + x] =
        (plane[line + Math.max(0, x - 1)]! + 2 * plane[line + x]! + plane[line + Math.min(width - 1, x + 1)]!) / 4;
  }
  for (let y = 0; y < height; y++) {
    const line = y * width;
    const above = Math.max(0, y - 1) * width;
    const below = Math.min(height - 1, y + 1) * width;
    for (let x = 0; x < width; x++)
      both[line + x] = (across[above + x]! + 2 * across[line + x]! + across[below + x]!) / 4;
  }
  return both;
}

// ---- the picture around what was seen ----

/** A window of the picture, each pixel the mean of as many as it is smaller by. */
interface Part {
  readonly window: Window;
  /** in pixels of the part */
  readonly seen: Square;
  readonly sharp: readonly Float32Array[];
  readonly blurred: readonly Float32Array[];
  /** [height] each */
  readonly background: readonly Float32Array[];
  /** sum of the squares of `blurred` */
  readonly energy: number;
}

/** Null where the window holds nothing, or nothing but the background. */
function partOf(scene: Scene, { x, y, side }: Square, shrink: number): Part | null {
  const half = (side * ROOM) / 2;
  const left = Math.max(0, Math.floor((x - half) / shrink));
  const top = Math.max(0, Math.floor((y - half) / shrink));
  const width = Math.min(Math.floor(scene.width / shrink), Math.ceil((x + half) / shrink)) - left;
  const height = Math.min(Math.floor(scene.height / shrink), Math.ceil((y + half) / shrink)) - top;
  if (width < 3 || height < 3) return null;
  const sharp = scene.over.map((plane) => {
    const part = new Float32Array(width * height);
    for (let v = 0; v < height * shrink; v++) {
      const from = (top * shrink + v) * scene.width + left * shrink;
      const to = Math.floor(v / shrink) * width;
      for (let u = 0; u < width * shrink; u++) part[to + Math.floor(u / shrink)]! += plane[from + u]!;
    }
    return part.map((sum) => sum / shrink ** 2);
  });
  const background = scene.background.map((ramp) =>
    Float32Array.from({ length: height }, (_, v) => ramp[Math.floor((top + v + 0.5) * shrink)]!),
  );
  const blurred = sharp.map((plane) => blur(plane, width, height));
  const energy = blurred.reduce((sum, plane) => sum + dot(plane, plane), 0);
  if (!(energy > width * height)) return null;
  const square = { x: x / shrink, y: y / shrink, side: side / shrink };
  return { window: { left, top, width, height }, seen: square, sharp, blurred, background, energy };
}

// ---- fitting ----

/** A sprite at a place, the map of its colours that suits the picture best there, and what that leaves unexplained. */
interface Tried {
  readonly placed: Placed;
  /** red, green, blue and alpha of the sprite, not blurred */
  readonly planes: readonly Float32Array[];
  /** weights of red, green, blue and alpha, for each of red, green and blue */
  readonly map: readonly Float64Array[];
  /** what the sprite adds to the background, blurred */
  readonly added: readonly Float32Array[];
  readonly error: number;
}

/** Gauss-Newton steps from a start, halved once where it does not help; ends when no step does. */
function climb(part: Part, sprite: Sprite, start: Placed, steps: number): Tried {
  let now = attempt(part, sprite, start);
  for (let step = 0; step < steps; step++) {
    const move = direction(part, now);
    const { side } = now.placed;
    if (Math.max(Math.abs(move.x) / side, Math.abs(move.y) / side, Math.abs(move.growth)) < CLOSE) break;
    let next: Tried | null = null;
    for (let share = 1; share >= 0.5 && !next; share /= 2) {
      const tried = {
        x: now.placed.x + share * move.x,
        y: now.placed.y + share * move.y,
        side: side * Math.exp(share * move.growth),
        isFlipped: start.isFlipped,
      };
      if (!isNear(tried, part.seen)) continue;
      const found = attempt(part, sprite, tried);
      if (found.error < now.error) next = found;
    }
    if (!next) break;
    now = next;
  }
  return now;
}

const isNear = ({ x, y, side }: Placed, seen: Square): boolean =>
  Math.max(Math.abs(x - seen.x), Math.abs(y - seen.y)) <= FARTHEST * seen.side &&
  Math.max(side / seen.side, seen.side / side) <= LARGEST;

function attempt({ window, blurred, background }: Part, sprite: Sprite, placed: Placed): Tried {
  const { width, height } = window;
  const drawn = drawSprite(sprite, placed, window);
  const planes = [0, 1, 2, 3].map((k) => {
    const plane = new Float32Array(width * height);
    for (let p = 0; p < plane.length; p++) plane[p] = drawn[p * 4 + k]!;
    return plane;
  });
  const soft = planes.map((plane) => blur(plane, width, height));
  const alpha = soft[3]!;

  // normal equations of picture - background + background * alpha = map(red, green, blue, alpha)
  const normal = new Float64Array(16);
  for (let i = 0; i < 4; i++)
    for (let j = i; j < 4; j++) normal[i * 4 + j] = normal[j * 4 + i] = dot(soft[i]!, soft[j]!);
  const hold = (HELD * (normal[0]! + normal[5]! + normal[10]! + normal[15]!)) / 4 + 1e-9;
  for (let i = 0; i < 4; i++) normal[i * 5]! += hold;
  const target = new Float32Array(width * height);
  const map = blurred.map((plane, k) => {
    for (let y = 0, p = 0; y < height; y++) {
      const behind = background[k]![y]! / 255;
      for (const end = p + width; p < end; p++) target[p] = plane[p]! + behind * alpha[p]!;
    }
    return solve(
      normal,
      Float64Array.from(soft, (each, i) => dot(each, target) + (i === k ? hold : 0)),
    );
  });

  let error = 0;
  const added = map.map((weights, k) => {
    const plane = blend(soft, weights, background[k]!, width);
    const aim = blurred[k]!;
    for (let p = 0; p < plane.length; p++) error += (aim[p]! - plane[p]!) ** 2;
    return plane;
  });
  return { placed, planes, map, added, error };
}

/**
 * One colour of what a sprite adds to the background: weights times its red, green, blue and alpha, less what it hides.
 */
function blend(
  planes: readonly Float32Array[],
  weights: Float64Array,
  background: Float32Array,
  width: number,
): Float32Array {
  const [r, g, b, a] = planes as [Float32Array, Float32Array, Float32Array, Float32Array];
  const [red, green, blue, alpha] = weights as unknown as [number, number, number, number];
  const plane = new Float32Array(a.length);
  for (let y = 0, p = 0; y < background.length; y++) {
    const over = alpha - background[y]! / 255;
    for (const end = p + width; p < end; p++) plane[p] = red * r[p]! + green * g[p]! + blue * b[p]! + over * a[p]!;
  }
  return plane;
}

/** Where less would be left unexplained: a move in pixels, and the logarithm of a growth. */
function direction({ window, blurred }: Part, { placed, added }: Tried): { x: number; y: number; growth: number } {
  const { width, height, left, top } = window;
  const normal = new Float64Array(9);
  const right = new Float64Array(3);
  for (let k = 0; k < 3; k++) {
    const plane = added[k]!;
    const aim = blurred[k]!;
    for (let y = 1; y < height - 1; y++)
      for (let x = 1; x < width - 1; x++) {
        const p = y * width + x;
        const dx = (plane[p - 1]! - plane[p + 1]!) / 2;
        const dy = (plane[p - width]! - plane[p + width]!) / 2;
        if (dx === 0 && dy === 0) continue;
        const growth = dx * (left + x + 0.5 - placed.x) + dy * (top + y + 0.5 - placed.y);
        const missing = aim[p]! - plane[p]!;
        normal[0]! += dx * dx;
        normal[1]! += dx * dy;
        normal[2]! += dx * growth;
        normal[4]! += dy * dy;
        normal[5]! += dy * growth;
        normal[8]! += growth * growth;
        right[0]! += dx * missing;
        right[1]! += dy * missing;
        right[2]! += growth * missing;
      }
  }
  normal[3] = normal[1]!;
  normal[6] = normal[2]!;
  normal[7] = normal[5]!;
  for (let i = 0; i < 3; i++) normal[i * 4]! += 1e-6 * normal[i * 4]! + 1e-9;
  const [x, y, growth] = solve(normal, right) as unknown as [number, number, number];
  return { x, y, growth };
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The solution of a positive definite system [n, n] x [n], by Cholesky's decomposition. */
function solve(matrix: Float64Array, right: Float64Array): Float64Array {
  const n = right.length;
  const root = new Float64Array(n * n);
  const solution = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= root[i * n + k]! * root[j * n + k]!;
      root[i * n + j] = i === j ? Math.sqrt(Math.max(sum, 1e-12)) : sum / root[j * n + j]!;
    }
    let value = right[i]!;
    for (let k = 0; k < i; k++) value -= root[i * n + k]! * solution[k]!;
    solution[i] = value / root[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    let value = solution[i]!;
    for (let k = i + 1; k < n; k++) value -= root[k * n + i]! * solution[k]!;
    solution[i] = value / root[i * n + i]!;
  }
  return solution;
}
