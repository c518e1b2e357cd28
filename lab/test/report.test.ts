import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../scripts/local/command-line.ts';
import { standardNormals } from '../../src/numerics/normal.ts';
import { bootstrapInterval } from '../eval/bootstrap.ts';
import { MEASURES } from '../eval/detail-figures.ts';
import { describeDetector } from '../eval/detector-facts.ts';
import { type DocumentInput, writeDocument } from '../eval/document.ts';
import { type Moments, momentsOf } from '../eval/frechet.ts';
import { choose, parseOptions } from '../eval/options.ts';
import { savePicture } from '../eval/pictures.ts';
import {
  currentResults,
  openResults,
  packFeatures,
  parseResults,
  pictureKey,
  type Result,
  resultsOfPrompts,
  unpackFeatures,
  wholeLines,
} from '../eval/results.ts';
import type { Row } from '../eval/row.ts';
import { seedOf, withSeeds } from '../eval/seeds.ts';
import {
  detailDifference,
  hardDifference,
  inCommon,
  mean,
  median,
  scoreDifference,
  summarise,
  taskScore,
} from '../eval/summary.ts';
import { verdicts } from '../eval/targets.ts';
import { titleOf } from '../eval/tasks.ts';

const folder = mkdtempSync(join(tmpdir(), 'ralu-eval-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TASKS = ['single', 'two', 'counting', 'background', 'position', 'attribution'];
const PROMPTS = TASKS.flatMap((task) =>
  Array.from({ length: 6 }, (_, i) => ({
    id: `${task}-${i}`,
    task,
    prompt: `a ${task} & so on, number ${i} <of six>`,
    seed: i,
  })),
);

/**
 * Results of a row that gets the first `right` of six prompts of every task, at `steps` full steps of a model of one
 * teraflop each.
 */
function fake(row: string, { right, steps, shift = 0 }: { right: number; steps: number; shift?: number }): Result[] {
  return PROMPTS.map(({ id, task, prompt, seed }, i) => ({
    row,
    settings: { steps },
    prompt: id,
    words: prompt,
    seed,
    task,
    detector: 'd1',
    seen: { objects: [], background: ['white'] },
    measures: MEASURES,
    detail: {
      things: [{ name: 'fox', correlation: 0.9, kept: 0.7 + shift / 10, false: 0.2 }],
      ghosts: 0.01 * (i % 3),
    },
    correct: i % 6 < right,
    reason: i % 6 < right ? 'as asked' : 'missing',
    spent: {
      computeMs: 100 * steps + i,
      textMs: 1,
      decodeMs: 50,
      denoiseFlops: 1e12 * steps,
      denoiseFlopsWithoutAttention: 0.8e12 * steps,
      decodeFlops: 0.5e12,
      textFlops: 0,
      evaluations: [{ tokens: 256, count: steps }],
      warnings: [],
    },
    features: packFeatures(
      standardNormals({ seed: 1, stream: 3, count: 4, offset: 4 * i }).map((value) => value + shift),
    ),
    sharpness: { gradient: i % 2 === 0 ? 20 : null, edges: 0.01 },
    seams: { token: 1.1, twoTokens: 1, meeting: i % 2 === 0 ? 1.5 : null },
    distance: row === 'plain-50' ? null : 0.25,
  }));
}

const plain = fake('plain-50', { right: 5, steps: 50 });
const few = fake('plain-7', { right: 3, steps: 7, shift: 1 });
const ralu = fake('ralu-7x', { right: 5, steps: 7 });
const reference: Moments = momentsOf(plain.map(({ features }) => unpackFeatures(features)));

describe('results', () => {
  it('come back from their lines, the last one ignored where it is not finished', () => {
    const text = few.map((result) => `${JSON.stringify(result)}\n`).join('');
    expect(parseResults(text)).toEqual(few);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: text.length }), (cut) => {
        const whole = text.slice(0, cut).split('\n').length - 1;
        return parseResults(text.slice(0, cut)).length === whole && wholeLines(text.slice(0, cut)).length <= cut;
      }),
      { seed: 1, numRuns: 60 },
    );
  });

  it('of one prompt under several seeds are several pictures, and a file of one seed is read as it is', () => {
    const prompts = withSeeds(PROMPTS, 2);
    const second = few.map((result) => ({ ...result, seed: seedOf(result.seed, 1) }));
    const lines = (all: readonly Result[]) => all.map((result) => `${JSON.stringify(result)}\n`).join('');
    expect(parseResults(lines(few))).toEqual(few);
    expect(parseResults(lines([...few, ...second]))).toEqual([...few, ...second]);
    expect(resultsOfPrompts([...few, ...second], PROMPTS)).toEqual(few);
    expect(resultsOfPrompts([...few, ...second], prompts)).toEqual([...few, ...second]);
    // a prompt whose own seed has changed has other seeds throughout
    const moved = withSeeds([{ ...PROMPTS[0]!, seed: 99 }], 2);
    expect(resultsOfPrompts([few[0]!, second[0]!], moved)).toEqual([]);
  });

  it('measured twice count once, the later one', () => {
    const again = { ...few[0]!, correct: false };
    expect(parseResults([few[0], few[1], again].map((result) => `${JSON.stringify(result)}\n`).join(''))).toEqual([
      again,
      few[1],
    ]);
  });

  it('go on in a file whose last line was cut off', () => {
    const file = join(folder, 'deep', 'results.jsonl');
    const first = openResults(file);
    first.add(few[0]!);
    first.add(few[1]!);
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, -7));
    const second = openResults(file);
    expect(second.results).toEqual([few[0]]);
    second.add(few[2]!);
    expect(openResults(file).results).toEqual([few[0], few[2]]);
  });

  it('of other settings or another detector are not current', () => {
    const rows = [{ id: 'plain-7', settings: { steps: 7 } }];
    expect(currentResults([...few, ...plain], rows, 'd1')).toEqual(few);
    expect(currentResults(few, [{ id: 'plain-7', settings: { steps: 8 } }], 'd1')).toEqual([]);
    expect(currentResults(few, rows, 'd2')).toEqual([]);
    // kept before detail was measured, or measured otherwise
    const { measures: _, detail: __, ...older } = few[0]!;
    expect(currentResults([older as Result, { ...few[1]!, measures: MEASURES + 1 }, few[2]!], rows, 'd1')).toEqual([
      few[2],
    ]);
  });

  it('of a prompt with other words or another seed are those of another prompt', () => {
    expect(resultsOfPrompts(few, PROMPTS)).toEqual(few);
    expect(resultsOfPrompts(few, PROMPTS.slice(2))).toEqual(few.slice(2));
    const [first, second, ...rest] = PROMPTS;
    expect(resultsOfPrompts(few, [{ ...first!, seed: 99 }, { ...second!, prompt: 'else' }, ...rest])).toEqual(
      few.slice(2),
    );
  });

  it('keep features to the bit', () => {
    const features = standardNormals({ seed: 4, stream: 0, count: 96 });
    expect(unpackFeatures(packFeatures(features))).toEqual(features);
  });
});

