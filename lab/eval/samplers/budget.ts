/**
 * Equal work: how many steps a way of sampling takes for at least the work of another, so that the other never wins by
 * working more. Pure.
 */
import { plainWork } from '../../../src/billing/work.ts';
import type { Plan } from '../../../src/job/job.ts';
import { stepFlops } from '../../../src/numerics/flops.ts';
import { timestepCdf } from '../../../src/numerics/flow.ts';
import type { ModelFacts } from '../../../src/stage/contract.ts';
import { type Encoder, encodeFlopsPerPixel } from './encode.ts';

/** Work of one evaluation at `tokens` tokens, in evaluations at `fullTokens`; attention counted. */
export const share = (facts: ModelFacts, tokens: number, fullTokens: number): number =>
  stepFlops(facts.flops, tokens).total / stepFlops(facts.flops, fullTokens).total;

/**
 * What a plan costs, in full-size evaluations: its steps and every decoding but the last, which all ways of sampling
 * have.
 */
export function budgetOf(facts: ModelFacts, plan: Plan): number {
  const { denoise, decode } = plan.flops;
  return (denoise + decode - plainWork(plan).decode) / stepFlops(facts.flops, plan.rows * plan.cols).total;
}

/**
 * What it costs to decode a picture of half the size and to encode it again at full size, in full-size evaluations.
 * `pixels` are the full-size picture's.
 */
export const throughPixels = (facts: ModelFacts, encoder: Encoder, pixels: number, fullTokens: number): number =>
  ((facts.flops.decode_per_pixel / 4 + encodeFlopsPerPixel(encoder)) * pixels) /
  stepFlops(facts.flops, fullTokens).total;

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

/**
 * The fewest steps over stages that end at `ends` whose work is not below `budget`. `cost` is a stage's evaluation in
 * full-size ones. Throws RangeError when 200 steps are not enough.
 */
export function fewestSteps(
  budget: number,
  { ends, costs, shift }: { ends: readonly number[]; costs: readonly number[]; shift: number },
): number[] {
  const workOf = (total: number): number =>
    allocate(total, ends, shift).reduce((sum, count, k) => sum + count * costs[k]!, 0);
  return allocate(fewestWith(budget, ends.length, workOf), ends, shift);
}

/**
 * The fewest steps, at least `least`, whose work is not below `budget`, in full-size evaluations. Throws RangeError
 * when 200 steps are not enough.
 */
export function fewestWith(budget: number, least: number, workOf: (steps: number) => number): number {
  for (let steps = least; steps <= 200; steps++) if (workOf(steps) >= budget) return steps;
  throw new RangeError(`budget is ${budget} full evaluations; expected at most the work of 200 steps`);
}

/** The largest interval at which at least `budget` of `steps` steps are evaluated, the first among them. */
export function intervalFor(budget: number, steps: number): number {
  if (!(budget <= steps))
    throw new RangeError(`budget is ${budget} full evaluations; expected at most ${steps}, the steps`);
  let interval = 1;
  while (interval < steps && Math.ceil(steps / (interval + 1)) >= budget) interval += 1;
  return interval;
}
