import { decode as decodePng } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { nextTokens } from '../../src/job/boundary.ts';
import type { Job as StoryJob } from '../../src/job/job.ts';
import { FIRST_ROOM, isLastRoom, walkRoom } from '../../src/job/story.ts';
import { cleanEstimate, eulerStep } from '../../src/numerics/flow.ts';
import { normalsAtPlaces, standardNormals } from '../../src/numerics/normal.ts';
import { fitSchedule } from '../../src/numerics/nt-matching.ts';
import { gridIds, packLatents, sortByPosition } from '../../src/numerics/tokens.ts';
import { upsampleTokens } from '../../src/numerics/upsample.ts';
import { encodeStageRequest } from '../../src/stage/client.ts';
import { answerTo, runStageOn } from '../../test/contract/in-process.ts';
import { maxDifference } from '../../test/numerics/golden.ts';
import { CALIBRATION_VERSION, type Calibration, calibrate } from '../eval/calibrate.ts';
import { type Denoiser, type Job, makeDenoiser, type RunRequest } from '../eval/denoiser.ts';
import type { Row } from '../eval/row.ts';
import { makeAblations, makeRows } from '../eval/rows.ts';
import { walkStage } from '../eval/samplers/advance.ts';
import { anchorTokens, firstAnchors, growAnchors, neighboursOf, spread } from '../eval/samplers/anchors.ts';
import { blank } from '../eval/samplers/blank.ts';
import { bottleneck, bottleneckRestart } from '../eval/samplers/bottleneck.ts';
import { allocate, budgetOf, fewestSteps, fewestWith, intervalFor } from '../eval/samplers/budget.ts';
import { canvasOf, firstTokens, plainSigmas } from '../eval/samplers/canvas.ts';
import { type DividedDifferences, divide, extrapolate } from '../eval/samplers/divided-differences.ts';
import { encodeFlopsPerPixel, encodePixels, fitEncoder } from '../eval/samplers/encode.ts';
import { lateUpsampling } from '../eval/samplers/late.ts';
import { mrFlow } from '../eval/samplers/mrflow.ts';
import { plain } from '../eval/samplers/plain.ts';
import { type PlanOptions, planFor, ralu, sobelScores } from '../eval/samplers/ralu.ts';
import { doubleLatents, doublePixels, halveLatents, KERNELS } from '../eval/samplers/resize.ts';
import { teaCache } from '../eval/samplers/reuse.ts';
import { correctedLift, selfLift } from '../eval/samplers/selflift.ts';
import { expandSpectrum, fitPowerLaw } from '../eval/samplers/spectrum.ts';
import { grownLevel, growthLevel, lowSteps, speed } from '../eval/samplers/speed.ts';
import { taylorSeer, taylorSteps } from '../eval/samplers/taylor.ts';
import { fitShifts, mismatched, presetSchedule } from '../eval/schedules.ts';
import { runOn } from './stage-in-process.ts';

const facts = CLOSED_FORM_FACTS;
const JOB: Job = { prompt: 'a red apple', seed: 7, width: 128, height: 128 };
const WIDE: Job = { prompt: 'a blue background', seed: 8, width: 128, height: 64 };
const SMALL = { channels: 4, rows: 4, cols: 4 };
/** A channel of latents is one colour, the constant beside: the means of squares of 8 x 8 pixels, but for the last. */
const ENCODER = {
  side: 8,
  weights: Array.from({ length: 4 }, (_, c) =>
    Array.from({ length: 193 }, (_, k) => (k === 0 ? 0.1 * c : (k - 1) % 3 === c ? 1 / 64 : 0)),
  ),
  explained: [1, 1, 1, 0],
};
const CALIBRATION: Calibration = {
  version: CALIBRATION_VERSION,
  encoder: ENCODER,
  width: 128,
  height: 128,
  reuseThreshold: 0.2,
  reuseEvaluations: 6,
  spectrum: { scale: 0.1, slope: 2 },
};

const open = (job: Job = JOB, asked: { tokens: number; steps: number }[] = []): Denoiser =>
  makeDenoiser(facts, job, runOn(closedFormModel().model, asked));
const latentsOf = async (row: Row['sample'], job: Job = JOB) => (await row(open(job))).latents;
const evaluationsOf = async (row: Row['sample'], job: Job = JOB) => {
  const denoiser = open(job);
  await row(denoiser);
  return denoiser.spent.evaluations.map(({ tokens, count }) => [tokens, count]);
};

/**
 * A denoiser whose velocity depends on the noise level alone, on a model of shift 1; `asked` collects what it is asked.
 */
const openLevel = (velocityAt: (sigma: number) => number, asked: RunRequest[]): Denoiser =>
  makeDenoiser({ ...facts, shift: [{ tokens: 64, shift: 1 }] }, JOB, (_, request) => {
    asked.push(request);
    const { tokens, sigmas } = request;
    const latents = tokens.latents.slice();
    for (let i = 0; i + 1 < sigmas.length; i++)
      eulerStep(latents, new Float32Array(latents.length).fill(velocityAt(sigmas[i]!)), sigmas[i]!, sigmas[i + 1]!);
    const picture = request.picture
      ? { data: new Uint8Array(3 * JOB.width * JOB.height), width: JOB.width, height: JOB.height }
      : null;
    const last = new Float32Array(latents.length).fill(velocityAt(sigmas.at(-2)!));
    const clean = request.clean ? cleanEstimate(latents, last, sigmas.at(-1)!) : null;
    return Promise.resolve({ latents, clean, picture, computeMs: 1, textMs: 0, decodeMs: 0, warnings: [] });
  });
/** What a sampler asks of a model that moves nothing: every clean estimate is the latents themselves. */
const askedOfStill = async (sample: Row['sample']) => {
  const asked: RunRequest[] = [];
  await sample(openLevel(() => 0, asked));
  return asked.map(({ tokens, sigmas }) => ({ ...tokens, sigmas }));
};
const normals = (stream: number, count: number) => standardNormals({ seed: JOB.seed, stream, count });
/** share * a + (1 - share) * b */
const mix = (share: number, a: Float32Array, b: Float32Array) =>
  a.map((value, i) => share * value + (1 - share) * b[i]!);