describe('figures', () => {
  it('are the shares of correct pictures, their mean over tasks, and ratios of medians', () => {
    const [first, second, third] = summarise([plain, few, ralu], reference);
    expect(first).toMatchObject({
      mean: 5 / 6,
      frechet: expect.closeTo(0, 6),
      distance: null,
      gradient: 20,
      seams: { token: expect.closeTo(1.1, 12), meeting: expect.closeTo(1.5, 12) },
    });
    expect(first!.faster).toEqual({ seconds: 1, tflops: 1, denoiseSeconds: 1, denoiseTflops: 1 });
    expect(second).toMatchObject({
      mean: 0.5,
      scores: { single: 0.5, attribution: 0.5 },
      frechet: expect.closeTo(4, 6),
      distance: 0.25,
    });
    expect(second!.share!.value).toBeCloseTo(0.6, 12);
    expect(second!.faster.denoiseTflops).toBeCloseTo(50 / 7, 12);
    expect(second!.faster.tflops).toBeCloseTo(50.5 / 7.5, 12);
    // work is a mean: two pictures of 36 at two steps more
    const uneven = few.map((result, i) =>
      i < 2
        ? { ...result, spent: { ...result.spent, denoiseFlops: 9e12, evaluations: [{ tokens: 256, count: 9 }] } }
        : result,
    );
    expect(summarise([plain, uneven], reference)[1]!.cost).toMatchObject({
      evaluations: expect.closeTo(7 + 4 / 36, 9),
      denoiseTflops: expect.closeTo(7 + 4 / 36, 9),
    });
    expect(second!.cost).toMatchObject({ evaluations: 7, tflops: 7.5, seconds: expect.closeTo(0.7675, 9) });
    // the same prompts right: however they are drawn, the share is 1
    expect(third!.share).toEqual({ value: 1, interval: { low: 1, high: 1 } });
    expect(first!.interval.low).toBeLessThan(5 / 6);
  });

  it('of the hard tasks are a score of their own', () => {
    const easy = new Set(['single', 'background']);
    // every easy prompt right, of the hard ones the first half
    const results = plain.map((result, i) => ({ ...result, correct: easy.has(result.task) || i % 6 < 3 }));
    const [told] = summarise([results], reference);
    expect(told!.hard!.value).toBeCloseTo(0.5, 12);
    expect(told!.mean).toBeCloseTo(2 / 3, 12);
    expect(told!.hard!.interval.low).toBeLessThan(0.5);
    const none = plain.map((result) => ({ ...result, correct: easy.has(result.task) }));
    expect(hardDifference(results, none)!.value).toBeCloseTo(0.5, 12);
    expect(scoreDifference(results, none).value).toBeCloseTo(1 / 3, 12);
    // where only easy tasks differ the hard ones do not
    const hardOnly = plain.map((result, i) => ({ ...result, correct: !easy.has(result.task) && i % 6 < 3 }));
    expect(hardDifference(results, hardOnly)).toEqual({ value: 0, interval: { low: 0, high: 0 } });
    const ofEasy = results.filter(({ task }) => easy.has(task));
    expect(summarise([ofEasy], reference)[0]!.hard).toBeNull();
    expect(hardDifference(ofEasy, ofEasy)).toBeNull();
  });

  it('of detail are means, and differences of the same things in both pictures of a pair', () => {
    const [, told] = summarise([plain, few], reference);
    expect(told!.detail).toEqual({
      kept: expect.closeTo(0.8, 12),
      false: expect.closeTo(0.2, 12),
      ghosts: expect.closeTo(0.01, 12),
    });
    expect(detailDifference('kept', few, plain)!.value).toBeCloseTo(0.1, 12);
    expect(detailDifference('kept', few, plain)!.interval.low).toBeCloseTo(0.1, 12);
    expect(detailDifference('false', few, plain)!.value).toBe(0);
    // pictures of one task alone show another thing: they count for neither
    const others = few.map((result) =>
      result.task === 'two'
        ? { ...result, detail: { things: [{ ...result.detail.things[0]!, name: 'owl', kept: 9 }], ghosts: null } }
        : result,
    );
    expect(detailDifference('kept', others, plain)!.value).toBeCloseTo(0.1, 12);
    expect(detailDifference('ghosts', others, plain)!.value).toBeCloseTo(0, 12);
    const ofTwo = ({ task }: Result): boolean => task === 'two';
    expect(detailDifference('kept', others.filter(ofTwo), plain.filter(ofTwo))).toBeNull();
    expect(() => detailDifference('kept', few.slice(1), plain)).toThrow(RangeError);
  });

  it('of two rows are compared prompt by prompt', () => {
    expect(scoreDifference(ralu, plain)).toEqual({ value: 0, interval: { low: 0, high: 0 } });
    const { value, interval } = scoreDifference(ralu, few);
    expect(value).toBeCloseTo(1 / 3, 12);
    expect(interval.low).toBeGreaterThan(0.1);
  });

  describe('with several seeds a prompt', () => {
    /** `seeds` pictures of each of `PROMPTS`; `isCorrect` decides each */
    const seeded = (rowId: string, seeds: number, isCorrect: (prompt: number, nth: number) => boolean): Result[] =>
      withSeeds(PROMPTS, seeds).map(({ id, seed, nth }) => {
        const at = PROMPTS.findIndex((prompt) => prompt.id === id);
        return { ...fake(rowId, { right: 0, steps: 7 })[at]!, seed, correct: isCorrect(at, nth) };
      });
    const isSolved = (prompt: number) => prompt % 6 < 3;

    it('that all come out alike, figures and intervals are those of one seed: pictures are no more prompts', () => {
      const once = seeded('a', 1, isSolved);
      const often = seeded('a', 8, isSolved);
      const [one] = summarise([once], reference);
      const [many] = summarise([often], reference);
      expect(many).toMatchObject({ count: 8 * 36, prompts: 36 });
      expect(many!.mean).toBe(one!.mean);
      expect(many!.scores).toEqual(one!.scores);
      expect(many!.interval).toEqual(one!.interval);
      expect(one!.interval.high - one!.interval.low).toBeGreaterThan(0.25);
      const other = (seeds: number) => seeded('b', seeds, (prompt) => prompt % 6 < 2);
      expect(scoreDifference(often, other(8))).toEqual(scoreDifference(once, other(1)));
      expect(taskScore(often, 'two')).toEqual(taskScore(once, 'two'));
      // drawn picture by picture the interval would be less than half as wide
      const pictures = TASKS.map((task) => often.filter((result) => result.task === task));
      const byPicture = bootstrapInterval(pictures, (drawn) =>
        mean(drawn.map((group) => mean(group.map(({ correct }) => Number(correct))))),
      );
      expect(byPicture.high - byPicture.low).toBeLessThan(0.5 * (many!.interval.high - many!.interval.low));
    });

    it('a prompt counts once, however many pictures it has', () => {
      const two = [
        ...seeded('a', 1, isSolved),
        ...seeded('a', 4, isSolved)
          .slice(36)
          .filter((_, i) => i % 36 === 0),
      ];
      expect(two).toHaveLength(39);
      expect(summarise([two], reference)[0]!.mean).toBe(summarise([seeded('a', 1, isSolved)], reference)[0]!.mean);
    });

    it('rows are paired by prompt and seed', () => {
      const a = seeded('a', 2, isSolved);
      const [mine, other] = inCommon([a, seeded('b', 3, isSolved).slice(20).reverse()]);
      expect(mine).toHaveLength(52);
      expect(mine!.map(pictureKey)).toEqual(other!.map(pictureKey));
      expect(() => scoreDifference(a.slice(0, 36), a.slice(36))).toThrow('has other prompts than a, or other seeds');
    });

    // prompts that are solved nearly always or nearly never, as with this model
    it('the interval holds the true mean of all such prompts in 95 of 100 samples; by picture it would not', () => {
      const uniform = standardNormals({ seed: 11, stream: 5, count: 150 * 36 * 5 }).map(
        (x) => 1 / (1 + Math.exp(-1.702 * x)),
      );
      let [at, byPrompt, byPicture] = [0, 0, 0];
      for (let sample = 0; sample < 150; sample++) {
        const chances = PROMPTS.map(() => (uniform[at++]! < 0.5 ? 0.05 : 0.95));
        const results = seeded('a', 4, (prompt) => uniform[at++]! < chances[prompt]!);
        const groups = TASKS.map((task) => results.filter((result) => result.task === task));
        const meanOf = (drawn: readonly (readonly Result[])[]) =>
          mean(drawn.map((group) => mean(group.map(({ correct }) => Number(correct)))));
        const narrow = bootstrapInterval(groups, meanOf, 300);
        const { interval } = scoreDifference(
          results,
          results.map((result) => ({ ...result, correct: false })),
        );
        if (interval.low <= 0.5 && 0.5 <= interval.high) byPrompt += 1;
        if (narrow.low <= 0.5 && 0.5 <= narrow.high) byPicture += 1;
      }
      // a percentile interval of six prompts a task is a little too narrow
      expect(byPrompt / 150).toBeGreaterThan(0.85);
      expect(byPicture / 150).toBeLessThan(0.75);
    }, 120_000);
  });

  it('stand on the prompts that all rows have', () => {
    const [one, two] = inCommon([plain, few.slice(3).reverse()]);
    expect(one!.map(({ prompt }) => prompt)).toEqual(PROMPTS.slice(3).map(({ id }) => id));
    expect(two!.map(({ prompt }) => prompt)).toEqual(PROMPTS.slice(3).map(({ id }) => id));
    expect(() => summarise([plain, few.slice(3)], reference)).toThrow('row plain-7 has other prompts than plain-50');
    expect(() => summarise([], reference)).toThrow(RangeError);
  });

  it('have the middle of an even number between its two', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([9, 1, 3])).toBe(3);
  });
});

