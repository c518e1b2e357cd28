/** The figures of a table, from the results of its rows. Pure. */
import { tera } from '../../src/billing/work.ts';
import { bootstrapInterval, type Interval } from './bootstrap.ts';
import { DETAIL_FIGURES, type DetailFigure, figureDifference, figureOf } from './detail-figures.ts';
import { frechetTo, type Moments, momentsOf } from './frechet.ts';
import { pictureKey, type Result, type Seam, unpackFeatures } from './results.ts';
import { HARD } from './tasks.ts';

/**
 * Time of one picture, medians over the prompts, and its work, means: where a sampler decides by itself when to
 * evaluate, prompts differ in work.
 */
export interface Cost {
  /**
   * everything the stage server reports but the text, which it keeps from one row to the next: denoising and decoding,
   * seconds
   */
  readonly seconds: number;
  readonly denoiseSeconds: number;
  /** text, denoising and decoding; attention counted and not */
  readonly tflops: number;
  readonly tflopsWithoutAttention: number;
  readonly denoiseTflops: number;
  /** evaluations of the model, of whatever size */
  readonly evaluations: number;
}

/** A figure and how far it could have come out otherwise. */
export interface Estimate {
  readonly value: number;
  readonly interval: Interval;
}

export interface Summary {
  readonly id: string;
  /** pictures, and the prompts they are of: with several seeds a prompt has several pictures */
  readonly count: number;
  readonly prompts: number;
  /** of each task, the mean over its prompts of a prompt's share of correct pictures */
  readonly scores: Readonly<Record<string, number>>;
  /** mean of the tasks' scores */
  readonly mean: number;
  readonly interval: Interval;
  /** mean of the hard tasks' scores; null where none of them is here */
  readonly hard: Estimate | null;
  /** this mean over the first row's, prompts paired; null where the first row has none right */
  readonly share: Estimate | null;
  /** squared Fréchet distance to the reference; null without one, or with fewer than two pictures */
  readonly frechet: number | null;
  readonly cost: Cost;
  /** the first row's cost over this one's */
  readonly faster: {
    readonly seconds: number;
    readonly tflops: number;
    readonly denoiseSeconds: number;
    readonly denoiseTflops: number;
  };
  /**
   * means over the pictures in which a sprite fits, of ghosts where all that were asked for do; null where none does
   */
  readonly detail: Readonly<Record<DetailFigure, number | null>>;
  /** mean over the pictures that have edges */
  readonly gradient: number | null;
  /** geometric means over the pictures that have such borders; null where none has */
  readonly seams: Readonly<Record<Seam, number | null>>;
  /** mean of 1 - MS-SSIM to the plain picture; null where none was measured */
  readonly distance: number | null;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const geometricMean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : Math.exp(mean(values.map(Math.log)));

/** The results of each of `rows` for the prompts and seeds that all of them have, in the order of the first row's. */
export function inCommon(rows: readonly (readonly Result[])[]): Result[][] {
  const byKey = rows.map((results) => new Map(results.map((result) => [pictureKey(result), result])));
  const keys = [...(byKey[0]?.keys() ?? [])].filter((key) => byKey.every((results) => results.has(key)));
  return byKey.map((results) => keys.map((key) => results.get(key)!));
}

/**
 * Figures of rows measured on the same prompts and seeds in the same order, the first being what the others are
 * compared with. Intervals are 95 % over draws of the prompts within each task, a prompt with all its pictures: more
 * seeds make a prompt's own score surer, they are no more prompts. A share's draws take both rows' results together, so
 * what is hard for both does not widen it. Law: with every picture twice all scores and intervals are the same. Throws
 * RangeError when the rows' prompts or seeds differ or there are none.
 */
export function summarise(rows: readonly (readonly Result[])[], reference: Moments | null): Summary[] {
  const [first] = rows;
  if (!first || first.length === 0) throw new RangeError('there are no results to sum up');
  const distanceTo = reference && frechetTo(reference);
  const plain = costOf(first);
  return rows.map((results) => {
    const groups = pairsByTask(results, first);
    const prompts = groups.reduce((sum, group) => sum + group.length, 0);
    // a draw in which the first row has nothing right counts as one prompt right
    const ratio = (drawn: Groups): number => meanOf('mine')(drawn) / Math.max(meanOf('other')(drawn), 1 / prompts);
    const cost = costOf(results);
    const gradients = results.flatMap(({ sharpness }) => sharpness.gradient ?? []);
    const seam = (kind: Seam): number | null => geometricMean(results.flatMap(({ seams }) => seams[kind] ?? []));
    const distances = results.flatMap(({ distance }) => distance ?? []);
    return {
      id: results[0]!.row,
      count: results.length,
      prompts,
      scores: Object.fromEntries(groups.map((group) => [group[0]!.task, mean(group.map(({ mine }) => mine))])),
      mean: meanOf('mine')(groups),
      interval: bootstrapInterval(groups, meanOf('mine')),
      hard: estimateHard(groups, meanOf('mine')),
      share: meanOf('other')(groups) > 0 ? estimate(groups, ratio) : null,
      frechet:
        results.length < 2 || !distanceTo
          ? null
          : distanceTo(momentsOf(results.map(({ features }) => unpackFeatures(features)))),
      cost,
      faster: {
        seconds: plain.seconds / cost.seconds,
        tflops: plain.tflops / cost.tflops,
        denoiseSeconds: plain.denoiseSeconds / cost.denoiseSeconds,
        denoiseTflops: plain.denoiseTflops / cost.denoiseTflops,
      },
      detail: detailMeans(results),
      gradient: gradients.length === 0 ? null : mean(gradients),
      seams: { token: seam('token'), twoTokens: seam('twoTokens'), meeting: seam('meeting') },
      distance: distances.length === 0 ? null : mean(distances),
    };
  });
}

/** The score of one task of `results`, with its 95 % interval over draws of its prompts; null where it has none. */
export function taskScore(results: readonly Result[], task: string): Estimate | null {
  const ofTask = results.filter((result) => result.task === task);
  return ofTask.length === 0 ? null : estimate(pairsByTask(ofTask, ofTask), meanOf('mine'));
}

/**
 * How much higher the mean score of `results` is than that of `others`, prompts and seeds paired, with the 95 %
 * interval of the difference over draws of the prompts. Throws RangeError as summarise does.
 */
export function scoreDifference(results: readonly Result[], others: readonly Result[]): Estimate {
  return estimate(pairsByTask(results, others), difference);
}

/** As scoreDifference, of the hard tasks' mean alone; null where there are none of them. */
export function hardDifference(results: readonly Result[], others: readonly Result[]): Estimate | null {
  return estimateHard(pairsByTask(results, others), difference);
}

/**
 * How much higher a figure of detail is in `results` than in `others`, the same things in pairs of pictures, with the
 * 95 % interval over draws of the prompts within each task; null where no picture has a thing in both. As with
 * scores, tasks weigh alike. Throws RangeError as summarise does.
 */
export function detailDifference(
  figure: DetailFigure,
  results: readonly Result[],
  others: readonly Result[],
): Estimate | null {
  requireSamePictures(results, others);
  const pairs = results.flatMap(({ prompt, task, detail }, i) => {
    const value = figureDifference(detail, others[i]!.detail, figure);
    return value === null ? [] : [{ prompt, task, value }];
  });
  if (pairs.length === 0) return null;
  const prompts = [...Map.groupBy(pairs, ({ prompt }) => prompt).values()].map((ofPrompt) => ({
    task: ofPrompt[0]!.task,
    value: mean(ofPrompt.map(({ value }) => value)),
  }));
  const groups = [...Map.groupBy(prompts, ({ task }) => task).values()];
  return estimate(groups, (drawn) => mean(drawn.map((group) => mean(group.map(({ value }) => value)))));
}

function detailMeans(results: readonly Result[]): Summary['detail'] {
  const meanOfFigure = (figure: DetailFigure): number | null => {
    const values = results.flatMap(({ detail }) => figureOf(detail, figure) ?? []);
    return values.length === 0 ? null : mean(values);
  };
  return Object.fromEntries(DETAIL_FIGURES.map((figure) => [figure, meanOfFigure(figure)])) as Summary['detail'];
}

const difference = (drawn: Groups): number => meanOf('mine')(drawn) - meanOf('other')(drawn);

function estimateHard(groups: Groups, statistic: (drawn: Groups) => number): Estimate | null {
  const hard = groups.filter((group) => HARD.has(group[0]!.task));
  return hard.length === 0 ? null : estimate(hard, statistic);
}

/** A statistic of groups of prompts, with its 95 % interval over draws of each group. */
export const estimate = <T>(
  groups: readonly (readonly T[])[],
  statistic: (drawn: readonly (readonly T[])[]) => number,
): Estimate => ({ value: statistic(groups), interval: bootstrapInterval(groups, statistic) });

/** One prompt under two ways of sampling: share of its pictures that are correct. */
interface Pair {
  readonly task: string;
  readonly mine: number;
  readonly other: number;
}
type Groups = readonly (readonly Pair[])[];

function requireSamePictures(results: readonly Result[], others: readonly Result[]): void {
  if (results.length !== others.length || results.some((result, i) => pictureKey(result) !== pictureKey(others[i]!)))
    throw new RangeError(`row ${results[0]?.row} has other prompts than ${others[0]?.row}, or other seeds`);
}

function pairsByTask(results: readonly Result[], others: readonly Result[]): Pair[][] {
  requireSamePictures(results, others);
  const pictures = results.map(({ prompt, task, correct }, i) => ({
    prompt,
    task,
    mine: Number(correct),
    other: Number(others[i]!.correct),
  }));
  const pairs = [...Map.groupBy(pictures, ({ prompt }) => prompt).values()].map(
    (ofPrompt): Pair => ({
      task: ofPrompt[0]!.task,
      mine: mean(ofPrompt.map(({ mine }) => mine)),
      other: mean(ofPrompt.map(({ other }) => other)),
    }),
  );
  return [...Map.groupBy(pairs, ({ task }) => task).values()];
}

/** mean over the tasks of the mean over a task's prompts */
const meanOf =
  (whose: 'mine' | 'other') =>
  (drawn: Groups): number =>
    mean(drawn.map((group) => mean(group.map((pair) => pair[whose]))));

function costOf(results: readonly Result[]): Cost {
  const each = (part: (spent: Result['spent']) => number): number[] => results.map(({ spent }) => part(spent));
  const beside = (spent: Result['spent']): number => spent.decodeFlops + spent.textFlops;
  return {
    seconds: median(each(({ computeMs, decodeMs }) => (computeMs + decodeMs) / 1000)),
    denoiseSeconds: median(each(({ computeMs }) => computeMs / 1000)),
    tflops: tera(mean(each((spent) => spent.denoiseFlops + beside(spent)))),
    tflopsWithoutAttention: tera(mean(each((spent) => spent.denoiseFlopsWithoutAttention + beside(spent)))),
    denoiseTflops: tera(mean(each(({ denoiseFlops }) => denoiseFlops))),
    evaluations: mean(each(({ evaluations }) => evaluations.reduce((sum, { count }) => sum + count, 0))),
  };
}
