/** What a stage on its way looks like: colours fitted to a decoder, and the picture that they give. */
import fc from 'fast-check';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fitColours, paint } from '../../containers/onnx/colours.ts';
import { loadModel } from '../../containers/onnx/load-model.ts';
import type { Model } from '../../containers/onnx/model.ts';
import { type NewestStep, runStage } from '../../containers/onnx/run-stage.ts';
import { makeThumbnail } from '../../containers/onnx/thumbnail.ts';
import { parseStage, type StageJob } from '../../containers/onnx/validate.ts';
import { closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { shiftSigma } from '../../src/numerics/flow.ts';
import { standardNormals } from '../../src/numerics/normal.ts';
import { wholeGrid } from '../../src/numerics/whole-grid.ts';
import { encodeAnew } from './in-process.ts';
import { call, evenSigmas, finish, freshId, put, stageBody, tokensOf } from './requests.ts';
import { startServer } from './start.ts';

/** A decoder that is linear in each latent pixel: `parts` a side of its picture have colours of their own. */
const linearDecoder = (channels: number, tokenPixels: number, parts: number, gain: number) => {
  const cell = tokenPixels / 2;
  const weight = (c: number, part: number, rgb: number) => gain * Math.sin(1 + c + 7 * part + 3 * rgb);
  return async (latents: Float32Array, rows: number, cols: number) => {
    const rgb = new Uint8ClampedArray(rows * cols * tokenPixels * tokenPixels * 3);
    const width = cols * tokenPixels;
    for (let y = 0; y < rows * tokenPixels; y++)
      for (let x = 0; x < width; x++) {
        const token = Math.floor(y / tokenPixels) * cols + Math.floor(x / tokenPixels);
        const slot = (Math.floor(y / cell) % 2) * 2 + (Math.floor(x / cell) % 2);
        const part = Math.floor(((y % cell) * parts) / cell) * parts + Math.floor(((x % cell) * parts) / cell);
        for (let k = 0; k < 3; k++) {
          let value = 127.5;
          for (let c = 0; c < channels; c++)
            value += (latents[token * 4 * channels + 4 * c + slot] as number) * weight(c, part, k);
          rgb[3 * (y * width + x) + k] = value;
        }
      }
    return new Uint8Array(rgb.buffer);
  };
};

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number))));

describe('colours', () => {
  test.each([
    [4, 16, 4],
    [16, 16, 2],
    [16, 4, 1],
    [3, 12, 3],
  ])('of a linear decoder, %i channels and %i pixels a token, are its own in %i parts a side', async (...shape) => {
    const [channels, tokenPixels, parts] = shape;
    const decode = linearDecoder(channels, tokenPixels, parts, 30);
    const colours = await fitColours(decode, { channels, token_pixels: tokenPixels });
    const latents = standardNormals({ seed: 3, stream: 0, count: 4 * channels * 6 }).map((value) => value / 3);
    const painted = paint(colours, latents, { rows: 2, cols: 3, longestSide: 1000 });
    const whole = await decode(latents, 2, 3);
    const scale = (tokenPixels * 3) / painted.width;
    const expected = Array.from({ length: painted.data.length }, (_, at) => {
      const [y, x] = [Math.floor(at / 3 / painted.width), Math.floor(at / 3) % painted.width];
      return whole[3 * (y * scale * tokenPixels * 3 + x * scale) + (at % 3)] as number;
    });
    expect(painted.height * 3).toBe(painted.width * 2);
    expect(largestDifference(painted.data, expected)).toBeLessThanOrEqual(2);
  });

  test('are the same where the decoder clips: what it meant there is left out', async () => {
    const facts = { channels: 4, token_pixels: 4 };
    const [dim, loud] = [
      await fitColours(linearDecoder(4, 4, 1, 10), facts),
      await fitColours(linearDecoder(4, 4, 1, 120), facts),
    ];
    const twelvefold = dim.weights.map((value, i) => (i < 4 * 12 ? 12 * value : value));
    expect(largestDifference(loud.weights, twelvefold)).toBeLessThan(6);
  });

  test('of a decoder that clips nearly everything are those of what is seen', async () => {
    const colours = await fitColours(linearDecoder(4, 4, 1, 2000), { channels: 4, token_pixels: 4 });
    const { data } = paint(colours, new Float32Array(16), { rows: 1, cols: 1, longestSide: 2 });
    for (const value of data) expect(Math.abs(value - 127.5)).toBeLessThan(40);
  });

  test('that a decoder cannot show are refused with what it says', async () => {
    const broken = () => Promise.reject(new Error('no such grid'));
    await expect(fitColours(broken, { channels: 4, token_pixels: 16 })).rejects.toThrow('no such grid');
    const decode = linearDecoder(4, 16, 1, 10);
    await expect(fitColours(decode, { channels: 4, token_pixels: 15 })).rejects.toThrow('token_pixels / 2 is 7.5');
  });

  test('paint no more pixels than are wanted, where fewer do', async () => {
    const colours = await fitColours(linearDecoder(4, 16, 4, 20), { channels: 4, token_pixels: 16 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), (rows, cols) => {
        const { width, height } = paint(colours, new Float32Array(16 * rows * cols), { rows, cols, longestSide: 96 });
        const part = width / (2 * cols);
        expect([1, 2, 4]).toContain(part);
        expect(height).toBe(2 * rows * part);
        const longest = 2 * Math.max(rows, cols);
        if (part > 1) expect((part / 2) * longest).toBeLessThan(96);
        if (part < 4) expect(part * longest).toBeGreaterThanOrEqual(96);
      }),
    );
  });
});

