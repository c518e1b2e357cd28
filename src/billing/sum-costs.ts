/** Several jobs of one request as one bill. Pure. */
import type { ChargeLine, CostView } from './charge.ts';
import { formatUsd, parseUsd } from './money.ts';

/**
 * What the jobs of a request cost together: `usd` is null until all have ended. Null where nothing is charged for one
 * of them, or there is none.
 */
export function sumCosts(costs: readonly (CostView | null | undefined)[]): CostView | null {
  const priced = costs.filter((cost) => cost !== null && cost !== undefined);
  const [first] = priced;
  if (!first || priced.length < costs.length) return null;
  const sum = (amounts: readonly string[]): string =>
    formatUsd(amounts.reduce((total, amount) => total + parseUsd(amount), 0));
  const known = priced.map(({ usd }) => usd).filter((usd) => usd !== null);
  return {
    usd: known.length < priced.length ? null : sum(known),
    quote_usd: sum(priced.map(({ quote_usd }) => quote_usd)),
    plain_usd: sum(priced.map(({ plain_usd }) => plain_usd)),
    tariff: first.tariff,
  };
}

/** An amount as a number of dollars, for formats that have nothing better. */
export const dollars = (usd: string): number => parseUsd(usd) / 1e6;

/** Work that is paid, as decimal TFLOPs with six digits after the point: `0.034127`. */
export const paidTflops = (lines: readonly ChargeLine[]): string =>
  (lines.reduce((sum, { tflops }) => sum + Math.round(tflops * 1e6), 0) / 1e6).toFixed(6);
