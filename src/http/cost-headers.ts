/** What jobs cost, in headers. */
import type { CostView } from '../billing/charge.ts';
import { sumCosts } from '../billing/sum-costs.ts';

/**
 * `x-ralu-cost-usd` where all of these have ended, `x-ralu-quote-usd` before: the sum of what they cost, or may cost at
 * most. Neither where nothing is charged.
 */
export function costHeaders(jobs: readonly { readonly cost: CostView | null }[]): Record<string, string> {
  const cost = sumCosts(jobs.map((job) => job.cost));
  if (!cost) return {};
  return cost.usd === null ? { 'x-ralu-quote-usd': cost.quote_usd } : { 'x-ralu-cost-usd': cost.usd };
}
