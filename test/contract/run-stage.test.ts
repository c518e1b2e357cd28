/**
 * One stage without a server: its mathematics against the same formulas written out, and how tokens become a picture.
 */
import { describe, expect, test } from 'vitest';
import { runStage } from '../../containers/onnx/run-stage.ts';
import { coverFault, parseStage, type StageJob } from '../../containers/onnx/validate.ts';
import { CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { doublePicture } from '../../src/numerics/enlarge.ts';
import { encodeAnew } from './in-process.ts';
import { evenSigmas, type Layout, type RequestShape, rest, seededLatents, stageBody, tokensOf } from './requests.ts';

const D = 4 * CLOSED_FORM_FACTS.channels;
const { model } = closedFormModel();

function jobOf(shape: RequestShape): StageJob {
  const parsed = parseStage(stageBody(CLOSED_FORM_FACTS, shape), new Map([[CLOSED_FORM_FACTS.id, model]]));
  if (!parsed.ok) throw new Error(parsed.problem.message);
  return parsed.value;
}

async function run(shape: RequestShape) {
  const messages = await rest(runStage(jobOf(shape), encodeAnew(model), new AbortController().signal));
  const last = messages.at(-1);
  return {
    latents: last?.tensors.latents?.data as Float32Array,
    rgb: last?.tensors.rgb?.data as Uint8Array,
    clean: last?.tensors.clean_latents?.data as Float32Array,
  };
}

/**
 * The solver and Tweedie in float64 with one rounding to float32 a step, for the three known words of `a red apple`.
 */
function expected(
  length: number,
  sigmas: readonly number[],
  solver: 'euler' | 'ab2' = 'euler',
): { latents: Float32Array; clean: Float32Array } {
  const levels = Float32Array.from(sigmas);
  const latents = seededLatents(length);
  const clean = new Float32Array(length);
  const before = new Float32Array(length);
  for (let step = 0; step + 1 < levels.length; step++) {
    const [sigma, next] = [levels[step]!, levels[step + 1]!];
    const rho = solver === 'euler' || step === 0 ? 0 : (next - sigma) / (sigma - levels[step - 1]!);
    for (let i = 0; i < length; i++) {
      const velocity = Math.fround(Math.tanh(latents[i]!) * (0.5 + sigma + 0.01 * 3));
      clean[i] = latents[i]! - sigma * velocity; // at the last evaluated point, before the step
      latents[i] = latents[i]! + (next - sigma) * ((1 + rho / 2) * velocity - (rho / 2) * before[i]!);
      before[i] = velocity;
    }
  }
  return { latents, clean };
}

describe('denoising', () => {
  test.each(['low', 'mixed', 'all-upsampled', 'full'] as const)(
    'of %s tokens is Euler on the velocity',
    async (layout) => {
      const sigmas = [1, 0.8, 0.55, 0.2];
      const { latents } = await run({ layout, sigmas });
      expect(latents).toEqual(expected(tokensOf(CLOSED_FORM_FACTS, layout).scale.length * D, sigmas).latents);
    },
  );

  test.each(['low', 'mixed', 'full'] as const)('of %s tokens by ab2 is Adams-Bashforth 2', async (layout) => {
    const sigmas = [1, 0.8, 0.55, 0.2];
    const { latents } = await run({ layout, sigmas, options: { solver: 'ab2' } });
    const length = tokensOf(CLOSED_FORM_FACTS, layout).scale.length * D;
    expect(latents).toEqual(expected(length, sigmas, 'ab2').latents);
    expect(latents).not.toEqual(expected(length, sigmas).latents);
  });

  test('by euler, named, is what it is without a name; a single step is the same by either', async () => {
    const named = async (sigmas: readonly number[], options: Readonly<Record<string, unknown>>) =>
      (await run({ sigmas, options })).latents;
    expect(await named([1, 0.8, 0.5], { solver: 'euler' })).toEqual(await named([1, 0.8, 0.5], {}));
    expect(await named([1, 0.5], { solver: 'ab2' })).toEqual(await named([1, 0.5], {}));
  });
});

describe('a temporal cache', () => {
  const cache = { kind: 'taylor_velocity', interval: 2, order: 1, warmup: 2 };
  const sigmas = [1, 0.875, 0.75, 0.625, 0.375];

  /** Four steps, the third of them forecast on the line through the first two velocities. */
  function byHand(length: number) {
    const latents = seededLatents(length);
    const clean = new Float32Array(length);
    const velocities: Float32Array[] = [];
    for (let step = 0; step < 4; step++) {
      const [sigma, next] = [sigmas[step]!, sigmas[step + 1]!];
      const velocity = latents.map((x, i) =>
        step === 2
          ? velocities[1]![i]! + Math.fround(velocities[1]![i]! - velocities[0]![i]!)
          : Math.tanh(x) * (0.5 + sigma + 0.01 * 3),
      );
      for (let i = 0; i < length; i++) {
        clean[i] = latents[i]! - sigma * velocity[i]!;
        latents[i] = latents[i]! + (next - sigma) * velocity[i]!;
      }
      velocities.push(velocity);
    }
    return { latents, clean };
  }

  test.each(['low', 'mixed', 'full'] as const)(
    'of %s tokens forecasts what lies between evaluations',
    async (layout) => {
      const { latents } = await run({ layout, sigmas, options: { cache } });
      const length = tokensOf(CLOSED_FORM_FACTS, layout).scale.length * D;
      expect(latents).toEqual(byHand(length).latents);
      expect(latents).not.toEqual(expected(length, sigmas).latents);
    },
  );

  test('asks the model for evaluated steps alone, tells every step, and says both counts', async () => {
    const { model: counted, calls } = closedFormModel();
    const job = { ...jobOf({ sigmas, options: { cache } }), model: counted };
    const told = await rest(runStage(job, encodeAnew(counted), new AbortController().signal));
    expect(calls.velocity).toBe(3);
    expect(told.map(({ event }) => event.event)).toEqual(['step', 'step', 'step', 'step', 'done']);
    expect(told.at(-1)?.event).toMatchObject({ steps_done: 4, evaluations: 3 });
  });

  test('gives the clean estimate of the last step, be it forecast: the same anywhere along it', async () => {
    const options = { cache: { ...cache, interval: 4 }, clean_latents: true };
    const { clean } = await run({ sigmas: sigmas.slice(0, 4), options });
    const forecast = await run({ sigmas: [...sigmas.slice(0, 3), 0], options });
    // what is left of the velocity where the step goes on to sigma 0
    expect(clean.reduce((most, x, i) => Math.max(most, Math.abs(x - forecast.latents[i]!)), 0)).toBeLessThan(1e-5);
    expect(clean.length).toBe(forecast.latents.length);
  });

  test('that has nothing to forecast changes nothing', async () => {
    const plain = await run({ sigmas: sigmas.slice(0, 3) });
    expect((await run({ sigmas: sigmas.slice(0, 3), options: { cache } })).latents).toEqual(plain.latents);
  });
});

describe('the clean estimate', () => {
  const sigmas = [1, 0.8, 0.55];
  /** its picture when the decoder is given these latents of a rows x cols grid */
  const picture = (grid: Float32Array, rows: number, cols: number) => model.decode(grid, rows, cols);
  /** bytes may differ by one where the estimate, taken after the step instead of before it, rounds otherwise */
  const expectClose = (got: Uint8Array, want: Uint8Array) => {
    expect(got.length).toBe(want.length);
    expect(got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i]!)), 0)).toBeLessThanOrEqual(1);
  };

  test('after the last step is the one at the last evaluated point, on the small grid for low tokens', async () => {
    const { rgb } = await run({ layout: 'low', sigmas, options: { decode: 'clean' } });
    expectClose(rgb, await picture(expected(8 * D, sigmas).clean, 2, 4));
  });

  test('by ab2 is the one at the last evaluated point too', async () => {
    const { rgb } = await run({ layout: 'low', sigmas, options: { decode: 'clean', solver: 'ab2' } });
    const { clean } = expected(8 * D, sigmas, 'ab2');
    expect(clean.length).toBe(8 * D);
    expect(rgb).toEqual(await picture(clean, 2, 4));
  });

  test.each(['mixed', 'all-upsampled'] as const)(
    'of %s tokens is decoded at half size, a child at its parent’s place for each block, and enlarged as pixels',
    async (layout) => {
      const { rgb } = await run({ layout, sigmas, options: { decode: 'clean' } });
      const { imgIds, scale } = tokensOf(CLOSED_FORM_FACTS, layout);
      const { clean } = expected(scale.length * D, sigmas);
      const grid = new Float32Array(2 * 4 * D);
      for (const n of scale.keys()) {
        const [row, col] = [imgIds[3 * n + 1]!, imgIds[3 * n + 2]!];
        if (row % 1 === 0 && col % 1 === 0) grid.set(clean.subarray(n * D, (n + 1) * D), (row * 4 + col) * D);
      }
      const side = CLOSED_FORM_FACTS.token_pixels;
      const small = await picture(grid, 2, 4);
      expect(small.some((value) => value !== small[0])).toBe(true);
      expectClose(rgb, doublePicture(small, 4 * side, 2 * side));
    },
  );

  test('of a mixed grid costs a decoder a quarter of the image', async () => {
    const decoded: number[][] = [];
    const watched = {
      ...model,
      decode: (latents: Float32Array, rows: number, cols: number) => {
        decoded.push([rows, cols]);
        return model.decode(latents, rows, cols);
      },
    };
    const job = jobOf({ layout: 'mixed', sigmas, options: { decode: 'clean' } });
    await rest(runStage({ ...job, model: watched }, encodeAnew(model), new AbortController().signal));
    expect(decoded).toEqual([[2, 4]]);
  });

  test('does not depend on the order of the tokens', async () => {
    const whole = await run({ layout: 'full', sigmas, options: { decode: 'clean' } });
    const n = 32;
    const turned = Array.from({ length: n }, (_, i) => (i * 13 + 5) % n);
    const gather = (data: Float32Array, width: number) =>
      Float32Array.from({ length: n * width }, (_, i) => data[turned[Math.floor(i / width)]! * width + (i % width)]!);
    const { rgb } = await run({
      layout: 'full',
      sigmas,
      options: { decode: 'clean' },
      tensors: {
        latents: { data: gather(seededLatents(n * D), D), shape: [n, D] },
        img_ids: { data: gather(tokensOf(CLOSED_FORM_FACTS, 'full').imgIds, 3), shape: [n, 3] },
      },
    });
    expect(rgb).toEqual(whole.rgb);
  });
});

