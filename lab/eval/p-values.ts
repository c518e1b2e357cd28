/** Chances that a claim would look as true as it does if it were not, one-sided, and their correction. Pure. */
import { philox } from '../../src/numerics/philox.ts';
import { bootstrap } from './bootstrap.ts';

/** differences of a task's prompts, one group a task */
type Groups = readonly (readonly number[])[];

/** stream of the generator of signs; the seed is fixed */
const KEY = [0x73_69_67_6e, 1] as const;
/** more resamples than an interval needs: a corrected p of .05 lies far out */
const DRAWS = 9999;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean over the groups of the mean over a group. */
export const groupMean = (groups: Groups): number => mean(groups.map(mean));

/**
 * The chance of a mean at least this high where each prompt's difference has either sign alike: two ways of sampling
 * that do equally well. (1 + those at least as high) / (1 + 9999 draws of all signs). Law: at most p with chance p
 * under that hypothesis. Source: Fisher, "The design of experiments", 1935; Phipson and Smyth, 2010, for the ones.
 */
export function signFlipP(groups: Groups): number {
  const weights = groups.flatMap((group) => group.map((value) => value / group.length / groups.length));
  const seen = weights.reduce((sum, value) => sum + value, 0);
  const words = new Uint32Array(4);
  const blocks = Math.ceil(weights.length / 128);
  let asHigh = 0;
  for (let draw = 0; draw < DRAWS; draw++) {
    let sum = 0;
    for (let block = 0; block < blocks; block++) {
      philox(words, draw, block, 0, 0, ...KEY);
      const end = Math.min(128, weights.length - 128 * block);
      for (let i = 0; i < end; i++) {
        const isFlipped = ((words[i >> 5]! >>> (i & 31)) & 1) === 1;
        sum += isFlipped ? -weights[128 * block + i]! : weights[128 * block + i]!;
      }
    }
    // sums of the same terms in another order are the same
    if (sum >= seen - 1e-12) asHigh += 1;
  }
  return (1 + asHigh) / (1 + DRAWS);
}

/**
 * The share of draws of the prompts, within their groups, whose mean is not above 0: (1 + those) / (1 + 9999). For
 * differences that no hypothesis makes symmetric, such as a score less .97 times another.
 */
export function bootstrapP(groups: Groups): number {
  return (1 + bootstrap(groups, groupMean, DRAWS).filter((value) => value <= 1e-12).length) / (1 + DRAWS);
}

/**
 * Holm's corrected p of each of `ps`, in their order: the i-th smallest of m times m - i + 1, never below a smaller
 * one's, at most 1. Claims whose corrected p is at most alpha are all true with chance 1 - alpha or more. Source: Holm,
 * "A simple sequentially rejective multiple test procedure", 1979.
 */
export function holm(ps: readonly number[]): number[] {
  const order = [...ps.keys()].sort((a, b) => ps[a]! - ps[b]!);
  const corrected = new Array<number>(ps.length);
  let before = 0;
  for (const [rank, i] of order.entries()) {
    before = Math.max(before, Math.min(1, (ps.length - rank) * ps[i]!));
    corrected[i] = before;
  }
  return corrected;
}
