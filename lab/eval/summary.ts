/** The figures of a table, from the results of its rows. Pure. */
import { tera } from '../../src/billing/work.ts';
import { bootstrapInterval, type Interval } from './bootstrap.ts';
import { frechetTo, type Moments, momentsOf } from './frechet.ts';
import { type Result, type Seam, unpackFeatures } from './results.ts';

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
  readonly count: number;
  /** share of correct pictures of each task */
  readonly scores: Readonly<Record<string, number>>;
  /** mean of the tasks' shares */
  readonly mean: number;
  readonly interval: Interval;
  /** this mean over the first row's, prompts paired; null where the first row has none right */
  readonly share: Estimate | null;
  /** squared Fréchet distance to the reference; null with fewer than two pictures */
  readonly frechet: number | null;
  readonly cost: Cost;
  /** the first row's cost over this one's */
  readonly faster: {
    readonly seconds: number;
    readonly tflops: number;
    readonly denoiseSeconds: number;
    readonly denoiseTflops: number;
  };
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

/** Ids of the prompts that every one of `rows` has a result for, in the order of the first row's. */
export function commonPrompts(rows: readonly (readonly Result[])[]): Set<string> {
  const counts = new Map<string, number>();
  for (const results of rows) for (const { prompt } of results) counts.set(prompt, (counts.get(prompt) ?? 0) + 1);
  return new Set([...counts].filter(([, count]) => count === rows.length).map(([prompt]) => prompt));
}

/** The results of each of `rows` on the prompts that all of them have, in the order of the first row's. */
export function inCommon(rows: readonly (readonly Result[])[]): Result[][] {
  const prompts = [...commonPrompts(rows)];
  return rows.map((results) => {
    const byPrompt = new Map(results.map((result) => [result.prompt, result]));
    return prompts.map((prompt) => byPrompt.get(prompt)!);
  });
}

/**
 * Figures of rows measured on the same prompts in the same order, the first being what the others are compared with.
 * Intervals are 95 % over draws of the prompts within each task; a share's draws take both rows' results together, so
 * what is hard for both does not widen it. Throws RangeError when the rows' prompts differ or there are none.
 */
export function summarise(rows: readonly (readonly Result[])[], reference: Moments): Summary[] {
  const [first] = rows;
  if (!first || first.length === 0) throw new RangeError('there are no results to sum up');
  const distanceTo = frechetTo(reference);
  const plain = costOf(first);
  return rows.map((results) => {
    const groups = pairsByTask(results, first);
    // a draw in which the first row has nothing right counts as one picture right
    const ratio = (drawn: Groups): number =>
      meanOf('mine')(drawn) / Math.max(meanOf('other')(drawn), 1 / results.length);
    const cost = costOf(results);
    const gradients = results.flatMap(({ sharpness }) => sharpness.gradient ?? []);
    const seam = (kind: Seam): number | null => geometricMean(results.flatMap(({ seams }) => seams[kind] ?? []));
    const distances = results.flatMap(({ distance }) => distance ?? []);
    return {
      id: results[0]!.row,
      count: results.length,
      scores: Object.fromEntries(groups.map((group) => [group[0]!.task, mean(group.map(({ mine }) => mine))])),
      mean: meanOf('mine')(groups),
      interval: bootstrapInterval(groups, meanOf('mine')),
      share: meanOf('other')(groups) > 0 ? { value: ratio(groups), interval: bootstrapInterval(groups, ratio) } : null,
      frechet:
        results.length < 2 ? null : distanceTo(momentsOf(results.map(({ features }) => unpackFeatures(features)))),
      cost,
      faster: {
        seconds: plain.seconds / cost.seconds,
        tflops: plain.tflops / cost.tflops,
        denoiseSeconds: plain.denoiseSeconds / cost.denoiseSeconds,
        denoiseTflops: plain.denoiseTflops / cost.denoiseTflops,
      },
      gradient: gradients.length === 0 ? null : mean(gradients),
      seams: { token: seam('token'), twoTokens: seam('twoTokens'), meeting: seam('meeting') },
      distance: distances.length === 0 ? null : mean(distances),
    };
  });
}

/**
 * How much higher the mean score of `results` is than that of `others`, prompts paired, with the 95 % interval of the
 * difference. Throws RangeError as summarise does.
 */
export function scoreDifference(results: readonly Result[], others: readonly Result[]): Estimate {
  const groups = pairsByTask(results, others);
  const difference = (drawn: Groups): number => meanOf('mine')(drawn) - meanOf('other')(drawn);
  return { value: difference(groups), interval: bootstrapInterval(groups, difference) };
}

/** One prompt under two ways of sampling: 1 where the picture is correct, else 0. */
interface Pair {
  readonly task: string;
  readonly mine: number;
  readonly other: number;
}
type Groups = readonly (readonly Pair[])[];

function pairsByTask(results: readonly Result[], others: readonly Result[]): Pair[][] {
  if (results.length !== others.length || results.some(({ prompt }, i) => prompt !== others[i]!.prompt))
    throw new RangeError(`row ${results[0]?.row} has other prompts than ${others[0]?.row}`);
  const pairs = results.map(
    ({ task, correct }, i): Pair => ({ task, mine: Number(correct), other: Number(others[i]!.correct) }),
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
