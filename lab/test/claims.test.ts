import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import { standardNormals } from '../../src/numerics/normal.ts';
import { CALIBRATION_VERSION } from '../eval/calibrate.ts';
import { type Claim, parseClaims, tellClaims } from '../eval/claims.ts';
import { bootstrapP, holm, signFlipP } from '../eval/p-values.ts';
import promptsA from '../eval/prompts.json' with { type: 'json' };
import promptsB from '../eval/prompts-b.json' with { type: 'json' };
import type { Result } from '../eval/results.ts';
import { makeRows } from '../eval/rows.ts';
import { withSeeds } from '../eval/seeds.ts';
import { HARD } from '../eval/tasks.ts';

describe('Holm’s correction', () => {
  it('is that of a hand and of R: p.adjust(p, "holm")', () => {
    const close = (ps: readonly number[], expected: readonly number[]) => {
      for (const [i, p] of holm(ps).entries()) expect(p).toBeCloseTo(expected[i]!, 12);
    };
    close([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]);
    close([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]);
    close([0.5, 0.9], [1, 1]);
    close([0.03], [0.03]);
    close([], []);
  });

  it('is between p and Bonferroni’s, keeps the order, and does not ask in which order the claims stand', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 }), (ps) => {
        const corrected = holm(ps);
        for (const [i, p] of ps.entries()) {
          expect(corrected[i]).toBeGreaterThanOrEqual(p);
          expect(corrected[i]).toBeLessThanOrEqual(Math.min(1, ps.length * p));
          for (const [j, other] of ps.entries()) if (p < other) expect(corrected[i]).toBeLessThanOrEqual(corrected[j]!);
        }
        expect(holm(ps.toReversed())).toEqual(corrected.toReversed());
      }),
      { seed: 1 },
    );
  });
});

describe('the sign flip', () => {
  it('is the exact chance where all signs can be counted', () => {
    // all five must be positive: 1 of 32; and of 1, 2, 3, -1 five of 16 have a sum of 5 or more
    expect(Math.abs(signFlipP([[1, 1, 1, 1, 1]]) - 1 / 32)).toBeLessThan(0.006);
    const signs = Array.from({ length: 16 }, (_, n) =>
      [1, 2, 3, -1].reduce((s, v, i) => s + ((n >> i) & 1 ? -v : v), 0),
    );
    const exact = signs.filter((sum) => sum >= 5).length / 16;
    expect(Math.abs(signFlipP([[1, 2, 3, -1]]) - exact)).toBeLessThan(0.02);
    expect(signFlipP([[0, 0, 0], [0]])).toBe(1);
    expect(signFlipP([Array<number>(200).fill(1)])).toBe(1e-4);
  });

  it('weighs tasks alike, however many prompts they have', () => {
    // one prompt of the second task weighs as much as the twenty of the first
    expect(Math.abs(signFlipP([Array<number>(20).fill(0), [1]]) - 0.5)).toBeLessThan(0.02);
  });

  it('calls alike what is alike: p is at most .1 in about a tenth of samples', () => {
    const values = standardNormals({ seed: 5, stream: 2, count: 200 * 20 });
    let low = 0;
    for (let i = 0; i < 200; i++)
      if (signFlipP([Array.from(values.subarray(20 * i, 20 * i + 20), Math.sign)]) <= 0.1) low += 1;
    expect(low / 200).toBeGreaterThan(0.02);
    expect(low / 200).toBeLessThan(0.16);
  }, 60_000);
});

describe('the bootstrap’s p', () => {
  it('is about the normal law’s, far out as well as near', () => {
    const values = Array.from(standardNormals({ seed: 8, stream: 1, count: 100 }));
    const mean = values.reduce((a, b) => a + b) / 100;
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 100) / 10;
    // moved so that its mean is so many of its own deviations above 0: p is .1587 and .0228
    for (const [count, p] of [
      [1, 0.1587],
      [2, 0.0228],
    ] as const)
      expect(Math.abs(bootstrapP([values.map((value) => value - mean + count * deviation)]) / p - 1)).toBeLessThan(0.2);
    expect(bootstrapP([[1, 1, 1]])).toBe(1e-4);
    expect(bootstrapP([[0, 0]])).toBe(1);
  });
});

