import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { initialTokens } from '../../src/numerics/tokens.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { makeDenoiser, type Pixels, type Run } from '../eval/denoiser.ts';
import { MEASURES } from '../eval/detail-figures.ts';
import type { Result } from '../eval/results.ts';
import type { Row } from '../eval/row.ts';
import { type Bench, type Item, itemsLeft, measure, type Prompt, takePrompts, timeLeft } from '../eval/run.ts';
import { MOST_SEEDS, type Seeded, seedOf, withSeeds } from '../eval/seeds.ts';

const facts = {
  id: 'closed',
  channels: 1,
  token_pixels: 16,
  flops: {
    per_token: 10,
    per_token_squared: 0,
    fixed: 0,
    attention_per_token: 0,
    attention_fixed: 0,
    decode_per_pixel: 1,
    text: 5,
  },
} as ModelFacts;
const size = { width: 192, height: 192 };

/** A model whose velocity is 0 and whose picture is a step edge as bright as the seed. */
const run: Run = (job, { tokens, picture }) => {
  const data = Uint8Array.from({ length: 3 * size.width * size.height }, (_, i) =>
    Math.floor(i / 3) % size.width < 85 ? 10 : job.seed,
  );
  return Promise.resolve({
    latents: tokens.latents,
    clean: null,
    picture: picture ? { data, ...size } : null,
    computeMs: 7,
    textMs: 1,
    decodeMs: 3,
    warnings: [],
  });
};

const rowOf = (id: string, steps: number): Row => ({
  id,
  name: id,
  group: 'plain',
  settings: { steps },
  sample: async (denoiser) => {
    const tokens = initialTokens({ rows: 12, cols: 12, values: 4, seed: denoiser.job.seed, scale: 1 });
    return {
      ...tokens,
      latents: await denoiser.steps(
        tokens,
        Float64Array.from({ length: steps + 1 }, (_, i) => 1 - i / steps),
      ),
    };
  },
});

const prompts = ['single', 'two', 'counting'].flatMap((task) =>
  Array.from({ length: 4 }, (_, i) => ({ id: `${task}-${i}`, task, prompt: `a ${task}`, seed: 100 + i })),
);
const rows = [rowOf('plain', 5), rowOf('few', 2)];

describe('one picture', () => {
  const plainPictures = new Map<string, Pixels>();
  const bench: Bench = {
    size,
    open: (job) => makeDenoiser(facts, job, run),
    detector: 'd1',
    earlyCount: 6,
    plainPicture: (prompt) => Promise.resolve(plainPictures.get(prompt.id) ?? null),
    judge: (prompt, picture) =>
      Promise.resolve({
        correct: picture.data.at(-1) === prompt.seed,
        reason: 'bright',
        seen: { objects: [], background: ['red'], features: Float32Array.of(1, 2) },
        detail: { things: [{ name: 'fox', correlation: 0.9, kept: 0.7, false: 0.2 }], ghosts: 0.01 },
      }),
  };

  it('is made, judged and measured', async () => {
    const prompt = prompts[0]!;
    const { result, picture } = await measure(bench, rows[0]!, prompt);
    expect(result).toMatchObject({
      row: 'plain',
      settings: { steps: 5 },
      prompt: 'single-0',
      words: 'a single',
      seed: 100,
      task: 'single',
      detector: 'd1',
      measures: MEASURES,
      detail: { things: [{ name: 'fox', kept: 0.7 }], ghosts: 0.01 },
      seen: { objects: [], background: ['red'] },
      correct: true,
      reason: 'bright',
      distance: null,
    });
    expect(result.spent).toMatchObject({ computeMs: 7, decodeMs: 3, denoiseFlops: 5 * 1440, decodeFlops: 192 * 192 });
    expect(result.sharpness.gradient).toBeCloseTo((100 - 10) / 2, 9);
    expect(result.seams).toEqual({ token: 1, twoTokens: 1, meeting: 1 });

    plainPictures.set(prompt.id, picture);
    expect((await measure(bench, rows[1]!, prompt)).result.distance).toBe(0);
  });

  it('that the stage server fails is no result', async () => {
    const failing: Bench = {
      ...bench,
      open: (job) => makeDenoiser(facts, job, () => Promise.reject(new Error('gone'))),
    };
    await expect(measure(failing, rows[0]!, prompts[0]!)).rejects.toThrow('gone');
  });
});

