import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type PlannedWork,
  plainWork,
  planWork,
  totalFlops,
  viewPlannedWork,
  viewWorkDone,
  workDone,
} from '../../src/billing/work.ts';
import { draftRequest } from '../../src/job/plan-request.ts';
import { fluxFlopFacts, sd3FlopFacts, stepFlops } from '../../src/numerics/flops.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { FLUX, planOn, SD3, value } from './requests.ts';

const MODELS = [
  fluxFlopFacts({ textTokens: 512, guidance: true }),
  fluxFlopFacts({ textTokens: 256, guidance: false }),
  sd3FlopFacts({ textTokens: 333, cfg: true }),
];

/** A plan of 1 to 5 stages on a grid of 4 * `low` tokens of 16 pixels a side. */
const plans = fc
  .record({
    facts: fc.constantFrom(...MODELS),
    low: fc.integer({ min: 1, max: 2000 }),
    selected: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
    isPlain: fc.boolean(),
    steps: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 5, maxLength: 5 }),
    decodes: fc.array(fc.constantFrom('none' as const, 'clean' as const), { minLength: 4, maxLength: 4 }),
    plainSteps: fc.integer({ min: 1, max: 60 }),
  })
  .map(({ facts, low, selected, isPlain, steps, decodes, plainSteps }) => {
    const mixed = selected.sort((a, b) => a - b).map((share) => low + 3 * Math.floor(share * low));
    const tokens = isPlain ? [4 * low] : [low, ...mixed, 4 * low];
    const stages = tokens.map((count, k) => ({
      stage: k + 1,
      tokens: count,
      evaluations: steps[k]!,
      decode: k === tokens.length - 1 ? ('image' as const) : decodes[k]!,
    }));
    const pixels = 4 * low * 16 ** 2;
    return { facts, stages, pixels, plainSteps, work: planWork(facts, { stages, pixels, plainSteps }) };
  });

const numbers = ({ stages }: PlannedWork) => stages.map(({ stage }) => stage);

describe('the work of a plan', () => {
  test('is every evaluation of every stage, and the plain run every step of its own', () => {
    fc.assert(
      fc.property(plans, ({ facts, stages, plainSteps, work }) => {
        for (const [k, { tokens, evaluations }] of stages.entries()) {
          expect(work.stages[k]!.flops).toBe(stepFlops(facts, tokens).total * evaluations);
          expect(work.stages[k]!.flopsWithoutAttention).toBe(stepFlops(facts, tokens).withoutAttention * evaluations);
        }
        const { total, withoutAttention } = stepFlops(facts, stages.at(-1)!.tokens);
        expect([work.flops.plain, work.flops.plainWithoutAttention]).toEqual([
          total * plainSteps,
          withoutAttention * plainSteps,
        ]);
      }),
      { seed: 1 },
    );
  });

  test('decodes a quarter of the pixels of a clean estimate, and all of the image', () => {
    fc.assert(
      fc.property(plans, ({ facts, stages, pixels, work }) => {
        const decoded = stages.map(({ decode }) => ({ none: 0, clean: pixels / 4, image: pixels })[decode]);
        expect(work.flops.decode).toBe(facts.decode_per_pixel * decoded.reduce((sum, count) => sum + count, 0));
        expect(plainWork(work).decode / (facts.decode_per_pixel * pixels)).toBeCloseTo(1, 12);
      }),
      { seed: 2 },
    );
  });

  test('is, once all of it is done, the plan’s own figures to the bit', () => {
    fc.assert(
      fc.property(plans, ({ work }) => {
        const { denoise, denoiseWithoutAttention, decode, text } = work.flops;
        expect(workDone(work, numbers(work))).toEqual({ denoise, denoiseWithoutAttention, decode, text });
        expect(viewWorkDone(work, numbers(work))).toEqual(viewPlannedWork(work));
      }),
      { seed: 3 },
    );
  });

  test('adds up over stages done one by one, but for the text, which is encoded once', () => {
    fc.assert(
      fc.property(plans, fc.nat(5), ({ work }, count) => {
        const done = numbers(work).slice(0, count);
        const parts = done.map((stage) => workDone(work, [stage]));
        const whole = workDone(work, done);
        const close = (a: number, b: number) => Math.abs(a - b) <= 1e-12 * Math.max(1, Math.abs(b));
        for (const part of ['denoise', 'denoiseWithoutAttention', 'decode'] as const)
          expect(
            close(
              parts.reduce((sum, one) => sum + one[part], 0),
              whole[part],
            ),
          ).toBe(true);
        expect(whole.text).toBe(done.length > 0 ? work.flops.text : 0);
      }),
      { seed: 4 },
    );
  });

  test('of nothing done is nothing, and of an unfinished picture has no ratio', () => {
    fc.assert(
      fc.property(plans, fc.nat(4), ({ work }, count) => {
        const view = viewWorkDone(work, numbers(work).slice(0, Math.min(count, work.stages.length - 1)));
        expect([view.ratio, view.ratio_without_attention, view.ratio_total]).toEqual([null, null, null]);
        const whole = viewPlannedWork(work);
        expect([view.plain, view.plain_total]).toEqual([whole.plain, whole.plain_total]);
        expect(view.total).toBeLessThanOrEqual(whole.total);
        expect(workDone(work, [])).toEqual({ denoise: 0, denoiseWithoutAttention: 0, decode: 0, text: 0 });
        expect(viewWorkDone(work, []).total).toBe(0);
      }),
      { seed: 5 },
    );
  });

  test('compares like with like: the plain run is once the plain run, and ratios are of what they name', () => {
    fc.assert(
      fc.property(plans, ({ work }) => {
        const view = viewPlannedWork(work);
        expect(view.ratio).toBe(work.flops.plain / work.flops.denoise);
        expect(view.ratio_total).toBe(totalFlops(plainWork(work)) / totalFlops(work.flops));
        expect(view.total).toBeCloseTo(view.denoise + view.decode + view.text, 9);
      }),
      { seed: 6 },
    );
    const own = viewPlannedWork(value(planOn(FLUX, { preset: 'plain' })));
    expect([own.ratio, own.ratio_without_attention, own.ratio_total]).toEqual([1, 1, 1]);
  });

  test('is in its plan in the fields in which plans are stored', () => {
    const plan = value(planOn(FLUX, { preset: '7x' }));
    const { flops, stages } = planWork(FLUX.flops, { stages: plan.stages, pixels: 1024 ** 2, plainSteps: FLUX.steps });
    expect(JSON.parse(JSON.stringify(plan))).toMatchObject(JSON.parse(JSON.stringify({ flops, stages })));
  });

  test('refuses a stage that was never planned, and a plan of none', () => {
    const work = value(planOn(FLUX, { preset: '7x' }));
    expect(() => workDone(work, [1, 4])).toThrow('stage is 4; expected one of the 3 planned');
    expect(() => planWork(FLUX.flops, { stages: [], pixels: 1, plainSteps: 1 })).toThrow('stages has 0 entries');
  });
});

