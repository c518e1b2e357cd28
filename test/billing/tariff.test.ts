import { expect, test } from 'vitest';
import { rateOf, readTariff } from '../../src/billing/tariff.ts';

const TEXT = {
  version: '2026-11',
  nano_usd_per_tflop: 1200,
  minimum_micro_usd: 50,
  models: { dear: { nano_usd_per_tflop: 9000, minimum_micro_usd: 0 } },
};

test('a tariff is read with its models', () => {
  const tariff = readTariff(JSON.stringify(TEXT));
  expect(tariff).toEqual({
    version: '2026-11',
    rate: { nanoUsdPerTflop: 1200, minimumMicroUsd: 50 },
    models: { dear: { nanoUsdPerTflop: 9000, minimumMicroUsd: 0 } },
  });
});

test('a model costs what the tariff says of it, any other the common rate', () => {
  const tariff = readTariff(JSON.stringify(TEXT));
  expect(tariff && [rateOf(tariff, 'dear'), rateOf(tariff, 'other')]).toEqual([
    { nanoUsdPerTflop: 9000, minimumMicroUsd: 0 },
    { nanoUsdPerTflop: 1200, minimumMicroUsd: 50 },
  ]);
});

test('a model of a name that every object has costs the common rate', () => {
  const tariff = readTariff(JSON.stringify(TEXT));
  expect(
    tariff && ['constructor', 'toString', '__proto__'].map((name) => rateOf(tariff, name).nanoUsdPerTflop),
  ).toEqual([1200, 1200, 1200]);
});

test('without a text nothing is charged', () => {
  expect([readTariff(undefined), readTariff('')]).toEqual([null, null]);
});

test.each([
  ['{', 'must be JSON'],
  ['[]', 'has at its top'],
  ['null', 'has at its top'],
  [{ ...TEXT, version: '' }, 'has at version'],
  [{ ...TEXT, nano_usd_per_tflop: 1.5 }, 'has at nano_usd_per_tflop'],
  [{ ...TEXT, nano_usd_per_tflop: -1 }, 'has at nano_usd_per_tflop'],
  [{ ...TEXT, nano_usd_per_tflop: 1e13 }, 'has at nano_usd_per_tflop'],
  [{ ...TEXT, nano_usd_per_tflop: '1200' }, 'has at nano_usd_per_tflop'],
  [{ ...TEXT, minimum_micro_usd: undefined }, 'has at minimum_micro_usd'],
  [{ ...TEXT, usd: 1 }, 'has at its top'],
  [{ ...TEXT, models: { dear: { nano_usd_per_tflop: 1 } } }, 'has at models.dear.minimum_micro_usd'],
  [{ ...TEXT, models: { dear: { ...TEXT.models.dear, discount: 1 } } }, 'has at models.dear'],
])('%j is refused, and the error names the place', (text, message) => {
  expect(() => readTariff(typeof text === 'string' ? text : JSON.stringify(text))).toThrow(message);
});
