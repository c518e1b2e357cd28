import { describe, expect, test } from 'vitest';
import { makeReceipt, type StageUsage } from '../../src/billing/receipt.ts';
import { chooseSchedule } from '../../src/job/schedule-request.ts';
import { FLUX, planOn, value } from './requests.ts';

const plan = value(planOn(FLUX, { preset: '7x' }, { previews: { count: 7, format: 'webp' } }));
const usage = plan.stages.map(
  ({ stage, tokens, steps, evaluations }): StageUsage => ({
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
    warnings: ['w'],
  }),
);
const facts = {
  jobId: 'j',
  model: 'm',
  modelDigest: 'd',
  seed: 1,
  preset: '7x',
  solver: 'ab2',
  cache: null,
  selection: 'latent',
  rooms: [],
  cost: null,
  totalMs: 100,
} as const;
const receiptOf = (used: readonly StageUsage[]) =>
  makeReceipt({ ...facts, work: plan, warnings: ['of the plan'], usage: used });

const pick = ({ tokens, steps, evaluations }: Pick<StageUsage, 'tokens' | 'steps' | 'evaluations'>) => ({
  tokens,
  steps,
  evaluations,
});

/** What the three stages decode with every preview on: two clean estimates at half size, the image. */
const DECODED = [0.25, 0.25, 1];
const PICTURE = (FLUX.flops.decode_per_pixel * 1024 ** 2) / 1e12;

describe('a receipt', () => {
  test('of a finished job has the plan’s work, all of it', () => {
    const { tflops, stages, solver, selection, warnings, wall_ms } = receiptOf(usage);
    const { denoise, denoiseWithoutAttention, decode, text, plain, plainWithoutAttention } = plan.flops;
    expect(tflops).toMatchObject({
      denoise: denoise / 1e12,
      denoise_without_attention: denoiseWithoutAttention / 1e12,
      decode: decode / 1e12,
      text: text / 1e12,
      plain: plain / 1e12,
      plain_without_attention: plainWithoutAttention / 1e12,
      ratio: plain / denoise,
      ratio_without_attention: plainWithoutAttention / denoiseWithoutAttention,
    });
    expect(tflops.ratio_total).toBeCloseTo(
      (tflops.plain + tflops.text + PICTURE) / (tflops.denoise + tflops.text + 1.5 * PICTURE),
      12,
    );
    expect(stages.map(({ tokens, steps }) => [tokens, steps])).toEqual([
      [1024, 2],
      [1330, 3],
      [4096, 5],
    ]);
    expect(stages.reduce((sum, stage) => sum + stage.tflops, 0)).toBeCloseTo(tflops.denoise, 9);
    expect([solver, selection]).toEqual(['ab2', 'latent']);
    expect(warnings).toEqual(['of the plan', 'w']);
    expect(wall_ms.orchestration).toBe(100 - 3 * 15);
  });

  test('shows the steps that were evaluated beside those that were done, and has the work of the former', () => {
    const schedule = value(chooseSchedule({ preset: '5x-taylor-2' }, FLUX, FLUX.sizes[0]!));
    const cached = value(planOn(FLUX, { preset: '5x-taylor-2' }));
    const used = usage.map((each, k) => ({ ...each, ...pick(cached.stages[k]!) }));
    const receipt = makeReceipt({
      ...facts,
      solver: 'euler',
      cache: schedule.cache,
      work: cached,
      warnings: [],
      usage: used,
    });
    expect(receipt.cache).toEqual({ kind: 'taylor_velocity', interval: 2, order: 2, warmup: 2 });
    expect(receipt.stages.map(({ steps, evaluations }) => [steps, evaluations])).toEqual([
      [4, 3],
      [5, 3],
      [6, 4],
    ]);
    const whole = value(planOn(FLUX, { preset: '5x' }));
    for (const [k, { tflops, steps, evaluations }] of receipt.stages.entries())
      expect(tflops).toBeCloseTo(((whole.stages[k]!.flops / 1e12) * evaluations) / steps, 9);
    expect(receiptOf(usage).cache).toBeNull();
  });

  test.each([1, 2])('of a job that ended after %i of 3 stages has their work, and no ratio to a whole run', (count) => {
    const { tflops, stages, engine } = receiptOf(usage.slice(0, count));
    expect(stages.map(({ stage }) => stage)).toEqual([1, 2].slice(0, count));
    expect(tflops.denoise).toBeCloseTo(
      plan.stages.slice(0, count).reduce((sum, { flops }) => sum + flops / 1e12, 0),
      9,
    );
    expect(tflops.decode).toBeCloseTo(PICTURE * DECODED.slice(0, count).reduce((sum, share) => sum + share, 0), 9);
    expect(tflops.text).toBe(plan.flops.text / 1e12);
    expect(tflops.total).toBeCloseTo(tflops.denoise + tflops.decode + tflops.text, 9);
    expect([tflops.ratio, tflops.ratio_without_attention, tflops.ratio_total]).toEqual([null, null, null]);
    expect(tflops.plain).toBe(plan.flops.plain / 1e12);
    expect(engine).toBe('e');
  });

  test('of a job that no server did anything for is all zeros beside the plain run', () => {
    const receipt = receiptOf([]);
    expect(receipt).toMatchObject({ engine: '', engine_changed: false, stages: [], warnings: ['of the plan'] });
    expect(receipt.tflops).toEqual({
      denoise: 0,
      denoise_without_attention: 0,
      decode: 0,
      text: 0,
      total: 0,
      plain: plan.flops.plain / 1e12,
      plain_without_attention: plan.flops.plainWithoutAttention / 1e12,
      plain_total: receiptOf(usage).tflops.plain_total,
      ratio: null,
      ratio_without_attention: null,
      ratio_total: null,
    });
    expect(receipt.wall_ms).toEqual({ total: 100, rooms: [], orchestration: 100 });
  });

  test('names every engine once, and says when there was more than one', () => {
    const engines = (...names: string[]) => {
      const { engine, engine_changed } = receiptOf(usage.map((used, k) => ({ ...used, engine: names[k]! })));
      return [engine, engine_changed];
    };
    expect(engines('a', 'a', 'a')).toEqual(['a', false]);
    expect(engines('a', 'b', 'a')).toEqual(['a, b', true]);
  });

  test('has the prompt’s tokens where the server says them', () => {
    const [first, second] = usage as [StageUsage, StageUsage];
    // a row that was stored without the field
    const { textTokens: _, ...older } = second;
    const receipt = receiptOf([first, older as StageUsage]);
    expect(receipt.stages.map(({ text_tokens }) => text_tokens)).toEqual([12, null]);
    expect(JSON.parse(JSON.stringify(receipt))).toEqual(receipt);
  });

  test('cannot be made for a stage that was never planned', () => {
    expect(() => receiptOf([{ ...usage[0]!, stage: 4 }])).toThrow('stage is 4; expected one of the 3 planned');
  });
});