describe('the work under classifier-free guidance', () => {
  const L = 333;
  const d = 1536;
  /** one evaluation of SD3 Medium over n image tokens, layer by layer */
  const linear = (n: number) => 2 * 24 * 12 * d ** 2 * n + 2 * d ** 2 * L * (23 * 12 + 3);
  const attention = (n: number) => 4 * (n + L) ** 2 * d * 24;
  const planned = (preset: string, guidance: number | null) =>
    value(planOn(SD3, { preset }, guidance === null ? {} : { guidance }));

  test.each([
    ['plain', 351.66],
    ['2x', 181.09],
    ['3x', 116.61],
  ])('of SD3 at %s is the published %f TFLOPs, attention left out', (preset, published) => {
    const { denoise_without_attention, decode, text } = viewPlannedWork(planned(preset, null));
    // the published figures hold one text and the decodes
    expect(Math.abs((denoise_without_attention + decode + text) / published - 1)).toBeLessThan(0.005);
  });

  test('counts two evaluations a step above 1 and one at 1 or below, with attention and without', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('plain', '2x', '3x'),
        fc.oneof(fc.double({ min: 0, max: 20, noNaN: true }), fc.constantFrom(0, 1, 1 + 2 ** -52, 20)),
        (preset, guidance) => {
          const branches = guidance > 1 ? 2 : 1;
          const plan = planned(preset, guidance);
          for (const { tokens, evaluations, flops, flopsWithoutAttention } of plan.stages) {
            expect(flopsWithoutAttention / (branches * evaluations * linear(tokens))).toBeCloseTo(1, 12);
            expect(flops / (branches * evaluations * (linear(tokens) + attention(tokens)))).toBeCloseTo(1, 12);
          }
          expect(plan.flops.plain / (branches * 28 * (linear(4096) + attention(4096)))).toBeCloseTo(1, 12);
          expect(plan.flops.text).toBe((SD3.flops.text * branches) / 2);
        },
      ),
      { seed: 7 },
    );
  });

  test('changes neither the pictures nor the ratios, and nothing of a model with embedded guidance', () => {
    const [guided, once] = [planned('2x', 7), planned('2x', 1)];
    expect(once.flops.decode).toBe(guided.flops.decode);
    expect(viewPlannedWork(once).ratio).toBeCloseTo(viewPlannedWork(guided).ratio, 12);
    const embedded = (guidance: number) => value(planOn(FLUX, { preset: '7x' }, { guidance })).flops;
    expect(embedded(1)).toEqual(embedded(3.5));
  });

  test('is that of the model’s default where a request names no guidance', () => {
    const tools = { allowEngineChange: false, tariff: null, draw: () => 0 };
    const memo = new Map();
    const workOf = (facts: ModelFacts, guidance?: number) =>
      value(draftRequest({ prompt: 'a fox', preset: '2x', guidance }, facts, tools)).plan(memo)[0]!.plan.flops;
    expect(workOf(SD3)).toEqual(workOf(SD3, 7));
    const unguided: ModelFacts = { ...SD3, guidance: { kind: 'cfg', min: 0, max: 20, default: 1 } };
    expect(workOf(unguided)).toEqual(workOf(SD3, 1));
    expect(workOf(SD3).denoise).toBe(2 * workOf(SD3, 1).denoise);
  });

  test('is done as it is planned, whatever the guidance', () => {
    for (const guidance of [0, 1, 7]) {
      const plan = planned('3x', guidance);
      const { denoise, denoiseWithoutAttention, decode, text } = plan.flops;
      expect(workDone(plan, [1, 2, 3])).toEqual({ denoise, denoiseWithoutAttention, decode, text });
    }
  });
});
