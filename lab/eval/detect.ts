/**
 * The evaluation's detector: which of 64 things are where in a picture and in which of 7 colours, the background's
 * colour, and features for the Fréchet distance.
 *
 * Two small networks trained by `lab/detector/train.py`, apart from the generator: one finds things of any kind in the
 * picture at 64 pixels, the other names a crop of each, or says that it is none of them. What they get right is in
 * `facts.json`. `lab/detector/look.py` computes the same, and the tests hold this to its numbers.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { openEngine } from '../../containers/onnx/engine/choose.ts';
import type { FloatTensor } from '../../containers/onnx/engine/engine.ts';
import type { Pixels } from '../../containers/onnx/pixels.ts';
import { decodeMessage } from '../../src/stage/safetensors.ts';
import facts from '../detector/facts.json' with { type: 'json' };
import type { DetectorFacts } from './detector-facts.ts';
import type { Moments } from './frechet.ts';
import type { Seen, SeenObject } from './judge.ts';

export interface Detector {
  /** What is in the picture. The same pixels give the same answer. */
  look(picture: Pixels): Promise<Seen>;
  /** of the networks, the thresholds and the reference: judgements of different digests must not be mixed */
  readonly digest: string;
  /** of the features of real pictures of the prompts */
  readonly reference: Moments;
  /** what it gets right itself */
  readonly facts: DetectorFacts;
  /** Frees the networks. */
  close(): Promise<void>;
}

const { sizes, thresholds } = facts;
const FOLDER = new URL('../detector/', import.meta.url);

/** The detector, on as many threads; one when left out. Rejects when no engine loads. */
export async function openDetector({ threads = 1 }: { readonly threads?: number } = {}): Promise<Detector> {
  const engine = await openEngine(undefined, { threads });
  const files = await Promise.all(
    ['places.onnx', 'things.onnx', 'reference.safetensors'].map((file) => readFile(new URL(file, FOLDER))),
  );
  const [places, things] = await Promise.all(files.slice(0, 2).map((bytes) => engine.load(bytes)));
  const digest = files
    .reduce((hash, bytes) => hash.update(bytes), createHash('sha256').update(JSON.stringify([thresholds, sizes])))
    .digest('hex');

  async function look(picture: Pixels): Promise<Seen> {
    const { width, height } = picture;
    const short = Math.min(width, height);
    const small = whole(picture, sizes.short, sizes.unit);
    const { places: heat } = await places!.run({ rgb: toNet([small]) });
    const scaleX = width / small.width;
    const scaleY = height / small.height;
    const found = peaks(heat!).map(({ x, y, side }) => ({
      x: x * scaleX,
      y: y * scaleY,
      side: (side * (scaleX + scaleY)) / 2,
    }));

    const crops = found.map(({ x, y, side }) => {
      const edge = side * sizes.context;
      return resample(picture, { x: x - edge / 2, y: y - edge / 2, width: edge, height: edge }, sizes.crop, sizes.crop);
    });
    const said = crops.length ? await things!.run({ rgb: toNet(crops) }) : undefined;
    const objects = found.map(({ x, y, side }, i) => ({
      ...name(row(said!.names!, i), row(said!.colours!, i)),
      x: x / short,
      y: y / short,
      side: side / short,
    }));

    const { features } = await things!.run({ rgb: toNet([whole(picture, sizes.featureShort, 16)]) });
    return { objects, background: background(small), features: features!.data };
  }

  return {
    look,
    digest,
    reference: readReference(files[2]!),
    facts,
    close: async () => {
      await Promise.all([places!.close(), things!.close()]);
    },
  };
}

function readReference(bytes: Uint8Array): Moments {
  const { tensors, metadata } = decodeMessage(bytes);
  return {
    mean: Float64Array.from(tensors.mean!.data),
    covariance: Float64Array.from(tensors.covariance!.data),
    count: Number(metadata.pictures),
  };
}

// ---- resampling ----

/** Levels 0..255 that need not be whole, [height, width, 3]. */
export interface Levels {
  readonly data: Float64Array;
  readonly width: number;
  readonly height: number;
}

interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** One output pixel along one axis: the weights of the input pixels it is the mean of. */
type Mean = readonly (readonly [index: number, weight: number])[];

/**
 * Output pixel i is the mean of the input over [begin + i s, begin + (i + 1) s], s = length / count; beyond its ends
 * the input repeats its last pixel. Law: the weights of every output pixel sum to 1.
 */
