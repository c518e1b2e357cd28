/** What was measured, one line of JSON for each picture: a run that was killed goes on where it stopped. */
import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Spent } from './denoiser.ts';
import { type Detail, MEASURES } from './detail-figures.ts';
import type { Seen } from './judge.ts';
import type { Row } from './row.ts';
import type { Sharpness } from './sharpness.ts';

export type Seam = 'token' | 'twoTokens' | 'meeting';

/** One picture: what was asked, what it cost, what the detector and the measures say of it. */
export interface Result {
  /** `id` of the row, and its settings: results of a row whose settings have changed since are not its results */
  readonly row: string;
  readonly settings: Row['settings'];
  /**
   * `id` of the prompt, its words, and the seed of this picture, the prompt's own or one derived from it: a prompt that
   * has changed since is another prompt
   */
  readonly prompt: string;
  readonly words: string;
  readonly seed: number;
  readonly task: string;
  /** digest of the detector that looked, and what it saw: whether that is right can be decided again */
  readonly detector: string;
  readonly seen: Omit<Seen, 'features'>;
  /** number of the measures of detail, and what they say */
  readonly measures: number;
  readonly detail: Detail;
  readonly correct: boolean;
  readonly reason: string;
  readonly spent: Spent;
  /** the detector's feature vector, float32, base64 */
  readonly features: string;
  readonly sharpness: Sharpness;
  /**
   * seamRatio at blocks of one token and of two, and where early and late blocks meet (where the row has no early ones,
   * those with most edges in the picture); null without a border
   */
  readonly seams: Readonly<Record<Seam, number | null>>;
  /** structural distance to the plain run's picture of the same prompt and seed; null while there is none */
  readonly distance: number | null;
}

/** `text` without its last line where that is not finished: a process was killed while it wrote. */
export const wholeLines = (text: string): string => text.slice(0, text.lastIndexOf('\n') + 1);

/** What a row's pictures are told apart by: prompt and seed. */
export const pictureKey = ({ prompt, seed }: Pick<Result, 'prompt' | 'seed'>): string => `${prompt} ${seed}`;

/**
 * The results in `text`, one JSON line each, the later of two for one row, prompt and seed. Throws SyntaxError for a
 * broken line before the last.
 */
export function parseResults(text: string): Result[] {
  const lines = wholeLines(text).split('\n').filter(Boolean);
  const all = lines.map((line) => JSON.parse(line) as Result);
  return [...new Map(all.map((result) => [`${result.row} ${pictureKey(result)}`, result])).values()];
}

/**
 * The results of `rows` by this detector and the measures of today among `all`; those measured with other settings,
 * judged by another detector or measured otherwise are left out.
 */
export function currentResults(
  all: readonly Result[],
  rows: readonly Pick<Row, 'id' | 'settings'>[],
  detector: string,
): Result[] {
  const settings = new Map(rows.map((row) => [row.id, JSON.stringify(row.settings)]));
  return all.filter(
    (result) =>
      result.detector === detector &&
      result.measures === MEASURES &&
      settings.get(result.row) === JSON.stringify(result.settings),
  );
}

/**
 * The results of `prompts`, each under one seed or several, among `all`; those of other seeds, and of prompts whose
 * words or seed have changed, are left out.
 */
export function resultsOfPrompts(
  all: readonly Result[],
  prompts: readonly { readonly id: string; readonly prompt: string; readonly seed: number }[],
): Result[] {
  const words = new Map(prompts.map(({ id, prompt, seed }) => [pictureKey({ prompt: id, seed }), prompt]));
  return all.filter((result) => words.get(pictureKey(result)) === result.words);
}

/** The file's results, and a way to add one. A line that is not finished is cut off first. */
export function openResults(file: string): { readonly results: Result[]; readonly add: (result: Result) => void } {
  const { text, append } = openFile(file);
  const results = parseResults(text);
  return {
    results,
    add: (result) => {
      append(result);
      results.push(result);
    },
  };
}

/** What a file of JSON lines holds, and a way to add one. A line that is not finished is cut off first. */
export function openLines<T>(file: string): { readonly lines: readonly T[]; readonly add: (line: T) => void } {
  const { text, append } = openFile(file);
  const lines = text.split('\n').filter(Boolean);
  return { lines: lines.map((line) => JSON.parse(line) as T), add: append };
}

/** The whole lines of a file, its end cut to them, and a way to add one. */
function openFile(file: string): { readonly text: string; readonly append: (value: unknown) => void } {
  mkdirSync(dirname(file), { recursive: true });
  const bytes = existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
  const end = bytes.lastIndexOf('\n') + 1;
  if (end < bytes.length) truncateSync(file, end);
  return {
    text: bytes.subarray(0, end).toString(),
    append: (value) => appendFileSync(file, `${JSON.stringify(value)}\n`),
  };
}

/** Float32 values as text and back, exactly. */
export const packFeatures = (features: Float32Array): string =>
  Buffer.from(features.buffer, features.byteOffset, features.byteLength).toString('base64');
export const unpackFeatures = (text: string): Float32Array =>
  new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer);
