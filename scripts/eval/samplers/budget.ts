/** Equal work: how many steps a way of sampling may take for the work of another. Pure. */
import type { Plan } from '../../../src/job/job.ts';
import { stepFlops } from '../../../src/numerics/flops.ts';
import { timestepCdf } from '../../../src/numerics/flow.ts';
import type { ModelFacts } from '../../../src/stage/contract.ts';

/** Work of one evaluation at `tokens` tokens, in evaluations at `fullTokens`; attention counted. */
export const share = (facts: ModelFacts, tokens: number, fullTokens: number): number => stepFlops(facts.flops, tokens).total / stepFlops(facts.flops, fullTokens).total;

/** What a plan costs, in full-size evaluations: its steps and every decoding but the last, which all ways of sampling have. */
export function budgetOf(facts: ModelFacts, { rows, cols, flops }: Plan): number {
  const lastDecode = facts.flops.decode_per_pixel * rows * cols * facts.token_pixels ** 2;
  return (flops.denoise + flops.decode - lastDecode) / stepFlops(facts.flops, rows * cols).total;
}

/** `total` steps over stages that end at `ends`, where a schedule of that shift would have them: at least one each. */
export function allocate(total: number, ends: readonly number[], shift: number): number[] {
  const counts: number[] = [];
  for (const [k, end] of ends.entries()) {
    const before = counts.reduce((sum, count) => sum + count, 0);
    const room = total - before - (ends.length - 1 - k);
    counts.push(end === 1 ? room : Math.min(room, Math.max(1, Math.round(timestepCdf(end, shift) * total) - before)));
  }
  return counts;
}

/** The steps of `stages` of most steps together whose work is within `budget`. `cost` is a stage's evaluation in full-size ones. Throws RangeError when not even one step each is. */
export function mostSteps(budget: number, { ends, costs, shift }: { ends: readonly number[]; costs: readonly number[]; shift: number }): number[] {
  let best: number[] | null = null;
  for (let total = ends.length; total <= 200; total++) {
    const counts = allocate(total, ends, shift);
    if (counts.reduce((sum, count, k) => sum + count * costs[k]!, 0) <= budget) best = counts;
  }
  if (!best) throw new RangeError(`budget is ${budget} full evaluations; expected enough for one step in each of ${ends.length} stages`);
  return best;
}

/** The smallest interval at which no more than `budget` of `steps` steps are evaluated, the first among them. */
export function intervalFor(budget: number, steps: number): number {
  const most = Math.floor(budget);
  if (most < 1) throw new RangeError(`budget is ${budget} full evaluations; expected at least 1`);
  for (let interval = 1; ; interval++) if (Math.ceil(steps / interval) <= most) return interval;
}