const TASKS = ['single', 'two', 'counting', 'background', 'position', 'attribution'];
const PROMPTS = TASKS.flatMap((task) =>
  Array.from({ length: 10 }, (_, i) => ({ id: `${task}-${i}`, task, prompt: `a ${task} ${i}`, seed: 10 * i })),
);
const PICTURES = withSeeds(PROMPTS, 2);

/** Results of a row; `isCorrect` decides by number of the prompt within its task and by seed. */
const resultsOf = (
  row: string,
  isCorrect: (prompt: number, nth: number, task: string) => boolean,
  tflops = 7,
): Result[] =>
  PICTURES.map(
    ({ id, task, seed, nth }) =>
      ({
        row,
        prompt: id,
        seed,
        task,
        correct: isCorrect(Number(id.split('-')[1]), nth, task),
        spent: { denoiseFlops: tflops * 1e12, decodeFlops: 0, textFlops: 0 },
      }) as Result,
  );

const claim = (against: string, more: Partial<Claim> = {}): Claim => ({
  family: 'rivals',
  row: 'mine',
  against,
  metric: 'hard',
  factor: 1,
  margin: 0,
  side: 'above',
  test: 'sign-flip',
  atNoMoreWork: true,
  seeds: 2,
  ...more,
});
const tell = (claims: readonly Claim[], ...rows: readonly (readonly Result[])[]) =>
  tellClaims({ level: 0.05, claims }, rows.flat(), PICTURES);
const mine = resultsOf('mine', (i) => i < 8);

