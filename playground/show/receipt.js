/**
 * What was paid for a run: the sum beside what the plain model would have cost, and the work it is made of.
 *
 * @import { ReceiptCost, CostView } from '../../src/billing/charge.ts'
 */
import { element } from '../ground/element.js';
import { dollars, micro, times, work } from '../ground/figures.js';

/** Micro-dollars from which on their rounding does not show in a ratio. */
const EXACT = 1000;

/** What of the work was paid, where it was not all. @type {Record<ReceiptCost['paid'], string>} */
const REASONS = { whole: '', heard: ', for the steps done', nothing: ', because it failed' };

/**
 * A cost in words: an amount, and what it is.
 *
 * @param {CostView} cost
 * @returns {{ title: string, amount: string, words: string }}
 */
export function describeCost({ usd, quote_usd, plain_usd }) {
  if (usd === null) return { title: 'Price', amount: dollars(quote_usd), words: 'at most' };
  const [paid, plain] = [micro(usd), micro(plain_usd)];
  const words =
    paid === 0
      ? 'nothing is charged for this'
      : plain <= paid
        ? 'as much as the plain model'
        : paid < EXACT
          ? `plain ${dollars(plain_usd)}`
          : `${times(plain / paid)} less than plain`;
  return { title: 'Paid', amount: dollars(usd), words };
}

/** `stage1`, `decode1`, `text` in words. @param {string} item */
function nameOf(item) {
  const [, kind, number] = /^(stage|decode)(\d+)$/.exec(item) ?? [];
  return kind === 'stage' ? `Stage ${number}` : kind === 'decode' ? `Picture ${number}` : 'Text';
}

/** The lines of a receipt. @param {string} name @param {ReceiptCost} cost */
export function costTable(name, { usd, plain_usd, usd_per_tflop, minimum_usd, tariff, paid, lines }) {
  const rows = lines.map(({ item, tokens, steps, tflops, usd: exact }) => [
    nameOf(item),
    tokens === null ? '' : String(tokens),
    tokens === null || item === 'text' ? '' : String(steps),
    work(tflops),
    dollars(exact),
  ]);
  const whole = lines.reduce((sum, { tflops }) => sum + tflops, 0);
  /** @param {(string | undefined)[]} cells */
  const row = ([first = '', ...cells]) =>
    element('tr', {}, element('th', { scope: 'row' }, first), ...cells.map((cell) => element('td', {}, cell)));
  return element(
    'table',
    { className: 'paid' },
    element(
      'caption',
      {},
      `${name}: ${dollars(usd)} paid${REASONS[paid]}; ${dollars(usd_per_tflop)} a TFLOP, a picture at least ${dollars(minimum_usd)} (tariff ${tariff})`,
    ),
    element(
      'thead',
      {},
      element(
        'tr',
        {},
        element('td'),
        ...['Tokens', 'Steps', 'Work', 'Price'].map((cell) => element('th', { scope: 'col' }, cell)),
      ),
    ),
    element('tbody', {}, ...rows.map(row)),
    element(
      'tfoot',
      {},
      row(['Paid, rounded', '', '', lines.length === 0 ? '' : work(whole), dollars(usd)]),
      row(['The plain model', '', '', '', dollars(plain_usd)]),
    ),
  );
}
