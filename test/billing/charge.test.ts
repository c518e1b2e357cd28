import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chargeOf, type StageDone, viewCharge, viewCost } from '../../src/billing/charge.ts';
import { parseUsd } from '../../src/billing/money.ts';
import { imageCost, type Price, totalMflop } from '../../src/billing/price.ts';

const prices = fc
  .record({
    nanoUsdPerTflop: fc.nat(1e7),
    minimumMicroUsd: fc.nat(1e4),
    stages: fc.array(
      fc.record({ evaluations: fc.integer({ min: 1, max: 50 }), mflop: fc.nat(1e8), decodeMflop: fc.nat(1e7) }),
      { minLength: 1, maxLength: 4 },
    ),
    textMflop: fc.nat(1e8),
    textTokens: fc.integer({ min: 1, max: 512 }),
  })
  .map((drawn): Price => {
    const stages = drawn.stages.map((stage, k) => ({ ...stage, stage: k + 1, tokens: 16 }));
    const quoted = imageCost(totalMflop({ ...drawn, stages }), drawn);
    return { ...drawn, stages, tariff: 't', plainMflop: 1e9, quoted };
  });

/** What servers may tell of the first stages: any number of evaluations and tokens. */
const told = fc.array(
  fc.record({
    evaluations: fc.nat(80),
    isFinished: fc.boolean(),
    textTokens: fc.option(fc.nat(1000), { nil: null }),
  }),
  { maxLength: 4 },
);
const doneOf = (price: Price, stages: readonly Omit<StageDone, 'stage'>[]): StageDone[] =>
  stages.slice(0, price.stages.length).map((stage, k) => ({ ...stage, stage: k + 1 }));

const PAYING = ['whole', 'heard', 'nothing'] as const;

test('no charge is above the quote, whatever servers tell', () => {
  fc.assert(
    fc.property(prices, told, fc.constantFrom(...PAYING), (price, stages, paying) => {
      const { micro } = chargeOf(price, doneOf(price, stages), paying);
      expect(micro).toBeLessThanOrEqual(price.quoted);
      expect(micro).toBeGreaterThanOrEqual(0);
    }),
  );
});

test('everything done with text at its limit costs the quote to the micro-dollar', () => {
  fc.assert(
    fc.property(prices, (price) => {
      const done = price.stages.map(({ stage, evaluations }) => ({
        stage,
        evaluations,
        isFinished: true,
        textTokens: price.textTokens,
      }));
      const charge = chargeOf(price, done, 'whole');
      expect([charge.micro, charge.mflop]).toEqual([price.quoted, totalMflop(price)]);
    }),
  );
});

test('more evaluations, a longer text, and a finished image never cost less', () => {
  fc.assert(
    fc.property(prices, told, fc.nat(3), (price, stages, at) => {
      const done = doneOf(price, stages);
      const more = done.map((stage, k) =>
        k === at % Math.max(1, done.length)
          ? { ...stage, evaluations: stage.evaluations + 1, textTokens: (stage.textTokens ?? 0) + 1, isFinished: true }
          : stage,
      );
      expect(chargeOf(price, done, 'heard').micro).toBeLessThanOrEqual(chargeOf(price, more, 'heard').micro);
      expect(chargeOf(price, done, 'heard').micro).toBeLessThanOrEqual(chargeOf(price, done, 'whole').micro);
    }),
  );
});

test('the lines add up to the charge before it is rounded, and their work to the work that is paid', () => {
  fc.assert(
    fc.property(prices, told, (price, stages) => {
      const { lines, mflop, micro } = chargeOf(price, doneOf(price, stages), 'heard');
      const femto = lines.reduce((sum, { usd }) => sum + BigInt(usd.replace('.', '').padEnd(digits(usd), '0')), 0n);
      expect(Number((femto + 500_000_000n) / 1_000_000_000n)).toBe(micro);
      expect(lines.reduce((sum, { tflops }) => sum + Math.round(tflops * 1e6), 0)).toBe(mflop);
    }),
  );
  /** length of an exact amount with all its fifteen digits */
  function digits(usd: string): number {
    return usd.indexOf('.') + 15;
  }
});

const PRICE: Price = {
  tariff: 't',
  nanoUsdPerTflop: 1_000_000,
  minimumMicroUsd: 5_000,
  stages: [
    { stage: 1, tokens: 4, evaluations: 2, mflop: 1_000_000, decodeMflop: 100_000 },
    { stage: 2, tokens: 16, evaluations: 3, mflop: 4_000_000, decodeMflop: 400_000 },
  ],
  textMflop: 500_000,
  textTokens: 10,
  plainMflop: 30_000_000,
  quoted: 15_000,
};

test('an image costs the minimum at least, a cancelled job only what was done', () => {
  const done = [{ stage: 1, evaluations: 2, isFinished: true, textTokens: 10 }];
  expect(chargeOf(PRICE, done, 'heard').micro).toBe(2_600);
  expect(chargeOf(PRICE, done, 'whole').micro).toBe(5_000);
  expect(chargeOf(PRICE, done, 'nothing')).toEqual({ micro: 0, mflop: 0, lines: [] });
  expect(chargeOf(PRICE, [], 'heard').micro).toBe(0);
});

test('text is paid by the tokens that were computed, at most the limit; one that is not told costs the limit of an image', () => {
  const textOf = (textTokens: number | null, paying: 'whole' | 'heard') =>
    chargeOf(PRICE, [{ stage: 1, evaluations: 0, isFinished: false, textTokens }], paying).lines.find(
      ({ item }) => item === 'text',
    )?.tokens ?? 0;
  expect([textOf(4, 'heard'), textOf(99, 'heard'), textOf(null, 'heard'), textOf(0, 'heard')]).toEqual([4, 10, 0, 0]);
  expect([textOf(4, 'whole'), textOf(99, 'whole'), textOf(null, 'whole'), textOf(0, 'whole')]).toEqual([4, 10, 10, 0]);
});

test('a stage that was never planned is a mistake that is named', () => {
  expect(() => chargeOf(PRICE, [{ stage: 3, evaluations: 1, isFinished: false, textTokens: null }], 'heard')).toThrow(
    'stage is 3; expected one of the 2 planned',
  );
});

test('what callers see is decimal text, and says who pays what', () => {
  expect(viewCost(PRICE, null)).toEqual({ usd: null, quote_usd: '0.015000', plain_usd: '0.030000', tariff: 't' });
  const charge = chargeOf(PRICE, [{ stage: 1, evaluations: 1, isFinished: false, textTokens: null }], 'heard');
  const seen = viewCharge(PRICE, charge, 'heard');
  expect(seen).toMatchObject({ usd: '0.001000', usd_per_tflop: '0.001000', minimum_usd: '0.005000', paid: 'heard' });
  expect(seen.lines).toEqual([{ item: 'stage1', tokens: 4, steps: 1, tflops: 1, usd: '0.001000' }]);
  expect(parseUsd(seen.usd)).toBe(charge.micro);
});
