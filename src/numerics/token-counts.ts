/** How many tokens a schedule upsamples at each boundary, and how many each of its stages has. Pure. */
import { requireInteger, requireNumber } from './bounds.ts';

/**
 * [K - 2] low-resolution tokens upsampled after each boundary but the last, in all. `ratios` are their shares, rising.
 *
 * A count is the largest k with k / lowTokens <= ratio, which is floor(ratio * lowTokens) without the rounding of the
 * product: .29 of 1600 is 464, while the product in float64 falls just below. Laws: the share of a count is that count,
 * k = count(k / n); counts rise with the ratio. Throws RangeError.
 */
export function selectedCounts(lowTokens: number, ratios: readonly number[]): number[] {
  requireInteger('lowTokens', lowTokens, 1, 2 ** 22);
  return ratios.map((ratio, k) => {
    requireNumber(`ratios[${k}]`, ratio, ratios[k - 1] ?? 0, 1);
    const count = Math.floor(ratio * lowTokens);
    if ((count + 1) / lowTokens <= ratio) return count + 1;
    return count / lowTokens > ratio ? count - 1 : count;
  });
}

/**
 * [K] tokens of each stage: a quarter of the `fullTokens` in the first, 3 more for each token upsampled in those
 * between, all in the last. `selected` are selectedCounts' K - 2; null is the plain model, K = 1. Law: exactly as many
 * as the transitions between the stages hand over. Throws RangeError.
 */
export function tokenCounts(fullTokens: number, selected: readonly number[] | null): number[] {
  requireInteger('fullTokens', fullTokens, 1, 2 ** 24);
  if (selected === null) return [fullTokens];
  const lowTokens = requireInteger('fullTokens / 4', fullTokens / 4, 1, 2 ** 22);
  for (const [k, count] of selected.entries()) requireInteger(`selected[${k}]`, count, selected[k - 1] ?? 0, lowTokens);
  return [lowTokens, ...selected.map((count) => lowTokens + 3 * count), fullTokens];
}