/** What a stage request has beside its cache, its tokens and its levels. */
const OPTIONS = {
  model: facts.id,
  prompt: JOB.prompt,
  negative_prompt: '',
  guidance: null,
  width: JOB.width,
  height: JOB.height,
  decode: 'none' as const,
  rgb: false,
  format: 'png' as const,
  quality: 100,
  preview: null,
  traceparent: '',
};

const mapped = <T extends Record<string, number>>(record: T, of: (value: number) => number): T =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, of(value)])) as T;

/** The closed-form model's velocity of 'a red apple'. */
const velocity = (latents: Float32Array, sigma: number) =>
  latents.map((value) => Math.tanh(value) * (0.5 + sigma + 0.03));

describe('the denoiser', () => {
  it('gives the model’s velocity to the rounding of the step it is divided out of', async () => {
    const tokens = firstTokens(open(), 1);
    for (const sigma of [1, 0.5, 0.05])
      expect(
        maxDifference((await open().step(tokens, sigma, 0)).velocity, velocity(tokens.latents, Math.fround(sigma))),
      ).toBeLessThan(1e-6 / sigma);
  });

  it('steps one at a time as it steps at once, to the bit, and leaves the tokens as they are', async () => {
    const tokens = firstTokens(open(), 1);
    const before = tokens.latents.slice();
    const sigmas = plainSigmas(4, 3);
    const denoiser = open();
    let latents = tokens.latents;
    for (let i = 0; i < 4; i++) ({ latents } = await denoiser.step({ ...tokens, latents }, sigmas[i]!, sigmas[i + 1]!));
    expect(latents).toEqual(await open().steps(tokens, sigmas));
    expect(tokens.latents).toEqual(before);
  });

  it('counts evaluations, work and pictures, and a picture carried by no step costs its decoding alone', async () => {
    const denoiser = open();
    const tokens = await plain({ steps: 5 })(denoiser);
    const picture = await denoiser.decode(tokens);
    await denoiser.decode(tokens);
    const step = facts.flops.fixed + facts.flops.per_token * 64 + facts.flops.per_token_squared * 64 ** 2;
    expect(denoiser.spent).toMatchObject({
      evaluations: [{ tokens: 64, count: 5 }],
      denoiseFlops: 5 * step,
      decodeFlops: 128 * 128,
      textFlops: 1,
    });
    const again = { ...tokens, latents: tokens.latents.slice() };
    expect(await denoiser.decode(again)).toEqual(picture);
    expect(denoiser.spent).toMatchObject({
      evaluations: [{ tokens: 64, count: 5 }],
      denoiseFlops: 5 * step,
      decodeFlops: 2 * 128 * 128,
    });
  });
});

describe('the plain run', () => {
  it('is the numerics’ own trajectory', async () => {
    const denoiser = open();
    const latents = firstTokens(denoiser, 1).latents.slice();
    const sigmas = Float32Array.from(plainSigmas(10, 3));
    for (let i = 0; i < 10; i++) eulerStep(latents, velocity(latents, sigmas[i]!), sigmas[i]!, sigmas[i + 1]!);
    expect(await latentsOf(plain({ steps: 10 }))).toEqual(latents);
  });
});

describe('forecast and reuse', () => {
  it.each(['taylor', 'newton'] as const)('%s with interval 1 is the plain run to the bit', async (form) => {
    expect(await latentsOf(taylorSeer({ steps: 12, warmup: 1, interval: 1, order: 2, form }))).toEqual(
      await latentsOf(plain({ steps: 12 })),
    );
  });

  it('a forecast of order p over sigma is exact where the velocity is a polynomial of degree p, at any places', () => {
    for (const order of [0, 1, 2, 3]) {
      const at = (x: number) =>
        Float32Array.of(1, -2).map((c) =>
          Array.from({ length: order + 1 }, (_, i) => (c + i) * x ** i).reduce((a, b) => a + b),
        );
      let known: DividedDifferences = [];
      for (const place of [1, 0.9, 0.7, 0.55]) known = divide(known, at(place), place, order);
      expect(maxDifference(extrapolate(known, 0.4), at(0.4))).toBeLessThan(1e-4);
    }
  });

  it('a stage evaluates its warm-up and then every interval-th step, and remembers nothing of the stage before', async () => {
    const denoiser = open();
    const start = taylorSteps({ warmup: 2, interval: 3, order: 2, form: 'taylor' });
    for (let stage = 0; stage < 2; stage++)
      await walkStage(firstTokens(denoiser, 1), plainSigmas(8, 3), start(denoiser));
    // 0 1 · · 4 · · 7, twice
    expect(denoiser.spent.evaluations).toEqual([{ tokens: 64, count: 8 }]);
  });

  it.each([
    { warmup: 3, order: 2 },
    { warmup: 2, order: 2 },
    { warmup: 1, order: 1 },
  ])('a stage is the product’s own stage with a cache: %o', async ({ warmup, order }) => {
    const cache = { kind: 'taylor_velocity', interval: 2, order, warmup } as const;
    const tokens = firstTokens(open(), 1);
    const sigmas = Float32Array.from(plainSigmas(9, 3));
    const ask = async (asked: typeof cache | null): Promise<Float32Array> => {
      const body = encodeStageRequest({ ...OPTIONS, cache: asked }, { ...tokens, sigmas });
      return (await answerTo(closedFormModel().model, body)).tensors.latents?.data as Float32Array;
    };
    const { latents } = await walkStage(tokens, sigmas, taylorSteps({ ...cache, form: 'taylor' })(open()));
    const own = await ask(cache);
    // the evaluation divides its velocities out of single steps
    expect(maxDifference(latents, own)).toBeLessThan(1e-5);
    expect(maxDifference(own, await ask(null))).toBeGreaterThan(1e-3);
  });

  it('reuse with threshold 0 is the plain run to the bit; a higher threshold asks less, first, second and last step always', async () => {
    expect(await latentsOf(teaCache({ steps: 12, threshold: 0 }))).toEqual(await latentsOf(plain({ steps: 12 })));
    expect(await evaluationsOf(teaCache({ steps: 50, threshold: 1e9 }))).toEqual([[64, 3]]);
    const counts = await Promise.all(
      [0.01, 0.05, 0.2].map((threshold) => evaluationsOf(teaCache({ steps: 50, threshold }))),
    );
    const [a, b, c] = counts.map(([[, count] = [0, 0]]) => count as number);
    expect(a).toBeGreaterThan(b!);
    expect(b).toBeGreaterThan(c!);
  });

  it('reuse asks again where the change seen last, a unit of sigma, adds up to the threshold', async () => {
    const asked: RunRequest[] = [];
    await teaCache({ steps: 10, threshold: 0.25 })(openLevel((sigma) => sigma, asked));
    // levels 1, .9, … .1; the rate is 1 over the evaluation before the last: (.9 - .6) / 1 and (.6 - .3) / .9 are the
    // first above a quarter
    expect(asked.map(({ sigmas }) => Number(sigmas[0]!.toFixed(3)))).toEqual([1, 0.9, 0.6, 0.3, 0.1]);
  });
});

