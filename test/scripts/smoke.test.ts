/** The laws that `smoke` holds a job to: what a good job says passes, and each way of breaking it is told. */
import { describe, expect, test } from 'vitest';
import type { FollowedEvent } from '../../scripts/generate/client.ts';
import { UsageError } from '../../scripts/local/command-line.ts';
import { brokenInEvents, brokenInReceipt } from '../../scripts/smoke/laws.ts';
import { parseOptions } from '../../scripts/smoke/options.ts';
import { makeReceipt, type Receipt } from '../../src/billing/receipt.ts';
import { FLUX, planOn, requestOn, value } from '../job/requests.ts';

const plan = value(planOn(FLUX, { preset: '5x-taylor-2' }));
const { cache } = requestOn(FLUX, { preset: '5x-taylor-2' }).schedule;

type Sent = Pick<FollowedEvent, 'type' | 'data'>;
const event = (type: FollowedEvent['type'], data: object = {}): Sent => ({ type, data }) as Sent;
const number = (events: readonly Sent[]): FollowedEvent[] =>
  events.map((one, i) => ({ ...one, seq: i + 1, at: i }) as FollowedEvent);

const stageOf = ({ stage, steps, tokens }: (typeof plan.stages)[number], attempt = 1): Sent[] => [
  event('stage', { stage, stages: plan.stages.length, steps, tokens, attempt }),
  ...Array.from({ length: steps }, (_, i) => event('step', { stage, step: i + 1, steps })),
];
const [first, ...others] = plan.stages;
const begin = [event('queued', { stage: null }), event('plan')];
const good: Sent[] = [...begin, ...plan.stages.flatMap((stage) => stageOf(stage)), event('done')];

describe('the events of a job', () => {
  test('that went well break no law, also after an attempt that came to nothing', () => {
    expect(brokenInEvents(number(good), plan)).toEqual([]);
    const cut = [...begin, ...stageOf(first!).slice(0, 2), event('retry'), ...stageOf(first!, 2)];
    const rest = [...others.flatMap((stage) => stageOf(stage)), event('done')];
    expect(brokenInEvents(number([...cut, ...rest]), plan)).toEqual([]);
  });

  test('may tell steps without a number, leave some out, and tell one again once it is stored', () => {
    const live = number(good).map((one, i) =>
      one.type === 'step' && one.data.step === 2 ? { ...good[i], seq: null } : one,
    );
    const numbered = (events: readonly Pick<FollowedEvent, 'seq'>[]): FollowedEvent[] => {
      let seq = 0;
      return events.map((one) => ({ ...one, seq: one.seq === null ? null : ++seq, at: 0 }) as FollowedEvent);
    };
    expect(brokenInEvents(numbered(live as FollowedEvent[]), plan)).toEqual([]);
    const again = live.flatMap((one) => (one.seq === null ? [one, { ...one, seq: 1 }] : [one]));
    expect(brokenInEvents(numbered(again as FollowedEvent[]), plan)).toEqual([]);
    expect(brokenInEvents(number(without(3)), plan)).toEqual([]);
  });

  const without = (at: number): Sent[] => good.toSpliced(at, 1);
  test.each<[string, FollowedEvent[], string]>([
    ['one is missing', number(good).toSpliced(4, 1), 'event 5 has number 6'],
    ['no plan', number(without(1)), 'the events begin with queued and stage'],
    ['no end', number(good.slice(0, -1)), 'the events end with step, and 0 of them are an end'],
    ['two ends', number([...good, event('done')]), 'the events end with done, and 2 of them are an end'],
    [
      'the last step is left out',
      number(without(6)),
      'stage 1 told of the steps [1, 2, 3], expected rising ones up to 4',
    ],
    [
      'steps fall',
      number(good.toSpliced(4, 2, ...good.slice(4, 6).toReversed())),
      'stage 1 told of the steps [1, 3, 2, 4], expected rising ones up to 4',
    ],
    [
      'a stage is left out',
      number([...begin, ...others.flatMap((stage) => stageOf(stage)), event('done')]),
      'stage 1 was never begun',
    ],
    [
      'stages change places',
      number([...begin, ...plan.stages.toReversed().flatMap((stage) => stageOf(stage)), event('done')]),
      'the stages were begun in the order 3, 2, 1',
    ],
    [
      'other tokens than planned',
      number([...begin, ...stageOf({ ...first!, tokens: 7 }), ...others.flatMap((one) => stageOf(one)), event('done')]),
      'stage 1 has 4 steps of 7 tokens, planned were 4 of 1024',
    ],
    ['none came', [], 'the events begin with undefined and undefined'],
  ])('are told where %s', (_, events, fault) => {
    expect(brokenInEvents(events, plan).join('; ')).toContain(fault);
  });
});