/** A stage run to its end, and a thumbnail after each step. */
async function thumbnailsOf(model: Model, body: Uint8Array) {
  const parsed = parseStage(body, new Map([[model.facts.id, model]]));
  if (!parsed.ok) throw new RangeError(parsed.problem.message);
  const job: StageJob = parsed.value;
  const made = [];
  let newest: NewestStep | null = null;
  const note = (step: NewestStep): void => {
    newest = step;
  };
  for await (const message of runStage(job, encodeAnew(model), new AbortController().signal, note)) {
    if (message.event.event === 'step' && model.colours && newest)
      made.push({ thumbnail: await makeThumbnail(job, model.colours, newest), latents: job.latents.slice() });
    if (message.event.event === 'done') return { made, done: message, job };
  }
  throw new Error('the stage ended without done');
}

describe('a thumbnail', () => {
  test('of a stage that ends at 0 is, at last, the picture, rough as it is', async () => {
    const { model } = closedFormModel();
    const { made, job } = await thumbnailsOf(
      model,
      stageBody(model.facts, { layout: 'full', sigmas: evenSigmas(3), options: { decode: 'image' } }),
    );
    expect(made.map(({ thumbnail }) => thumbnail?.step)).toEqual([1, 2, 3]);
    const { rows = 0, cols = 0 } = job.cover ?? {};
    const last = made.at(-1);
    const whole = await model.decode(last?.latents as Float32Array, rows, cols);
    // the model shows each latent pixel as a square of 8
    const small = await sharp(whole, {
      raw: { width: cols * 16, height: rows * 16, channels: 3 },
    })
      .resize(cols * 2, rows * 2, { kernel: 'nearest' })
      .toColourspace('srgb')
      .raw()
      .toBuffer();
    expect(last?.thumbnail).toMatchObject({ width: cols * 2, height: rows * 2 });
    const shown = await sharp(last?.thumbnail?.bytes).removeAlpha().raw().toBuffer();
    const meanOf = (bytes: Buffer, k: number) =>
      bytes.filter((_, i) => i % 3 === k).reduce((sum, value) => sum + value, 0) / (bytes.length / 3);
    for (const k of [0, 1, 2]) expect(Math.abs(meanOf(shown, k) - meanOf(small, k))).toBeLessThan(6);
  });

  test('of a mixed grid shows what the low tokens and the first of four children do', async () => {
    const { model } = closedFormModel();
    const { made } = await thumbnailsOf(model, stageBody(model.facts, { layout: 'mixed', sigmas: [1, 0.5, 0] }));
    const { imgIds, scale } = tokensOf(model.facts, 'mixed');
    const last = made.at(-1);
    const [rows, cols] = [2, 4];
    const whole = wholeGrid({ latents: last?.latents as Float32Array, imgIds, scale }, rows, cols);
    const low = { latents: whole, ...tokensOf(model.facts, 'low') };
    const parsed = parseStage(stageBody(model.facts, { layout: 'low' }), new Map([[model.facts.id, model]]));
    if (!parsed.ok || !model.colours) throw new Error('not refused, and with colours');
    const job = { ...parsed.value, ...low };
    const still = { step: 2, sigma: 0, velocity: new Float32Array(whole.length) };
    const expected = await makeThumbnail(job, model.colours, still);
    expect(Buffer.from(last?.thumbnail?.bytes as Uint8Array).equals(expected?.bytes as Uint8Array)).toBe(true);
  });

  test('is none of tokens that cover no grid', async () => {
    const { model } = closedFormModel();
    const { imgIds, scale } = tokensOf(model.facts, 'low');
    const shape = { tensors: { img_ids: { data: imgIds.fill(0), shape: [scale.length, 3] } } };
    const { made } = await thumbnailsOf(model, stageBody(model.facts, shape));
    expect(made.map(({ thumbnail }) => thumbnail)).toEqual([null, null]);
  });

  test('is made once a step, for all who ask, and counted', async () => {
    const { promise: go, resolve: release } = Promise.withResolvers<void>();
    let steps = 0;
    // the second step waits
    const { model } = closedFormModel({ before: (name) => (name === 'velocity' && ++steps > 1 ? go : undefined) });
    const server = await startServer([model]);
    try {
      const id = freshId();
      const running = put(server, id, stageBody(model.facts, { sigmas: evenSigmas(4) })).then(finish);
      const look = () => call(server, 'GET', `v1/stages/${id}/thumbnail`);
      await expect.poll(async () => (await look()).status).toBe(200);
      const all = await Promise.all(Array.from({ length: 5 }, look));
      expect(all.map(({ headers }) => headers.get('x-stage-step'))).toEqual(new Array(5).fill('1'));
      const metrics = await (await call(server, 'GET', 'metrics')).text();
      expect(metrics).toContain('stage_thumbnails_total{model="closed-form"} 1\n');
      expect(metrics).toMatch(/^stage_thumbnail_seconds_total\{model="closed-form"\} 0\.\d+$/m);
      release();
      expect((await running).done.steps_done).toBe(4);
    } finally {
      release();
      await server.stop();
    }
  });

  test('is none of a model whose colours are not known', async () => {
    const { model } = closedFormModel({
      before: (name) => new Promise((resolve) => setTimeout(resolve, name ? 5 : 0)),
    });
    const server = await startServer([{ ...model, colours: null }]);
    try {
      const id = freshId();
      const running = put(server, id, stageBody(model.facts, { sigmas: evenSigmas(20) })).then(finish);
      for (let i = 0; i < 10; i++)
        expect([404, 204]).toContain((await call(server, 'GET', `v1/stages/${id}/thumbnail`)).status);
      await running;
    } finally {
      await server.stop();
    }
  });
});