describe('RALU', () => {
  /** The picture the job's own story makes, with its stages run in this process. */
  async function story(
    schedule: ReturnType<typeof presetSchedule>,
    { reference = false, solver = 'euler', selection = 'canny' }: PlanOptions & { reference?: boolean },
  ): Promise<Uint8Array> {
    const { model } = closedFormModel();
    const request = {
      model: facts.id,
      prompt: JOB.prompt,
      negativePrompt: '',
      guidance: null,
      width: JOB.width,
      height: JOB.height,
      seed: JOB.seed,
      schedule,
      solver,
      selection,
      upsampling: reference ? ('token' as const) : ('latent' as const),
      reference,
      format: 'png' as const,
      quality: 100,
      isOwnSchedule: false,
      allowEngineChange: false,
      previews: { count: 0, format: 'webp' as const },
    };
    let job: StoryJob = {
      id: 'job',
      request,
      plan: planFor(facts, JOB, schedule, { solver, selection }),
      room: FIRST_ROOM,
      tokens: null,
      rgb: null,
      selections: null,
      usage: [],
    };
    for (let image: Uint8Array | null = null; ; ) {
      if (isLastRoom(job.room)) return image!;
      const step = await walkRoom(job, { clock: () => 0, runStage: runStageOn(model) });
      if (!step.ok) throw new Error(JSON.stringify(step.failure));
      ({ job, image } = step);
    }
  }

  it.each([
    { preset: '7x', published: false, reference: false },
    { preset: '4x', published: true, reference: false },
    { preset: '5x', published: true, reference: true },
  ])(
    '$preset makes the very picture of the job’s own story (published $published, reference $reference)',
    async ({ preset, published, reference }) => {
      const schedule = presetSchedule(facts, preset, { published });
      const denoiser = open();
      const tokens = await ralu({
        schedule,
        ...(reference && { mode: 'token', referenceVariance: true, referenceGrey: true }),
      })(denoiser);
      expect(tokens.early).toHaveLength(planFor(facts, JOB, schedule).selected[0]!);
      const { data } = await denoiser.decode(tokens);
      const png = decodePng(await story(schedule, { reference }));
      expect(data).toEqual(new Uint8Array(png.data));
    },
  );

  it.each<PlanOptions & { ratio: number }>([
    { solver: 'ab2', ratio: 0.3 },
    { selection: 'latent', ratio: 0.3 },
    { solver: 'ab2', selection: 'latent', ratio: 0.2 },
    { ratio: 0 },
  ])('makes it with %o too, for what the plan says', async ({ ratio, ...options }) => {
    const schedule = { ...presetSchedule(facts, '7x'), preset: null, ratios: [ratio] };
    const asked: { tokens: number; steps: number }[] = [];
    const denoiser = open(JOB, asked);
    const { data } = await denoiser.decode(await ralu({ schedule, ...options })(denoiser));
    const plan = planFor(facts, JOB, schedule, options);
    expect(data).toEqual(new Uint8Array(decodePng(await story(schedule, options)).data));
    // after Adams-Bashforth's last step the picture needs a request of its own
    expect(asked).toHaveLength(options.solver === 'ab2' ? 4 : 3);
    expect(denoiser.spent).toMatchObject({ denoiseFlops: plan.flops.denoise, decodeFlops: plan.flops.decode });
  });

  it('takes no solver beside forecasts', () => {
    const schedule = presetSchedule(facts, '5x-taylor-2');
    expect(() => ralu({ schedule, solver: 'ab2' })).toThrow('solver is ab2; expected euler');
  });

  it('asks for one stage request a stage, and spends what the plan says', async () => {
    const asked: { tokens: number; steps: number }[] = [];
    const denoiser = open(JOB, asked);
    const schedule = presetSchedule(facts, '7x');
    await denoiser.decode(await ralu({ schedule })(denoiser));
    expect(asked).toEqual([
      { tokens: 16, steps: 2 },
      { tokens: 19, steps: 3 },
      { tokens: 64, steps: 5 },
    ]);
    const { flops } = planFor(facts, JOB, schedule);
    expect(denoiser.spent).toMatchObject({
      denoiseFlops: flops.denoise,
      denoiseFlopsWithoutAttention: flops.denoiseWithoutAttention,
      decodeFlops: flops.decode,
    });
  });

  it('with previews decodes after every stage but the last, at a quarter of the work, and makes the same picture', async () => {
    const schedule = presetSchedule(facts, '7x');
    const cache = { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 9 } as const;
    for (const options of [
      { schedule },
      { schedule, selection: 'random' as const },
      { schedule: { ...schedule, cache } },
    ]) {
      const denoiser = open();
      const shown = await ralu({ previews: true, ...options })(denoiser);
      await denoiser.decode(shown);
      expect(shown.previews?.map(({ width, height }) => [width, height])).toEqual([
        [64, 64],
        [128, 128],
      ]);
      expect(denoiser.spent.decodeFlops).toBe(128 * 128 * (1 / 4 + 1 / 4 + 1));
      const hidden = await ralu(options)(open());
      expect(hidden.previews).toBeUndefined();
      expect(shown.latents).toEqual(hidden.latents);
    }
  });

  it('with a cache that evaluates every step is itself', async () => {
    const schedule = presetSchedule(facts, '5x');
    const cache = { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 9 } as const;
    expect(await latentsOf(ralu({ schedule: { ...schedule, cache } }))).toEqual(await latentsOf(ralu({ schedule })));
  });

  it.each(['5x-taylor-3', '5x-taylor-2'])(
    '%s makes the picture of the job’s own story and spends what its plan says',
    async (preset) => {
      const schedule = presetSchedule(facts, preset);
      const denoiser = open();
      const tokens = await ralu({ schedule })(denoiser);
      const { data } = await denoiser.decode(tokens);
      const png = decodePng(await story(schedule, { reference: false }));
      // the evaluation has its velocities from single steps, rounded once more
      expect(maxDifference(data, png.data)).toBeLessThanOrEqual(1);
      const { flops } = planFor(facts, JOB, schedule);
      expect(denoiser.spent.denoiseFlops).toBe(flops.denoise);
    },
  );

  it('other selections choose other tokens at the same work, and need no decoding', async () => {
    const schedule = presetSchedule(facts, '4x');
    const [canny, sobel, random, latent] = await Promise.all(
      (['canny', 'sobel', 'random', 'latent'] as const).map((selection) => latentsOf(ralu({ schedule, selection }))),
    );
    expect(maxDifference(canny!, random!)).toBeGreaterThan(0.1);
    expect(maxDifference(sobel!, random!)).toBeGreaterThan(0.1);
    expect(maxDifference(latent!, random!)).toBeGreaterThan(0.1);
    for (const selection of ['sobel', 'latent', 'random'] as const) {
      const denoiser = open();
      await ralu({ schedule, selection })(denoiser);
      expect(denoiser.spent.decodeFlops).toBe(128 * 128);
    }
  });

  it('the latents’ Sobel sees an edge where it is', () => {
    const image = new Float32Array(4 * 8 * 8).map((_, i) => (i % 8 < 5 ? 0 : 1));
    const scores = sobelScores(packLatents(image, SMALL), SMALL);
    expect([...scores].map((score) => score > 0)).toEqual(Array.from({ length: 16 }, (_, n) => n % 4 === 2));
  });
});