describe('stopping', () => {
  test('is looked at before the first step, and throws its reason', async () => {
    const { model: counted, calls } = closedFormModel();
    const reason = new Error('enough');
    await expect(
      rest(
        runStage(
          { ...jobOf({ sigmas: evenSigmas(3) }), model: counted },
          encodeAnew(counted),
          AbortSignal.abort(reason),
        ),
      ),
    ).rejects.toBe(reason);
    expect(calls.velocity).toBe(0);
  });
});

describe('a grid is covered', () => {
  const cover = { rows: 4, cols: 8, unit: 2 } as const;

  test.each(['low', 'mixed', 'all-upsampled', 'full'] as Layout[])('by %s tokens, once each cell', (layout) => {
    const { imgIds, scale } = tokensOf(CLOSED_FORM_FACTS, layout);
    expect(coverFault(imgIds, scale, { ...cover, unit: layout === 'full' ? 1 : 2 })).toBe(null);
  });

  test.each([
    ['a token between cells', [0, 0.25, 0], /cell \(0.5, 0\)/],
    ['a token before the first row', [0, -1, 0], /cell \(-2, 0\)/],
    ['a token half outside', [0, 1.5, 0], /cell \(3, 0\)/],
    ['a token after the last column', [0, 0, 4], /cell \(0, 8\)/],
    ['a place taken twice', [0, 0, 1], /again/],
  ] as const)('not by %s', (_, [frame, row, col], says) => {
    const { imgIds, scale } = tokensOf(CLOSED_FORM_FACTS, 'low');
    imgIds.set([frame, row, col], 0);
    expect(coverFault(imgIds, scale, cover)).toMatch(says);
  });

  test('not by a low token between two places of the small grid, though each cell is covered once', () => {
    // ██ low tokens, · full ones: ·██··██· in both rows of cells
    const cols = [0, 0.5, 1.5, 2, 2.5, 3.5];
    const tokens = cols.flatMap((col) =>
      col % 2 === 0.5
        ? [[2, 0, col]]
        : [
            [1, 0, col],
            [1, 0.5, col],
          ],
    );
    const imgIds = Float32Array.from(tokens.flatMap(([, row, col]) => [0, row!, col!]));
    const scale = Uint8Array.from(tokens, ([side]) => side!);
    expect(coverFault(imgIds, scale, { rows: 2, cols: 8, unit: 2 })).toBe('token 2 of scale 2 lies at cell (0, 1)');
  });

  test('not by nothing', () => {
    expect(coverFault(new Float32Array(0), new Uint8Array(0), cover)).toBe('nothing covers cell (0, 0)');
  });
});