describe('verdicts', () => {
  const measured = (all: readonly (readonly Result[])[]) =>
    summarise(all, reference).map((summary, i) => ({ summary, results: all[i]! }));

  it('tell what is reached, what is not, and what was not measured', () => {
    const told = verdicts(measured([plain, few, ralu]), { width: 512, height: 512 }, titleOf);
    const of = (what: string) => told.find((verdict) => verdict.what.includes(what))?.isReached;
    expect(of('two objects')).toBe(true);
    expect(of('single object')).toBe(false);
    expect(of('keeps')).toBe(true);
    expect(of('seven plain steps')).toBe(true);
    expect(of('stage compute')).toBe(true);
    // five of six pictures: 80 % lies within chance
    expect(told.find(({ what }) => what.includes('two objects'))).toMatchObject({
      measured: expect.stringMatching(/^83\.3 % \([\d.]+ % to 100\.0 %\)$/),
      isClear: false,
    });
    expect(verdicts(measured([plain]), { width: 512, height: 256 }, titleOf).map(({ isReached }) => isReached)).toEqual(
      [null, null],
    );
  });

  it('tell the hard tasks apart: the mean of six tasks hides how far apart rows are in them', () => {
    const easy = new Set(['single', 'background']);
    const results = few.map((result) => ({ ...result, row: 'ralu-7x', correct: easy.has(result.task) }));
    const told = verdicts(measured([plain, few, results]), { width: 256, height: 256 }, titleOf).filter(({ what }) =>
      what.includes('seven plain steps'),
    );
    // two tasks of six gain half, four lose half
    expect(told.map(({ what, isReached }) => [what, isReached])).toEqual([
      ['RALU 7x beats seven plain steps (`plain-7`)', false],
      ['RALU 7x beats seven plain steps (`plain-7`), hard tasks', false],
    ]);
    expect(told[0]!.measured).toContain('-16.7 points');
    expect(told[1]!.measured).toContain('-50.0 points');
  });

  it('say where what was measured may be chance', () => {
    const [first, ...rest] = fake('ralu-7x', { right: 3, steps: 7 });
    const better = [first!, ...rest].map((result, i) => (i === 3 ? { ...result, correct: true } : result));
    const of = (results: readonly Result[]) =>
      verdicts(measured([plain, few, results]), { width: 256, height: 256 }, titleOf).find(({ what }) =>
        what.includes('seven plain steps'),
      );
    expect(of(better)).toMatchObject({ isReached: true, isClear: false });
    expect(of(ralu)).toMatchObject({ isReached: true, isClear: true });
  });

  it('do not call it a win at more work than the rival’s', () => {
    const beats = (steps: number) => {
      const told = verdicts(
        measured([plain, few, fake('ralu-7x', { right: 5, steps })]),
        { width: 256, height: 256 },
        titleOf,
      );
      return told.find(({ what }) => what.includes('seven plain steps'))?.isReached;
    };
    expect([6, 7, 8].map(beats)).toEqual([true, true, false]);
  });
});