describe('the last stage alone', () => {
  const schedule = presetSchedule(facts, '7x');
  const stage = planFor(facts, JOB, schedule).stages.at(-1)!;

  it('starts where RALU restarts, on noise as strong as there and nothing else, and walks the same levels', async () => {
    const [asked, ...more] = await askedOfStill(blank({ schedule }));
    const { sigmas } = planFor({ ...facts, shift: [{ tokens: 64, shift: 1 }] }, JOB, schedule).stages.at(-1)!;
    expect(more).toEqual([]);
    expect(asked!.imgIds).toEqual(gridIds(8, 8));
    expect(Array.from(asked!.sigmas)).toEqual(Array.from(Float32Array.from(sigmas)));
    // RALU's own at the last boundary, before it is coloured within groups of four
    const places = Uint32Array.from({ length: 128 }, (_, i) => (i % 2 === 0 ? i >> 4 : (i >> 1) % 8));
    const white = normalsAtPlaces({ seed: JOB.seed, stream: 2, places, width: 16 });
    expect(
      maxDifference(
        asked!.latents,
        white.map((value) => sigmas[0]! * value),
      ),
    ).toBeLessThan(1e-6);
  });

  it('is what RALU makes of a boundary whose clean estimate is blank: the same mean and variance', async () => {
    const { stages, numerics } = planFor(facts, JOB, schedule);
    const [, second, last] = stages;
    const end = second!.end;
    // at t = e a blank picture is (1 - e) times white noise, on the half-size grid
    const low = {
      latents: standardNormals({ seed: 99, stream: 7, count: 16 * 16 * 16 }).map((value) => (1 - end) * value),
      imgIds: gridIds(16, 16),
      scale: new Uint8Array(256).fill(2),
    };
    const restarted = nextTokens(
      { stages, numerics },
      last!,
      { tokens: low, selections: null },
      { seed: 7, mode: 'latent', referenceVariance: false },
    ).latents;
    const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0) / values.length;
    expect(square(restarted)).toBeCloseTo((1 - last!.start) ** 2, 1);
    expect(Math.abs(square(restarted) / (1 - last!.start) ** 2 - 1)).toBeLessThan(0.05);
  });

  it('costs the last stage and no decoding before it', async () => {
    const denoiser = open();
    await denoiser.decode(await blank({ schedule })(denoiser));
    expect(denoiser.spent).toMatchObject({
      evaluations: [{ tokens: 64, count: stage.steps }],
      decodeFlops: 128 * 128,
    });
  });
});

describe('resizing', () => {
  const packed = standardNormals({ seed: 1, stream: 0, count: 4 * 4 * 16 });

  it.each(KERNELS)('%s keeps a constant', (kernel) => {
    expect(
      maxDifference(doubleLatents(new Float32Array(256).fill(2.5), SMALL, kernel), new Float32Array(1024).fill(2.5)),
    ).toBeLessThan(1e-6);
  });

  it('nearest is the numerics’ latent mode, and halving undoes it', () => {
    const doubled = doubleLatents(packed, SMALL, 'nearest');
    const low = { latents: packed, imgIds: gridIds(4, 4), scale: new Uint8Array(16).fill(2) };
    const all = Uint32Array.from({ length: 16 }, (_, n) => n);
    expect(doubled).toEqual(sortByPosition(upsampleTokens(low, all, 'latent')).latents);
    expect(maxDifference(halveLatents(doubled, { channels: 4, rows: 8, cols: 8 }), packed)).toBeLessThan(1e-6);
  });

  it('bilinear and bicubic continue a ramp, away from the borders', () => {
    const ramp = packLatents(
      new Float32Array(4 * 8 * 8).map((_, i) => i % 8),
      SMALL,
    );
    const fine = packLatents(
      new Float32Array(4 * 16 * 16).map((_, i) => ((i % 16) + 0.5) / 2 - 0.5),
      { channels: 4, rows: 8, cols: 8 },
    );
    for (const kernel of ['bilinear', 'bicubic'] as const) {
      const found = doubleLatents(ramp, SMALL, kernel);
      // tokens of columns 2 to 5: at least two coarse pixels from a border
      const inner = (values: Float32Array) =>
        values.filter((_, i) => Math.floor(i / 16) % 8 >= 2 && Math.floor(i / 16) % 8 <= 5);
      expect(maxDifference(inner(found), inner(fine))).toBeLessThan(1e-5);
    }
  });
});