describe('claims', () => {
  it('hold where the corrected p says so, and not where the rows do equally well', () => {
    const [ahead, alike] = tell(
      [claim('worse'), claim('alike')],
      mine,
      resultsOf('worse', (i) => i < 4),
      resultsOf('alike', (i) => i >= 2),
    );
    // sixteen prompts, all one way: 2 ** -16
    expect(ahead!.p).toBeLessThanOrEqual(3e-4);
    expect(ahead).toMatchObject({ corrected: 2 * ahead!.p, holds: true, flops: { row: 7, against: 7 } });
    expect(ahead!.difference!.value).toBeCloseTo(0.4, 12);
    expect(alike!.difference!.value).toBeCloseTo(0, 12);
    expect(alike).toMatchObject({ holds: false });
    expect(alike!.p).toBeGreaterThan(0.3);
  });

  it('are of the hard tasks alone where they say so', () => {
    const easy = resultsOf('easy', (i, _, task) => (task === 'single' || task === 'background' ? i < 1 : i < 8));
    const [hard, all] = tell([claim('easy'), claim('easy', { metric: 'mean', family: 'all' })], mine, easy);
    expect(hard!.difference!.value).toBe(0);
    expect(hard!.holds).toBe(false);
    expect(all!.difference!.value).toBeCloseTo((2 * 0.7) / 6, 12);
    expect(all!.holds).toBe(true);
  });

  it('count prompts, not pictures: a difference in every picture of one prompt shows nothing', () => {
    // one prompt a task, both its seeds: four prompts of forty, p = 1/16; eight pictures would give 1/256
    const [told] = tell(
      [claim('one')],
      mine,
      resultsOf('one', (i) => i < 7),
    );
    expect(Math.abs(told!.p - 1 / 16)).toBeLessThan(0.01);
    expect(told!.holds).toBe(false);
  });

  it('are corrected within their family, where a rival that was left out counts as not beaten', () => {
    // four tasks with one prompt and one with two: 5 of 40 prompts, p about 1/32
    const close = resultsOf('close', (i, _, task) => i < (task === 'two' ? 6 : 7));
    const alone = tell([claim('close')], mine, close)[0]!;
    expect(alone.holds).toBe(true);
    const [told, absent] = tell([claim('close'), claim('absent')], mine, close);
    expect(absent).toMatchObject({ difference: null, p: 1, corrected: 1, holds: null });
    expect(told!.corrected).toBeCloseTo(2 * alone.p, 12);
    expect(told!.holds).toBe(false);
    expect(tell([claim('close'), claim('absent', { family: 'else' })], mine, close)[0]!.holds).toBe(true);
  });

  it('at no more work do not hold at more', () => {
    const worse = (tflops: number) => resultsOf('worse', (i) => i < 4, tflops);
    expect(tell([claim('worse')], mine, worse(6.9))[0]!.holds).toBe(false);
    expect(tell([claim('worse', { atNoMoreWork: false })], mine, worse(6.9))[0]!.holds).toBe(true);
  });

  it('of a share and of a margin are tested by the bootstrap', () => {
    const kept = (factor: number) => claim('same', { metric: 'mean', test: 'bootstrap', factor });
    const same = resultsOf('same', (i) => i < 8);
    expect(tell([kept(0.97)], mine, same)[0]).toMatchObject({ holds: true });
    expect(tell([kept(1)], mine, same)[0]).toMatchObject({ p: 1, holds: false });
    const worse = resultsOf('worse', (i) => i < 6);
    const by = (margin: number) => tell([claim('worse', { test: 'bootstrap', margin })], mine, worse)[0]!.holds;
    expect([by(0.02), by(0.2)]).toEqual([true, false]);
    const below = (margin: number) =>
      tell([claim('worse', { test: 'bootstrap', side: 'below', margin })], mine, worse)[0]!.holds;
    expect([below(0.5), below(0.2)]).toEqual([true, false]);
  });

  it('of detail are about the things that both rows show', () => {
    const withDetail = (row: string, kept: (prompt: number) => number, name = 'fox'): Result[] =>
      resultsOf(row, () => true).map((result) => {
        const prompt = Number(result.prompt.split('-')[1]);
        const things = [
          { name, correlation: 1, kept: kept(prompt), false: 0 },
          { name: row, correlation: 1, kept: 9, false: 0 },
        ];
        return { ...result, detail: { things, ghosts: 0 } };
      });
    const detail = (margin: number) => claim('soft', { metric: 'detail', test: 'bootstrap', margin });
    const sharp = withDetail('mine', () => 0.5);
    const soft = (by: number): Result[] => withDetail('soft', (i) => 0.5 + by + (i % 2 === 0 ? 0.01 : -0.01));
    expect(tell([detail(-0.02)], sharp, soft(0.01))[0]).toMatchObject({ holds: true });
    expect(tell([detail(-0.02)], sharp, soft(0.03))[0]).toMatchObject({ holds: false });
    expect(tell([detail(0)], sharp, soft(-0.03))[0]!.difference!.value).toBeCloseTo(0.03, 12);
    const other = withDetail('soft', () => 0.1, 'owl');
    expect(tell([detail(0)], sharp, other)[0]).toMatchObject({ difference: null, holds: null });
  });

  it('are told of all their pictures or not at all, and of no others', () => {
    const worse = resultsOf('worse', (i) => i < 4);
    const without = (results: readonly Result[], isLeftOut: (result: Result) => boolean) => {
      const at = results.findIndex(isLeftOut);
      expect(at).toBeGreaterThanOrEqual(0);
      return results.toSpliced(at, 1);
    };
    const told = tell([claim('worse')], mine, worse);
    const isHard = ({ task }: Result) => HARD.has(task);
    expect(tell([claim('worse')], mine, without(worse, isHard))[0]!.holds).toBeNull();
    // of the hard tasks, and of as many seeds as it says: others may be missing
    expect(
      tell(
        [claim('worse')],
        mine,
        without(worse, (result) => !isHard(result)),
      ),
    ).toEqual(told);
    const second = ({ seed, task }: Result) =>
      HARD.has(task) && PICTURES.some((one) => one.seed === seed && one.nth === 1);
    expect(tell([claim('worse', { seeds: 1 })], mine, without(worse, second))[0]!.holds).not.toBeNull();
    expect(
      tell(
        [claim('worse', { metric: 'mean' })],
        mine,
        without(worse, (result) => !isHard(result)),
      )[0]!.holds,
    ).toBeNull();
    const others = [...mine, ...worse].map((result) => ({ ...result, seed: 77, correct: result.row === 'worse' }));
    expect(tell([claim('worse')], mine, worse, others)).toEqual(tell([claim('worse')], mine, worse));
    expect(tellClaims({ level: 0.05, claims: [claim('worse')] }, [], [])[0]!.holds).toBeNull();
  });
});

