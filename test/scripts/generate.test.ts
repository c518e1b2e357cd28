import { describe, expect, it } from 'vitest';
import { parseOptions } from '../../scripts/generate/options.ts';
import { describeReceipt } from '../../scripts/generate/receipt.ts';
import { UsageError } from '../../scripts/local/command-line.ts';
import { makeReceipt } from '../../src/billing/receipt.ts';
import { viewPlan } from '../../src/job/plan.ts';
import { FLUX, planOn, requestOn, value } from '../job/requests.ts';

describe('options of generate', () => {
  it('are the request, and a file in a folder that git ignores, named after the prompt', () => {
    expect(parseOptions(['A red apple!'], {})).toEqual({
      prompt: 'A red apple!',
      body: { prompt: 'A red apple!', output_format: 'png' },
      out: '.ralu/pictures/a-red-apple.png',
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

  it('refuse what makes no sense, and say why', () => {
    for (const [args, why] of [
      [[], 'a prompt is missing'],
      [['a', 'b'], 'one prompt is expected, got 2'],
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
  it('counts evaluations of the model, not forecast steps', () => {
    const input = { preset: '5x-taylor-2' };
    const plan = value(planOn(FLUX, input));
    const request = requestOn(FLUX, input);
    const receipt = makeReceipt({
      jobId: 'j',
      model: 'm',
      modelDigest: 'd',
      seed: 1,
      preset: '5x-taylor-2',
      solver: 'euler',
      cache: request.schedule.cache,
      selection: 'canny',
      cost: null,
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
    const text = describeReceipt(receipt, viewPlan(plan, request));
    expect(text).toMatch(/^ +3 +4096 +4 +16384 /m); // of six steps
    expect(text).toMatch(/^ +all +10 /m); // of fifteen
  });
});