describe('spectral growth', () => {
  const white = standardNormals({ seed: 3, stream: 1, count: 1024 });

  it('keeps white noise white: pure noise grows by an orthonormal transform, so energies add up', () => {
    const packed = standardNormals({ seed: 3, stream: 0, count: 256 });
    const energy = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
    const grown = expandSpectrum(packed, white, 1, SMALL);
    // the same noise without its low quarter
    const rest = expandSpectrum(new Float32Array(256), white, 1, SMALL);
    expect(energy(grown)).toBeCloseTo(energy(packed) + energy(rest), 2);
    const mean =
      energy(
        expandSpectrum(
          standardNormals({ seed: 4, stream: 0, count: 64 * 64 * 4 }),
          standardNormals({ seed: 4, stream: 1, count: 4 * 64 * 64 * 4 }),
          1,
          { channels: 4, rows: 32, cols: 32 },
        ),
      ) /
      (4 * 64 * 64 * 4);
    expect(Math.abs(mean - 1)).toBeLessThan(0.02);
  });

  it('keeps a constant, scaled as the level it arrives at says', () => {
    expect(
      maxDifference(expandSpectrum(new Float32Array(256).fill(3), white, 0, SMALL), new Float32Array(1024).fill(3)),
    ).toBeLessThan(1e-5);
    const sigma = 0.4;
    const level = (2 * sigma) / (1 + sigma);
    const silent = new Float32Array(1024);
    expect(
      maxDifference(
        expandSpectrum(new Float32Array(256).fill(1 - sigma), silent, sigma, SMALL),
        new Float32Array(1024).fill(1 - level),
      ),
    ).toBeLessThan(1e-5);
  });

  it('grows where the paper’s power law of FLUX has it: after 18 of 50 steps at tolerance 0.01, after 28 at 0.05', () => {
    // A = 203.615097 and beta = 1.915461 at 32 of at most 64 cycles; step counts as published for 1024 x 1024
    const law = { scale: 203.615097 * 64 ** -1.915461, slope: 1.915461 };
    const schedule = plainSigmas(50, Math.exp(1.15));
    expect(lowSteps(schedule, growthLevel(law, 0.01))).toBe(18);
    expect(lowSteps(schedule, growthLevel(law, 0.05))).toBe(28);
    expect(() => growthLevel(law, 1)).toThrow(RangeError);
  });

  it('has a step on either side of the growth, and goes on from the level it arrives at', async () => {
    const sigmas = plainSigmas(6, 1);
    expect([lowSteps(sigmas, 1), lowSteps(sigmas, 0.5), lowSteps(sigmas, 0.001)]).toEqual([1, 3, 5]);
    const [low, full] = await askedOfStill(speed({ steps: 6, level: 0.5 }));
    expect([...low!.sigmas]).toEqual([...Float32Array.from(sigmas.subarray(0, 4))]);
    expect([...full!.sigmas]).toEqual([...Float32Array.of(grownLevel(0.5), ...sigmas.subarray(4))]);
    expect(grownLevel(0.5)).toBeCloseTo(2 / 3, 12);
  });

  it('finds the slope of a spectrum: white noise has none', () => {
    const { scale, slope } = fitPowerLaw([standardNormals({ seed: 5, stream: 0, count: 64 * 64 * 4 })], {
      channels: 4,
      rows: 32,
      cols: 32,
    });
    expect(Math.abs(slope)).toBeLessThan(0.1);
    expect(Math.abs(scale - 1)).toBeLessThan(0.1);
  });
});

describe('pictures back to latents', () => {
  /** Latents of a picture by rule, so that a fit can find the rule. */
  const noisePicture = (seed: number) => {
    const noise = standardNormals({ seed, stream: 0, count: 3 * 64 * 64 });
    return {
      data: Uint8Array.from(noise, (value) => Math.min(255, Math.max(0, 128 + 40 * value))),
      width: 64,
      height: 64,
    };
  };
  const pairs = Array.from({ length: 9 }, (_, seed) => {
    const picture = noisePicture(seed);
    return { picture, latents: encodePixels(picture, ENCODER) };
  });

  it('the fit finds a linear rule, and says how much of a channel it explains on pictures it has not seen', () => {
    const fit = fitEncoder(pairs, 4);
    const fresh = noisePicture(99);
    expect(maxDifference(encodePixels(fresh, fit), encodePixels(fresh, ENCODER))).toBeLessThan(1e-3);
    expect(fit.explained.every((share) => share > 0.999 && share <= 1)).toBe(true);
    // a channel that no picture shows
    const hidden = pairs.map(({ picture, latents }, seed) => {
      const noise = standardNormals({ seed, stream: 1, count: latents.length });
      return { picture, latents: latents.map((value, i) => (Math.floor(i / 4) % 4 === 1 ? noise[i]! : value)) };
    });
    const { explained } = fitEncoder(hidden, 4);
    expect(explained[1]).toBeLessThan(0);
    expect(explained[0]).toBeGreaterThan(0.999);
  });

  it('the work of encoding is counted beside that of decoding', async () => {
    const denoiser = open();
    const picture = await denoiser.decode(await plain({ steps: 1 })(denoiser));
    expect(denoiser.encode(picture, ENCODER)).toEqual(encodePixels(picture, ENCODER));
    expect(encodeFlopsPerPixel(ENCODER)).toBe((2 * 4 * 193) / 64);
    expect(denoiser.spent.decodeFlops).toBe(128 * 128 * (1 + (2 * 4 * 193) / 64));
  });

  it('a picture is doubled as latents are, plane by plane, in whole numbers', () => {
    const data = Uint8Array.from({ length: 3 * 2 * 2 }, (_, i) => 20 * i);
    expect([...doublePixels({ data, width: 2, height: 2 }, 'nearest').data.subarray(0, 12)]).toEqual([
      0, 20, 40, 0, 20, 40, 60, 80, 100, 60, 80, 100,
    ]);
    // bilinear: a quarter of the way from 0 to 60
    expect(doublePixels({ data, width: 2, height: 2 }, 'bilinear').data[3]).toBe(15);
  });

  it('late upsampling and Bottleneck Sampling double the picture of the clean estimate', async () => {
    const end = 0.4;
    const options = { steps: [2, 1], end, kernel: 'nearest' } as const;
    const denoiser = open();
    const picture = (await denoiser.stepsAndPicture(firstTokens(denoiser, 2), lowOf(end, 2))).picture;
    const clean = encodePixels(doublePixels(picture, 'nearest'), ENCODER);
    const full = mix(1 - 0.6, clean, normals(1, 64 * 16));
    const expected = eulerStep(full.slice(), velocity(full, Math.fround(0.6)), Math.fround(0.6), 0);
    expect(
      maxDifference(await latentsOf(lateUpsampling({ ...options, of: { pixels: ENCODER } })), expected),
    ).toBeLessThan(1e-5);
    const ways = [{}, { pixels: ENCODER }].map((way) => bottleneck({ steps: [1, 2, 2], ends: [0.1, 0.45], ...way }));
    const [latents, pixels] = await Promise.all(ways.map((way) => latentsOf(way)));
    expect(maxDifference(latents!, pixels!)).toBeGreaterThan(0.1);
    function lowOf(to: number, steps: number) {
      const u = (sigma: number) => sigma / (3 - 2 * sigma);
      return Array.from({ length: steps + 1 }, (_, i) => 1 + (u(1 - to) - 1) * (i / steps)).map(
        (v) => (3 * v) / (1 + 2 * v),
      );
    }
  });

  it('MrFlow ends the low run in a picture and takes one full step from a low level', async () => {
    const asked: { tokens: number; steps: number }[] = [];
    const denoiser = open(JOB, asked);
    await mrFlow({ lowSteps: 12, sigma: 0.15, encoder: ENCODER })(denoiser);
    expect(asked).toEqual([
      { tokens: 16, steps: 12 },
      { tokens: 64, steps: 1 },
    ]);
  });
});