describe('the receipt of a job', () => {
  const receipt = makeReceipt({
    jobId: 'j',
    model: 'm',
    modelDigest: 'd',
    seed: 1,
    preset: '5x-taylor-2',
    solver: 'euler',
    cache,
    selection: 'canny',
    cost: null,
    work: plan,
    warnings: [],
    usage: plan.stages.map(({ stage, tokens, steps, evaluations }) => ({
      ...{ stage, tokens, steps, evaluations },
      ...{ attempts: 1, computeMs: 10, decodeMs: 2, encodeMs: 3, wallMs: 20, textTokens: 12 },
      ...{ engine: 'e', engineClass: 'e', warnings: [] },
    })),
    rooms: [{ room: 'stage1', ms: 90 }],
    totalMs: 100,
  });

  test('that adds up breaks no law', () => expect(brokenInReceipt(receipt, plan)).toEqual([]));

  const [stage, ...more] = receipt.stages;
  test.each<[string, Partial<Receipt>, string]>([
    ['a stage is missing', { stages: more }, 'planned were 1: 1024x4 (3), 2: 1636x5 (3), 3: 4096x6 (4)'],
    ['a step was not evaluated', { stages: [{ ...stage!, evaluations: 2 }, ...more] }, 'has the stages 1: 1024x4 (2)'],
    ['a stage worked more', { stages: [{ ...stage!, tflops: 1 }, ...more] }, 'the stages add up to'],
    ['the sum is another', { tflops: { ...receipt.tflops, total: 1 } }, 'denoising, decoding and text add up to'],
    ['the ratio is another', { tflops: { ...receipt.tflops, ratio: 9 } }, 'the ratio is 9, plain over denoise is'],
    ['there is no ratio', { tflops: { ...receipt.tflops, ratio: null } }, 'the ratio is null'],
    ['time runs back', { stages: [{ ...stage!, compute_ms: -1 }, ...more] }, 'a stage took a negative time'],
    ['rooms are too long', { wall_ms: { ...receipt.wall_ms, total: 80 } }, 'the rooms took 90 ms, all of it 80 ms'],
    [
      'time is lost',
      { wall_ms: { ...receipt.wall_ms, orchestration: 1 } },
      'orchestration took 1 ms, the stages leave 55',
    ],
  ])('is told where %s', (_, wrong, fault) => {
    expect(brokenInReceipt({ ...receipt, ...wrong }, plan).join('; ')).toContain(fault);
  });
});

describe('options of smoke', () => {
  test('take the key from the environment where no flag gives one', () => {
    expect(parseOptions(['--url', 'https://a.example/'], { RALU_API_KEY: 'k' })).toEqual({
      service: { url: 'https://a.example', key: 'k' },
      stage: null,
      model: null,
      prompt: null,
      seconds: 300,
    });
  });

  test.each([
    [[], '--url is missing'],
    [['--url', 'a.example'], '--url must be an http or https address, got "a.example"'],
    [['--url', 'http://a'], 'a key of an account is missing: --key or the environment variable RALU_API_KEY'],
    [['--url', 'http://a', '--key', 'k', '--seconds', '0'], '--seconds must be a whole number from 1 to 3600, got "0"'],
    [['--url', 'http://a', '--key', 'k', '--stage', 'http://b'], '--stage needs the token of the server'],
  ])('refuse %j', (args, why) => {
    const options = (): unknown => parseOptions(args, {});
    expect(options).toThrow(why);
    expect(options).toThrow(UsageError);
  });
});
