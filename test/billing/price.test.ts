import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chargeOf, type StageDone } from '../../src/billing/charge.ts';
import {
  costOf,
  evaluationMflop,
  imageCost,
  type Price,
  plainCost,
  priceOf,
  textMflop,
  workOf,
} from '../../src/billing/price.ts';
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

/** Everything that a price's stages do, with a text of so many tokens, or of the longest. */
const allDone = ({ stages, text }: Price, tokens = text.limit): StageDone[] =>
  stages.map(({ stage, evaluations }) => ({ stage, evaluations, isFinished: true, textTokens: tokens }));
const wholeOf = (price: Price): number => workOf(price.stages, price, price.text.limit);

test('a plain FLUX image of 1024² costs what its TFLOPs cost at the tariff', () => {
  const draft = drafted({ prompt: 'a', preset: 'plain' });
  const price = pricedBy(draft);
  // FLUX pads every text to its limit; each figure is a whole number of MFLOPs, so the sum is off by under one for each
  expect([price.text.limit, price.text.usual]).toEqual([512, 512]);
  expect(price.quoted).toBe(Math.round((draft.flops / 1e12) * 1.2));
  expect(plainCost(price, 512)).toBe(price.quoted);
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
  const decode = BigInt(Math.ceil((FLUX.flops.decode_per_pixel * 2048 ** 2) / 1e6));
  const exact = step * 50n + decode + BigInt(Math.ceil(FLUX.flops.text / 1e6));
  expect(BigInt(wholeOf(price))).toBe(exact);
  expect(exact * 1_000_000n > BigInt(Number.MAX_SAFE_INTEGER)).toBe(true);
  expect(wholeOf(price)).toBeLessThan(Number.MAX_SAFE_INTEGER);
  expect(costOf(wholeOf(price), price)).toBe(exact * 1200n);
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
      expect(imageCost(wholeOf(price), price)).toBeLessThanOrEqual(quoted);
      expect(chargeOf(price, allDone(price), 'whole').micro).toBe(imageCost(wholeOf(price), price));
    }
});

test('a preset with a cache is priced by its evaluations, not by its steps', () => {
  const cached = pricedBy(drafted({ prompt: 'a', preset: '5x-taylor-2' }));
  const every = pricedBy(drafted({ prompt: 'a', preset: '5x' }));
  expect(cached.stages.map(({ evaluations }) => evaluations)).toEqual([3, 3, 4]);
  expect(every.stages.map(({ evaluations }) => evaluations)).toEqual([4, 5, 6]);
  expect(cached.stages.map(({ flops }) => flops)).toEqual(every.stages.map(({ flops }) => flops));
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

/** A small model that computes with each prompt's own length: its facts count a text of 8 tokens of 16. */
const SHORT: ModelFacts = {
  ...FLUX,
  id: 'short',
  text_tokens: 16,
  flops: {
    per_token: 1.87e11,
    per_token_squared: 3.3e7,
    fixed: 1.234567e10,
    attention_per_token: 2 * 3.3e7 * 8,
    attention_fixed: 3.3e7 * 64,
    decode_per_pixel: 2.03e8,
    text: 4.321e11,
  },
};

test('a step with a longer text is what the same layers cost with more tokens in them', () => {
  const price = pricedBy(drafted({ prompt: 'a', preset: 'plain' }, SHORT));
  const { text } = price;
  expect([text.limit, text.usual]).toEqual([16, 8]);
  const [stage] = price.stages as [Price['stages'][number]];
  // FLUX's own facts for each length of text are the reference: the polynomial is of the same form
  const facts = (tokens: number) => ({
    ...SHORT.flops,
    per_token: 1.87e11 - 2 * 3.3e7 * 8 + 2 * 3.3e7 * tokens,
    fixed:
      1.234567e10 -
      (1.87e11 - 2 * 3.3e7 * 8) * 8 -
      3.3e7 * 64 +
      (1.87e11 - 2 * 3.3e7 * 8) * tokens +
      3.3e7 * tokens ** 2,
  });
  for (const tokens of [8, 9, 12, 16])
    expect(evaluationMflop(stage, text, tokens)).toBe(
      Math.ceil(Number((stepFlops(facts(tokens), stage.tokens).total / 1e6).toFixed(3))),
    );
  expect([8, 16, 4].map((tokens) => textMflop(text, tokens))).toEqual([432_100, 864_200, 216_050]);
});

test('whatever the length of the prompt, no schedule costs more than its quote, and a longer prompt never less', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Partial<RequestInput>>(
        { preset: 'plain' },
        { preset: '5x' },
        { preset: '5x-taylor-3' },
        { speed: 3 },
        { N: [3, 4], e: [0.3, 1] },
      ),
      fc.nat(40),
      (input, tokens) => {
        const draft = drafted({ prompt: 'a', ...input }, SHORT);
        const price = draft.plan(memo)[0]?.plan.price as Price;
        const charged = (length: number): number => chargeOf(price, allDone(price, length), 'whole').micro;
        expect(price.quoted).toBe(pricedBy(draft).quoted);
        expect(charged(tokens)).toBeLessThanOrEqual(price.quoted);
        expect(charged(tokens)).toBeLessThanOrEqual(charged(tokens + 1));
      },
    ),
    { numRuns: 60 },
  );
});

test('a plan without stages has no price', () => {
  const work = { facts: FLUX.flops, textTokens: 1, stages: [], pixels: 1, plainSteps: 1 };
  expect(() => priceOf(TARIFF, 'flux-1-dev', work)).toThrow('stages has 0 entries');
});