describe('SelfLift', () => {
  const [direct, anchor] = [normals(3, 16 * 16), normals(4, 16 * 16)] as const;
  const lift = (rho: number, weights: [number, number]) => correctedLift(direct, anchor, { channels: 4, rho, weights });

  it('corrects nothing at rho 0 and all at rho 1', () => {
    expect(lift(0, [1, 1])).toEqual(direct);
    expect(maxDifference(lift(1, [1, 1]), anchor)).toBeLessThan(1e-6);
  });

  it('draws the places that differ most towards the picture’s latents, the more the more they differ', () => {
    const lifted = lift(0.25, [0.5, 1]);
    // [place]: sum of differences over channels, and the share that was taken
    const places = Array.from({ length: 64 }, (_, place) => {
      const at = [0, 1, 2, 3].map((c) => 16 * Math.floor(place / 4) + 4 * c + (place % 4));
      const shares = at.map((i) => (lifted[i]! - direct[i]!) / (anchor[i]! - direct[i]!));
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThan(1e-4);
      return { difference: at.reduce((sum, i) => sum + Math.abs(anchor[i]! - direct[i]!), 0), share: shares[0]! };
    }).sort((a, b) => a.difference - b.difference);
    expect(places.slice(0, 48).every(({ share }) => share === 0)).toBe(true);
    expect(places[48]!.share).toBeCloseTo(0.5, 4);
    expect(places[63]!.share).toBeCloseTo(1, 4);
    for (let i = 49; i < 64; i++) expect(places[i]!.share).toBeGreaterThan(places[i - 1]!.share - 1e-4);
  });

  it('adds no evaluation to the schedule, and goes on at the level where it was', async () => {
    const options = { steps: 8, lowSteps: 6, rho: 0.3, weights: [0.5, 1], encoder: ENCODER } as const;
    expect(await evaluationsOf(selfLift(options))).toEqual([
      [16, 6],
      [64, 2],
    ]);
  });
});

