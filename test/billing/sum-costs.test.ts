import { expect, test } from 'vitest';
import type { ChargeLine, CostView } from '../../src/billing/charge.ts';
import { dollars, paidTflops, sumCosts } from '../../src/billing/sum-costs.ts';

const cost = (usd: string | null, quote_usd: string, plain_usd = '0.100000'): CostView => ({
  usd,
  quote_usd,
  plain_usd,
  tariff: 'a',
});

test('jobs of one request cost what each costs, to the micro-dollar', () => {
  expect(sumCosts([cost('0.100000', '0.200000'), cost('0.200001', '0.300000')])).toEqual(
    cost('0.300001', '0.500000', '0.200000'),
  );
  expect(sumCosts([cost('0.000009', '0.000009')])).toEqual(cost('0.000009', '0.000009'));
  // 0.1 + 0.2 is no binary fraction
  expect(sumCosts(Array.from({ length: 10 }, () => cost('0.100000', '0.200000')))?.usd).toBe('1.000000');
});

test('the sum is known once all have ended, and nothing where one is free of charge', () => {
  expect(sumCosts([cost('0.100000', '0.200000'), cost(null, '0.200000')])).toMatchObject({
    usd: null,
    quote_usd: '0.400000',
  });
  for (const costs of [[], [null], [cost('0.1', '0.1'), null], [cost('0.1', '0.1'), undefined]])
    expect(sumCosts(costs)).toBeNull();
});

test('a number of dollars is the nearest to the amount', () => {
  expect(['0.000009', '12.345678', '0.000000'].map(dollars)).toEqual([0.000009, 12.345678, 0]);
});

test('TFLOPs that are paid add up without a binary fraction', () => {
  const line = (tflops: number): ChargeLine => ({ item: 'stage1', tokens: 1, steps: 1, tflops, usd: '0.000000' });
  expect(paidTflops([])).toBe('0.000000');
  expect(paidTflops([line(0.1), line(0.2)])).toBe('0.300000');
  expect(paidTflops([line(11_259.000_001), line(2 ** 20)])).toBe('1059835.000001');
});
