/**
 * Amounts of money. Kept and added as whole micro-dollars (10⁻⁶ USD), shown as decimal text, so no amount ever meets a
 * binary fraction. Pure.
 */

/** Whole micro-dollars. Every amount and every sum of amounts is a safe integer: below nine billion dollars. */
export type MicroUsd = number;

const MICRO_DIGITS = 6;
const FEMTO_DIGITS = 15;
/** 10⁻¹⁵ USD: what one MFLOP costs is a whole number of these wherever a TFLOP costs whole nano-dollars. */
export type FemtoUsd = bigint;

/** The largest amount that one entry may have: a billion dollars. */
export const MAX_MICRO: MicroUsd = 1e15;

/** Micro-dollars of `femto`, the half rounded up: the one place where money is rounded. Law: monotone. */
export const roundToMicro = (femto: FemtoUsd): MicroUsd => Number((femto + 500_000_000n) / 1_000_000_000n);

/** An amount as decimal dollars, six digits after the point: `0.000068`, `-1.500000`. */
export const formatUsd = (micro: MicroUsd): string => decimal(BigInt(micro), MICRO_DIGITS);

/** An exact amount as decimal dollars without zeros at the end, six digits after the point at least. */
export function formatExactUsd(femto: FemtoUsd): string {
  const text = decimal(femto, FEMTO_DIGITS);
  const least = text.length - FEMTO_DIGITS + MICRO_DIGITS;
  return text.slice(0, least) + text.slice(least).replace(/0+$/, '');
}

function decimal(value: bigint, digits: number): string {
  const text = (value < 0n ? -value : value).toString().padStart(digits + 1, '0');
  return `${value < 0n ? '-' : ''}${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** Decimal dollars, as an amount is given: `12`, `12.5`, `0.000001`; a billion at most. */
export const USD = /^\d{1,9}(?:\.\d{1,6})?$/;

/** The amount of decimal dollars. Throws RangeError for text that is none. Law: of `formatUsd`'s text, the amount. */
export function parseUsd(text: string): MicroUsd {
  if (!USD.test(text)) throw new RangeError(`amount is "${text}"; expected dollars such as 12.50`);
  const [whole = '', fraction = ''] = text.split('.');
  return Number(whole) * 1e6 + Number(fraction.padEnd(MICRO_DIGITS, '0'));
}
