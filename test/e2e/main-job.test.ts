/** The main job, as the README tells it: one command, a picture on disk, on the real model with both engines. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_CORES, startGenerate } from './command.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-main-job-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(['native', 'wasm'])('generate with the %s engine', (engine) => {
  test('saves the image and its stages, and prints the receipt', async () => {
    const cwd = await mkdtemp(join(folder, `${engine}-`));
    const { code, stdout, stderr } = await startGenerate(
      ['a red apple', '--size', '256x256', '--seed', '7', '--engine', engine],
      cwd,
      ALL_CORES,
    ).finished;
    expect(code, stderr).toBe(0);
    const pictures = join(cwd, '.ralu/pictures');
    expect(await readdir(cwd)).toEqual(['.ralu']);
    expect((await readdir(pictures)).toSorted()).toEqual([
      'a-red-apple.blocks.png',
      'a-red-apple.edges.png',
      'a-red-apple.png',
      'a-red-apple.stage1.webp',
      'a-red-apple.stage2.webp',
    ]);
    for (const name of ['a-red-apple.png', 'a-red-apple.edges.png', 'a-red-apple.blocks.png']) {
      const { width, height, data } = decode(await readFile(join(pictures, name)));
      expect([width, height]).toEqual([256, 256]);
      expect(new Set(data).size, `${name} shows something`).toBeGreaterThan(16);
    }
    expect(new Set(decode(await readFile(join(pictures, 'a-red-apple.edges.png'))).data), 'edges are white').toContain(
      255,
    );
    expect(stdout).toMatch(/^model .*seed 7, preset 7x$/m);
    expect(stdout).toContain(engine);
    expect(stdout).toMatch(/^schedule +h [\d., ]+ · Z [\d., ]+ · restarts s [\d., ]+ · divergence 0\.\d+$/m);
    // tokens, evaluations and both multiplied, of each stage, as the server reported them
    expect(stdout).toMatch(/^ +1 +64 +2 +128 /m);
    expect(stdout).toMatch(/^ +3 +256 +5 +1280 /m);
    expect(stdout).toMatch(
      /^work +denoising [\d.]+ TFLOPs with attention, [\d.]+ without · decode [\d.e-]+ · text [\d.e-]+$/m,
    );
    expect(stdout).toMatch(/^ +plain model [\d.]+ TFLOPs of denoising: [\d.]+x this \([\d.]+x without attention\) · /m);
    expect(stdout).toMatch(/ · [\d.]+ in all: [\d.]+x$/m);
    expect(stdout).toMatch(/^wall +.* stage1 .* select .* stage2 .* stage3 .* orchestration /m);
    expect(stderr).toMatch(/stage 1\/3 █+ +2\/2 steps +64 tokens/);
  });
});

test('--compare runs the plain model with the same seed and tells how much faster the stages were', async () => {
  const cwd = await mkdtemp(join(folder, 'compare-'));
  const { code, stdout, stderr } = await startGenerate(
    ['a red apple', '--size', '256x256', '--seed', '7', '--compare', '--json', '--out', 'deep/apple.webp'],
    cwd,
    ALL_CORES,
  ).finished;
  expect(code, stderr).toBe(0);
  const { receipt, comparison, files } = JSON.parse(stdout);
  expect(files).toContain(join(cwd, 'deep/apple.compare.png'));
  expect(receipt.seed).toBe(7);
  expect(comparison.work_ratio).toBeCloseTo(receipt.tflops.ratio, 6);
  expect(comparison.denoise_ms.speedup).toBeGreaterThan(1);
});

describe.concurrent('a command that cannot work ends with a sentence and no stack', () => {
  const wrong: [string, string[], number, RegExp][] = [
    ['no prompt', [], 2, /a prompt is missing/],
    ['two prompts', ['a', 'b'], 2, /one prompt is expected/],
    ['an unknown flag', ['a', '--sed', '7'], 2, /--sed/],
    ['a size that is none', ['a', '--size', 'big'], 2, /--size must look like 256x256, got "big"/],
    ['a seed that is none', ['a', '--seed', 'x'], 2, /--seed must be a number/],
    ['a file of no known kind', ['a', '--out', 'a.gif'], 2, /--out must end in/],
    ['a service without key', ['a', '--url', 'http://127.0.0.1:9'], 2, /--url needs the key/],
    [
      'a service that is not there',
      ['a', '--url', 'http://127.0.0.1:9', '--key', 'k'],
      1,
      /http:\/\/127\.0\.0\.1:9 does not answer/,
    ],
    ['a size the model does not have', ['a', '--size', '100x100'], 2, /100/],
    ['an unknown preset', ['a', '--preset', '9x'], 2, /preset/],
  ];
  test.each(wrong)('%s', async (_, args, expected, sentence) => {
    const { code, stdout, stderr } = await startGenerate(args, folder, { RALU_API_KEY: '' }).finished;
    expect(stderr).toMatch(sentence);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(stdout).toBe('');
    expect(code).toBe(expected);
  });
});