const row = (id: string, steps: number, group: Row['group'] = 'plain'): Row => ({
  id,
  name: `row ${id}`,
  group,
  settings: { steps },
  sample: () => Promise.reject(new Error('not run here')),
});

describe('the document', () => {
  const rows = [
    row('plain-50', 50),
    { ...row('plain-7', 7), reading: 'fewer of the same' },
    row('ralu-7x', 7, 'ralu'),
    row('late', 7, 'rival'),
  ];
  const numeric = {
    id: 'ratio',
    title: 'Share upsampled early',
    axis: 'r',
    rows: [0, 0.25].map((value) => ({ ...row(`ratio-${value}`, 7), group: 'ablation' as const, value })),
  };
  const named = {
    id: 'mode',
    title: 'Mode',
    axis: 'mode',
    rows: ['latent', 'token'].map((value) => ({ ...row(`mode-${value}`, 7), group: 'ablation' as const, value })),
  };
  const results = [...plain, ...few, ...ralu, ...fake('late', { right: 1, steps: 7 }).slice(0, 4)];
  for (const { id } of [...numeric.rows, ...named.rows]) results.push(...fake(id, { right: 4, steps: 7 }).slice(0, 24));
  const input: DocumentInput = {
    rows,
    ablations: [numeric, named],
    results,
    showcase: PROMPTS.filter(({ id }) => id.endsWith('-0')),
    pictureOf: (id, prompt) => join(folder, 'pictures', id, `${prompt}.png`),
    detector: { digest: 'd1', reference, markdown: 'It tells objects apart.' },
    model: { id: 'a-model', digest: 'f'.repeat(64) },
    size: { width: 256, height: 256 },
    set: 'A',
    claims: null,
    sittings: [{ date: '2026-01-02T03:04:05Z', command: 'npm run eval', machine: '2 cores of something' }],
    sentences: { ratio: 'It does not matter here.', defaults: 'Nothing changes.' },
  };

  it('has the table, the verdicts, the sentences written by hand, charts and sheets, and is the same when it is written again', async () => {
    const noise = standardNormals({ seed: 9, stream: 0, count: 64 * 64 * 3 });
    const picture = { data: Uint8Array.from(noise, (value) => 128 + 40 * value), width: 64, height: 64 };
    for (const { id } of rows.slice(0, 3))
      for (const prompt of input.showcase) await savePicture(input.pictureOf(id, prompt.id), picture);
    const out = join(folder, 'docs');
    const file = await writeDocument(input, out);
    const text = readFileSync(file, 'utf8');
    expect(text).toContain(
      '| row plain-7 | 0.768 | 7.50 | 6.10 | 6.60x | 6.73x | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 | 50.0 |',
    );
    expect(text).toMatch(/\| row plain-7 \|.*\| 50\.0 \([\d.]+–[\d.]+\) \| 50\.0 \([\d.]+–[\d.]+\) \| 60\.0 \(/);
    expect(text).toContain('Left out, for want of results on these prompts: row late.');
    expect(text).toContain('It does not matter here.');
    expect(text).toContain('- row plain-7: fewer of the same.');
    expect(text).toMatch(
      new RegExp(
        [
          String.raw`\| 0\.25 \| 66\.7 \([^)]*\) \| -16\.7 \(-[\d.]+ to [-\d.]+\) \|`,
          String.raw` 66\.7 \([^)]*\) \| -16\.7 \(-[\d.]+ to [-\d.]+\) \|`,
        ].join(''),
      ),
    );
    expect(text).toMatch(/\| plain \| 83\.3 \([^)]*\) \| – \| 83\.3 \([^)]*\) \| – \| 70\.0 \| – \|/);
    expect(text).toContain('| row | fine detail | points above `ralu-7x` | false detail |');
    expect(text).toContain(
      '| row plain-7 | 80.0 | +10.0 (+10.0 to +10.0) | 20.0 | 0.0 (0.0 to 0.0) | 1.0 | 0.0 (0.0 to 0.0) |',
    );
    expect(text).toContain('| row ralu-7x | 70.0 | – | 20.0 | – | 1.0 | – |');
    expect(text).toContain('| r = 0.25 | `ratio` | steps 7 |');
    expect(text).toContain('Nothing changes.');
    expect(text).toContain(
      'RALU 7x beats seven plain steps (`plain-7`) | higher mean score at equal or fewer TFLOPs | +33.3 points',
    );
    expect(text.indexOf('## The detector')).toBeLessThan(text.indexOf('## The rows'));
    const files = readdirSync(join(out, 'evaluation')).sort();
    expect(files).toEqual(['mode.svg', 'plain.webp', 'ralu.webp', 'ratio.svg', 'rows.svg']);
    for (const name of files) expect(text).toContain(`](evaluation/${name})`);
    expect(statSync(join(out, 'evaluation', 'ralu.webp')).size).toBeLessThanOrEqual(250_000);
    expect((await sharp(join(out, 'evaluation', 'ralu.webp')).metadata()).format).toBe('webp');
    const bytes = files.map((name) => readFileSync(join(out, 'evaluation', name)));
    writeFileSync(join(out, 'evaluation', 'gone.svg'), 'of an ablation that is no more');
    await writeDocument(input, out);
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect(readdirSync(join(out, 'evaluation')).sort()).toEqual(files);
    expect(files.map((name) => readFileSync(join(out, 'evaluation', name)))).toEqual(bytes);
  }, 300_000);

  it('says what the control is where it was measured, and only there', async () => {
    const withControl = { ...input, rows: [...rows, row('blank', 5, 'ralu')], ablations: [] };
    const textOf = async (more: Result[]) =>
      readFileSync(
        await writeDocument({ ...withControl, results: [...results, ...more] }, join(folder, 'blank')),
        'utf8',
      );
    expect(await textOf(fake('blank', { right: 2, steps: 5 }))).toContain('`blank` is no method but a control');
    expect(await textOf([])).not.toContain('no method but a control');
  }, 300_000);

  it('of set B is another one, tells the claims, and says so where they have changed since', async () => {
    const claims = {
      digest: 'abc',
      said: {
        level: 0.05,
        claims: [
          ...['plain-7', 'late'].map((against) => ({
            family: 'rivals',
            row: 'ralu-7x',
            against,
            metric: 'hard' as const,
            factor: 1,
            margin: 0,
            side: 'above' as const,
            test: 'sign-flip' as const,
            atNoMoreWork: true,
            seeds: 1,
          })),
          {
            family: 'detail',
            row: 'ralu-7x',
            against: 'plain-7',
            metric: 'detail' as const,
            factor: 1,
            margin: -0.02,
            side: 'above' as const,
            test: 'bootstrap' as const,
            atNoMoreWork: false,
            seeds: 1,
          },
        ],
      },
      pictures: PROMPTS.map((prompt) => ({ ...prompt, nth: 0 })),
    };
    const textOf = async (sitting: string) => {
      const out = join(folder, 'confirmed');
      const file = await writeDocument(
        {
          ...input,
          ablations: [],
          set: 'B',
          claims,
          detector: { ...input.detector, reference: null },
          sittings: [{ ...input.sittings[0]!, set: 'B', claims: sitting }],
        },
        out,
      );
      expect(readdirSync(out).sort()).toEqual(['evaluation-b', 'evaluation-b.md']);
      return readFileSync(file, 'utf8');
    };
    const text = await textOf('abc');
    expect(text).toContain('# Evaluation: confirmation on fresh prompts');
    expect(text).toContain('That is the file that was there whenever pictures of this set were made.');
    // 8 of 24 hard prompts are right in one row alone: 1/256, twice that for two claims
    expect(text).toMatch(
      new RegExp(
        [
          String.raw`\| rivals \| \`ralu-7x\` above \`plain-7\`, hard tasks, at no more work \| 1 \| \+33\.3 \([^)]*\) `,
          String.raw`\| 7\.50 against 7\.50 \| sign-flip \| 0\.00[345]\d \| 0\.0(0[6-9]|10)\d* \| holds \|`,
        ].join(''),
      ),
    );
    expect(text).toContain(
      '| detail | `ralu-7x` less than 2.0 points below `plain-7`, fine detail in hard tasks | 1 | -10.0 (-10.0 to -10.0) | 7.50 against 7.50 | bootstrap | 1.0000 | 1.0000 | **not shown** |',
    );
    expect(text).toMatch(
      /above `late`, hard tasks, at no more work \| 1 \| – \| – \| sign-flip \| – \| – \| not measured \|/,
    );
    expect(text).toMatch(/\| row plain-7 \|.*\| – \|\n/);
    expect(await textOf('abd')).toContain('**The file has changed since pictures of this set were first made');
  }, 300_000);

  it('says so where nothing has been measured', async () => {
    const text = readFileSync(await writeDocument({ ...input, results: [] }, join(folder, 'empty')), 'utf8');
    expect(text).toContain('No row has results yet.');
    expect(text).not.toContain('## Ablations');
  });
});

