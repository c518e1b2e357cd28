import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import { firstTokens, nextTokens } from '../../src/job/boundary.ts';
import { selectAtBoundaries } from '../../src/numerics/early.ts';
import { rankTokens } from '../../src/numerics/select.ts';
import { gridIds } from '../../src/numerics/tokens.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { planOn, value } from './requests.ts';

/** A model of one channel that makes pictures of so many tokens. */
const factsOf = (rows: number, cols: number): ModelFacts => ({
  ...CLOSED_FORM_FACTS,
  channels: 1,
  sizes: [{ width: 16 * cols, height: 16 * rows }],
});

/** A custom schedule of K stages that takes no fit. */
const scheduleOf = (K: number, ratios: readonly number[]) => ({
  N: Array.from({ length: K }, () => 1),
  e: Array.from({ length: K }, (_, k) => (k + 1) / K),
  ...(K > 1 && { h: Array.from({ length: K }, () => 3), Z: 4 }),
  ...(K > 2 && { r: [...ratios] }),
});

const OPTIONS = { seed: 3, mode: 'latent', referenceVariance: false } as const;

describe('what the stages of a plan begin with', () => {
  // shares in hundredths are what people ask for, and where products round
  const share = fc.oneof(
    fc.integer({ min: 0, max: 100 }).map((hundredths) => hundredths / 100),
    fc.double({ min: 0, max: 1, noNaN: true }),
  );
  const job = fc.record({
    half: fc.tuple(fc.integer({ min: 1, max: 45 }), fc.integer({ min: 1, max: 45 })),
    ratios: fc.array(share, { maxLength: 5 }).map((ratios) => ratios.sort((a, b) => a - b)),
    seed: fc.nat(99),
  });

  test('is as many tokens as planned at every boundary, whatever the grid and the ratios, and the full grid at last', () => {
    fc.assert(
      fc.property(job, ({ half: [lowRows, lowCols], ratios, seed }) => {
        const [rows, cols] = [2 * lowRows, 2 * lowCols];
        const plan = value(planOn(factsOf(rows, cols), scheduleOf(ratios.length + 2, ratios)));
        const ranking = rankTokens(Uint32Array.from({ length: lowRows * lowCols }, (_, n) => (n * 7 + seed) % 5));
        const selections = selectAtBoundaries(ranking, plan.selected);
        let tokens = firstTokens(plan, seed);
        expect(tokens.scale).toHaveLength(plan.stages[0]!.tokens);
        for (const stage of plan.stages.slice(1)) {
          tokens = nextTokens(plan, stage, { tokens, selections }, OPTIONS);
          expect(tokens.scale).toHaveLength(stage.tokens);
        }
        expect(tokens.imgIds).toEqual(gridIds(rows, cols));
        expect(tokens.scale.every((scale) => scale === 1)).toBe(true);
      }),
      { seed: 1, numRuns: 80 },
    );
  });

  test('is as many as planned where a product of share and sides would round: r = .29 at 1280²', () => {
    const plan = value(planOn(factsOf(80, 80), scheduleOf(3, [0.29])));
    expect([plan.selected, plan.stages.map(({ tokens }) => tokens)]).toEqual([[464], [1600, 2992, 6400]]);
    const ranking = rankTokens(new Uint32Array(1600));
    const selections = selectAtBoundaries(ranking, plan.selected);
    const mixed = nextTokens(plan, plan.stages[1]!, { tokens: firstTokens(plan, 1), selections }, OPTIONS);
    expect(mixed.scale).toHaveLength(2992);
  });

  test('is the same for a picture on its side: the counts do not depend on which side is which', () => {
    fc.assert(
      fc.property(job, ({ half: [lowRows, lowCols], ratios }) => {
        const schedule = scheduleOf(ratios.length + 2, ratios);
        const [upright, lying] = [factsOf(2 * lowRows, 2 * lowCols), factsOf(2 * lowCols, 2 * lowRows)].map((facts) =>
          value(planOn(facts, schedule)),
        );
        expect(upright!.selected).toEqual(lying!.selected);
      }),
      { seed: 2 },
    );
  });

  test.each([
    [85, 48],
    [53, 30],
    [7, 9],
  ])('of the plain model is noise on the whole grid, %i x %i too', (rows, cols) => {
    const tokens = firstTokens(value(planOn(factsOf(rows, cols), { preset: 'plain' })), 1);
    expect(tokens.imgIds).toEqual(gridIds(rows, cols));
    expect(tokens.scale.every((scale) => scale === 1)).toBe(true);
  });

  test('does not depend on when or how often it is asked for, and leaves what it was given', () => {
    const plan = value(planOn(factsOf(4, 4), scheduleOf(3, [0.5])));
    const tokens = firstTokens(plan, 1);
    const before = structuredClone(tokens);
    const next = () => nextTokens(plan, plan.stages[1]!, { tokens, selections: [[1, 2]] }, OPTIONS);
    expect(next()).toEqual(next());
    expect(tokens).toEqual(before);
  });

  test('is refused for the first stage, and where no selection was made', () => {
    const plan = value(planOn(factsOf(4, 4), scheduleOf(3, [0.5])));
    const tokens = firstTokens(plan, 1);
    expect(() => nextTokens(plan, plan.stages[0]!, { tokens, selections: null }, OPTIONS)).toThrow(
      'stage is 1; expected one after a boundary',
    );
    expect(() => nextTokens(plan, plan.stages[1]!, { tokens, selections: null }, OPTIONS)).toThrow(
      'selections has nothing for stage 2',
    );
  });
});
