/** A sprite in another colour, as lab/train/scenes.py recolours it. Pure. */
import colours from '../train/colours.json' with { type: 'json' };

/** Colourful enough to have a hue, and opaque enough to be changed. */
const LEAST_SATURATION = 0.25;
const LEAST_VALUE = 0.2;
const OPAQUE = 128;
/** of the hues' histogram; a hue within 40° of the commonest is changed */
const BINS = 36;
const WITHIN = 40 / 360;

type Triple = readonly [number, number, number];

/**
 * [n, 4] red, green, blue, levels 0 to 255, times alpha: the commonest hue becomes that of `colour`; relative
 * saturation and brightness stay, and so does everything of another hue. Law: alpha is the same. Throws RangeError for
 * a colour that is not one of colours.json.
 */
export function recolour(pixels: Float32Array, colour: string): Float32Array {
  const rgb = (colours as unknown as Readonly<Record<string, Triple>>)[colour];
  if (!rgb) throw new RangeError(`colour is ${colour}; expected one of ${Object.keys(colours).join(', ')}`);
  const lively: (readonly [at: number, h: number, s: number, v: number])[] = [];
  const counts = new Float64Array(BINS);
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3]! / 255;
    if (pixels[at + 3]! <= OPAQUE) continue;
    const [h, s, v] = toHsv([pixels[at]! / alpha, pixels[at + 1]! / alpha, pixels[at + 2]! / alpha]);
    if (s <= LEAST_SATURATION || v <= LEAST_VALUE) continue;
    lively.push([at, h, s, v]);
    counts[Math.min(BINS - 1, Math.floor(h * BINS))]! += 1;
  }
  const changed = pixels.slice();
  if (lively.length === 0) return changed;
  const around = counts.map((count, i) => count + counts[(i + 1) % BINS]! + counts[(i + BINS - 1) % BINS]!);
  const hue = (around.indexOf(Math.max(...around)) + 0.5) / BINS;
  // hue is a circle
  const main = lively.filter(([, h]) => Math.abs(((h - hue + 1.5) % 1) - 0.5) < WITHIN);
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
  const saturation = middle(main.map(([, , s]) => s));
  const value = middle(main.map(([, , , v]) => v));
  const [h, s, v] = toHsv(rgb);
  for (const [at, , ownS, ownV] of main) {
    const alpha = pixels[at + 3]! / 255;
    const made = toRgb([h, Math.min(1, (ownS / saturation) * s), Math.min(1, (ownV / value) * v)]);
    for (let k = 0; k < 3; k++) changed[at + k] = made[k]! * alpha;
  }
  return changed;
}

/** Levels to hue, saturation and value, each 0 to 1. */
function toHsv([r, g, b]: Triple): Triple {
  const most = Math.max(r, g, b);
  const span = most - Math.min(r, g, b);
  if (span <= 0) return [0, 0, most / 255];
  const sixth = most === r ? (g - b) / span : most === g ? 2 + (b - r) / span : 4 + (r - g) / span;
  return [(sixth / 6 + 1) % 1, span / most, most / 255];
}

function toRgb([h, s, v]: Triple): Triple {
  const channel = (n: number): number => {
    const k = (n + h * 6) % 6;
    return 255 * (v - v * s * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}