describe('the command line', () => {
  it('asks for everything unless told otherwise', () => {
    expect(parseOptions([])).toEqual({
      size: null,
      rows: null,
      ablations: null,
      tasks: 'all',
      prompts: Number.POSITIVE_INFINITY,
      seeds: 1,
      set: 'A',
      model: null,
      out: 'docs',
      isReportOnly: false,
    });
    expect(
      parseOptions(['--size', '256x512', '--rows', 'a,b', '--ablations', 'none', '--prompts', '3', '--report']),
    ).toMatchObject({
      size: { width: 256, height: 512 },
      rows: ['a', 'b'],
      ablations: [],
      prompts: 3,
      isReportOnly: true,
    });
    expect(parseOptions(['--seeds', '4', '--tasks', 'hard'])).toMatchObject({ seeds: 4, tasks: 'hard' });
    // a report is of every seed that is kept, unless it is told how many
    expect(parseOptions(['--report'])).toMatchObject({ seeds: 64 });
    expect(parseOptions(['--report', '--seeds', '1'])).toMatchObject({ seeds: 1 });
    // nothing is chosen on set B, so its ablations are not run unless they are asked for
    expect(parseOptions(['--set', 'B'])).toMatchObject({ set: 'B', ablations: [] });
    expect(parseOptions(['--set', 'B', '--ablations', 'z'])).toMatchObject({ ablations: ['z'] });
    expect(parseOptions(['--help'])).toBeNull();
  });

  it('refuses what makes no sense, and says why', () => {
    for (const [args, why] of [
      [['--size', 'big'], '--size must look like 256x256'],
      [['--tasks', 'easy'], '--tasks must be all or hard, got "easy"'],
      [['--prompts', '0'], '--prompts must be a whole number from 1, got "0"'],
      [['--seeds', '65'], '--seeds must be a whole number from 1 to 64, got "65"'],
      [['--set', 'C'], '--set must be A or B, got "C"'],
      [['--fast'], '--fast'],
    ] as const) {
      expect(() => parseOptions(args)).toThrow(UsageError);
      expect(() => parseOptions(args)).toThrow(why);
    }
    expect(() => choose([{ id: 'a' }, { id: 'b' }], ['b', 'c'], '--rows')).toThrow(
      '--rows: there is no c; there are a, b',
    );
    expect(choose([{ id: 'a' }, { id: 'b' }], ['b', 'a'], '--rows')).toEqual([{ id: 'a' }, { id: 'b' }]);
  });
});