describe('the order of the work', () => {
  it('is prompt by prompt, every row of one before the next, what is done left out', () => {
    const two = prompts.slice(0, 2);
    const ids = (done: readonly Pick<Result, 'row' | 'prompt' | 'seed'>[]) =>
      itemsLeft(two, rows, done as Result[]).map(({ row, prompt }) => `${row.id} ${prompt.id}`);
    const all = ['plain single-0', 'few single-0', 'plain single-1', 'few single-1'];
    expect(ids([])).toEqual(all);
    fc.assert(
      fc.property(fc.subarray(all), (done) => {
        const results = done.map((item) => {
          const [row = '', prompt = ''] = item.split(' ');
          return { row, prompt, seed: two.find(({ id }) => id === prompt)!.seed };
        });
        expect(ids(results)).toEqual(all.filter((item) => !done.includes(item)));
      }),
      { seed: 1 },
    );
  });

  it('goes on with several seeds where a run of fewer ended, all prompts under one seed before the next', () => {
    const two = prompts.slice(0, 2);
    const done = two.flatMap(({ id, seed }) => rows.map((row) => ({ row: row.id, prompt: id, seed }))) as Result[];
    const told = (items: readonly Item<Seeded<Prompt>>[]) =>
      items.map(({ row, prompt }) => `${row.id} ${prompt.id} ${prompt.nth}`);
    const second = ['plain single-0 1', 'few single-0 1', 'plain single-1 1', 'few single-1 1'];
    expect(told(itemsLeft(withSeeds(two, 2), rows, done))).toEqual(second);
    const { seed } = withSeeds(two, 2)[3]!;
    expect(
      told(itemsLeft(withSeeds(two, 2), rows, [...done, { row: 'few', prompt: 'single-1', seed } as Result])),
    ).toEqual(second.slice(0, 3));
    expect(itemsLeft(withSeeds(two, 1), rows, done)).toEqual([]);
  });

  it('takes the tasks in turn, so that a run stopped early has seen as many of each', () => {
    expect(takePrompts(prompts, 2).map(({ id }) => id)).toEqual([
      'single-0',
      'two-0',
      'counting-0',
      'single-1',
      'two-1',
      'counting-1',
    ]);
    expect(new Set(takePrompts(prompts, Number.POSITIVE_INFINITY))).toEqual(new Set(prompts));
    expect(takePrompts([], 3)).toEqual([]);
  });

  it('tells the time left from what each row took, and of a row not yet seen as if it were like the others', () => {
    const left = itemsLeft(prompts.slice(0, 2), rows, []);
    expect(timeLeft(left, new Map())).toBeNull();
    expect(timeLeft(left, new Map([['plain', [10, 20]]]))).toBe(60);
    expect(
      timeLeft(
        left,
        new Map([
          ['plain', [10, 20]],
          ['few', [1]],
        ]),
      ),
    ).toBe(32);
  });
});

describe('seeds', () => {
  it('of a prompt are its own first, and then the same whatever else is asked for', () => {
    const once = withSeeds(prompts, 1);
    expect(once.map(({ seed }) => seed)).toEqual(prompts.map(({ seed }) => seed));
    expect(withSeeds(prompts, 3).slice(0, prompts.length)).toEqual(once);
    expect(withSeeds(prompts.slice(2, 3), 3).map(({ seed }) => seed)).toEqual([0, 1, 2].map((nth) => seedOf(102, nth)));
  });

  it('are whole numbers below 2 to the 31, all different for prompts whose own are', () => {
    const all = withSeeds(
      Array.from({ length: 300 }, (_, i) => ({ id: `p${i}`, task: 'single', prompt: 'a', seed: 7919 * i })),
      MOST_SEEDS,
    ).map(({ seed }) => seed);
    expect(new Set(all).size).toBe(all.length);
    expect(all.every((seed) => Number.isSafeInteger(seed) && seed >= 0 && seed < 2 ** 31)).toBe(true);
  });
});
