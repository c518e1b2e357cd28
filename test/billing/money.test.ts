import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatExactUsd, formatUsd, MAX_MICRO, parseUsd, roundToMicro, USD } from '../../src/billing/money.ts';

const femto = fc.bigInt({ min: 0n, max: 10n ** 24n });

test('an amount that is shown and read again is itself', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_MICRO - 1 }), (micro) => {
      expect(parseUsd(formatUsd(micro))).toBe(micro);
    }),
  );
});

test('an amount is shown as decimal dollars with six digits, one below zero with its sign', () => {
  expect([0, 1, 68, 1_500_000, -1_500_000, -1].map(formatUsd)).toEqual([
    '0.000000',
    '0.000001',
    '0.000068',
    '1.500000',
    '-1.500000',
    '-0.000001',
  ]);
});

test('rounding is monotone, and never off by more than half a micro-dollar', () => {
  fc.assert(
    fc.property(femto, femto, (one, other) => {
      const [less, more] = one < other ? [one, other] : [other, one];
      expect(roundToMicro(less)).toBeLessThanOrEqual(roundToMicro(more));
      const off = BigInt(roundToMicro(one)) * 1_000_000_000n - one;
      expect(off <= 500_000_000n && off > -500_000_000n).toBe(true);
    }),
  );
});

test('half a micro-dollar is rounded up', () => {
  expect([499_999_999n, 500_000_000n, 1_499_999_999n].map(roundToMicro)).toEqual([0, 1, 1]);
});

test('an exact amount has no zeros at its end, but six digits', () => {
  expect([0n, 1n, 1_000_000_000n, 1_200_000_000n, 10n ** 15n, 12n * 10n ** 14n + 5n].map(formatExactUsd)).toEqual([
    '0.000000',
    '0.000000000000001',
    '0.000001',
    '0.0000012',
    '1.000000',
    '1.200000000000005',
  ]);
});

test('an exact amount of whole micro-dollars reads like any amount', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: MAX_MICRO - 1 }), (micro) => {
      expect(formatExactUsd(BigInt(micro) * 1_000_000_000n)).toBe(formatUsd(micro));
    }),
  );
});

test.each(['', '-1', '1.', '.5', '1.0000001', '1e3', ' 1', '1,5', '1234567890', 'NaN'])(
  '"%s" is no amount, and the error shows it',
  (text) => {
    expect(USD.test(text)).toBe(false);
    expect(() => parseUsd(text)).toThrow(`amount is "${text}"; expected dollars such as 12.50`);
  },
);
