import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chargeOf, type StageDone } from '../../src/billing/charge.ts';
import { costOf, imageCost, type Price, priceOf, totalMflop } from '../../src/billing/price.ts';
import type { Tariff } from '../../src/billing/tariff.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { stepFlops } from '../../src/numerics/flops.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { FLUX, SD3, value } from '../job/requests.ts';

const TARIFF: Tariff = { version: 't', rate: { nanoUsdPerTflop: 1200, minimumMicroUsd: 0 }, models: {} };
const memo = new Map();

const drafted = (input: RequestInput, facts: ModelFacts = FLUX, tariff: Tariff = TARIFF) =>
  value(draftRequest(input, facts, { allowEngineChange: false, tariff, draw: () => 1 }));
const pricedBy = (draft: ReturnType<typeof drafted>): Price => draft.price as Price;

/** Everything that a price's stages do, with text of so many tokens. */
const allDone = ({ stages, textTokens }: Price, tokens: number | null = textTokens): StageDone[] =>
  stages.map(({ stage, evaluations }) => ({ stage, evaluations, isFinished: true, textTokens: tokens }));

test('a plain FLUX image of 1024² costs what its TFLOPs cost at the tariff', () => {
  const { price, flops } = drafted({ prompt: 'a', preset: 'plain' });
  // each figure is a whole number of MFLOPs, so the sum is off by less than one for each
  expect(price?.quoted).toBe(Math.round((flops / 1e12) * 1.2));
  expect(price?.plainMflop).toBe(totalMflop(price as Price));
});

test('all done costs what was quoted', () => {
  for (const input of [{ preset: 'plain' }, { preset: '4x' }, { preset: '7x' }, { preset: '5x-taylor-2' }] as const) {
    const price = pricedBy(drafted({ prompt: 'a', ...input }));
    expect(chargeOf(price, allDone(price), 'whole').micro).toBe(price.quoted);
  }
});

test('the work of FLUX at 2048² and 50 steps is summed exactly, beyond what a double counts in operations', () => {
  const facts = { ...FLUX, sizes: [{ width: 2048, height: 2048 }], max_tokens: 16_384 };
  const price = pricedBy(drafted({ prompt: 'a', N: [50], e: [1] }, facts));
  const step = BigInt(Math.ceil(stepFlops(FLUX.flops, 16_384).total / 1e6));
  const exact =
    step * 50n + BigInt(Math.ceil((FLUX.flops.decode_per_pixel * 2048 ** 2) / 1e6)) + BigInt(price.textMflop);
  expect(BigInt(totalMflop(price))).toBe(exact);
  expect(exact * 1_000_000n > BigInt(Number.MAX_SAFE_INTEGER)).toBe(true);
  expect(totalMflop(price)).toBeLessThan(Number.MAX_SAFE_INTEGER);
  expect(costOf(totalMflop(price), price)).toBe(exact * 1200n);
});

test('a job of a speed is never charged more than its draft was quoted', () => {
  for (const [facts, speeds] of [
    [FLUX, [2, 3.7, 6]],
    [SD3, [1.5, 2.5]],
  ] as const)
    for (const speed of speeds) {
      const draft = drafted({ prompt: 'a', speed }, facts);
      const quoted = pricedBy(draft).quoted;
      const [job] = draft.plan(memo);
      const price = job?.plan.price as Price;
      expect(price.quoted).toBe(quoted);
      expect(imageCost(totalMflop(price), price)).toBeLessThanOrEqual(quoted);
      expect(chargeOf(price, allDone(price), 'whole').micro).toBe(imageCost(totalMflop(price), price));
    }
});

test('a preset with a cache is priced by its evaluations, not by its steps', () => {
  const cached = pricedBy(drafted({ prompt: 'a', preset: '5x-taylor-2' }));
  const every = pricedBy(drafted({ prompt: 'a', preset: '5x' }));
  expect(cached.stages.map(({ evaluations }) => evaluations)).toEqual([3, 3, 4]);
  expect(every.stages.map(({ evaluations }) => evaluations)).toEqual([4, 5, 6]);
  expect(cached.stages.map(({ mflop }) => mflop)).toEqual(every.stages.map(({ mflop }) => mflop));
  expect(cached.quoted).toBeLessThan(every.quoted);
});

test('the quote is at least the minimum, and grows with rate and work', () => {
  const least = { ...TARIFF, rate: { nanoUsdPerTflop: 0, minimumMicroUsd: 500 } };
  expect(pricedBy(drafted({ prompt: 'a', preset: '7x' }, FLUX, least)).quoted).toBe(500);
  fc.assert(
    fc.property(fc.nat(1e12), fc.nat(1e9), fc.nat(1e6), (mflop, more, rate) => {
      const own = { nanoUsdPerTflop: rate, minimumMicroUsd: 0 };
      expect(imageCost(mflop, own)).toBeLessThanOrEqual(imageCost(mflop + more, own));
      expect(imageCost(mflop, own)).toBeLessThanOrEqual(imageCost(mflop, { ...own, nanoUsdPerTflop: rate + 1 }));
    }),
  );
});

test('a model of the tariff has its own price, and every other the common one', () => {
  const tariff = { ...TARIFF, models: { 'flux-1-dev': { nanoUsdPerTflop: 2400, minimumMicroUsd: 0 } } };
  const own = pricedBy(drafted({ prompt: 'a', preset: 'plain' }, FLUX, tariff));
  const common = pricedBy(drafted({ prompt: 'a', preset: 'plain' }));
  expect([own.nanoUsdPerTflop, common.nanoUsdPerTflop]).toEqual([2400, 1200]);
  expect(Math.abs(own.quoted - 2 * common.quoted)).toBeLessThanOrEqual(1);
});

test('a plan without stages has no price', () => {
  const work = { facts: FLUX.flops, textTokens: 1, stages: [], pixels: 1, plainSteps: 1 };
  expect(() => priceOf(TARIFF, 'flux-1-dev', work)).toThrow('stages has 0 entries');
});