describe('the claims that are written down', () => {
  const text = readFileSync(new URL('../eval/claims.json', import.meta.url), 'utf8');

  it('are of rows that there are, four seeds or more a prompt, a thousand hard pictures a row', () => {
    const { claims } = parseClaims(text);
    const presets = [{ name: '7x-two-stage', N: [3, 6], e: [0.2, 1], r: [] }];
    const ids = makeRows(
      { ...CLOSED_FORM_FACTS, presets },
      {
        version: CALIBRATION_VERSION,
        encoder: { side: 8, weights: [], explained: [] },
        width: 128,
        height: 128,
        reuseThreshold: 0.2,
        reuseEvaluations: 6,
        spectrum: { scale: 0.1, slope: 2 },
      },
    ).map(({ id }) => id);
    for (const { row, against } of claims) expect(ids).toEqual(expect.arrayContaining([row, against]));
    const hard = promptsB.filter(({ task }) => task !== 'single' && task !== 'background');
    for (const { metric, seeds } of claims) {
      if (metric === 'mean') continue;
      expect(seeds).toBeGreaterThanOrEqual(4);
      expect(seeds * hard.length).toBeGreaterThanOrEqual(1000);
    }
  });

  it('are refused by field where they make no sense', () => {
    const refused = (more: object) => () =>
      parseClaims(JSON.stringify({ level: 0.05, claims: [{ ...claim('a'), ...more }] }));
    expect(refused({})).not.toThrow();
    expect(refused({ metric: 'beauty' })).toThrow('claims[0].metric is "beauty"; expected mean or hard');
    expect(refused({ factor: 0.97 })).toThrow('claims[0].test is "sign-flip"; expected bootstrap');
    expect(refused({ row: '' })).toThrow('claims[0].row is ""; expected a name');
    expect(refused({ margin: 'much' })).toThrow('claims[0].margin is "much"; expected a number');
    expect(refused({ atNoMoreWork: 1 })).toThrow('claims[0].atNoMoreWork is 1; expected true or false');
    const of = (more: object) => () => parseClaims(JSON.stringify({ level: 0.05, claims: [], ...more }));
    expect(of({ level: 5 })).toThrow('level is 5; expected a number between 0 and 1');
    expect(refused({ seeds: 0.5 })).toThrow('claims[0].seeds is 0.5; expected a whole number from 1');
    expect(of({ claims: 3 })).toThrow('claims is 3; expected a list');
    expect(of({ claims: [claim('a'), claim('a')] })).toThrow('claims[1]');
  });
});

describe('the two sets', () => {
  it('have no prompt and no picture in common, under sixteen seeds each', () => {
    const [a, b] = [promptsA, promptsB].map((prompts) => withSeeds(prompts, 16));
    expect(new Set([...promptsA, ...promptsB].map(({ prompt }) => prompt)).size).toBe(528);
    expect(new Set([...promptsA, ...promptsB].map(({ id }) => id)).size).toBe(528);
    expect(new Set([...a!, ...b!].map(({ seed }) => seed)).size).toBe(16 * 528);
  });
});
