import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { viewPlan } from '../../src/job/plan.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { type ModelFacts, modelFacts } from '../../src/stage/contract.ts';
import { FLUX, value } from './requests.ts';

const MANIFEST = new URL('../../models/fluent-scenes/manifest.json', import.meta.url);
const BUNDLED: ModelFacts = modelFacts.parse({
  ...JSON.parse(readFileSync(MANIFEST, 'utf8')).facts,
  digest: 'sha256:bundled',
});

const draftFor = (facts: ModelFacts, input: Omit<RequestInput, 'prompt'>) =>
  draftRequest({ prompt: 'a red apple', ...input }, facts, { allowEngineChange: false, tariff: null, draw: () => 7 });
const plannedFor = (facts: ModelFacts, input: Omit<RequestInput, 'prompt'>, memo = new Map()) =>
  value(draftFor(facts, input)).plan(memo);
const planFor = (facts: ModelFacts, input: Omit<RequestInput, 'prompt'>) => {
  const { request, plan } = plannedFor(facts, input)[0]!;
  return { steps: request.schedule.steps, ends: request.schedule.ends, plan, view: viewPlan(plan, request) };
};

const THREE = { e: [0.2, 0.3, 1], r: 0.1 };

describe('a speed', () => {
  test.each([
    [BUNDLED, 1, {}],
    [BUNDLED, 7, {}],
    [BUNDLED, 7, { width: 256, height: 128 }],
    [BUNDLED, 12.5, { e: [0.4, 1] }],
    [BUNDLED, 5, { ...THREE, solver: 'ab2' }],
    [BUNDLED, 4, { ...THREE, r: 1 }],
    [FLUX, 2.5, {}],
    [FLUX, 7, {}],
    [FLUX, 20, {}],
    [FLUX, 7, { ...THREE, z_max: 3 }],
    [FLUX, 3, { e: [0.2, 0.3, 1], selection: 'none' }],
    [FLUX, 7, { reference: true }],
  ] as const)('(case %#) is at least reached, and would not be with one more low step', (facts, speed, input) => {
    const { steps, plan, view } = planFor(facts, { speed, ...input });
    expect(steps.every((count) => count >= 1)).toBe(true);
    expect(plan.stages.map((stage) => stage.steps)).toEqual(steps);
    expect(view.tflops.ratio).toBeGreaterThanOrEqual(speed);
    const lowStep = plan.stages[0]!.flops / steps[0]!;
    expect(plan.flops.plain / (plan.flops.denoise + lowStep)).toBeLessThan(speed);
    expect(plan.fitted).toBe(true);
  });

  test('without e means two stages, the first until 0.2', () => {
    expect(planFor(FLUX, { speed: 7 }).ends).toEqual([0.2, 1]);
    expect(planFor(FLUX, { speed: 7, e: [0.2, 1] })).toEqual(planFor(FLUX, { speed: 7 }));
  });

  test('is the same as the N that it finds', () => {
    const { steps, plan } = planFor(FLUX, { speed: 7, ...THREE });
    expect(planFor(FLUX, { N: steps, ...THREE }).plan).toEqual(plan);
  });

  test('of the bundled model’s own preset finds its N: no other of this work has less divergence', () => {
    const { plan, view } = planFor(BUNDLED, { preset: '7x-two-stage' });
    const found = planFor(BUNDLED, { speed: view.tflops.ratio });
    expect(found.steps).toEqual([3, 6]);
    expect(found.plan).toEqual(plan);
  });

  test('of a preset with three stages matches no worse than the preset', () => {
    for (const [preset, e, r] of [
      ['4x', [0.3, 0.45, 1], 0.3],
      ['7x', [0.2, 0.3, 1], 0.1],
    ] as const) {
      const { plan, view } = planFor(FLUX, { preset });
      const found = planFor(FLUX, { speed: view.tflops.ratio, e, r });
      expect(found.plan.divergence).toBeLessThanOrEqual(plan.divergence as number);
    }
  });

  test('costs at most what its draft says, in work and in steps', () => {
    for (const [facts, input] of [
      [BUNDLED, { speed: 1 }],
      [BUNDLED, { speed: 7 }],
      [FLUX, { speed: 7, ...THREE }],
      [FLUX, { speed: 20 }],
    ] as const) {
      const draft = value(draftFor(facts, input));
      const { plan } = plannedFor(facts, input)[0]!;
      const work = plan.flops.denoise + plan.flops.decode + plan.flops.text;
      expect(work).toBeLessThanOrEqual(draft.flops * (1 + 1e-12));
      expect(plan.stages.reduce((sum, { steps }) => sum + steps, 0)).toBeLessThanOrEqual(draft.steps);
    }
  });

  test('is searched for once', () => {
    const memo = new Map();
    const first = plannedFor(FLUX, { speed: 7 }, memo);
    const { size } = memo;
    expect(plannedFor(FLUX, { speed: 7 }, memo)).toEqual(first);
    expect(memo.size).toBe(size);
    plannedFor(FLUX, { speed: 8 }, memo);
    expect(memo.size).toBeGreaterThan(size);
  });

  test.each<[Omit<RequestInput, 'prompt'>, string]>([
    [{ preset: '7x' }, 'preset'],
    [{ N: [1, 2] }, 'N'],
    [{ h: [3, 2] }, 'h'],
    [{ Z: 4 }, 'Z'],
    [{ published: true }, 'published'],
    [{ cache: { kind: 'taylor_velocity', interval: 2, order: 1, warmup: 1 } }, 'cache'],
  ])('is refused beside %j', (extra, other) => {
    expect(draftFor(FLUX, { speed: 7, e: [0.2, 1], ...extra })).toEqual({
      ok: false,
      refusal: { field: 'speed', value: 7, rule: `cannot be given together with ${other}` },
    });
  });

  test.each<[Omit<RequestInput, 'prompt'>, string, string]>([
    [{ speed: 5, e: [1] }, 'e', 'must have 2 or 3 values together with speed'],
    [{ speed: 5, e: [0.1, 0.2, 0.3, 1] }, 'e', 'must have 2 or 3 values together with speed'],
    [{ speed: 5, e: [0.2, 0.9] }, 'e', 'the last value must be 1'],
    [{ speed: 5, e: [0.2, 0.3, 1] }, 'r', 'is required for 3 stages: the share of tokens upsampled early, 1 value'],
    [{ speed: 5, r: 0.1 }, 'r', '2 stages have no selection to make'],
    [{ speed: 5, z_max: 1 }, 'z_max', 'must be from 2 to 100'],
    [{ speed: 5, width: 500 }, 'width, height', 'model flux-1-dev offers '],
    [{ speed: 5, width: 720, height: 720 }, 'speed', '720x720 has 45 x 45 tokens'],
    [{ speed: 50, width: 848, height: 480 }, 'speed', '848x480 has 53 x 30 tokens'],
  ])('refuses %j', (input, field, rule) => {
    expect(draftFor(FLUX, input)).toMatchObject({
      ok: false,
      refusal: { field, rule: expect.stringContaining(rule) },
    });
  });

  test('is refused beyond what one step of each stage comes to, and taken there', () => {
    const { view } = planFor(BUNDLED, { N: [1, 1], e: [0.2, 1] });
    const most = Math.floor(view.tflops.ratio * 100) / 100;
    expect(draftFor(BUNDLED, { speed: 50 })).toEqual({
      ok: false,
      refusal: { field: 'speed', value: 50, rule: `must be at most ${most}: one step of each stage` },
    });
    expect(planFor(BUNDLED, { speed: most }).steps).toEqual([1, 1]);
  });

  test('is refused where a job would have too many steps, and for a model that states no work', () => {
    const slow = { ...BUNDLED, steps: 500 };
    expect(draftFor(slow, { speed: 1 })).toMatchObject({
      ok: false,
      refusal: { field: 'speed', value: 1, rule: expect.stringContaining('a job has 1000 steps at most') },
    });
    expect(planFor(slow, { speed: 2 }).steps.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(1000);
    const silent = {
      ...BUNDLED,
      flops: { ...BUNDLED.flops, per_token: 0, per_token_squared: 0, fixed: 0 },
    };
    expect(draftFor(silent, { speed: 7 })).toMatchObject({
      ok: false,
      refusal: { field: 'speed', rule: 'model fluent-scenes does not state its work' },
    });
  });
});