describe('of the embedded model', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel({ dir: 'models', engine: 'native' });
  });
  afterAll(() => model?.close());

  test('a thumbnail looks like the picture, and is small', async () => {
    const sigmas = Array.from({ length: 9 }, (_, i) => shiftSigma(1 - i / 8, 3));
    const n = 256;
    const latents = {
      data: standardNormals({ seed: 7, stream: 0, count: n * 64 }),
      shape: [n, 64],
    };
    const size = { width: 256, height: 256 };
    const shape = { layout: 'full', size, sigmas, tensors: { latents }, options: { decode: 'image' } } as const;
    const { made, done } = await thumbnailsOf(model, stageBody(model.facts, shape));
    const picture = await sharp(done.tensors.image?.data).resize(64, 64).removeAlpha().raw().toBuffer();
    const psnr = async (bytes: Uint8Array): Promise<number> => {
      const shown = await sharp(bytes).removeAlpha().raw().toBuffer();
      const error = shown.reduce((sum, value, i) => sum + (value - (picture[i] as number)) ** 2, 0) / shown.length;
      return 10 * Math.log10(255 ** 2 / error);
    };
    const last = made.at(-1)?.thumbnail;
    expect(last).toMatchObject({ width: 64, height: 64, step: 8 });
    expect(await psnr(last?.bytes as Uint8Array)).toBeGreaterThan(22);
    for (const { thumbnail } of made) expect(thumbnail?.bytes.length).toBeLessThan(1500);
  });
});
