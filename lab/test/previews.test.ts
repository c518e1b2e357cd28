import { describe, expect, it } from 'vitest';
import type { Pixels } from '../eval/denoiser.ts';
import type { SeenObject } from '../eval/judge.ts';
import { parsePreviewOptions } from '../eval/preview-options.ts';
import { enlarged, previewSection, psnr, summarize, thingsKept, type Watched } from '../eval/previews.ts';

const flat = (value: number, side = 4): Pixels => ({
  data: new Uint8Array(side * side * 3).fill(value),
  width: side,
  height: side,
});
const thing = (name: string | null, x: number, y: number): SeenObject => ({
  name,
  score: 0.9,
  colour: null,
  x,
  y,
  side: 0.3,
});
const kept = (things: number, near: number) => ({ seen: things, placed: near, things, named: near, near });

describe('psnr', () => {
  it('is 20 log10 of 255 over the difference of two flat pictures, Infinity of equal ones', () => {
    expect(psnr(flat(100), flat(110))).toBeCloseTo(20 * Math.log10(25.5), 12);
    expect(psnr(flat(7), flat(7))).toBe(Infinity);
  });

  it('refuses pictures of two sizes; one of half the size is enlarged first', () => {
    expect(() => psnr(flat(1), flat(1, 8))).toThrow('the pictures are 4x4 and 8x8; expected one size');
    expect(psnr(enlarged(flat(9), { width: 8 }), flat(9, 8))).toBe(Infinity);
    expect(enlarged(flat(9), { width: 4 })).toEqual(flat(9));
  });
});

describe('thingsKept', () => {
  it('keeps all things of the same picture, whatever their order; a nameless one has a place only', () => {
    const objects = [thing('dog', 0.2, 0.2), thing(null, 0.5, 0.5), thing('dog', 0.8, 0.2), thing('cat', 0.5, 0.9)];
    expect(thingsKept({ objects }, { objects: objects.toReversed() }, 0)).toEqual({
      seen: 4,
      placed: 4,
      things: 3,
      named: 3,
      near: 3,
    });
  });

  it('tells a thing that moved from one that is gone or has another name', () => {
    const first = { objects: [thing('dog', 0.2, 0.2), thing('cat', 0.7, 0.7), thing('bus', 0.5, 0.1)] };
    const last = { objects: [thing('dog', 0.28, 0.26), thing('cat', 0.7, 0.5), thing('car', 0.5, 0.1)] };
    expect(thingsKept(first, last, 0.11)).toEqual({ seen: 3, placed: 2, things: 3, named: 2, near: 1 });
  });

  it('lets one thing stand for one only, the nearest first', () => {
    const first = { objects: [thing('dog', 0.3, 0.3), thing('dog', 0.4, 0.3)] };
    expect(thingsKept(first, { objects: [thing('dog', 0.41, 0.3)] }, 0.2)).toEqual({
      seen: 2,
      placed: 1,
      things: 2,
      named: 1,
      near: 1,
    });
  });
});

describe('summarize', () => {
  const one = (prompt: string, psnr: number[], near: number, setting = 's'): Watched => ({
    setting,
    prompt,
    task: prompt.slice(0, 1),
    seed: 1,
    psnr,
    kept: kept(2, near),
    chance: kept(2, 0),
  });

  it('takes the means over pictures of one setting, with intervals over prompts', () => {
    const summary = summarize('s', [
      one('a1', [10, 12], 2),
      one('a1', [10, 9], 1),
      one('b1', [20, 23], 2),
      one('b2', [20, 20], 2),
      one('a1', [99, 1], 0, 'other'),
    ]);
    expect(summary).toMatchObject({ pictures: 4, prompts: 3, things: 8 });
    expect(summary.psnr.map(({ value }) => value)).toEqual([15, 16]);
    expect(summary.rises?.value).toBe(0.5);
    expect(summary.near?.value).toBe(7 / 8);
    expect(summary.near!.interval.low).toBeLessThanOrEqual(7 / 8);
    expect(summary.chance).toEqual({ value: 0, interval: { low: 0, high: 0 } });
  });

  it('has no share of nothing, and no rise of a single preview', () => {
    const summary = summarize('s', [{ ...one('a1', [10], 0), kept: kept(0, 0) }]);
    expect(summary).toMatchObject({ rises: null, near: null, named: null, things: 0 });
    expect(previewSection([summary], 32)).toContain(
      '| s | 1 of 1 prompts | 10.0 (10.0 to 10.0) | – | 0 | – | – | – | 0 | – | – |',
    );
  });
});

describe('the command line', () => {
  it('has a default for everything', () => {
    expect(parsePreviewOptions([])).toMatchObject({ preset: null, steps: null, zs: ['fit'], set: 'A', seeds: 1 });
    expect(parsePreviewOptions(['--help'])).toBeNull();
  });

  it('takes lists', () => {
    expect(parsePreviewOptions(['--N', '2,3,5', '--e', '.2,.3,1', '--r', '0', '--z', '2,7.6,fit'])).toMatchObject({
      steps: [2, 3, 5],
      ends: [0.2, 0.3, 1],
      ratios: [0],
      zs: [2, 7.6, 'fit'],
    });
  });

  it.each([
    [['--z', '1'], '--z must be from 2 to 100, got "1"'],
    [['--z', ''], '--z must have 1 to 16 values, got ""'],
    [['--N', '5'], '--N and --e belong together'],
    [['--N', '5', '--e', '1', '--preset', '7x'], '--preset and --N exclude each other'],
    [['--set', 'C'], '--set must be A or B, got "C"'],
    [['--r', 'x'], '--r must be a number, got "x"'],
  ])('refuses %j', (args, sentence) => {
    expect(() => parsePreviewOptions(args)).toThrow(sentence);
  });
});
