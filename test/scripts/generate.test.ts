import { describe, expect, it } from 'vitest';
import { parseOptions } from '../../scripts/generate/options.ts';
import { compare, describeComparison, describeReceipt } from '../../scripts/generate/receipt.ts';
import { UsageError } from '../../scripts/local/command-line.ts';
import type { ReceiptCost } from '../../src/billing/charge.ts';
import { makeReceipt, type Receipt } from '../../src/billing/receipt.ts';
import { viewPlan } from '../../src/job/plan.ts';
import { FLUX, planOn, requestOn, value } from '../job/requests.ts';

describe('options of generate', () => {
  it('are the request, and a file in a folder that git ignores, named after the prompt', () => {
    expect(parseOptions(['A red apple!'], {})).toEqual({
      prompt: 'A red apple!',
      body: { prompt: 'A red apple!', output_format: 'png' },
      out: '.ralu/pictures/a-red-apple.png',
      from: null,
      compare: false,
      engine: 'native',
      stage: null,
      service: null,
      json: false,
    });
    expect(parseOptions(['…'], {})?.out).toBe('.ralu/pictures/picture.png');
  });

  it('take format from the file, and several shares', () => {
    const args = ['a', '--out', 'b.JPG', '--size', '256x128', '--r', '0.1,0.2', '--guidance', '3.5', '--seed', '7'];
    expect(parseOptions(args, {})).toMatchObject({
      out: 'b.JPG',
      body: { output_format: 'jpeg', width: 256, height: 128, r: [0.1, 0.2], guidance: 3.5, seed: 7 },
    });
  });

  it('take the key of a service from the environment where no flag gives one', () => {
    const args = ['a', '--url', 'https://example.com/'];
    expect(parseOptions(args, { RALU_API_KEY: 'k' })?.service).toEqual({ url: 'https://example.com', key: 'k' });
    expect(parseOptions([...args, '--key', 'f'], { RALU_API_KEY: 'k' })?.service?.key).toBe('f');
  });

  it('take the token of a stage server from the environment where no flag gives one', () => {
    const args = ['a', '--stage', 'http://127.0.0.1:8788/'];
    expect(parseOptions(args, { STAGE_TOKEN: 't' })?.stage).toEqual({ url: 'http://127.0.0.1:8788', token: 't' });
    expect(parseOptions([...args, '--stage-token', 'f'], { STAGE_TOKEN: 't' })?.stage?.token).toBe('f');
  });

  it('take everything but where and how from a picture', () => {
    expect(parseOptions(['--from', 'a/fox.webp', '--engine', 'wasm'], {})).toMatchObject({
      from: 'a/fox.webp',
      out: 'a/fox.again.webp',
      engine: 'wasm',
      body: { output_format: 'webp' },
    });
    expect(parseOptions(['--from', 'fox.jpg', '--out', 'b.jpeg', '--json'], {})).toMatchObject({
      out: 'b.jpeg',
      json: true,
    });
    expect(parseOptions(['a', '--enlarge', '512x512'], {})?.body).toMatchObject({
      enlarge: { width: 512, height: 512 },
    });
  });

  it('refuse what makes no sense, and say why', () => {
    for (const [args, why] of [
      [[], 'a prompt is missing'],
      [['a', 'b'], 'one prompt is expected, got 2'],
      [['a', '--from', 'b.png'], '--from takes the prompt from the picture: leave yours out'],
      [['--from', 'b.png', '--seed', '7'], '--from takes everything from the picture: leave out --seed'],
      [['--from', 'b.png', '--compare'], 'leave out --compare'],
      [['--from', 'b'], '--out must end in .png, .webp, .jpg or .jpeg; got "b.again"'],
      [['a', '--enlarge', 'big'], '--enlarge must look like 256x256, got "big"'],
      [['a', '--seed', ''], '--seed must be a number, got ""'],
      [['a', '--size', 'big'], '--size must look like 256x256, got "big"'],
      [['a', '--out', 'a.gif'], '--out must end in .png, .webp, .jpg or .jpeg; got "a.gif"'],
      [['a', '--engine', 'gpu'], '--engine must be native or wasm, got "gpu"'],
      [['a', '--url', 'ftp://x', '--key', 'k'], '--url must be an http or https address, got "ftp://x"'],
      [['a', '--url', 'http://x'], '--url needs the key of the service'],
      [['a', '--url', 'http://x', '--key', 'k', '--engine', 'wasm'], '--engine is for the stage server started here'],
      [['a', '--stage', '127.0.0.1:8788', '--stage-token', 't'], '--stage must be an http or https address, got "127'],
      [['a', '--stage', 'http://x'], '--stage needs the token of the server: --stage-token or the environment'],
      [['a', '--stage-token', 't'], '--stage-token is the token of the server that --stage names'],
      [
        ['a', '--stage', 'http://x', '--stage-token', 't', '--engine', 'wasm'],
        '--engine is for the stage server started',
      ],
      [['a', '--stage', 'http://x', '--url', 'http://y', '--key', 'k'], '--stage is for the service started here'],
      [['a', '--out'], "Option '--out <value>' argument missing"],
    ] as const) {
      expect(() => parseOptions(args, {}), args.join(' ')).toThrow(UsageError);
      expect(() => parseOptions(args, {}), args.join(' ')).toThrow(why);
    }
  });
});

