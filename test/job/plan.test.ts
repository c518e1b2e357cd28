import { describe, expect, test } from 'vitest';
import type { JobRequest } from '../../src/job/job.ts';
import { modelShift } from '../../src/job/model-shift.ts';
import { needsOf, viewPlan } from '../../src/job/plan.ts';
import { type DraftOptions, draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { defaultPreset, PRESETS, presetsFor, usualPresetsFor } from '../../src/job/presets.ts';
import { chooseSchedule, type ScheduleInput } from '../../src/job/schedule-request.ts';
import { amplitudeRanges } from '../../src/numerics/restart-amplitude.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { FLUX, planOn, requestOn, value } from './requests.ts';

const REFERENCE = { reference: true, upsampling: 'token' } as const;
const planFor = (input: ScheduleInput, changes: Partial<JobRequest> = {}, memo = new Map()) =>
  planOn(FLUX, input, changes, memo);

describe('the plan', () => {
  test.each([
    ['4x', [1024, 1945, 4096], 861.3, 4.34],
    ['5x', [1024, 1636, 4096], 704.5, 5.3],
    ['7x', [1024, 1330, 4096], 510.7, 7.31],
  ])('of FLUX at preset %s has the tokens and the work that the method states', (preset, tokens, tflops, ratio) => {
    const plan = value(planFor({ preset, published: true }));
    expect(plan.stages.map((stage) => stage.tokens)).toEqual(tokens);
    const view = viewPlan(plan, requestOn(FLUX, { preset })).tflops;
    // the stated figures hold text encoder and decodes too
    expect(Math.abs(view.total / tflops - 1)).toBeLessThan(0.005);
    expect(view.ratio_total).toBeCloseTo(ratio, 2);
  });

  test('shows how many times less denoising there is, and how much less work in all: 7.54 and 7.31 for FLUX at 7x', () => {
    const { tflops } = viewPlan(value(planFor({ preset: '7x' })), requestOn(FLUX, { preset: '7x' }));
    expect([tflops.ratio.toFixed(2), tflops.ratio_total.toFixed(2)]).toEqual(['7.54', '7.31']);
    expect(tflops.ratio).toBe(tflops.plain / tflops.denoise);
    expect(tflops.ratio_total).toBeCloseTo(tflops.plain_total / tflops.total, 12);
    const plain = viewPlan(value(planFor({ preset: 'plain' })), requestOn(FLUX, { preset: 'plain' })).tflops;
    expect([plain.ratio, plain.ratio_without_attention, plain.ratio_total]).toEqual([1, 1, 1]);
    expect([plain.total, plain.plain_total]).toEqual([tflops.plain_total, tflops.plain_total]);
  });

  test('has noise by place, but for runs that repeat what was published', () => {
    const numerics = (input: ScheduleInput, changes: Partial<JobRequest> = {}) => {
      const plan = value(planFor(input, changes));
      expect(viewPlan(plan, requestOn(FLUX, input)).numerics).toBe(plan.numerics);
      return plan.numerics;
    };
    expect(numerics({ preset: '7x' })).toBe(2);
    expect(numerics({ N: [2, 3, 5], e: [0.2, 0.3, 1], h: [8, 3, 2], Z: 6, r: 0.1 })).toBe(2);
    expect(numerics({ preset: '7x', published: true })).toBe(1);
    expect(numerics({ preset: '7x' }, { reference: true, upsampling: 'token' })).toBe(1);
  });

  test('hands out sigmas that fall, begin at the restart and end at exactly 0', () => {
    for (const { name } of presetsFor(FLUX)) {
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
    for (const { name, published } of usualPresetsFor(FLUX)) {
      const fitted = value(planFor({ preset: name }));
      const given = value(planFor({ preset: name, published: true }));
      expect(given.stages.map(({ shift }) => shift)).toEqual(published?.shifts);
      expect(fitted.fitted && !given.fitted).toBe(true);
      expect(fitted.divergence).toBeLessThanOrEqual(given.divergence as number);
      expect(fitted.z.every((z) => z >= 2 && z <= 10)).toBe(true);
      expect(given.z).toEqual([published?.z, published?.z]);
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

  test('bounds every fitted Z by the amplitude its boundary must keep, or by z_max instead', () => {
    const { z, selected, rows } = value(planFor({ preset: '7x' }));
    const ranges = amplitudeRanges({ side: 2 * rows, ends: [0.2, 0.3, 1], selected, lowTokens: rows ** 2 / 4 });
    expect(z.every((strength, k) => strength <= (ranges[k]?.most as number))).toBe(true);
    expect(z[0]).toBe(ranges[0]?.most);
    expect(value(planFor({ preset: '7x', z_max: 2 })).z).toEqual([2, 2]);
    expect(value(planFor({ preset: '7x', z_max: 10 })).z[0]).toBe(10);
  });

  test('states the amplitude at each boundary, short of the wanted one where no Z reaches it', () => {
    const small: ModelFacts = { ...FLUX, sizes: [{ width: 256, height: 128 }] };
    const stated = (facts: ModelFacts, input: ScheduleInput) => {
      const plan = value(planOn(facts, input));
      return { z: plan.z, amplitude: viewPlan(plan, requestOn(facts, input)).amplitude };
    };
    const { z, amplitude } = stated(small, { preset: '7x' });
    expect(z).toEqual([2, 2]);
    // the shorter side has 16 latent pixels, and things are .4 of it wide
    expect(amplitude).toEqual([
      {
        upsampled: { reached: expect.closeTo(0.8, 9), wanted: 1.6 },
        kept: { reached: expect.closeTo(0.4, 9), wanted: 1 },
      },
      { upsampled: { reached: expect.closeTo((6.4 * 3) / 14, 9), wanted: 1.6 }, kept: null },
    ]);
    for (const input of [
      { preset: '7x', published: true },
      { N: [2, 3], e: [0.2, 1], h: [6, 2], Z: 5 },
    ])
      expect(stated(FLUX, input).amplitude).toHaveLength(stated(FLUX, input).z.length);
    expect(stated(FLUX, { preset: 'plain' })).toEqual({ z: [], amplitude: [] });
  });

  test.each([
    [{ N: [2, 3, 5], e: [0.2, 0.3, 1], h: [6, 3, 2], r: 0.1, Z: 4 }, [4, 4]],
    [{ N: [2, 3, 5], e: [0.2, 0.3, 1], h: [6, 3, 2], r: 0.1, Z: [4, 2.5] }, [4, 2.5]],
    [{ N: [2, 5], e: [0.3, 1], h: [6, 2], Z: [3] }, [3]],
  ] as const)('takes one Z for all boundaries or one for each: %o', (input, z) => {
    const plan = value(planFor(input));
    expect(plan.z).toEqual(z);
    for (const [k, strength] of z.entries())
      expect(plan.stages[k + 1]?.renoise?.correlation).toBeCloseTo(1 / strength ** 2, 12);
  });

  test.each([[[4]], [[4, 4, 4]], [[4, 1.9]], [[4, 101]], [1.9], [[]]] as const)('refuses Z = %j', (Z) => {
    const input = { N: [2, 3, 5], e: [0.2, 0.3, 1], h: [6, 3, 2], r: 0.1, Z };
    expect(chooseSchedule(input, FLUX, FLUX.sizes[0]!)).toEqual({
      ok: false,
      refusal: { field: 'Z', value: Z, rule: 'must be from 2 to 100, one value or a list of 2' },
    });
  });

  test('takes shifts up to five times the model’s own', () => {
    const size = FLUX.sizes[0]!;
    const input = (h: number): ScheduleInput => ({ N: [2, 3], e: [0.3, 1], h: [h, 2], Z: 3 });
    expect(chooseSchedule(input(15), FLUX, size).ok).toBe(true);
    expect(chooseSchedule(input(15.1), FLUX, size)).toMatchObject({
      refusal: { field: 'h', rule: 'must have 2 values from 0.5 to 15' },
    });
    const steep: ModelFacts = { ...FLUX, shift: [{ tokens: 4096, shift: 25 }] };
    expect(chooseSchedule(input(125), steep, size).ok).toBe(true);
  });

  test.each([
    [1536, 7.5],
    [2048, 25.3],
  ])('of FLUX by its own rule of shifts at %i² has every number finite and none at the edge', (side, shift) => {
    const facts: ModelFacts = {
      ...FLUX,
      sizes: [{ width: side, height: side }],
      // log(shift) linear in tokens from .5 at 256 to 1.15 at 4096
      shift: [
        { tokens: 256, shift: Math.exp(0.5) },
        { tokens: 4096, shift: Math.exp(1.15) },
      ],
      max_tokens: (side / 16) ** 2,
    };
    for (const { name } of presetsFor(FLUX)) {
      const { stages, z, divergence } = value(planOn(facts, { preset: name }));
      expect(modelShift(facts.shift, (side / 16) ** 2)).toBeCloseTo(shift, 1);
      expect(stages.every((stage) => stage.shift > 0.51 && stage.shift < 4.9 * shift)).toBe(true);
      expect(z.every((strength) => strength >= 2 && strength <= 10)).toBe(true);
      expect(divergence).toBeLessThan(side === 1536 ? 0.036 : 0.1303);
      for (const { sigmas } of stages)
        expect(sigmas.every((sigma, i) => i === 0 || Math.fround(sigma) < Math.fround(sigmas[i - 1] as number))).toBe(
          true,
        );
    }
  });

  test('decodes where someone looks: for the selection, for previews, for the image', () => {
    expect(value(planFor({ preset: '7x' })).stages.map(({ decode }) => decode)).toEqual(['clean', 'none', 'image']);
    expect(
      value(planFor({ preset: '7x' }, { previews: { count: 7, format: 'webp' } })).stages.map(({ decode }) => decode),
    ).toEqual(['clean', 'clean', 'image']);
    expect(value(planFor({ N: [2, 2], e: [0.3, 1] })).stages.map(({ decode }) => decode)).toEqual(['none', 'image']);
    expect(value(planFor({ preset: 'plain' })).stages.map(({ decode }) => decode)).toEqual(['image']);
  });

  test('decodes nothing for a selection by latents or for none, and counts what is left', () => {
    const decodes = (input: ScheduleInput, changes: Partial<JobRequest> = {}) => {
      const { stages, flops } = value(planFor(input, changes));
      return [...stages.map(({ decode }) => decode), flops.decode / (FLUX.flops.decode_per_pixel * 1024 ** 2)];
    };
    const previews = { count: 7, format: 'webp' } as const;
    expect(decodes({ preset: '7x' })).toEqual(['clean', 'none', 'image', 1.25]);
    for (const input of [{ selection: 'latent' }, { selection: 'none' }, { r: 0 }] as const) {
      expect(decodes({ preset: '7x', ...input })).toEqual(['none', 'none', 'image', 1]);
      expect(decodes({ preset: '7x', ...input }, { previews })[0]).toBe('clean');
    }
  });

  test('states what it selects by, keeps the preset’s r for latents, and has no low token go early for none', () => {
    const stated = (input: ScheduleInput) => {
      const plan = value(planFor(input));
      const { selection } = viewPlan(plan, requestOn(FLUX, input));
      return { selection, selected: plan.selected, features: plan.features, tokens: plan.stages[1]?.tokens };
    };
    expect(stated({ preset: '7x' })).toEqual({ selection: 'canny', selected: [102], features: [], tokens: 1330 });
    expect(stated({ preset: '7x', selection: 'latent' })).toEqual({
      selection: 'latent',
      selected: [102],
      features: ['clean_latents'],
      tokens: 1330,
    });
    const none = { selection: 'none', selected: [0], features: [], tokens: 1024 };
    expect(stated({ preset: '7x', selection: 'none' })).toEqual(none);
    expect(stated({ preset: '7x', r: 0 })).toEqual(none);
    expect(stated({ preset: '7x', r: 0, selection: 'latent' })).toEqual(none);
  });

  test.each([
    [{ preset: '7x', r: 0.1, selection: 'none' }, 'r', 'selection none upsamples nothing early: leave r out or say 0'],
    [{ preset: 'plain', selection: 'latent' }, 'selection', 'the plain run has no boundary to select tokens at'],
    [{ N: [2, 2], e: [0.3, 1], selection: 'latent' }, 'selection', '2 stages have no selection to make'],
    [
      { preset: '7x', published: true, selection: 'latent' },
      'selection',
      'the published schedule selects by canny: leave it out or say canny',
    ],
  ] as const)('refuses a selection that cannot be: %o', (input, field, rule) => {
    expect(chooseSchedule(input, FLUX, FLUX.sizes[0]!)).toMatchObject({ ok: false, refusal: { field, rule } });
  });

  test('refuses another selection than Canny’s for a reference run', () => {
    const changes = { reference: true, upsampling: 'token' } as const;
    expect(planFor({ preset: '7x', selection: 'latent' }, changes)).toMatchObject({
      ok: false,
      refusal: { field: 'selection', value: 'latent' },
    });
  });

  test('with another solver has the same schedule and work, and needs the feature of its name', () => {
    const euler = value(planFor({ preset: '7x' }));
    const ab2 = value(planFor({ preset: '7x' }, { solver: 'ab2' }));
    expect(ab2).toEqual({ ...euler, features: ['solver.ab2'] });
    expect(needsOf(ab2).features).toEqual(['solver.ab2']);
    expect(viewPlan(ab2, requestOn(FLUX, { preset: '7x' }, { solver: 'ab2' })).solver).toBe('ab2');
  });

  test('refuses another solver than Euler for a reference run', () => {
    expect(planFor({ preset: '7x' }, { reference: true, upsampling: 'token', solver: 'ab2' })).toEqual({
      ok: false,
      refusal: { field: 'solver', value: 'ab2', rule: 'the reference steps by euler: leave it out or say euler' },
    });
  });

  test.each([
    ['5x-taylor-3', 3, [3, 4, 4]],
    ['5x-taylor-2', 2, [3, 3, 4]],
  ] as const)('of %s is that of 5x, with some steps forecast and the work of the others', (preset, warmup, counts) => {
    for (const published of [false, true]) {
      const whole = value(planFor({ preset: '5x', published }));
      const cached = value(planFor({ preset, published }));
      const stages = whole.stages.map((stage, k) => ({
        ...stage,
        evaluations: counts[k],
        flops: (stage.flops / stage.steps) * counts[k]!,
      }));
      expect(cached).toMatchObject({
        z: whole.z,
        numerics: whole.numerics,
        features: ['cache.taylor_velocity'],
        stages: stages.map(({ flops, flopsWithoutAttention: _, ...stage }) => ({
          ...stage,
          flops: expect.closeTo(flops, -3),
        })),
      });
      const view = viewPlan(cached, requestOn(FLUX, { preset, published }));
      expect(view.cache).toEqual({ kind: 'taylor_velocity', interval: 2, order: 2, warmup });
      expect(view.stages.map(({ evaluations }) => evaluations)).toEqual(counts);
      expect(view.tflops.denoise).toBeCloseTo(
        stages.reduce((sum, { flops }) => sum + flops / 1e12, 0),
        6,
      );
    }
  });

  test('with a cache of the caller’s forecasts in every stage that is long enough', () => {
    const cache = { kind: 'taylor_velocity', interval: 3, order: 1, warmup: 2 } as const;
    const counts = (input: ScheduleInput) =>
      value(planFor({ ...input, cache })).stages.map(({ steps, evaluations }) => [steps, evaluations]);
    const custom = { N: [1, 3, 9], e: [0.2, 0.3, 1], r: 0.1, h: [6, 3, 2], Z: 4 };
    expect(counts(custom)).toEqual([
      [1, 1],
      [3, 2],
      [9, 4],
    ]);
    expect(counts({ preset: 'plain' })).toEqual([[50, 18]]);
    expect(counts({ preset: '4x' }).map(([, evaluations]) => evaluations)).toEqual([3, 3, 3]);
    expect(viewPlan(value(planFor(custom)), requestOn(FLUX, custom)).cache).toBeNull();
  });

  const CACHE = { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 2 } as const;
  test.each<[ScheduleInput, Partial<JobRequest>, string, unknown, RegExp]>([
    [{ preset: '5x', cache: { ...CACHE, warmup: 6 } }, {}, 'cache.warmup', 6, /the longest stage has 6 steps/],
    [{ preset: '7x', cache: { ...CACHE, interval: 6 } }, {}, 'cache.interval', 6, /the longest stage has 5 steps/],
    [{ N: [1], e: [1], cache: { ...CACHE, warmup: 1 } }, {}, 'cache.warmup', 1, /the longest stage has 1 step$/],
    [{ preset: '5x-taylor-2', cache: CACHE }, {}, 'cache', CACHE, /has a cache of its own/],
    [{ preset: '5x', published: true, cache: CACHE }, {}, 'cache', CACHE, /published schedule evaluates every step/],
    [{ preset: '5x', cache: CACHE }, { solver: 'ab2' }, 'solver', 'ab2', /a cache forecasts for euler alone/],
    [{ preset: '5x-taylor-2' }, { solver: 'ab2' }, 'solver', 'ab2', /a cache forecasts for euler alone/],
    [{ preset: '5x', cache: CACHE }, REFERENCE, 'cache', CACHE, /the reference evaluates every step/],
    [{ preset: '5x-taylor-2' }, REFERENCE, 'preset', '5x-taylor-2', /the reference evaluates every step/],
  ])('refuses a cache that cannot be or saves nothing: %j with %j', (input, changes, field, got, rule) => {
    const chosen = chooseSchedule(input, FLUX, FLUX.sizes[0]!);
    const refused = chosen.ok ? planFor(input, changes) : chosen;
    expect(refused).toEqual({ ok: false, refusal: { field, value: got, rule: expect.stringMatching(rule) } });
  });

  test('takes a cache of any kind that the model can be run with, and refuses others', () => {
    const blocks = { ...CACHE, kind: 'taylor_blocks' } as const;
    const both: ModelFacts = { ...FLUX, caches: ['taylor_velocity', 'taylor_blocks'] };
    const custom = { N: [4, 5, 6], e: [0.3, 0.45, 1], r: 0.2 };
    for (const input of [{ preset: '5x' }, { preset: 'plain' }, custom]) {
      for (const cache of [CACHE, blocks])
        expect(value(planOn(both, { ...input, cache })).features).toEqual([`cache.${cache.kind}`]);
      expect(chooseSchedule({ ...input, cache: blocks }, FLUX, FLUX.sizes[0]!)).toEqual({
        ok: false,
        refusal: { field: 'cache.kind', value: 'taylor_blocks', rule: 'model flux-1-dev takes taylor_velocity' },
      });
      expect(chooseSchedule({ ...input, cache: CACHE }, { ...FLUX, caches: [] }, FLUX.sizes[0]!)).toEqual({
        ok: false,
        refusal: { field: 'cache', value: CACHE, rule: 'model flux-1-dev evaluates every step: leave it out' },
      });
    }
    expect(planOn(both, { preset: '5x', cache: blocks }, { solver: 'ab2' })).toMatchObject({
      ok: false,
      refusal: { field: 'solver', value: 'ab2' },
    });
  });

  test('refuses a cache for a preset of four steps, and takes one for a longer schedule of such a model', () => {
    const schnell = { ...FLUX, steps: 4 };
    const cache = { ...CACHE, warmup: 1 };
    for (const preset of ['few', 'plain', undefined])
      expect(chooseSchedule({ preset, cache }, schnell, FLUX.sizes[0]!)).toEqual({
        ok: false,
        refusal: {
          field: 'cache',
          value: cache,
          rule: 'presets of 4 steps have too few to forecast from: leave it out',
        },
      });
    expect(value(planOn(schnell, { N: [8], e: [1], cache })).stages[0]).toMatchObject({ steps: 8, evaluations: 4 });
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

describe('a size whose token grid has an odd side', () => {
  const WIDE = { width: 1360, height: 768 };
  const SMALL = { width: 848, height: 480 };
  const SQUARE = { width: 720, height: 720 };

  test.each([
    [WIDE, 85 * 48],
    [SMALL, 53 * 30],
    [SQUARE, 45 * 45],
  ])('%o gets the plain run unless told otherwise', (size, tokens) => {
    const request = requestOn(FLUX, {}, size);
    expect(request.schedule).toMatchObject({ preset: 'plain', steps: [50], ends: [1] });
    const { stages, selected } = value(planFor({}, size));
    expect(stages.map((stage) => [stage.tokens, stage.steps])).toEqual([[tokens, 50]]);
    expect(selected).toEqual([]);
  });

  test('takes one stage of any number of steps', () => {
    expect(value(planFor({ N: [20], e: [1] }, SMALL)).stages.map(({ steps }) => steps)).toEqual([20]);
  });

  test.each([
    [{ preset: '7x' }, 'preset', '7x'],
    [{ preset: '4x', published: true }, 'preset', '4x'],
    [{ N: [2, 2], e: [0.3, 1] }, 'N', [2, 2]],
    [{ N: [2, 3, 5], e: [0.2, 0.3, 1], r: 0.1 }, 'N', [2, 3, 5]],
  ] as const)('refuses stages in words: %o', (input, field, got) => {
    expect(planFor(input, WIDE)).toEqual({
      ok: false,
      refusal: {
        field,
        value: got,
        rule: '1360x768 has 85 x 48 tokens; stages need an even number on both sides: ask for preset plain or another size',
      },
    });
  });

  test.each([{ r: 0.2 }, { published: true }, { z_max: 20 }])(
    'refuses what only stages have, and says why there are none: %o',
    (input) => {
      const [[field, got]] = Object.entries(input) as [[string, unknown]];
      expect(chooseSchedule(input, FLUX, SMALL)).toEqual({
        ok: false,
        refusal: { field, value: got, rule: expect.stringMatching(/^848x480 has 53 x 30 tokens; stages need/) },
      });
    },
  );

  test('leaves every other size its fastest preset', () => {
    expect(requestOn(FLUX, {}).schedule.preset).toBe('7x');
    expect(requestOn(FLUX, {}, { width: 1280, height: 1280 }).schedule.preset).toBe('7x');
  });

  test('is still refused where the model does not offer it', () => {
    expect(planFor({}, { width: 1000, height: 768 })).toMatchObject({
      ok: false,
      refusal: { field: 'width, height', value: '1000x768' },
    });
  });

  test('is refused for a schedule of one’s own too, however far from the model’s sizes', () => {
    // FLUX's own rule says no finite number there
    const shift = [
      { tokens: 256, shift: Math.exp(0.5) },
      { tokens: 4096, shift: Math.exp(1.15) },
    ];
    const size = { width: 1_000_000, height: 1_000_000 };
    expect(chooseSchedule({ N: [4, 6], e: [0.3, 1] }, { ...FLUX, shift }, size)).toMatchObject({
      ok: false,
      refusal: { field: 'width, height', value: '1000000x1000000' },
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

describe('a size by rule', () => {
  const RULED: ModelFacts = {
    ...FLUX,
    sizes: [{ width: 1024, height: 1024 }],
    size_rule: { multiple: 16, min_pixels: 65_536, max_pixels: 1_638_400, max_aspect: 4 },
  };

  test.each([
    [{ width: 1152, height: 896 }, 72 * 56, '7x'],
    [{ width: 512, height: 1024 }, 32 * 64, '7x'],
    [{ width: 1136, height: 896 }, 71 * 56, 'plain'],
  ])('of %o is planned like one of the list', (size, tokens, preset) => {
    const { schedule } = requestOn(RULED, {}, size);
    expect(schedule.preset).toBe(preset);
    expect(value(planOn(RULED, {}, size)).stages.at(-1)?.tokens).toBe(tokens);
  });

  test.each([
    { width: 1000, height: 1024 },
    { width: 240, height: 256 },
    { width: 1296, height: 1280 },
    { width: 1040, height: 256 },
    { width: 1024 * 1024, height: 16 },
  ])('of %o is refused, with the list and the rule, by a preset and by lists', (size) => {
    const refusal = {
      field: 'width, height',
      value: `${size.width}x${size.height}`,
      rule: 'model flux-1-dev offers 1024x1024, or any size with sides that are multiples of 16, 65536 to 1638400 pixels, and the longer side at most 4 times the shorter',
    };
    const schedule = requestOn(RULED, { preset: '7x' }).schedule;
    expect(planOn(RULED, {}, { ...size, schedule })).toEqual({ ok: false, refusal });
    expect(chooseSchedule({ N: [2, 3], e: [0.2, 1] }, RULED, size)).toEqual({ ok: false, refusal });
  });
});

describe('upsampling', () => {
  const tools = { allowEngineChange: false, tariff: null, draw: () => 0 };
  const memo = new Map();
  const planned = (upsampling: ModelFacts['upsampling'], input: Partial<RequestInput>) =>
    draftRequest({ prompt: 'a fox', preset: '7x', ...input }, { ...FLUX, upsampling }, tools);
  const modeOf = (upsampling: ModelFacts['upsampling'], input: Partial<RequestInput> = {}) =>
    value(planned(upsampling, input)).plan(memo)[0]!.request.upsampling;

  test('is the first that the model states, and token for a reference run', () => {
    expect(modeOf(['latent', 'token'])).toBe('latent');
    expect(modeOf(['token', 'latent'])).toBe('token');
    expect(modeOf(['token'])).toBe('token');
    expect(modeOf(['token', 'latent'], { upsampling: 'latent' })).toBe('latent');
    expect(modeOf(['latent', 'token'], { reference: true })).toBe('token');
    expect(modeOf(['token'], { reference: true })).toBe('token');
  });

  test.each<[ModelFacts['upsampling'], Partial<RequestInput>, string, unknown, string]>([
    [['token'], { upsampling: 'latent' }, 'upsampling', 'latent', 'model flux-1-dev takes token'],
    [['latent'], { upsampling: 'token' }, 'upsampling', 'token', 'model flux-1-dev takes latent'],
    [['token'], { upsampling: 'latent', preset: 'plain' }, 'upsampling', 'latent', 'model flux-1-dev takes token'],
    [
      ['latent'],
      { reference: true },
      'reference',
      true,
      'the reference repeats tokens, and model flux-1-dev takes upsampling latent',
    ],
  ])('of a model with %j is refused for %j', (modes, input, field, got, rule) => {
    expect(planned(modes, input)).toEqual({ ok: false, refusal: { field, value: got, rule } });
  });
});

describe('a draft', () => {
  const tools = { allowEngineChange: false, tariff: null, draw: () => 41 };
  const jobsOf = (input: Partial<RequestInput>, options: DraftOptions = {}) =>
    value(draftRequest({ prompt: 'a fox', preset: '7x', ...input }, FLUX, tools, options)).plan(new Map());

  test('draws a seed where none is given, and for -1', () => {
    const seedOf = (input: Partial<RequestInput>) => jobsOf(input)[0]!.request.seed;
    expect([seedOf({}), seedOf({ seed: -1 }), seedOf({ seed: 0 }), seedOf({ seed: 7 })]).toEqual([41, 41, 0, 7]);
    expect(jobsOf({ seed: -1 }, { count: 2 }).map(({ request }) => request.seed)).toEqual([41, 42]);
  });

  test('warns of what its door says before all else, on every job', () => {
    const own = jobsOf({ prompt: '苹果' })[0]!.plan.warnings;
    const notes = ['style is ignored: the models have no styles'];
    for (const { plan } of jobsOf({ prompt: '苹果' }, { count: 2, notes }))
      expect(plan.warnings).toEqual([...notes, ...own]);
  });
});

describe('presets', () => {
  test('come with the default last, which evaluates every step', () => {
    for (const { families, plainSteps: steps } of PRESETS) {
      for (const family of families) {
        const facts = { ...FLUX, family, steps };
        const last = presetsFor(facts).at(-1)!;
        expect([last.name, last.cache]).toEqual([defaultPreset(facts), null]);
      }
    }
    expect(defaultPreset(FLUX)).toBe('7x');
  });

  test.each([
    ['flux.1', 50, ['4x', '5x', '5x-taylor-3', '5x-taylor-2', '7x']],
    ['sd3', 28, ['2x', '3x']],
    ['flux.1', 4, ['few']],
    ['sd3', 4, ['few']],
    ['sd3', 50, []],
    ['flux.1', 28, []],
    ['flux.2', 4, []],
    ['flux.2', 50, []],
    [null, 50, []],
    [null, 28, []],
  ])('published for family %s with %i steps are %j', (family, steps, names) => {
    const facts = { ...FLUX, family, steps };
    expect(presetsFor(facts).map(({ name }) => name)).toEqual(names);
    const own = { name: 'own', N: [3, 6], e: [0.2, 1], r: [] };
    expect(presetsFor({ ...facts, presets: [own] }).map(({ name }) => name)).toEqual(['own', ...names]);
    expect(defaultPreset({ ...facts, presets: [own] })).toBe(names.at(-1) ?? 'own');
  });

  test('have a cache of the first kind that the model can be run with, and none where it has no kind', () => {
    const cachesOf = (caches: ModelFacts['caches']) =>
      presetsFor({ ...FLUX, caches }).map(({ name, cache }) => [name, cache?.kind ?? null]);
    for (const caches of [
      ['taylor_velocity'],
      ['taylor_blocks'],
      ['taylor_blocks', 'taylor_velocity'],
    ] satisfies ModelFacts['caches'][]) {
      expect(cachesOf(caches)).toEqual([
        ['4x', null],
        ['5x', null],
        ['5x-taylor-3', caches[0]],
        ['5x-taylor-2', caches[0]],
        ['7x', null],
      ]);
    }
    expect(cachesOf([])).toEqual([
      ['4x', null],
      ['5x', null],
      ['7x', null],
    ]);
    const blocks: ModelFacts = { ...FLUX, caches: ['taylor_blocks', 'taylor_velocity'] };
    const plan = value(planOn(blocks, { preset: '5x-taylor-2' }));
    expect(plan.features).toEqual(['cache.taylor_blocks']);
    expect(plan.stages.map(({ evaluations }) => evaluations)).toEqual([3, 3, 4]);
  });

  test('of a model’s own are asked for by name; the published ones stay the default', () => {
    const own = { name: 'own', N: [3, 6], e: [0.2, 1], r: [] };
    const facts: ModelFacts = { ...FLUX, presets: [own, { ...own, name: '7x' }, { ...own, name: 'plain' }] };
    expect(presetsFor(facts).map(({ name, steps }) => [name, steps])).toEqual([
      ['own', [3, 6]],
      ...presetsFor(FLUX).map(({ name, steps }) => [name, steps]),
    ]);
    expect(defaultPreset(facts)).toBe('7x');
    const plan = value(planOn(facts, { preset: 'own' }));
    expect(plan.stages.map(({ tokens, steps, end }) => [tokens, steps, end])).toEqual([
      [1024, 3, 0.2],
      [4096, 6, 1],
    ]);
    expect(plan.numerics).toBe(2);
    expect(chooseSchedule({ preset: 'own', published: true }, facts, FLUX.sizes[0]!)).toMatchObject({
      ok: false,
      refusal: { field: 'published', rule: 'preset own has no published h and Z' },
    });
  });

  test('of a model’s own are the default where nothing is published for its family and steps', () => {
    const own = { name: 'own', N: [3, 6], e: [0.2, 1], r: [] };
    const facts: ModelFacts = { ...FLUX, steps: 20 };
    expect(defaultPreset({ ...facts, presets: [own, { ...own, name: 'faster' }] })).toBe('faster');
    expect(defaultPreset(facts)).toBe('plain');
  });

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