function means(begin: number, length: number, count: number, size: number): Mean[] {
  const s = length / count;
  return Array.from({ length: count }, (_, i) => {
    const low = begin + i * s;
    const high = begin + (i + 1) * s;
    const mean: [number, number][] = [];
    for (let j = Math.floor(low); j < Math.ceil(high); j++)
      mean.push([Math.min(size - 1, Math.max(0, j)), Math.max(0, Math.min(high, j + 1) - Math.max(low, j)) / s]);
    return mean;
  });
}

/** The rectangle of the picture as `columns` x `rows` levels, by area. Law: a constant picture stays constant. */
export function resample(picture: Pixels, { x, y, width, height }: Rectangle, columns: number, rows: number): Levels {
  const across = means(x, width, columns, picture.width);
  const down = means(y, height, rows, picture.height);
  const data = new Float64Array(columns * rows * 3);
  const line = new Float64Array(picture.width * 3);
  for (let r = 0; r < rows; r++) {
    // the mean of the rows, then of its columns
    line.fill(0);
    for (const [j, weight] of down[r]!)
      for (let k = 0; k < line.length; k++) line[k]! += weight * picture.data[j * line.length + k]!;
    for (let c = 0; c < columns; c++)
      for (const [j, weight] of across[c]!)
        for (let k = 0; k < 3; k++) data[(r * columns + c) * 3 + k]! += weight * line[j * 3 + k]!;
  }
  return { data, width: columns, height: rows };
}

/** All of the picture with about this shorter side; both sides multiples of `unit`. */
function whole(picture: Pixels, short: number, unit: number): Levels {
  const scaled = (side: number) =>
    unit * Math.floor(((short / unit) * side) / Math.min(picture.width, picture.height) + 0.5);
  return resample(
    picture,
    { x: 0, y: 0, width: picture.width, height: picture.height },
    scaled(picture.width),
    scaled(picture.height),
  );
}

/** [b, 3, h, w] in [-1, 1]. */
function toNet(pictures: readonly Levels[]): FloatTensor {
  const { width, height } = pictures[0]!;
  const area = width * height;
  const data = new Float32Array(pictures.length * 3 * area);
  pictures.forEach((picture, b) => {
    for (let p = 0; p < area; p++)
      for (let k = 0; k < 3; k++) data[(b * 3 + k) * area + p] = picture.data[p * 3 + k]! / 127.5 - 1;
  });
  return { data, shape: [pictures.length, 3, height, width] };
}

// ---- things ----

