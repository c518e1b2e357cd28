import { describe, expect, test } from 'vitest';
import { makeReceipt } from '../../src/billing/receipt.ts';
import type { JobRequest } from '../../src/job/job.ts';
import { makePlan, modelShift } from '../../src/job/plan.ts';
import { PRESETS, presetsFor } from '../../src/job/presets.ts';
import { chooseSchedule, type Planned } from '../../src/job/schedule-request.ts';
import { fluxFlopFacts } from '../../src/numerics/flops.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';

/** FLUX.1-dev as a stage server would describe it. */
const FLUX: ModelFacts = {
  id: 'flux-1-dev',
  aliases: ['flux'],
  channels: 16,
  token_pixels: 16,
  sizes: [{ width: 1024, height: 1024 }],
  shift: [{ tokens: 4096, shift: 3 }],
  steps: 50,
  guidance: { min: 1, max: 10, default: 3.5 },
  negative_prompt: false,
  text_tokens: 512,
  max_tokens: 4096,
  flops: fluxFlopFacts({ textTokens: 512, guidance: true }),
  digest: 'sha256:flux',
  licence: 'test',
  card: '',
};

const value = <T>(planned: Planned<T>): T => {
  if (!planned.ok) throw new Error(JSON.stringify(planned.refusal));
  return planned.value;
};

function planFor(input: Parameters<typeof chooseSchedule>[0], changes: Partial<JobRequest> = {}, memo = new Map()) {
  const request: JobRequest = {
    model: FLUX.id,
    prompt: 'a fox',
    negativePrompt: '',
    guidance: 3.5,
    width: 1024,
    height: 1024,
    seed: 0,
    schedule: value(chooseSchedule(input, FLUX)),
    upsampling: 'latent',
    reference: false,
    format: 'png',
    quality: 90,
    allowEngineChange: false,
    previews: { count: 0, format: 'webp' },
    ...changes,
  };
  return makePlan(request, { facts: FLUX }, { memo, clock: () => 0 });
}

describe('the plan', () => {
  test.each([
    ['4x', [1024, 1945, 4096], 861.3, 4.34],
    ['5x', [1024, 1636, 4096], 704.5, 5.3],
    ['7x', [1024, 1330, 4096], 510.7, 7.31],
  ])('of FLUX at preset %s has the tokens and the work that the method states', (preset, tokens, tflops, ratio) => {
    const plan = value(planFor({ preset, published: true }));
    expect(plan.stages.map((stage) => stage.tokens)).toEqual(tokens);
    const { denoise, decode, text, plain } = plan.flops;
    // the stated figures hold text encoder and decodes too
    expect(Math.abs((denoise + decode + text) / 1e12 / tflops - 1)).toBeLessThan(0.01);
    expect(
      Math.abs((plain + text + FLUX.flops.decode_per_pixel * 1024 * 1024) / (denoise + decode + text) / ratio - 1),
    ).toBeLessThan(0.01);
  });

  test('hands out sigmas that fall, begin at the restart and end at exactly 0', () => {
    for (const { name } of presetsFor(50)) {
      const { stages } = value(planFor({ preset: name }));
      for (const { sigmas, start, end, steps } of stages) {
        expect(sigmas).toHaveLength(steps + 1);
        expect([sigmas[0], sigmas[steps]]).toEqual([1 - start, 1 - end]);
        // as they travel: in float32
        expect(sigmas.every((sigma, i) => i === 0 || Math.fround(sigma) < Math.fround(sigmas[i - 1] as number))).toBe(
          true,
        );
      }
      expect(stages.at(-1)?.sigmas.at(-1)).toBe(0);
    }
  });

  test('is fitted unless h and Z are given, and then at least as well as published', () => {
    for (const { name, published } of presetsFor(50)) {
      const fitted = value(planFor({ preset: name }));
      const given = value(planFor({ preset: name, published: true }));
      expect(given.stages.map(({ shift }) => shift)).toEqual(published?.shifts);
      expect(fitted.fitted && !given.fitted).toBe(true);
      expect(fitted.divergence).toBeLessThanOrEqual(given.divergence as number);
      expect(fitted.z).toBeLessThanOrEqual(10);
    }
  });

  test('fits a schedule once and remembers it', () => {
    const memo = new Map();
    const first = value(planFor({ preset: '7x' }, {}, memo));
    expect(memo.size).toBe(1);
    expect(value(planFor({ preset: '7x' }, {}, memo))).toEqual(first);
    planFor({ preset: '7x', z_max: 100 }, {}, memo);
    expect(memo.size).toBe(2);
  });

  test('decodes where someone looks: for the selection, for previews, for the image', () => {
    expect(value(planFor({ preset: '7x' })).stages.map(({ decode }) => decode)).toEqual(['clean', 'none', 'image']);
    expect(
      value(planFor({ preset: '7x' }, { previews: { count: 7, format: 'webp' } })).stages.map(({ decode }) => decode),
    ).toEqual(['clean', 'clean', 'image']);
    expect(value(planFor({ N: [2, 2], e: [0.3, 1] })).stages.map(({ decode }) => decode)).toEqual(['none', 'image']);
    expect(value(planFor({ preset: 'plain' })).stages.map(({ decode }) => decode)).toEqual(['image']);
  });

  test('keeps a thousand sigmas of the shortest stages apart in float32', () => {
    for (const shift of [0.5, 1, 10]) {
      const short = [
        value(planFor({ N: [999, 1], e: [1e-3, 1], h: [shift, shift], Z: 100 })),
        value(planFor({ N: [1, 999], e: [0.999, 1], h: [shift, shift], Z: 2 })),
        value(planFor({ N: [1, 998, 1], e: [0.5, 0.501, 1], r: 0.5, h: [shift, shift, shift], Z: 2 })),
      ];
      for (const { sigmas } of short.flatMap(({ stages }) => stages))
        expect(new Set(Float32Array.from(sigmas)).size).toBe(sigmas.length);
    }
  });

  test('refuses guidance outside the model’s range', () => {
    expect(planFor({ preset: '7x' }, { guidance: 11 })).toMatchObject({
      ok: false,
      refusal: { field: 'guidance', value: 11 },
    });
  });
});

