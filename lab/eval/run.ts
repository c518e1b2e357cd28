/** The evaluation's loop: every prompt under every row, what is done already left out. */
import { greyFromRgb } from '../../src/numerics/grey.ts';
import type { Denoiser, Job, Pixels } from './denoiser.ts';
import { type Detail, MEASURES } from './detail-figures.ts';
import { msSsimDistance } from './distance.ts';
import type { Seen, Verdict } from './judge.ts';
import { packFeatures, pictureKey, type Result } from './results.ts';
import type { Row } from './row.ts';
import { edgeBlocks, meetingSeamRatio, seamRatio } from './seams.ts';
import { sharpnessOf } from './sharpness.ts';

export interface Prompt {
  readonly id: string;
  readonly task: string;
  readonly prompt: string;
  readonly seed: number;
}

/**
 * What a detector sees in a picture, whether that is what its prompt asked for, and how well the things asked for are
 * drawn.
 */
export interface Judgement extends Verdict {
  readonly seen: Seen;
  readonly detail: Detail;
}

export interface Bench<P extends Prompt = Prompt> {
  readonly size: { readonly width: number; readonly height: number };
  /** a denoiser that has spent nothing */
  readonly open: (job: Job) => Denoiser;
  readonly judge: (prompt: P, picture: Pixels) => Promise<Judgement>;
  /** digest of the detector that judges */
  readonly detector: string;
  /** how many blocks of two tokens the fastest preset upsamples early */
  readonly earlyCount: number;
  /** the plain run's picture of this prompt; null while there is none */
  readonly plainPicture: (prompt: P) => Promise<Pixels | null>;
}

/** One picture made and measured. Rejects with what the stage server, or the detector, fails with. */
export async function measure<P extends Prompt>(
  bench: Bench<P>,
  row: Row,
  prompt: P,
): Promise<{ readonly result: Result; readonly picture: Pixels }> {
  const denoiser = bench.open({ prompt: prompt.prompt, seed: prompt.seed, ...bench.size });
  const sampled = await row.sample(denoiser);
  const picture = await denoiser.decode(sampled);
  const { spent } = denoiser;
  const { correct, reason, seen, detail } = await bench.judge(prompt, picture);
  const plain = await bench.plainPicture(prompt);
  const { width, height } = picture;
  const grey = greyFromRgb(picture.data, width * height);
  const token = denoiser.facts.token_pixels;
  const early = sampled.early ?? edgeBlocks(grey, width, height, { block: 2 * token, count: bench.earlyCount });
  const result: Result = {
    row: row.id,
    settings: row.settings,
    prompt: prompt.id,
    words: prompt.prompt,
    seed: prompt.seed,
    task: prompt.task,
    detector: bench.detector,
    measures: MEASURES,
    seen: { objects: seen.objects, background: seen.background },
    correct,
    reason,
    spent,
    detail,
    sharpness: sharpnessOf(grey, width, height),
    seams: {
      token: seamRatio(grey, width, height, token),
      twoTokens: seamRatio(grey, width, height, 2 * token),
      meeting: meetingSeamRatio(grey, width, height, 2 * token, early),
    },
    distance: plain ? msSsimDistance(grey, greyFromRgb(plain.data, width * height), width, height) : null,
    features: packFeatures(seen.features),
  };
  return { result, picture };
}

/** A picture that is still to be made. */
export interface Item<P extends Prompt = Prompt> {
  readonly row: Row;
  readonly prompt: P;
}

/**
 * What is left to do: prompts, each under one seed, outside and rows inside, so that a slow minute of the machine falls
 * on all rows. `done` are current results.
 */
export function itemsLeft<P extends Prompt>(
  prompts: readonly P[],
  rows: readonly Row[],
  done: readonly Result[],
): Item<P>[] {
  const isDone = new Set(done.map((result) => `${result.row} ${pictureKey(result)}`));
  return prompts.flatMap((prompt) => {
    const key = pictureKey({ prompt: prompt.id, seed: prompt.seed });
    return rows.filter((row) => !isDone.has(`${row.id} ${key}`)).map((row) => ({ row, prompt }));
  });
}

/** The first `count` prompts of each task, interleaved: a run that is stopped early has seen as many of each. */
export function takePrompts<P extends Prompt>(prompts: readonly P[], count: number): P[] {
  const tasks = [...Map.groupBy(prompts, ({ task }) => task).values()];
  const longest = Math.max(0, ...tasks.map((group) => group.length));
  return Array.from({ length: Math.min(count, longest) }, (_, i) => tasks.flatMap((group) => group[i] ?? [])).flat();
}

/**
 * Milliseconds that `left` may take, from what its rows took so far; a row not yet seen takes as long as the others on
 * average. Null while nothing has been measured.
 */
export function timeLeft(left: readonly Item[], took: ReadonlyMap<string, readonly number[]>): number | null {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const means = new Map([...took].map(([row, times]) => [row, mean(times)]));
  if (means.size === 0) return null;
  const other = mean([...means.values()]);
  return left.reduce((sum, { row }) => sum + (means.get(row.id) ?? other), 0);
}