interface Peak {
  readonly chance: number;
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/**
 * Things in pixels of the small picture, the surest first; a weaker one within half a side of a surer one is the same
 * thing. `heat`: [1, 4, h, w] = logit, offset x, offset y, log of the side.
 */
function peaks({ data, shape }: FloatTensor): Peak[] {
  const [h, w] = shape.slice(2) as [number, number];
  const at = (channel: number, i: number, j: number) => data[(channel * h + i) * w + j]!;
  const found: Peak[] = [];
  for (let i = 0; i < h; i++) {
    for (let j = 0; j < w; j++) {
      const chance = 1 / (1 + Math.exp(-at(0, i, j)));
      if (chance < thresholds.place || !isHighest(i, j)) continue;
      found.push({
        chance,
        x: (j + 0.5 + at(1, i, j)) * sizes.cell,
        y: (i + 0.5 + at(2, i, j)) * sizes.cell,
        side: sizes.usual * Math.exp(at(3, i, j)),
      });
    }
  }
  const kept: Peak[] = [];
  for (const one of found.sort((a, b) => b.chance - a.chance)) {
    if (kept.every((k) => Math.max(Math.abs(one.x - k.x), Math.abs(one.y - k.y)) >= 0.5 * Math.max(one.side, k.side)))
      kept.push(one);
  }
  return kept;

  /** among its eight neighbours */
  function isHighest(i: number, j: number): boolean {
    for (let y = Math.max(0, i - 1); y <= Math.min(h - 1, i + 1); y++)
      for (let x = Math.max(0, j - 1); x <= Math.min(w - 1, j + 1); x++) if (at(0, y, x) > at(0, i, j)) return false;
    return true;
  }
}

const row = ({ data, shape }: FloatTensor, i: number): Float32Array =>
  data.subarray(i * shape[1]!, (i + 1) * shape[1]!);

function softmax(logits: Float32Array): Float64Array {
  const top = Math.max(...logits);
  const e = Float64Array.from(logits, (v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
}

/**
 * The likeliest of the names, null when it is not likely enough or `none of them` is likelier; and the likeliest
 * colour, null when it is none or not likely enough.
 */
function name(nameLogits: Float32Array, colourLogits: Float32Array): Pick<SeenObject, 'name' | 'score' | 'colour'> {
  const names = softmax(nameLogits);
  const colours = softmax(colourLogits);
  const none = names.at(-1)!;
  const best = highest(names.subarray(0, -1));
  const hue = highest(colours);
  const isNamed = names[best]! >= thresholds.name && names[best]! > none;
  const isColoured = hue < facts.colours.length - 1 && colours[hue]! >= thresholds.colour;
  return {
    name: isNamed ? facts.names[best]! : null,
    score: names[best]!,
    colour: isColoured ? facts.colours[hue]! : null,
  };
}

const highest = (values: Float64Array): number => values.indexOf(Math.max(...values));

// ---- background ----

/**
 * Width of the border the background is read from, in pixels of the small picture; rounds of the fit; and the distances
 * in levels it weighs by.
 */
const RING = 2;
const ROUNDS = 12;
const NEAR = 8;
const BELONGS = 24;

/** One name: plain; two: top to bottom; `other` where no name is near or most of the border is no ramp. */
function background(small: Levels): string[] {
  const { ends, share } = backgroundEnds(small);
  if (share < thresholds.border) return ['other'];
  const said = ends.map((end) => {
    const lab = oklab(end);
    const [nearest, distance] = BACKGROUNDS.map(
      ([each, known]) => [each, Math.hypot(...known.map((v, k) => v - lab[k]!))] as const,
    ).reduce((a, b) => (b[1] < a[1] ? b : a));
    return distance < thresholds.background ? nearest : 'other';
  });
  return said[0] === said[1] ? [said[0]!] : said;
}

/**
 * Colours of the first and last row of the vertical ramp that most of the border lies on, and the share of the border
 * that does. Reweighted least squares: first the least sum of distances, then distances beyond a few levels count for
 * nothing.
 */
export function backgroundEnds({ data, width, height }: Levels): { ends: [number[], number[]]; share: number } {
  const ring: number[] = [];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (y < RING || y >= height - RING || x < RING || x >= width - RING) ring.push(y * width + x);
  const weight = new Float64Array(ring.length).fill(1);
  const distance = new Float64Array(ring.length);
  const first = [0, 0, 0];
  const last = [0, 0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    // normal equations of first (1 - t) + last t, t from 0 at the top to 1 at the bottom
    let [aa, ab, bb] = [0, 0, 0];
    const a = [0, 0, 0];
    const b = [0, 0, 0];
    ring.forEach((p, i) => {
      const t = Math.floor(p / width) / (height - 1);
      const w = weight[i]!;
      aa += w * (1 - t) * (1 - t);
      ab += w * (1 - t) * t;
      bb += w * t * t;
      for (let k = 0; k < 3; k++) {
        a[k]! += w * (1 - t) * data[p * 3 + k]!;
        b[k]! += w * t * data[p * 3 + k]!;
      }
    });
    const determinant = aa * bb - ab * ab;
    for (let k = 0; k < 3; k++) {
      first[k] = (bb * a[k]! - ab * b[k]!) / determinant;
      last[k] = (aa * b[k]! - ab * a[k]!) / determinant;
    }
    ring.forEach((p, i) => {
      const t = Math.floor(p / width) / (height - 1);
      const r = Math.hypot(...[0, 1, 2].map((k) => data[p * 3 + k]! - first[k]! * (1 - t) - last[k]! * t));
      distance[i] = r;
      weight[i] = round < ROUNDS / 2 ? 1 / Math.max(r, 4) : 1 / (1 + (r / NEAR) ** 2) ** 2;
    });
  }
  return { ends: [first, last], share: distance.filter((r) => r < BELONGS).length / ring.length };
}

/** Levels to OKLab, in which equal distances look about equal. Source: bottosson.github.io/posts/oklab */
export function oklab(rgb: readonly number[]): [number, number, number] {
  const [r, g, b] = rgb.map((level) => {
    const c = Math.min(255, Math.max(0, level)) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

const BACKGROUNDS = Object.entries(facts.backgrounds).map(([each, rgb]) => [each, oklab(rgb)] as const);
