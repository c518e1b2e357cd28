import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import { figuresOf } from '../../scripts/bench/looks.ts';
import { median } from '../../scripts/bench/median.ts';
import { MODELS, modelsOffering } from '../../scripts/bench/models.ts';
import { moneyTimes } from '../../scripts/bench/money.ts';
import { parseOptions, roundsOf } from '../../scripts/bench/options.ts';
import { weigh } from '../../scripts/bench/page.ts';
import { type Run, timesOf } from '../../scripts/bench/requests.ts';
import { mediansOf } from '../../scripts/bench/streams.ts';
import { UsageError } from '../../scripts/local/command-line.ts';

describe('options of the bench', () => {
  it('ask for everything where none is given', () => {
    expect(parseOptions([])).toEqual({ engines: ['native', 'wasm'], sides: [256, 512], rounds: 15, only: null });
    expect(parseOptions(['--side', '512', '--engine', 'wasm', '--rounds', '4'])).toEqual({
      engines: ['wasm'],
      sides: [512],
      rounds: 4,
      only: null,
    });
    expect(parseOptions(['--only', 'rows'])?.only).toBe('rows');
  });

  it('refuse what cannot be measured', () => {
    expect(() => parseOptions(['--rounds', '2'])).toThrow('--rounds must be a whole number from 3, got "2"');
    expect(() => parseOptions(['--rounds', 'many'])).toThrow(UsageError);
    expect(() => parseOptions(['--side', '300'])).toThrow('--side must be 256 or 512, got "300"');
    expect(() => parseOptions(['--engine', 'gpu'])).toThrow('--engine must be native or wasm, got "gpu"');
    expect(() => parseOptions(['--only', 'all'])).toThrow(
      '--only must be mathematics or requests or streams or money or rows or memory',
    );
    expect(() => parseOptions(['--sides', '512'])).toThrow("Unknown option '--sides'");
  });

  it('ask what takes longer less often, never fewer than three times', () => {
    const rounds = (all: number) =>
      (['native', 'wasm'] as const).flatMap((engine) =>
        [256, 512].map((side) => roundsOf({ engine, side, rounds: all })),
      );
    expect(rounds(15)).toEqual([15, 5, 5, 3]);
    expect(rounds(3)).toEqual([3, 3, 3, 3]);
  });
});

test('the median is the middle value, or half-way between the middle two', () => {
  expect(median([9, 1, 3])).toBe(3);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

describe('times of requests', () => {
  const runOf = (denoise: number, slowness = 1): Run => ({
    denoise: denoise * slowness,
    decode: 10 * slowness,
    encode: 5 * slowness,
    total: (denoise + 35) * slowness,
    flopRatio: 4,
  });

  it('are medians with the middle of an even number between its two', () => {
    const times = timesOf({ name: 'fast', runs: [runOf(50), runOf(20)], plain: [runOf(100), runOf(100)] });
    expect(times).toMatchObject({
      name: 'fast',
      denoise: 35,
      decode: 10,
      orchestration: 20,
      total: 70,
      denoiseRatio: 3.5,
      flopRatio: 4,
    });
  });

  it('have ratios that a slow round leaves alone', () => {
    const slowness = [1, 3, 1.7, 0.4];
    const { denoiseRatio, totalRatio } = timesOf({
      name: 'fast',
      runs: slowness.map((slow) => runOf(15, slow)),
      plain: slowness.map((slow) => runOf(65, slow)),
    });
    expect(denoiseRatio).toBeCloseTo(65 / 15, 12);
    expect(totalRatio).toBeCloseTo(2, 12);
  });
});

describe('times of streams', () => {
  it('take partial images only from streams that have one', () => {
    const plain = { firstEvent: 10, firstPartial: null, final: 100, compute: 80 };
    expect(mediansOf('plain', [plain, { ...plain, final: 200 }])).toEqual({
      name: 'plain',
      firstEvent: 10,
      firstPartial: null,
      partialShare: null,
      final: 150,
      compute: 80,
    });
    expect(mediansOf('some', [plain, { ...plain, firstPartial: 25 }, { ...plain, firstPartial: 50 }])).toMatchObject({
      firstPartial: 37.5,
      partialShare: 0.375,
    });
  });
});

describe('models at a size', () => {
  const factsIn = (folder: string) =>
    JSON.parse(readFileSync(join(folder, 'fluent-scenes/manifest.json'), 'utf8')).facts;

  it('are the repository’s own where they offer it, else a copy that lists it and has room for its tokens', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ralu-bench-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    expect(await modelsOffering({ width: 256, height: 256 }, folder)).toBe(MODELS);

    const size = { width: 1024, height: 1040 };
    const copy = await modelsOffering(size, folder);
    expect(copy).toBe(join(folder, 'models'));
    const own = factsIn(MODELS);
    expect(factsIn(copy)).toEqual({ ...own, sizes: [...own.sizes, size], max_tokens: 64 * 65 });
  });
});

test('what a look costs is told of jobs with thumbnails beside those without', () => {
  const look = (thumbnails: number, bytes: number, ms: number) => ({
    ...{ thumbnails, bytes, denoising: ms, whole: 2 * ms, cpu: ms / 10 },
  });
  const seen = [look(2, 2000, 100), look(4, 4000, 120), look(0, 0, 500)];
  const unseen = [look(0, 0, 90), look(0, 0, 110)];
  expect(figuresOf('plain', { seen, unseen, serverMs: 3 })).toEqual({
    ...{ name: 'plain', thumbnails: 2, bytesEach: 1000, serverMs: 3 },
    seen: { denoising: 120, whole: 240, cpu: 24 },
    unseen: { denoising: 100, whole: 200, cpu: 10 },
  });
  expect(figuresOf('none', { seen: unseen, unseen, serverMs: 0 }).bytesEach).toBe(0);
});

test('what money adds is taken within a round, without the way there and back', () => {
  const round = (way: number, slow: number) => ({
    nothing: way,
    authenticate: way + slow,
    hold: way + 2 * slow,
    settle: way + 3 * slow,
  });
  expect(moneyTimes([round(1, 1), round(50, 2), round(2, 9)])).toEqual({
    authenticate: 2,
    hold: 4,
    settle: 6,
    together: 12,
    nothing: 2,
  });
});

test('the page weighs what it loads, apart from the recording and from what the service answers', () => {
  const loaded = [
    { path: '/', bytes: 4000 },
    { path: '/main.js', bytes: 5000 },
    { path: '/recording.js', bytes: 700 },
    { path: '/recording.json', bytes: 300_000 },
    { path: '/v1/models', bytes: 900 },
    { path: '/openapi.json', bytes: 20_000 },
  ];
  expect(weigh(loaded)).toEqual({
    shell: { files: 3, bytes: 9700 },
    recording: { files: 1, bytes: 300_000 },
    answers: { files: 2, bytes: 20_900 },
  });
});
