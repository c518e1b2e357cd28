/** `npm run eval` with a deployed model: options, prompts, and pictures of the embedded model through the API. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { request } from '../../scripts/generate/client.ts';
import { ROOT } from '../../scripts/local/bundle.ts';
import { UsageError } from '../../scripts/local/command-line.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { isDeployed, parseDeployed } from '../eval/deployed/options.ts';
import { parsePrompts } from '../eval/deployed/prompts.ts';
import type { Made } from '../eval/deployed/run.ts';

const FULL = ['--url', 'http://a/', '--key', 'k', '--prompts', 'p.jsonl', '--rows', 'plain,7x,plain-10', '--out', 'o'];

describe('the options', () => {
  test('are a service, prompts, rows and a folder', () => {
    expect(parseDeployed(FULL, {})).toEqual({
      service: { url: 'http://a', key: 'k' },
      prompts: 'p.jsonl',
      rows: [
        { id: 'plain', body: { preset: 'plain' } },
        { id: '7x', body: { preset: '7x' } },
        { id: 'plain-10', body: { N: [10], e: [1] } },
      ],
      out: 'o',
      first: Number.POSITIVE_INFINITY,
      seeds: 1,
      size: null,
      model: null,
    });
    expect([isDeployed(FULL), isDeployed(['--url=http://a']), isDeployed(['--rows', 'plain-7'])]).toEqual([
      true,
      true,
      false,
    ]);
  });

  const without = (flag: string): string[] => FULL.toSpliced(FULL.indexOf(flag), 2);
  test.each([
    [without('--prompts'), '--prompts is missing'],
    [without('--rows'), '--rows is missing, such as plain,7x'],
    [without('--out'), '--out is missing'],
    [without('--key'), '--url needs the key of the service'],
    [[...FULL, '--rows', 'plain,../x'], '--rows: a row has 1 to 63 letters, digits, dots and dashes, got "../x"'],
    [[...FULL, '--rows', 'plain,plain'], '--rows names plain twice'],
    [[...FULL, '--rows', 'plain-0'], '--rows: plain-<n> must be a whole number from 1 to 1000, got "0"'],
    [[...FULL, '--seeds', '65'], '--seeds must be a whole number from 1 to 64, got "65"'],
    [[...FULL, '--first', '0'], '--first must be a whole number from 1, got "0"'],
    [[...FULL, '--ablations', 'all'], "Unknown option '--ablations'"],
  ])('%j make no sense', (args, why) => {
    expect(() => parseDeployed(args, {})).toThrow(UsageError);
    expect(() => parseDeployed(args, {})).toThrow(why);
  });
});

describe('prompts', () => {
  test('are lines of JSON, counted without blank ones and kept whole', () => {
    const lines = ['{"tag": "counting", "prompt": "a photo of two clocks"}', '', '{"prompt": "a photo of a cow"}'];
    expect(parsePrompts('f', lines.join('\n'))).toEqual([
      { index: 0, prompt: 'a photo of two clocks', line: lines[0] },
      { index: 1, prompt: 'a photo of a cow', line: lines[2] },
    ]);
  });

  test.each([
    ['', 'f has no prompt'],
    ['{"prompt": "a"}\na cow', 'f, line 2: must be one JSON object'],
    ['null', 'f, line 1: prompt must be text'],
    ['{"text": "a"}', 'f, line 1: prompt must be text'],
    ['{"prompt": " "}', 'f, line 1: prompt must be text, not blank'],
    [JSON.stringify({ prompt: 'a'.repeat(32_001) }), 'f, line 1: prompt must be text'],
    ['{"prompt": "a"}\n'.repeat(10_001), 'f, line 10001: at most 10000 prompts are taken'],
  ])('are refused where they are none', (text, why) => {
    expect(() => parsePrompts('f', text)).toThrow(why);
  });
});

describe('pictures of the embedded model', () => {
  let folder: string;
  let stack: Stack;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ralu-eval-'));
    stack = await startStack({ persistTo: join(folder, 'state') });
    const prompts = ['a red apple', 'two bananas', 'a fox'];
    await writeFile(
      join(folder, 'prompts.jsonl'),
      prompts.map((prompt, i) => `${JSON.stringify({ tag: 'single_object', number: i, prompt })}\n`).join(''),
    );
  }, 60_000);
  afterAll(async () => {
    await stack?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (...args: readonly string[]) =>
    new Promise<{ code: number; stderr: string }>((resolve) => {
      const all = ['run', '--silent', 'eval', '--', '--url', stack.url, '--prompts', join(folder, 'prompts.jsonl')];
      const env = { ...process.env, RALU_API_KEY: stack.key };
      execFile('npm', [...all, ...args], { cwd: ROOT, env, timeout: 120_000 }, (error, _, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stderr }),
      );
    });
  const resultsIn = (out: string): Made[] =>
    readFileSync(join(out, 'results.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Made);

  test('lie where GenEval looks for them, with what their receipts say, and are made once', async () => {
    const out = join(folder, 'pictures');
    const args = ['--rows', '7x,plain-3', '--size', '128x256', '--first', '2', '--out', out];
    const { code, stderr } = await run(...args);
    expect([code, stderr.match(/4 pictures, 4 to make/)?.length], stderr).toEqual([0, 1]);

    const made = resultsIn(out);
    expect(made.map(({ row, words, file }) => [row, words, file])).toEqual([
      ['7x', 'a red apple', '7x/00000/samples/00000.png'],
      ['plain-3', 'a red apple', 'plain-3/00000/samples/00000.png'],
      ['7x', 'two bananas', '7x/00001/samples/00000.png'],
      ['plain-3', 'two bananas', 'plain-3/00001/samples/00000.png'],
    ]);
    const [staged, plain, other] = made as [Made, Made, Made];
    expect(staged.seed).toBe(plain.seed);
    expect(other.seed).not.toBe(staged.seed);
    expect([staged.steps, plain.steps, plain.evaluations]).toEqual([10, 3, 3]);
    expect(staged.tflops.plain / staged.tflops.denoise).toBeGreaterThan(7);
    expect(plain.tflops.plain / plain.tflops.denoise).toBeCloseTo(50 / 3, 9);
    expect(staged.seconds.job).toBeGreaterThan(staged.seconds.denoise);
    const metadata = JSON.parse(readFileSync(join(out, '7x/00001/metadata.jsonl'), 'utf8'));
    expect(metadata).toEqual({ tag: 'single_object', number: 1, prompt: 'two bananas' });
    const { width, height } = await sharp(join(out, staged.file)).metadata();
    expect([width, height]).toEqual([128, 256]);
    const { data } = (await (await request(stack, '/v1/jobs')).json()) as { data: unknown[] };
    expect(data, 'the jobs are erased').toEqual([]);

    const file = join(out, 'results.jsonl');
    await truncate(file, readFileSync(file).length - 9);
    expect((await run(...args)).stderr).toContain('4 pictures, 1 to make');
    const again = resultsIn(out);
    expect(again.map(({ seed }) => seed)).toEqual(made.map(({ seed }) => seed));
    expect((await readdir(join(out, '7x'))).toSorted()).toEqual(['00000', '00001']);
  }, 180_000);

  test('of another size or other words do not join those that are there', async () => {
    const out = join(folder, 'mixed');
    const rows = ['--rows', 'plain-1', '--first', '1', '--out', out];
    expect((await run(...rows, '--size', '128x256')).code).toBe(0);
    const wider = await run('--rows', 'plain-2', '--first', '1', '--out', out, '--size', '256x128');
    expect(wider.stderr).toContain(`${out} has pictures of width 128, this one has 256; choose another folder`);
    expect(existsSync(join(out, 'plain-2'))).toBe(false);
    await writeFile(join(folder, 'prompts.jsonl'), '{"prompt": "a cow"}\n');
    const other = await run(...rows, '--size', '128x256');
    expect(other.stderr).toContain(`${out} has another prompt in line 0: "a red apple"; choose another folder`);
    expect([wider.code, other.code]).toEqual([1, 1]);
  }, 180_000);

  test('that the model cannot make are one sentence', async () => {
    const { code, stderr } = await run('--rows', '9x', '--out', join(folder, 'none'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^eval: preset: got "9x"; /m);
    expect(stderr).not.toMatch(/^ +at /m);
  }, 60_000);
});
