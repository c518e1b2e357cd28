/**
 * The emoji that the model's scenes are made of, and how one looks in a picture at any place and size: the same files
 * and the same filter as lab/train/scenes.py.
 */
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import vocabulary from '../train/vocabularies/fluent-64.json' with { type: 'json' };
import { recolour } from './recolour.ts';

const FOLDER = new URL('../node_modules/@lobehub/fluent-emoji-3d/assets/', import.meta.url);
/** alpha from which a pixel is visible, and edge of the square that a sprite fills: as in scenes.py */
const VISIBLE = 8;
const SIZE = 256;
/** the smallest copy of a sprite that is kept */
const SMALLEST = 32;
/** parameter of the bicubic filter: Keys, 1981 */
const KEYS = -0.5;

/** [size, size, 4] red, green, blue and alpha, levels 0 to 255, colours already times alpha. */
interface Copy {
  readonly size: number;
  readonly data: Float32Array;
}

/** One thing, centred in its square; copies of 256, 128, 64 and 32 pixels, each the mean of the one before. */
export type Sprite = readonly Copy[];

/** Where a sprite stands, in pixels: its square's centre and edge. */
export interface Placed {
  readonly x: number;
  readonly y: number;
  readonly side: number;
  /** mirrored, left to right */
  readonly isFlipped: boolean;
}

/** Whole pixels of a picture. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** The sprite of a name, in a colour or as it is. Throws RangeError for a name or a colour that scenes do not have. */
export type Sprites = (name: string, colour: string | null) => Sprite;

/** Recoloured sprites that are kept: rows of one prompt ask for the same ones, one after the other. */
const MOST_COLOURED = 16;

/** The sprites of `names`, all of the scenes' when left out. Rejects when the package is not installed. */
export async function openSprites(names: readonly string[] = Object.keys(vocabulary.objects)): Promise<Sprites> {
  const codes: Readonly<Record<string, string>> = vocabulary.objects;
  const plain = new Map<string, Sprite>();
  for (const name of names) {
    const code = codes[name];
    if (code === undefined) throw new RangeError(`name is ${name}; expected one of fluent-64.json`);
    plain.set(name, copies(await cutToSquare(await readFile(new URL(`${code}.webp`, FOLDER)))));
  }
  const coloured = new Map<string, Sprite>();
  return (name, colour) => {
    const sprite = plain.get(name);
    if (!sprite) throw new RangeError(`name is ${name}; expected one that has a sprite`);
    if (colour === null) return sprite;
    const key = `${name} ${colour}`;
    const made = coloured.get(key) ?? copies({ size: SIZE, data: recolour(sprite[0]!.data, colour) });
    // the one asked for last is the last to go
    coloured.delete(key);
    coloured.set(key, made);
    if (coloured.size > MOST_COLOURED) coloured.delete(coloured.keys().next().value!);
    return made;
  };
}

/**
 * The visible part, centred in a square of 256 that it fills in width or height; [256, 256, 4], colours times alpha.
 */
async function cutToSquare(file: Uint8Array): Promise<Copy> {
  const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  let [left, top, right, bottom] = [info.width, info.height, 0, 0];
  for (let y = 0; y < info.height; y++)
    for (let x = 0; x < info.width; x++)
      if (data[(y * info.width + x) * 4 + 3]! > VISIBLE) {
        left = Math.min(left, x);
        right = Math.max(right, x + 1);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y + 1);
      }
  const scale = SIZE / Math.max(right - left, bottom - top);
  const width = Math.max(1, Math.round((right - left) * scale));
  const height = Math.max(1, Math.round((bottom - top) * scale));
  const cut = await sharp(data, { raw: { width: info.width, height: info.height, channels: 4 } })
    .extract({ left, top, width: right - left, height: bottom - top })
    .resize(width, height, { fit: 'fill' })
    .raw()
    .toBuffer();
  const square = new Float32Array(SIZE * SIZE * 4);
  const x0 = (SIZE - width) >> 1;
  const y0 = (SIZE - height) >> 1;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 4;
      const to = ((y + y0) * SIZE + x + x0) * 4;
      const alpha = cut[from + 3]!;
      for (let k = 0; k < 3; k++) square[to + k] = (cut[from + k]! * alpha) / 255;
      square[to + 3] = alpha;
    }
  return { size: SIZE, data: square };
}