describe('the detector’s own accuracy', () => {
  const set = {
    scenes: 600,
    things: 1100,
    objects: 0.981,
    colours: 0.995,
    recoloured: 0.99,
    counts: 0.96,
    backgrounds: 0.998,
    spurious: 0.012,
  };
  const facts = {
    accuracy: { about: 'words', size: 256, fluent: set, noto: set, 'fluent, soft': { ...set, objects: 0.9 } },
    falseAccepts: { pictures: 1100, any: 0.03, noise: 0 },
  };

  it('is told set by set, and is enough or not by the sharp sets', () => {
    const text = describeDetector({
      ...facts,
      reference: { pictures: 1584, 'distances of 264 pictures': { real: 0.1, soft: 1.2 } },
    });
    expect(text).toContain(
      '| Noto, a style the generator never sees | 600 | 98.1 % | 99.5 % | 99.0 % | 96.0 % | 99.8 % | 0.012 |',
    );
    expect(text).toContain('reached');
    expect(text).not.toContain('**not reached**');
    expect(text).toContain('Fréchet distances of 264 pictures: real 0.1, soft 1.2.');
    expect(text).toContain('names something in 3.0 % (noise 0.0 %)');
    expect(
      describeDetector({ ...facts, accuracy: { ...facts.accuracy, noto: { ...set, colours: 0.98 } }, reference: {} }),
    ).toContain('**not reached**');
  });
});