describe('a model’s shift', () => {
  test('is a constant with one point and log-linear in tokens between neighbours', () => {
    expect(modelShift([{ tokens: 4096, shift: 3 }], 64)).toBe(3);
    const points = [
      { tokens: 256, shift: Math.exp(0.5) },
      { tokens: 4096, shift: Math.exp(1.15) },
    ];
    expect(modelShift(points, 256)).toBeCloseTo(Math.exp(0.5), 12);
    expect(modelShift(points, 4096)).toBeCloseTo(3.158, 3);
    expect(modelShift(points, 2176)).toBeCloseTo(Math.exp(0.825), 12);
    const more = [{ tokens: 64, shift: 1 }, ...points];
    for (const tokens of [256, 1000, 4096, 5000]) expect(modelShift(more, tokens)).toBe(modelShift(points, tokens));
    expect(modelShift(more, 160)).toBeCloseTo(Math.exp(0.25), 12);
    expect(modelShift(more, 32)).toBeCloseTo(Math.exp(-0.5 / 6), 12);
  });
});

describe('presets', () => {
  test('have names of their own and schedules of one length that end at 1', () => {
    expect(new Set(PRESETS.map(({ name }) => name)).size).toBe(PRESETS.length);
    for (const { steps, ends, ratios, published } of PRESETS) {
      expect([ends.length, ratios.length + 2, published?.shifts.length ?? steps.length]).toEqual([
        steps.length,
        steps.length,
        steps.length,
      ]);
      expect(ends.at(-1)).toBe(1);
    }
  });
});

describe('a receipt', () => {
  const usage = {
    stage: 1,
    tokens: 64,
    steps: 2,
    attempts: 1,
    computeMs: 10,
    textMs: 1,
    decodeMs: 2,
    encodeMs: 3,
    wallMs: 20,
    engine: 'e',
    warnings: ['w'],
  };
  const flops = {
    denoise: 8e12,
    denoiseWithoutAttention: 6e12,
    decode: 1e12,
    text: 1e11,
    plain: 80e12,
    plainWithoutAttention: 54e12,
  };
  const facts = { jobId: 'j', model: 'm', modelDigest: 'd', seed: 1, preset: null, rooms: [], totalMs: 100 };

  test('counts what was done, once for each warning, and leaves to orchestration what no stage server reported', () => {
    const work = {
      flops,
      stages: [
        { stage: 1, flops: 3e12, flopsWithoutAttention: 2e12 },
        { stage: 2, flops: 5e12, flopsWithoutAttention: 4e12 },
      ],
    };
    const receipt = makeReceipt({ ...facts, work, usage: [usage, { ...usage, stage: 2 }] });
    expect(receipt.wall_ms.orchestration).toBe(100 - 32);
    expect(receipt.tflops).toMatchObject({ denoise: 8, plain: 80, ratio: 10, ratio_without_attention: 9 });
    expect(receipt.warnings).toEqual(['w']);
    expect(receipt.stages.map(({ tflops }) => tflops)).toEqual([3, 5]);
  });

  test('cannot be made for a stage that was never planned', () => {
    expect(() => makeReceipt({ ...facts, work: { flops, stages: [] }, usage: [usage] })).toThrow(RangeError);
  });
});