/** It and its halves, down to the smallest. */
function copies(whole: Copy): Sprite {
  const all = [whole];
  for (let last = whole; last.size > SMALLEST; all.push(last)) {
    const size = last.size / 2;
    const data = new Float32Array(size * size * 4);
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++)
        for (let k = 0; k < 4; k++) {
          const at = (2 * y * last.size + 2 * x) * 4 + k;
          data[(y * size + x) * 4 + k] =
            (last.data[at]! +
              last.data[at + 4]! +
              last.data[at + last.size * 4]! +
              last.data[at + last.size * 4 + 4]!) /
            4;
        }
    last = { size, data };
  }
  return all;
}

/**
 * The sprite as it looks in a window of a picture, [height, width, 4] red, green, blue and alpha, colours times alpha,
 * levels 0 to 255; 0 outside its square. Made by the bicubic filter that is widened as far as the sprite shrinks, from
 * a copy at least twice as large where there is one: Pillow's `resize(BICUBIC, reducing_gap=2)`, at places between
 * pixels too. Law: moved by a whole pixel with its window it stays the same.
 */
export function drawSprite(sprite: Sprite, { x, y, side, isFlipped }: Placed, window: Window): Float32Array {
  const { size, data } = sprite.findLast((copy) => copy.size >= 2 * side) ?? sprite[0]!;
  const { width, height } = window;
  const across = tapsOf({ size, side, begin: window.left - x + side / 2, count: width, isFlipped });
  const down = tapsOf({ size, side, begin: window.top - y + side / 2, count: height, isFlipped: false });

  // rows first: every row of the sprite at the window's columns
  const rows = new Float32Array(size * width * 4);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < width; column++) {
      let r = 0;
      let g = 0;
      let b = 0;
      let a = 0;
      const first = across.first[column]!;
      const weight = column * across.most;
      const count = across.count[column]!;
      for (let i = 0, at = (row * size + first) * 4; i < count; i++, at += 4) {
        const w = across.weights[weight + i]!;
        r += w * data[at]!;
        g += w * data[at + 1]!;
        b += w * data[at + 2]!;
        a += w * data[at + 3]!;
      }
      const to = (row * width + column) * 4;
      rows[to] = r;
      rows[to + 1] = g;
      rows[to + 2] = b;
      rows[to + 3] = a;
    }
  const drawn = new Float32Array(height * width * 4);
  const line = width * 4;
  // columns outside the square stay 0
  const begin =
    4 *
    Math.max(
      0,
      across.count.findIndex((count) => count > 0),
    );
  const end = 4 * (across.count.findLastIndex((count) => count > 0) + 1);
  for (let row = 0; row < height; row++)
    for (let i = 0; i < down.count[row]!; i++) {
      const w = down.weights[row * down.most + i]!;
      const from = (down.first[row]! + i) * line;
      const to = row * line;
      for (let at = begin; at < end; at++) drawn[to + at]! += w * rows[from + at]!;
    }
  return drawn;
}

/** Of each pixel along one axis, which pixels of the sprite it is the weighted mean of; none outside its square. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** [pixels, most] */
  readonly weights: Float32Array;
  readonly most: number;
}

function tapsOf(axis: {
  readonly size: number;
  readonly side: number;
  /** of the first pixel, from the square's edge */
  readonly begin: number;
  readonly count: number;
  readonly isFlipped: boolean;
}): Taps {
  const { size, side } = axis;
  const scale = size / side;
  const wide = Math.max(1, scale);
  const most = Math.ceil(4 * wide) + 1;
  const first = new Int32Array(axis.count);
  const count = new Int32Array(axis.count);
  const weights = new Float32Array(axis.count * most);
  for (let i = 0; i < axis.count; i++) {
    const from = axis.begin + i + 0.5;
    if (from <= 0 || from >= side) continue;
    const centre = (axis.isFlipped ? side - from : from) * scale;
    const low = Math.max(0, Math.ceil(centre - 2 * wide - 0.5));
    const high = Math.min(size - 1, Math.floor(centre + 2 * wide - 0.5));
    let sum = 0;
    for (let j = low; j <= high; j++) sum += bicubic((j + 0.5 - centre) / wide);
    for (let j = low; j <= high; j++) weights[i * most + j - low] = bicubic((j + 0.5 - centre) / wide) / sum;
    first[i] = low;
    count[i] = high - low + 1;
  }
  return { first, count, weights, most };
}

function bicubic(at: number): number {
  const x = Math.abs(at);
  if (x < 1) return ((KEYS + 2) * x - (KEYS + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * KEYS : 0;
}