describe('the receipt of generate', () => {
  const input = { preset: '5x-taylor-2' };
  const plan = value(planOn(FLUX, input));
  const request = requestOn(FLUX, input);
  const receiptWith = (cost: ReceiptCost | null): Receipt =>
    makeReceipt({
      jobId: 'j',
      model: 'm',
      modelDigest: 'd',
      seed: 1,
      preset: '5x-taylor-2',
      solver: 'euler',
      cache: request.schedule.cache,
      selection: 'canny',
      cost,
      work: plan,
      warnings: [],
      usage: plan.stages.map(({ stage, tokens, steps, evaluations }) => ({
        stage,
        tokens,
        steps,
        evaluations,
        attempts: 1,
        computeMs: 10,
        decodeMs: 2,
        encodeMs: 3,
        wallMs: 20,
        textTokens: 12,
        engine: 'e',
        engineClass: 'e',
        warnings: [],
      })),
      rooms: [],
      totalMs: 100,
    });
  const COST: ReceiptCost = {
    usd: '0.000068',
    quote_usd: '0.000070',
    plain_usd: '0.000350',
    tariff: '2026-11',
    usd_per_tflop: '0.000250',
    minimum_usd: '0.000005',
    paid: 'whole',
    lines: [
      { item: 'stage1', tokens: 1024, steps: 3, tflops: 0.2, usd: '0.000050' },
      { item: 'decode1', tokens: null, steps: 1, tflops: 0.05, usd: '0.0000125' },
      { item: 'text', tokens: 12, steps: 1, tflops: 0.022, usd: '0.0000055' },
    ],
  };

  it('lists what was paid, and nothing of it where nothing is charged', () => {
    const text = describeReceipt(receiptWith(COST), viewPlan(plan, request));
    expect(text).toContain(
      'cost       0.000068 USD of at most 0.000070 · plain model 0.000350 · 0.000250 a TFLOP, at least 0.000005 · tariff 2026-11',
    );
    expect(text).toMatch(/^ +stage1 +1024 +3 +0\.2 +0\.000050$/m);
    expect(text).toMatch(/^ +decode1 +0\.05 +0\.0000125$/m);
    expect(text).toMatch(/^ +text +12 +0\.022 +0\.0000055$/m);
    expect(describeReceipt(receiptWith(null), viewPlan(plan, request))).not.toContain('USD');
  });

  it('compares costs where both are there', () => {
    const plain = receiptWith({ ...COST, usd: '0.000350' });
    const comparison = compare(receiptWith(COST), plain);
    expect(comparison.cost_usd).toEqual({ plain: '0.000350', staged: '0.000068' });
    expect(describeComparison(comparison)).toContain('plain 0.000350 USD · 5x-taylor-2 0.000068 USD');
    expect(compare(receiptWith(null), plain).cost_usd).toBeNull();
  });

  it('counts evaluations of the model, not forecast steps', () => {
    const text = describeReceipt(receiptWith(null), viewPlan(plan, request));
    expect(text).toMatch(/^ +3 +4096 +4 +16384 /m); // of six steps
    expect(text).toMatch(/^ +all +10 /m); // of fifteen
  });
});