describe('anchor tokens', () => {
  it('one stage of all tokens is the plain run', async () => {
    expect(await latentsOf(anchorTokens({ steps: [9], ends: [1], shares: [1] }))).toEqual(
      await latentsOf(plain({ steps: 9 })),
    );
  });

  it('interpolation is the identity where every token is an anchor, and weights always sum to 1', () => {
    const all = Uint32Array.from({ length: 24 }, (_, n) => n);
    const values = standardNormals({ seed: 2, stream: 0, count: 24 * 4 });
    expect(spread(values, neighboursOf(all, 4, 6), 4)).toEqual(values);
    for (const around of neighboursOf(firstAnchors(4, 6), 4, 6))
      expect(around.reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(1, 12);
  });

  it('new anchors come where the others’ values differ, and the old ones stay', () => {
    const anchors = firstAnchors(8, 8);
    // a step between the second and the third column of anchors
    const values = Float32Array.from(anchors, (n) => (n % 8 < 4 ? 0 : 1));
    const grown = growAnchors(anchors, values, neighboursOf(anchors, 8, 8), { width: 1, count: 24 });
    expect([...anchors].every((n) => grown.includes(n))).toBe(true);
    expect([...grown].filter((n) => !anchors.includes(n)).every((n) => n % 8 === 3)).toBe(true);
  });

  it('a token activated late is where the micro-flow takes it: the anchors’ clean estimate and the noise it began with', async () => {
    const noise = normals(0, 64 * 16);
    const placed = (request: { imgIds: Float32Array }) =>
      Uint32Array.from(
        { length: request.imgIds.length / 3 },
        (_, i) => 8 * request.imgIds[3 * i + 1]! + request.imgIds[3 * i + 2]!,
      );
    const [first, second, third] = await askedOfStill(
      anchorTokens({ steps: [1, 1, 1], ends: [0.2, 0.35, 1], shares: [0.25, 0.5, 1] }),
    );
    let all = noise;
    let seen = first!;
    expect(placed(seen)).toEqual(firstAnchors(8, 8));
    for (const [next, sigma] of [
      [second!, 0.8],
      [third!, 0.65],
    ] as const) {
      const before = placed(seen);
      const activated = mix(1 - sigma, spread(seen.latents, neighboursOf(before, 8, 8), 16), noise);
      all = all.map((value, i) => (before.includes(Math.floor(i / 16)) ? value : activated[i]!));
      expect(next.sigmas[0]).toBeCloseTo(sigma, 6);
      const expected = [...placed(next)].flatMap((n) => [...all.subarray(16 * n, 16 * (n + 1))]);
      expect(maxDifference(next.latents, Float32Array.from(expected))).toBeLessThan(1e-6);
      seen = next;
      // what is not active yet stays noise
      all = all.map((value, i) => (placed(next).includes(Math.floor(i / 16)) ? value : noise[i]!));
    }
  });

  it('the model sees a quarter, then half, then all', async () => {
    expect(
      await evaluationsOf(anchorTokens({ steps: [2, 3, 4], ends: [0.2, 0.4, 1], shares: [0.25, 0.5, 1] })),
    ).toEqual([
      [16, 2],
      [32, 3],
      [64, 4],
    ]);
  });
});

describe('high, low, high and late', () => {
  it('Bottleneck Sampling runs on the full grid, the small one, and the full one again', async () => {
    const asked: { tokens: number; steps: number }[] = [];
    const denoiser = open(WIDE, asked);
    const tokens = await bottleneck({ steps: [2, 3, 4], ends: [0.1, 0.5] })(denoiser);
    expect(asked.map(({ tokens: n }) => n)).toEqual([32, 8, 32]);
    expect(tokens.imgIds).toEqual(gridIds(4, 8));
    expect(denoiser.spent.evaluations.map(({ tokens: n, count }) => [n, count])).toEqual([
      [32, 6],
      [8, 3],
    ]);
    expect(bottleneckRestart(0.5)).toBeCloseTo(1 / 3, 12);
  });

  it('Bottleneck Sampling resizes the clean estimate and puts noise back: at the level it has going down, at a higher one going up', async () => {
    const [first, low, last] = await askedOfStill(bottleneck({ steps: [1, 1, 1], ends: [0.1, 0.5] }));
    expect(first!.latents).toEqual(normals(0, 64 * 16));
    expect(
      maxDifference(
        low!.latents,
        mix(0.1, halveLatents(first!.latents, { channels: 4, rows: 8, cols: 8 }), normals(1, 16 * 16)),
      ),
    ).toBeLessThan(1e-6);
    expect(low!.sigmas[0]).toBeCloseTo(0.9, 6);
    expect(
      maxDifference(last!.latents, mix(1 / 3, doubleLatents(low!.latents, SMALL, 'bilinear'), normals(2, 64 * 16))),
    ).toBeLessThan(1e-6);
    expect(last!.sigmas[0]).toBeCloseTo(2 / 3, 6);
  });

  it('late upsampling of the clean estimate brings it back to its level with fresh white noise', async () => {
    const [low, full] = await askedOfStill(lateUpsampling({ steps: [1, 1], end: 0.4, kernel: 'bicubic', of: 'clean' }));
    expect(low!.latents).toEqual(normals(0, 16 * 16));
    expect(
      maxDifference(full!.latents, mix(0.4, doubleLatents(low!.latents, SMALL, 'bicubic'), normals(1, 64 * 16))),
    ).toBeLessThan(1e-6);
    expect(full!.sigmas[0]).toBeCloseTo(0.6, 6);
  });

  it('late upsampling of the latents by nearest neighbour adds no noise: a run of one full step from known latents says so', async () => {
    const denoiser = open();
    const options = { steps: [3, 1], end: 0.5, kernel: 'nearest', of: 'latents' } as const;
    const low = await open().steps(firstTokens(denoiser, 2), Float32Array.from(plainLow()));
    const full = doubleLatents(low, SMALL, 'nearest');
    const expected = eulerStep(full.slice(), velocity(full, 0.5), 0.5, 0);
    expect(maxDifference(await latentsOf(lateUpsampling(options)), expected)).toBeLessThan(1e-6);
    function plainLow() {
      const u = (sigma: number) => sigma / (3 - 2 * sigma);
      return [0, 1, 2, 3].map((i) => 1 + (u(0.5) - 1) * (i / 3)).map((v) => (3 * v) / (1 + 2 * v));
    }
  });
});

describe('equal work', () => {
  it('steps fall where the schedule has them, at least one a stage, and the fewest that reach the budget', () => {
    expect(allocate(10, [0.5, 1], 3)).toEqual([8, 2]);
    expect(allocate(3, [0.01, 0.02, 1], 1)).toEqual([1, 1, 1]);
    expect(fewestSteps(7, { ends: [0.5, 1], costs: [0.25, 1], shift: 3 })).toEqual([12, 4]);
    expect(fewestSteps(7.01, { ends: [0.5, 1], costs: [0.25, 1], shift: 3 })).toEqual([13, 4]);
    expect(() => fewestSteps(201, { ends: [0.5, 1], costs: [1, 1], shift: 3 })).toThrow(RangeError);
    expect([6.3, 7, 7.01, 25, 26, 50, 0.2].map((budget) => intervalFor(budget, 50))).toEqual([8, 8, 7, 2, 1, 1, 50]);
    expect(() => intervalFor(50.1, 50)).toThrow(RangeError);
  });

  it('the fewest steps whose work reaches a budget, and no more than 200', () => {
    expect(fewestWith(6.3, 2, (steps) => steps / 2)).toBe(13);
    expect(fewestWith(0.1, 2, (steps) => steps / 2)).toBe(2);
    expect(() => fewestWith(101, 2, (steps) => steps / 2)).toThrow(RangeError);
  });

  it('a preset’s budget is its steps and its extra decoding, in full evaluations', () => {
    // 2 steps at 16 tokens, 3 at 19, 5 at 64, one picture of 64 x 64; a step of n tokens is 1 + n + n²
    expect(budgetOf(facts, planFor(facts, JOB, presetSchedule(facts, '7x')))).toBeCloseTo(
      (2 * 273 + 3 * 381 + 5 * 4161 + 64 * 64) / 4161,
      12,
    );
  });
});

describe('schedules of the ablations', () => {
  const problem = { steps: [2, 3, 5], ends: [0.2, 0.3, 1], modelShift: 3 };

  it('a mismatch has the divergence that was asked for, and the fit below its own', () => {
    const { z, shifts } = fitSchedule(problem);
    for (const target of [0.02, 0.03, 0.035]) expect(mismatched(problem, z, target).divergence).toBeCloseTo(target, 6);
    expect(maxDifference(mismatched(problem, z, 0.01).shifts, shifts)).toBeLessThan(1e-3);
  });

  it('the best shifts for the fitted Z are the fitted ones', () => {
    const fit = fitSchedule(problem);
    expect(fitShifts(problem, fit.z).divergence).toBeLessThanOrEqual(fit.divergence + 1e-9);
    expect(fitShifts(problem, [4, 4]).z).toEqual([4, 4]);
    expect(fitShifts(problem, [4, 4]).divergence).toBeGreaterThan(fit.divergence);
  });
});

describe('the rows', () => {
  // steps and decoding a thousand times as dear, so that encoding is as cheap beside them as on a real model
  const { text, ...rest } = facts.flops;
  const dear = { ...facts, flops: { text, ...mapped(rest, (value) => 1000 * value) } };
  const rows = makeRows(dear, CALIBRATION);
  const ablations = makeAblations(dear, CALIBRATION);
  const all: readonly Row[] = [...rows, ...ablations.flatMap((ablation) => ablation.rows)];

  it('have names of their own', () => {
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    expect(ablations.every(({ rows: settings }) => settings.length >= 2)).toBe(true);
  });

  it.each(all)('$id makes a full grid, the same every time', async ({ sample }) => {
    const tokens = await sample(open());
    expect(tokens.imgIds).toEqual(gridIds(8, 8));
    expect(tokens.scale).toEqual(new Uint8Array(64).fill(1));
    expect(tokens.latents.length).toBe(64 * 16);
    expect(tokens.latents.every(Number.isFinite)).toBe(true);
    expect(await latentsOf(sample)).toEqual(tokens.latents);
  });

  // a full step is 4161, a low one 273, 19 tokens 381, 25 tokens 651: 7x has 6.39 full evaluations, 5x 8.03; going
  // through pixels costs 1.08
  it.each([
    ['plain-50', [[64, 50]]],
    ['plain-7', [[64, 7]]],
    ['plain-7-ab2', [[64, 7]]],
    ['plain-5', [[64, 5]]],
    ['plain-4', [[64, 4]]],
    ['plain-3', [[64, 3]]],
    ['plain-2', [[64, 2]]],
    ['plain-1', [[64, 1]]],
    ['blank', [[64, 5]]],
    [
      'bottleneck',
      [
        [64, 4],
        [16, 20],
      ],
    ],
    [
      'naive-late',
      [
        [16, 14],
        [64, 5],
      ],
    ],
    ['taylor-7x-order-2', [[64, 7]]],
    ['taylor-5x-order-2', [[64, 9]]],
    [
      'speed',
      [
        [16, 3],
        [64, 7],
      ],
    ],
    [
      'mrflow',
      [
        [16, 66],
        [64, 1],
      ],
    ],
    [
      'selflift',
      [
        [16, 14],
        [64, 5],
      ],
    ],
    [
      'jit',
      [
        [16, 6],
        [32, 3],
        [64, 6],
      ],
    ],
    [
      'ralu-7x',
      [
        [16, 2],
        [19, 3],
        [64, 5],
      ],
    ],
    [
      'ralu-5x',
      [
        [16, 4],
        [25, 5],
        [64, 6],
      ],
    ],
    [
      'ralu-5x-taylor-3',
      [
        [16, 3],
        [25, 4],
        [64, 4],
      ],
    ],
    [
      'ralu-5x-taylor-2',
      [
        [16, 3],
        [25, 3],
        [64, 4],
      ],
    ],
  ])('%s asks the model as often as counted by hand', async (id, expected) => {
    expect(await evaluationsOf(rows.find((row) => row.id === id)!.sample)).toEqual(expected);
  });

  it('rivals at the work of 7x do not work less, nor a whole step more', async () => {
    const budget = budgetOf(dear, planFor(dear, JOB, presetSchedule(dear, '7x')));
    for (const { id, group, sample } of [...rows, ...ablations.find(({ id: name }) => name === 'resizing')!.rows]) {
      if (group === 'plain' || group === 'ralu' || id.includes('5x') || id.startsWith('teacache')) continue;
      const denoiser = makeDenoiser(dear, JOB, runOn(closedFormModel().model));
      await denoiser.decode(await sample(denoiser));
      const { denoiseFlops, decodeFlops } = denoiser.spent;
      const work = (denoiseFlops + decodeFlops - 1000 * 128 * 128) / 4_161_000;
      expect(work, id).toBeGreaterThanOrEqual(budget);
      expect(work, id).toBeLessThan(budget + 1);
    }
  });

  it('work on a shape that is not square', async () => {
    for (const { sample } of makeRows(dear, { ...CALIBRATION, height: 64 }))
      expect((await sample(open(WIDE))).imgIds).toEqual(gridIds(4, 8));
  });
});

describe('the calibration', () => {
  it('finds a threshold whose work is not below that of the fastest preset', async () => {
    const found = await calibrate(facts, (job) => open(job), [JOB]);
    const budget = budgetOf(facts, planFor(facts, JOB, presetSchedule(facts, '7x')));
    expect(found).toMatchObject({ width: 128, height: 128 });
    expect(found.reuseEvaluations).toBeGreaterThanOrEqual(budget);
    expect(found.reuseEvaluations).toBeLessThan(budget + 1);
    const denoiser = open();
    await teaCache({ steps: 50, threshold: found.reuseThreshold })(denoiser);
    expect(denoiser.spent.denoiseFlops / 4161).toBeCloseTo(found.reuseEvaluations, 9);
  });
});

describe('the canvas', () => {
  it('takes sizes and shift from the model', () => {
    expect(canvasOf({ facts, job: WIDE })).toEqual({ rows: 4, cols: 8, channels: 4, width: 16, shift: 3 });
  });
});
