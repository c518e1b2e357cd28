import { decode as decodePng } from 'fast-png';
import { describe, expect, test } from 'vitest';
import type { Model } from '../../containers/onnx/model.ts';
import { CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { Job, JobRequest } from '../../src/job/job.ts';
import type { ScheduleInput } from '../../src/job/schedule-request.ts';
import { FIRST_ROOM, isLastRoom, roomName, type Step, type Tools, walkRoom } from '../../src/job/story.ts';
import { canny } from '../../src/numerics/canny.ts';
import { greyFromRgb, referenceGrey } from '../../src/numerics/grey.ts';
import { normalsAtPlaces, standardNormals } from '../../src/numerics/normal.ts';
import { blockScores, selectTop } from '../../src/numerics/select.ts';
import { gridIds, type Tokens } from '../../src/numerics/tokens.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { runStageOn, type Sent } from '../contract/in-process.ts';
import { golden, maxDifference, type Schedules, type Trajectory } from '../numerics/golden.ts';
import { type OracleToken, walkOracle } from './oracle.ts';
import { planOn, requestOn, value } from './requests.ts';

const SEED = 11;

/**
 * The velocity of the golden trajectories: it depends on the place, so tokens in another order give another picture.
 */
const velocityAt = (x: number, sigma: number, row: number, col: number) =>
  Math.tanh(x) * (0.5 + sigma) + 0.1 * Math.cos(0.7 * row + 0.3 * col);

/** The closed-form model with that velocity. */
function modelOn(facts: Partial<ModelFacts> = {}): Model {
  const { model } = closedFormModel({ facts });
  return {
    ...model,
    velocity: async ({ latents, imgIds, sigma }) => {
      const width = latents.length / (imgIds.length / 3);
      return latents.map((x, i) => {
        const n = Math.floor(i / width);
        return velocityAt(x, sigma, imgIds[3 * n + 1]!, imgIds[3 * n + 2]!);
      });
    },
  };
}

/** A job in its first room. */
function newJob(facts: ModelFacts, input: ScheduleInput, changes: Partial<JobRequest> = {}): Job {
  const withSeed = { seed: SEED, ...changes };
  return {
    id: 'job_1',
    request: requestOn(facts, input, withSeed),
    plan: value(planOn(facts, input, withSeed)),
    room: FIRST_ROOM,
    tokens: null,
    rgb: null,
    selections: null,
    usage: [],
  };
}

interface Walk {
  /** the job in every room, the last one included */
  readonly jobs: readonly Job[];
  readonly sent: readonly Sent[];
  readonly events: readonly JobEvent[];
  readonly image: Uint8Array;
  readonly thumbnail: Extract<Step, { ok: true }>['thumbnail'];
}

/** From where the job stands to its end. `between` may change the job before each room. */
async function walk(job: Job, model: Model, between: (job: Job) => Job = (same) => same): Promise<Walk> {
  const sent: Sent[] = [];
  const tools: Tools = { clock: () => 0, runStage: runStageOn(model, sent) };
  const jobs: Job[] = [job];
  const events: JobEvent[] = [];
  let image: Uint8Array | null = null;
  let thumbnail: Walk['thumbnail'] = null;
  for (let now = job; !isLastRoom(now.room); ) {
    const step = await walkRoom(between(now), tools);
    if (!step.ok) throw new Error(JSON.stringify(step.failure));
    now = step.job;
    jobs.push(now);
    events.push(...step.events);
    const late = await step.behind;
    if (late) events.push(late.event);
    image = step.image ?? image;
    thumbnail = step.thumbnail ?? thumbnail;
  }
  if (!image) throw new Error('the story ended without an image');
  return { jobs, sent, events, image, thumbnail };
}

/** The job without what its server measured, which alone may differ from one walk to the next. */
const untimed = (job: Job): Job => ({
  ...job,
  usage: job.usage.map((used) => ({ ...used, computeMs: 0, decodeMs: 0, encodeMs: 0 })),
});

/** Custom schedules of K stages, with h and Z, so that nothing is fitted. */
const SCHEDULES: readonly { readonly K: number; readonly input: ScheduleInput; readonly rooms: string }[] = [
  { K: 1, input: { N: [4], e: [1] }, rooms: 'stage1 done' },
  { K: 2, input: { N: [2, 3], e: [0.4, 1], h: [4, 2], Z: 5 }, rooms: 'stage1 stage2 done' },
  {
    K: 3,
    input: { N: [2, 3, 4], e: [0.2, 0.45, 1], h: [6, 3, 2], Z: [4, 6], r: 0.3 },
    rooms: 'stage1 select stage2 stage3 done',
  },
  {
    K: 4,
    input: { N: [2, 1, 2, 3], e: [0.2, 0.3, 0.5, 1], h: [6, 3, 3, 2], Z: 3, r: [0.2, 0.6] },
    rooms: 'stage1 select stage2 stage3 stage4 done',
  },
  {
    K: 5,
    input: { N: [1, 2, 1, 2, 2], e: [0.2, 0.3, 0.4, 0.6, 1], h: [6, 4, 3, 3, 2], Z: [2, 5, 3, 4], r: [0, 0.5, 1] },
    rooms: 'stage1 select stage2 stage3 stage4 stage5 done',
  },
];

/** Tokens of a request beside the oracle's: places equal, values to `tolerance` of the largest. */
function expectTokens(tokens: Tokens, oracle: readonly OracleToken[], tolerance: number): void {
  expect([...tokens.imgIds]).toEqual(oracle.flatMap(({ row, col }) => [0, row, col]));
  expect([...tokens.scale]).toEqual(oracle.map(({ isLow }) => (isLow ? 2 : 1)));
  const values = oracle.flatMap((token) => token.values);
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  expect(maxDifference(tokens.latents, values) / largest).toBeLessThanOrEqual(tolerance);
}

describe('the oracle', () => {
  test.each(golden<Trajectory[]>('trajectory.json'))(
    'is the golden trajectory to 1e-6, $mode mode on $gh x $gw tokens',
    (run) => {
      const stages = walkOracle({
        steps: run.N,
        ends: run.e,
        shifts: run.h,
        z: run.e.slice(1).map(() => run.z),
        rows: run.gh,
        cols: run.gw,
        selections: [run.selected],
        mode: run.mode,
        solver: 'euler',
        cache: null,
        referenceVariance: run.mode === 'token',
        noise: (stream, { index }) =>
          (stream === 0 ? run.x_init : run[`white_noise_${stream + 1}`]!).slice(index * run.D, (index + 1) * run.D),
        velocity: velocityAt,
      });
      for (const [k, { after }] of stages.entries()) {
        expect(after.flatMap(({ row, col }) => [row, col])).toEqual(run[`ids_${k + 1}`]);
        const reference = run[`x_${k + 1}`]!;
        const largest = reference.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const difference = maxDifference(
          after.flatMap(({ values }) => values),
          reference,
        );
        expect(difference / largest).toBeLessThanOrEqual(1e-6);
      }
    },
  );
});

describe.each(SCHEDULES)('the story of $K stages', ({ K, input, rooms }) => {
  const model = modelOn();
  const job = newJob(CLOSED_FORM_FACTS, input);

  test('walks its rooms in order and ends with an image and the usage of every stage', async () => {
    const { jobs, image } = await walk(job, model);
    expect(jobs.map(({ room }) => roomName(room)).join(' ')).toBe(rooms);
    const { width, height } = decodePng(image);
    expect([width, height]).toEqual([128, 128]);
    const last = jobs.at(-1)!;
    expect(last.usage.map(({ stage, tokens, steps }) => [stage, tokens, steps])).toEqual(
      job.plan.stages.map(({ stage, tokens, steps }) => [stage, tokens, steps]),
    );
    expect(last.rgb).toBeNull();
    await expect(walkRoom(last, { clock: () => 0, runStage: runStageOn(model) })).rejects.toThrow('has left its rooms');
  });

  test('sends as many tokens as planned, along the planned noise levels, and the full grid to the last stage', async () => {
    const { sent } = await walk(job, model);
    expect(sent.map(({ request }) => request.tokens.scale.length)).toEqual(job.plan.stages.map(({ tokens }) => tokens));
    expect(sent.map(({ request }) => request.sigmas)).toEqual(
      job.plan.stages.map(({ sigmas }) => Float32Array.from(sigmas)),
    );
    const { tokens } = sent.at(-1)!.request;
    expect(tokens.imgIds).toEqual(gridIds(8, 8));
    expect(tokens.scale.every((scale) => scale === 1)).toBe(true);
  });

  test.each([
    { reference: false, upsampling: 'latent' },
    { reference: false, upsampling: 'token' },
    { reference: true, upsampling: 'token' },
    { reference: false, upsampling: 'latent', solver: 'ab2' },
    { reference: false, upsampling: 'latent', cache: { interval: 2, order: 2, warmup: 1 } },
  ] as const)('sends and ends with what the oracle has: %o', async (changes) => {
    const { reference, upsampling, solver = 'euler', cache } = { solver: undefined, cache: undefined, ...changes };
    const asked = cache && ({ kind: 'taylor_velocity', ...cache } as const);
    const begun = newJob(CLOSED_FORM_FACTS, { ...input, cache: asked }, { reference, upsampling, solver });
    const { jobs, sent, image } = await walk(begun, model);
    expect(begun.plan.numerics).toBe(reference ? 1 : 2);
    expect(begun.plan.features).toEqual(solver === 'ab2' ? ['solver.ab2'] : cache ? ['cache.taylor_velocity'] : []);
    // euler is not named: a server that knows no other takes the request
    for (const { request } of sent) expect(request.options.solver).toBe(solver === 'ab2' ? 'ab2' : undefined);
    for (const { request } of sent) expect(request.options.cache).toEqual(asked ?? null);
    const counts = jobs.at(-1)!.usage.map(({ steps, evaluations }) => [steps, evaluations]);
    expect(counts).toEqual(begun.plan.stages.map(({ steps, evaluations }) => [steps, evaluations]));
    expect(counts.some(([steps, evaluations]) => evaluations! < steps!)).toBe(cache !== undefined);
    const { plan, selections } = jobs.at(-1)!;
    const side = K === 1 ? 1 : 2;
    const stages = walkOracle({
      steps: plan.stages.map(({ steps }) => steps),
      ends: plan.stages.map(({ end }) => end),
      shifts: plan.stages.map(({ shift }) => shift),
      z: plan.z,
      rows: 8 / side,
      cols: 8 / side,
      selections: selections ?? [],
      mode: upsampling,
      referenceVariance: reference,
      solver,
      cache: cache ?? null,
      noise: (stream, { index, row, col }) =>
        stream === 0 || reference
          ? standardNormals({ seed: SEED, stream, offset: 16 * index, count: 16 })
          : normalsAtPlaces({ seed: SEED, stream, places: Uint32Array.of(row, col), width: 16 }),
      velocity: velocityAt,
    });
    for (const [k, { before, sigmas }] of stages.entries()) {
      expectTokens(sent[k]!.request.tokens, before, 1e-5);
      expect(maxDifference(sent[k]!.request.sigmas, sigmas)).toBeLessThan(1e-6);
    }
    const latents = Float32Array.from(stages.at(-1)!.after.flatMap(({ values }) => values));
    expect(maxDifference(decodePng(image).data, await model.decode(latents, 8, 8))).toBeLessThanOrEqual(1);
  });

  test('gives the same job and the same bytes when every room is walked twice, and from a copy of the stored job', async () => {
    const once = await walk(job, model);
    const sent: Sent[] = [];
    const tools: Tools = { clock: () => 0, runStage: runStageOn(model, sent) };
    for (const [n, stored] of once.jobs.slice(0, -1).entries()) {
      for (const copy of [stored, structuredClone(stored)]) {
        const step = await walkRoom(copy, tools);
        if (!step.ok) throw new Error(JSON.stringify(step.failure));
        expect(untimed(step.job)).toEqual(untimed(once.jobs[n + 1]!));
        if (step.image) expect(step.image).toEqual(once.image);
      }
    }
    expect(sent.map(({ body }) => body)).toEqual(once.sent.flatMap(({ body }) => [body, body]));
  });
});

describe('the selection', () => {
  const three = SCHEDULES[2]!.input;
  const four = SCHEDULES[3]!.input;

  test.each([
    { reference: false, toGrey: greyFromRgb },
    { reference: true, toGrey: referenceGrey },
  ])(
    'is the blocks with most edge pixels of the decoded picture, reference $reference',
    async ({ reference, toGrey }) => {
      const changes = { reference, upsampling: reference ? ('token' as const) : ('latent' as const) };
      const { jobs, events } = await walk(newJob(CLOSED_FORM_FACTS, three, changes), modelOn());
      const { rgb } = jobs[1]!;
      const edges = canny(toGrey(rgb!.data, 64 * 64), 64, 64);
      const chosen = [...selectTop(blockScores(edges, 64, 64, 16), 4)];
      expect(jobs[2]!.selections).toEqual([chosen]);
      expect(events.filter(({ type }) => type === 'selection')).toMatchObject([
        {
          data: {
            rows: 4,
            cols: 4,
            indices: chosen,
            edge_pixels: edges.filter((value) => value !== 0).length,
            edges: { format: 'png', width: 64, height: 64 },
            blocks: { format: 'png', width: 64, height: 64 },
          },
        },
      ]);
    },
  );

  test.each([three, four])(
    'by latents is the tokens with most detail, and no picture is decoded: %o',
    async (input) => {
      const { jobs, sent, events } = await walk(
        newJob(CLOSED_FORM_FACTS, { ...input, selection: 'latent' }),
        modelOn(),
      );
      const [, after] = jobs as [Job, Job];
      expect(roomName(after.room)).toBe('stage2');
      expect(after.rgb).toBe(null);
      const { options, tokens, sigmas } = sent[0]!.request;
      expect(options).toMatchObject({ decode: 'none', rgb: false, clean_latents: true });
      for (const { request } of sent.slice(1)) expect(request.options.clean_latents).toBe(undefined);
      // the clean estimate at the last of the two evaluations, and its variances, written out
      const clean = Array.from(tokens.latents);
      for (const [n, at] of clean.entries()) {
        const [row, col] = [Math.floor(n / 64), Math.floor(n / 16) % 4];
        const before = Math.fround(at + (sigmas[1]! - sigmas[0]!) * Math.fround(velocityAt(at, sigmas[0]!, row, col)));
        clean[n] = before - sigmas[1]! * velocityAt(before, sigmas[1]!, row, col);
      }
      const detail = Array.from({ length: 16 }, (_, n) =>
        [0, 4, 8, 12].reduce((sum, c) => {
          const four = clean.slice(16 * n + c, 16 * n + c + 4);
          const mean = four.reduce((total, x) => total + x) / 4;
          return sum + four.reduce((total, x) => total + (x - mean) ** 2, 0) / 4;
        }, 0),
      );
      const ranked = [...detail.keys()].sort((a, b) => detail[b]! - detail[a]!);
      const count = after.plan.selected[0]!;
      const indices = ranked.slice(0, count).toSorted((a, b) => a - b);
      expect(after.selections?.[0]).toEqual(indices);
      expect(after.selections).toHaveLength(after.plan.selected.length);
      expect(events.filter(({ type }) => type === 'selection')).toMatchObject([
        { data: { rows: 4, cols: 4, indices, edge_pixels: null, edges: null, blocks: { width: 64, height: 64 } } },
      ]);
    },
  );

  test.each([
    { ...three, r: 0 },
    { ...three, r: 0, selection: 'latent' },
    { ...three, r: undefined, selection: 'none' },
    { ...four, r: undefined, selection: 'none' },
  ] as const)('of none sends all low tokens on, decodes and searches nothing: %o', async (input) => {
    const { jobs, sent, events } = await walk(newJob(CLOSED_FORM_FACTS, input), modelOn());
    expect(jobs.map(({ room }) => roomName(room))).not.toContain('select');
    expect(events.map(({ type }) => type)).not.toContain('selection');
    expect(sent.map(({ request }) => request.options.decode)).toEqual([...sent.slice(1).map(() => 'none'), 'image']);
    expect(sent.every(({ request }) => request.options.clean_latents === undefined)).toBe(true);
    for (const { request } of sent.slice(0, -1)) expect([...request.tokens.scale]).toEqual(Array(16).fill(2));
  });

  test('is made once, for every boundary but the last, and its picture is dropped', async () => {
    const { jobs } = await walk(newJob(CLOSED_FORM_FACTS, four), modelOn());
    const [, chosen] = [jobs[1]!, jobs[2]!];
    expect(jobs[1]!.selections).toBeNull();
    expect(jobs[1]!.rgb).not.toBeNull();
    expect(chosen.selections!.map((places) => places.length)).toEqual([3, 6]);
    for (const later of jobs.slice(2)) {
      expect(later.selections).toBe(chosen.selections);
      expect(later.rgb).toBeNull();
    }
  });

  test('is what was stored, whatever it is: later rooms never make it again', async () => {
    const others = [
      [0, 1, 2],
      [10, 11, 12],
    ];
    const { sent } = await walk(newJob(CLOSED_FORM_FACTS, four), modelOn(), (job) =>
      job.selections ? { ...job, selections: others } : job,
    );
    const children = (n: number) => {
      const { imgIds, scale } = sent[n]!.request.tokens;
      const places = [...scale.keys()].map(
        (i) => `${Math.floor(imgIds[3 * i + 1]!)},${Math.floor(imgIds[3 * i + 2]!)}`,
      );
      return [...new Set(places.filter((_, i) => scale[i] === 1))];
    };
    expect(children(1)).toEqual(['0,0', '0,1', '0,2']);
    // places among the 13 still low, which come first in the order of the grid
    expect(children(2)).toEqual(['0,0', '0,1', '0,2', '3,1', '3,2', '3,3']);
  });
});

describe('the golden trajectories', () => {
  test.each(golden<Trajectory[]>('trajectory.json'))(
    'have the places and noise levels that the story sends, $mode mode on $gh x $gw tokens',
    async ({ gh, gw, D, N, e, h, z, selected, mode, ...run }) => {
      const facts = {
        ...CLOSED_FORM_FACTS,
        channels: D / 4,
        sizes: [{ width: 32 * gw, height: 32 * gh }],
      };
      const input = { N, e, h, Z: z, r: selected.length / (gh * gw) };
      const job = newJob(facts, input, { upsampling: mode, reference: mode === 'token' });
      expect(job.plan.selected).toEqual([selected.length]);
      const { sent } = await walk(job, modelOn(facts), (now) =>
        now.selections ? { ...now, selections: [selected] } : now,
      );
      const [first] = Object.values(golden<Schedules>('schedules.json')).filter((known) => known.N.join() === N.join());
      for (const [k, { request }] of sent.entries()) {
        expect([...request.tokens.imgIds].filter((_, i) => i % 3 !== 0)).toEqual(run[`ids_${k + 1}`]);
        expect(maxDifference(request.sigmas, first!.sigmas[k]!)).toBeLessThan(1e-7);
      }
    },
  );
});

describe('grids', () => {
  test.each([
    { width: 128, height: 64, input: SCHEDULES[2]!.input, tokens: [8, 14, 32] },
    {
      width: 1280,
      height: 1280,
      input: { N: [1, 1, 1], e: [0.2, 0.4, 1], h: [3, 3, 3], Z: 4, r: 0.29 },
      tokens: [1600, 2992, 6400],
    },
    { width: 1360, height: 768, input: {}, tokens: [4080] },
    { width: 80, height: 48, input: { N: [3], e: [1] }, tokens: [15] },
  ])('of $width x $height are planned and sent alike: $tokens', async ({ width, height, input, tokens }) => {
    const facts = { ...CLOSED_FORM_FACTS, steps: 4, sizes: [{ width, height }], max_tokens: 6400 };
    const job = newJob(facts, input);
    expect(job.plan.stages.map((stage) => stage.tokens)).toEqual(tokens);
    const { sent, image } = await walk(job, modelOn(facts));
    expect(sent.map(({ request }) => request.tokens.scale.length)).toEqual(tokens);
    expect(sent.at(-1)!.request.tokens.imgIds).toEqual(gridIds(height / 16, width / 16));
    expect(decodePng(image)).toMatchObject({ width, height });
  });
});

describe('pictures of the stages', () => {
  const previewsOf = async (count: number) => {
    const job = newJob(CLOSED_FORM_FACTS, SCHEDULES[3]!.input, { previews: { count, format: 'webp' } });
    const { sent, events } = await walk(job, modelOn());
    return {
      asked: sent.map(({ request: { options } }) => [options.decode, options.rgb, options.preview !== null]),
      seen: events.flatMap((event) => (event.type === 'preview' ? [event.data] : [])),
    };
  };

  test('are decoded and told for as many stages as were asked for, half size where all tokens are low', async () => {
    const { asked, seen } = await previewsOf(7);
    expect(asked).toEqual([
      ['clean', true, true],
      ['clean', false, true],
      ['clean', false, true],
      ['image', false, true],
    ]);
    expect(seen.map(({ stage, format, width, height }) => [stage, format, width, height])).toEqual([
      [1, 'webp', 64, 64],
      [2, 'webp', 128, 128],
      [3, 'webp', 128, 128],
    ]);
  });

  test('switched off leave the one decode that the selection needs, and tell nothing', async () => {
    const { asked, seen } = await previewsOf(0);
    expect(asked).toEqual([
      ['clean', true, false],
      ['none', false, false],
      ['none', false, false],
      ['image', false, true],
    ]);
    expect(seen).toEqual([]);
  });

  test('are none of the last stage: it has the finished image once more, small', async () => {
    const { sent, thumbnail } = await walk(newJob(CLOSED_FORM_FACTS, SCHEDULES[3]!.input), modelOn());
    expect(sent.at(-1)?.request.options.preview).toEqual({ format: 'webp', longest_side: 104 });
    const file = Buffer.from(thumbnail?.b64_json ?? '', 'base64');
    expect(thumbnail?.format).toBe('webp');
    expect(file.subarray(8, 12).toString()).toBe('WEBP');
  });

  test('change no byte of the image', async () => {
    const images = await Promise.all(
      [0, 1, 7].map(async (count) => {
        const changes = { previews: { count, format: 'webp' as const } };
        return (await walk(newJob(CLOSED_FORM_FACTS, SCHEDULES[3]!.input, changes), modelOn())).image;
      }),
    );
    expect(images[1]).toEqual(images[0]);
    expect(images[2]).toEqual(images[0]);
  });
});

describe('a stage without a result', () => {
  const model = modelOn();
  const input = SCHEDULES[2]!.input;

  test('is handed back as the tool’s own failure, in whichever room, and the job goes on from where it stands', async () => {
    const { jobs, image } = await walk(newJob(CLOSED_FORM_FACTS, input), model);
    const failure = { reason: 'unreachable', detail: 'gone', isAnswered: true } as const;
    const failing: Tools = { clock: () => 0, runStage: async () => ({ ok: false, failure }) };
    for (const stored of jobs.filter(({ room }) => room.name === 'stage')) {
      const before = structuredClone(stored);
      expect(await walkRoom(stored, failing)).toEqual({ ok: false, failure });
      expect(stored).toEqual(before);
      expect((await walk(stored, model)).image).toEqual(image);
    }
  });

  test('is what a result of another model counts as, and trying again cannot help', async () => {
    const runStage = runStageOn(model);
    const step = await walkRoom(newJob(CLOSED_FORM_FACTS, input), {
      clock: () => 0,
      runStage: async (request) => {
        const ran = await runStage(request);
        if (!ran.ok) return ran;
        return { ...ran, result: { ...ran.result, done: { ...ran.result.done, model_digest: 'another' } } };
      },
    });
    expect(step).toMatchObject({ ok: false, failure: { code: 'model_changed', retryable: false } });
  });

  describe('a job stays on the engine it began on', () => {
    /** Walks a job whose stages after the first answer as another engine does; resolves to the last step. */
    async function onAnother(changes: Partial<JobRequest>, first: { readonly engineClass?: null } = {}) {
      const model = modelOn();
      const begun = await walkRoom(newJob(model.facts, { preset: '4x' }, changes), toolsOn(model));
      if (!begun.ok) throw new Error(JSON.stringify(begun.failure));
      const selected = await walkRoom(
        { ...begun.job, usage: begun.job.usage.map((used) => ({ ...used, ...first })) },
        toolsOn(model),
      );
      if (!selected.ok) throw new Error(JSON.stringify(selected.failure));
      return walkRoom(selected.job, toolsOn({ ...model, engine: 'another/1 cpu' }));
    }
    const toolsOn = (model: Model): Tools => ({ clock: () => 0, runStage: runStageOn(model, []) });

    test('a stage that another class ran is not taken, and is tried again', async () => {
      expect(await onAnother({})).toMatchObject({ ok: false, failure: { code: 'engine_changed', retryable: true } });
    });

    test('unless the request allows it', async () => {
      expect(await onAnother({ allowEngineChange: true })).toMatchObject({ ok: true });
    });

    test('or the job began on a server of the first version, which states no class', async () => {
      expect(await onAnother({}, { engineClass: null })).toMatchObject({ ok: true });
    });
  });
});
