/**
 * What every stage server must do, whatever model it serves and whoever wrote it: `conformance(title, start)` registers
 * the tests against any base URL. The model's facts come from its own `/v1/models`. What depends on a server's settings
 * (queue length, orphan time, draining) is tested in server.test.ts.
 */
import { request as httpRequest } from 'node:http';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  MAX_MESSAGE_BYTES,
  MAX_PREVIEW_BYTES,
  type ModelFacts,
  modelList,
  stageProblem,
} from '../../src/stage/contract.ts';
import type { Tensor } from '../../src/stage/safetensors.ts';
import {
  call,
  collect,
  evenSigmas,
  finish,
  freshId,
  messages,
  put,
  type Received,
  type RequestShape,
  readUntil,
  seededLatents,
  smallest,
  stageBody,
  type Target,
  tokensOf,
} from './requests.ts';

export interface Started extends Target {
  readonly stop: () => Promise<void>;
}

/** So many steps that a test can act while they run. */
const LONG = evenSigmas(150, 1, 0.1);

interface BadRequest {
  readonly title: string;
  readonly shape: (facts: ModelFacts) => RequestShape;
  readonly status: 400 | 422;
  readonly field: string;
  /** what the answer must say it got and expected */
  readonly says: RegExp;
}

/** Writes one value where it should not be. */
const setAt = (index: number, value: number) => (data: Float32Array | Uint8Array) => {
  data[index] = value;
};
const f32 = (values: readonly number[], shape: readonly number[]) => ({ data: Float32Array.from(values), shape });
const latentsOf = (facts: ModelFacts, change: (latents: Float32Array) => void) => {
  const n = tokensOf(facts, 'low').scale.length;
  const data = seededLatents(n * 4 * facts.channels);
  change(data);
  return { data, shape: [n, 4 * facts.channels] };
};
const idsOf = (facts: ModelFacts, layout: 'low' | 'full', change: (ids: Float32Array) => void) => {
  const data = tokensOf(facts, layout).imgIds.slice();
  change(data);
  return { data, shape: [data.length / 3, 3] };
};
const scaleOf = (facts: ModelFacts, change: (scale: Uint8Array) => void) => {
  const data = tokensOf(facts, 'low').scale.slice();
  change(data);
  return { data, shape: [data.length] };
};

const BAD: readonly BadRequest[] = [
  {
    title: 'metadata that is not JSON',
    shape: () => ({ metadata: { width: '{' } }),
    status: 400,
    field: 'width',
    says: /not JSON/,
  },
  {
    title: 'a missing option',
    shape: () => ({ metadata: { quality: null } }),
    status: 400,
    field: 'quality',
    says: /expected number/,
  },
  {
    title: 'an option nobody knows',
    shape: () => ({ metadata: { sampler: 'heun' } }),
    status: 400,
    field: 'sampler',
    says: /./,
  },
  {
    title: 'a number given as text',
    shape: () => ({ metadata: { width: '"wide"' } }),
    status: 400,
    field: 'width',
    says: /expected number/,
  },
  {
    title: 'a prompt over the limit',
    shape: () => ({ options: { prompt: 'a'.repeat(32_001) } }),
    status: 400,
    field: 'prompt',
    says: /32000/,
  },
  {
    title: 'an unknown kind of decoding',
    shape: () => ({ options: { decode: 'video' } }),
    status: 400,
    field: 'decode',
    says: /none.*clean.*image/,
  },
  {
    title: 'an unknown format',
    shape: () => ({ options: { format: 'gif' } }),
    status: 400,
    field: 'format',
    says: /png/,
  },
  { title: 'a quality of 0', shape: () => ({ options: { quality: 0 } }), status: 400, field: 'quality', says: /1/ },
  {
    title: 'an unknown kind of caching',
    shape: () => ({ options: { cache: { kind: 'taylor' } } }),
    status: 400,
    field: 'cache',
    says: /null/,
  },
  {
    title: 'pixels of what is not decoded',
    shape: () => ({ options: { rgb: true } }),
    status: 422,
    field: 'rgb',
    says: /decode clean, got none/,
  },
  {
    title: 'a preview larger than 1024',
    shape: () => ({ options: { decode: 'clean', preview: { format: 'webp', longest_side: 4096 } } }),
    status: 400,
    field: 'preview.longest_side',
    says: /1024/,
  },
  {
    title: 'a missing tensor',
    shape: () => ({ tensors: { sigmas: null } }),
    status: 400,
    field: 'sigmas',
    says: /missing/,
  },
  {
    title: 'a tensor nobody knows',
    shape: () => ({ tensors: { mask: f32([1], [1]) } }),
    status: 400,
    field: 'mask',
    says: /unknown/,
  },
  {
    title: 'latents of another dtype',
    shape: () => ({ tensors: { latents: { data: new Uint8Array(4), shape: [1, 4] } } }),
    status: 400,
    field: 'latents',
    says: /U8.*F32/,
  },
  {
    title: 'scales of another dtype',
    shape: () => ({ tensors: { scale: f32([1], [1]) } }),
    status: 400,
    field: 'scale',
    says: /F32.*U8/,
  },
  {
    title: 'latents of another rank',
    shape: () => ({ tensors: { latents: f32([1, 2, 3, 4], [1, 2, 2]) } }),
    status: 400,
    field: 'latents',
    says: /\[1,2,2\].*expected \[n, 4 \* channels\]/,
  },
  {
    title: 'fewer ids than tokens',
    shape: () => ({ tensors: { img_ids: f32([0, 0, 0], [1, 3]) } }),
    status: 400,
    field: 'img_ids',
    says: /\[1,3\].*expected \[\d+, 3\]/,
  },
  {
    title: 'fewer scales than tokens',
    shape: () => ({ tensors: { scale: { data: new Uint8Array(1), shape: [1] } } }),
    status: 400,
    field: 'scale',
    says: /\[1\].*expected \[\d+\]/,
  },
  {
    title: 'sigmas of another rank',
    shape: () => ({ tensors: { sigmas: f32([1, 0], [1, 2]) } }),
    status: 400,
    field: 'sigmas',
    says: /\[1,2\].*expected \[N \+ 1\]/,
  },
  {
    title: 'no tokens at all',
    shape: ({ channels }) => ({
      tensors: {
        latents: f32([], [0, 4 * channels]),
        img_ids: f32([], [0, 3]),
        scale: { data: new Uint8Array(0), shape: [0] },
      },
    }),
    status: 422,
    field: 'latents',
    says: /0 tokens.*at least 1/,
  },
  {
    title: 'an unknown model',
    shape: () => ({ options: { model: 'no-such-model' } }),
    status: 422,
    field: 'model',
    says: /"no-such-model".*expected one of/,
  },
  {
    title: 'a size the model does not have',
    shape: () => ({ options: { width: 48, height: 16 } }),
    status: 422,
    field: 'width',
    says: /48x16.*expected one of: \d+x\d+/,
  },
  {
    title: 'tokens of another width',
    shape: (facts) => {
      const n = tokensOf(facts, 'low').scale.length;
      return { tensors: { latents: { data: new Float32Array(n * 4), shape: [n, 4] } } };
    },
    status: 422,
    field: 'latents',
    says: /4 values a token.*expects \d+/,
  },
  {
    title: 'more tokens than the model takes',
    shape: ({ channels, max_tokens }) => {
      const n = max_tokens + 1;
      return {
        tensors: {
          latents: { data: new Float32Array(n * 4 * channels), shape: [n, 4 * channels] },
          img_ids: { data: new Float32Array(n * 3), shape: [n, 3] },
          scale: { data: new Uint8Array(n).fill(1), shape: [n] },
        },
      };
    },
    status: 422,
    field: 'latents',
    says: /\d+ tokens.*at most \d+/,
  },
  {
    title: 'NaN among the latents',
    shape: (facts) => ({ tensors: { latents: latentsOf(facts, setAt(5, Number.NaN)) } }),
    status: 422,
    field: 'latents',
    says: /\[0, 5\] is NaN.*finite/,
  },
  {
    title: 'Infinity among the latents',
    shape: (facts) => ({ tensors: { latents: latentsOf(facts, setAt(4, -Infinity)) } }),
    status: 422,
    field: 'latents',
    says: /is -Infinity/,
  },
  {
    title: 'NaN among the ids',
    shape: (facts) => ({ tensors: { img_ids: idsOf(facts, 'low', setAt(4, Number.NaN)) } }),
    status: 422,
    field: 'img_ids',
    says: /\[1, 1\] is NaN/,
  },
  {
    title: 'a frame other than 0',
    shape: (facts) => ({ tensors: { img_ids: idsOf(facts, 'low', setAt(3, 1)) } }),
    status: 422,
    field: 'img_ids',
    says: /\[1, 0\] is 1, expected frame 0/,
  },
  {
    title: 'a scale of 3',
    shape: (facts) => ({ tensors: { scale: scaleOf(facts, setAt(1, 3)) } }),
    status: 422,
    field: 'scale',
    says: /scale\[1\] is 3, expected 1 or 2/,
  },
  {
    title: 'a scale of 0',
    shape: (facts) => ({ tensors: { scale: scaleOf(facts, setAt(0, 0)) } }),
    status: 422,
    field: 'scale',
    says: /scale\[0\] is 0/,
  },
  {
    title: 'a single sigma',
    shape: () => ({ sigmas: [1] }),
    status: 422,
    field: 'sigmas',
    says: /1 sigmas, expected 2/,
  },
  { title: 'no sigma', shape: () => ({ sigmas: [] }), status: 422, field: 'sigmas', says: /0 sigmas/ },
  {
    title: 'sigmas that stay equal',
    shape: () => ({ sigmas: [1, 0.5, 0.5] }),
    status: 422,
    field: 'sigmas',
    says: /sigmas\[2\] is 0.5 after 0.5, expected strictly decreasing/,
  },
  {
    title: 'sigmas that rise',
    shape: () => ({ sigmas: [0.5, 0.75] }),
    status: 422,
    field: 'sigmas',
    says: /0.75 after 0.5/,
  },
  {
    title: 'a sigma over 1',
    shape: () => ({ sigmas: [1.5, 0] }),
    status: 422,
    field: 'sigmas',
    says: /1.5, expected 0 to 1/,
  },
  {
    title: 'a sigma under 0',
    shape: () => ({ sigmas: [0.5, -0.25] }),
    status: 422,
    field: 'sigmas',
    says: /-0.25, expected 0 to 1/,
  },
  {
    title: 'a sigma that is NaN',
    shape: () => ({ sigmas: [1, Number.NaN] }),
    status: 422,
    field: 'sigmas',
    says: /NaN/,
  },
  {
    title: 'a preview of nothing decoded',
    shape: () => ({ options: { preview: { format: 'webp', longest_side: 64 } } }),
    status: 422,
    field: 'preview',
    says: /clean or image/,
  },
  {
    title: 'an image before sigma 0',
    shape: () => ({ layout: 'full', sigmas: [1, 0.5], options: { decode: 'image' } }),
    status: 422,
    field: 'sigmas',
    says: /end at 0.5, expected 0/,
  },
  {
    title: 'an image of low tokens',
    shape: () => ({ layout: 'low', options: { decode: 'image' } }),
    status: 422,
    field: 'scale',
    says: /full resolution/,
  },
  {
    title: 'an image of tokens of which two share a place',
    shape: (facts) => ({
      layout: 'full',
      options: { decode: 'image' },
      tensors: { img_ids: idsOf(facts, 'full', setAt(5, 0)) },
    }),
    status: 422,
    field: 'img_ids',
    says: /token 1 covers cell \(0, 0\) again/,
  },
  {
    title: 'a clean estimate of tokens outside the grid',
    shape: (facts) => ({ options: { decode: 'clean' }, tensors: { img_ids: idsOf(facts, 'low', setAt(1, 1000)) } }),
    status: 422,
    field: 'img_ids',
    says: /token 0 of scale 2 lies at cell \(2000, 0\)/,
  },
  {
    title: 'a clean estimate of a grid with a hole',
    shape: (facts) => {
      const { imgIds, scale } = tokensOf(facts, 'low');
      const n = scale.length - 1;
      const d = 4 * facts.channels;
      return {
        options: { decode: 'clean' },
        tensors: {
          latents: { data: seededLatents(n * d), shape: [n, d] },
          img_ids: { data: imgIds.slice(0, n * 3), shape: [n, 3] },
          scale: { data: scale.slice(0, n), shape: [n] },
        },
      };
    },
    status: 422,
    field: 'img_ids',
    says: /nothing covers cell/,
  },
];

/** Tensors of two runs are the same bytes. */
function expectSameTensors(a: Received['tensors'], b: Received['tensors']): void {
  expect(Object.keys(a)).toEqual(Object.keys(b));
  for (const [name, { data, shape }] of Object.entries(a)) {
    expect(b[name]?.shape, name).toEqual(shape);
    const bytes = (view: ArrayBufferView | undefined) =>
      Buffer.from(view?.buffer ?? new ArrayBuffer(0), view?.byteOffset, view?.byteLength);
    expect(bytes(data).equals(bytes(b[name]?.data)), `${name} differs`).toBe(true);
  }
}

/**
 * Sends raw bytes of a request whose body is said to be `length` long; resolves with the status, or null when `abandon`
 * cuts the line after them.
 */
function sendRaw(
  { url, token }: Target,
  path: string,
  { length, bytes, abandon }: { length: number; bytes: Uint8Array; abandon: boolean },
): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      new URL(path, url),
      { method: 'PUT', headers: { authorization: `Bearer ${token}`, 'content-length': length } },
      (response) => {
        resolve(response.statusCode ?? 0);
        request.destroy();
      },
    );
    request.on('error', (error) => (abandon ? resolve(null) : reject(error)));
    request.on('close', () => resolve(null));
    request.write(bytes, () => abandon && setTimeout(() => request.destroy(), 20));
  });
}

/** Registers the suite. `start` gives a running server; `stop` is called when all is tested. */
export function conformance(title: string, start: () => Promise<Started>): void {
  describe(title, () => {
    let server: Started;
    let facts: ModelFacts;
    const run = (shape: RequestShape) => put(server, freshId(), stageBody(facts, shape)).then(finish);

    beforeAll(async () => {
      server = await start();
      const list = modelList.parse(await (await call(server, 'GET', 'v1/models')).json());
      facts = list.models[0] as ModelFacts;
    }, 60_000);
    afterAll(() => server?.stop());

    describe('says who it is', () => {
      test('its models, with every fact the plan needs', () => {
        expect(
          facts.sizes.every(
            ({ width, height }) => width % (2 * facts.token_pixels) === 0 && height % (2 * facts.token_pixels) === 0,
          ),
        ).toBe(true);
        expect(
          facts.sizes.every(({ width, height }) => (width * height) / facts.token_pixels ** 2 <= facts.max_tokens),
        ).toBe(true);
      });

      test('its health, to anybody', async () => {
        const response = await call(server, 'GET', 'healthz', { token: null });
        expect(response.status).toBe(200);
        expect(await response.json()).toMatchObject({
          status: expect.stringMatching(/^(ready|busy)$/),
          queue: expect.any(Number),
          eta_ms: expect.any(Number),
          version: expect.any(String),
        });
      });

      test('what it did, as Prometheus text that counts', async () => {
        const steps = async () =>
          Number(
            /^stage_steps_total\{.*\} (\d+)$/m.exec(await (await call(server, 'GET', 'metrics')).text())?.[1] ?? 0,
          );
        const before = await steps();
        await run({ sigmas: evenSigmas(3) });
        expect((await steps()) - before).toBe(3);
      });

      test.each([
        ['GET', 'v1/models'],
        ['PUT', 'v1/stages/x'],
        ['DELETE', 'v1/stages/x'],
      ])('%s %s needs the token', async (method, path) => {
        for (const token of [null, 'wrong', `${server.token}x`, '']) {
          const response = await call(server, method, path, { token });
          expect(response.status).toBe(401);
          expect(stageProblem.parse(await response.json()).code).toBe('unauthorized');
        }
      });
    });

    describe('refuses what it cannot do, naming what it got and what it expected', () => {
      test.each(BAD.map((bad) => [bad.title, bad] as const))('%s', async (_, { shape, status, field, says }) => {
        const response = await put(server, freshId(), stageBody(facts, shape(facts)));
        const answer = await response.json();
        expect(response.status, JSON.stringify(answer)).toBe(status);
        const problem = stageProblem.parse(answer);
        expect(problem.field).toBe(field);
        expect(problem.message).toMatch(says);
      });

      test('guidance the model has not, or outside its range', async () => {
        const guidance = facts.guidance ? facts.guidance.max + 1 : 3.5;
        const response = await put(server, freshId(), stageBody(facts, { options: { guidance } }));
        expect(response.status).toBe(422);
        expect(stageProblem.parse(await response.json()).field).toBe('guidance');
      });

      test('a negative prompt where the model takes none, without repeating it', async ({ skip }) => {
        if (facts.negative_prompt) skip();
        const response = await put(
          server,
          freshId(),
          stageBody(facts, { options: { negative_prompt: 'unspeakable' } }),
        );
        expect(response.status).toBe(422);
        const text = await response.text();
        expect(stageProblem.parse(JSON.parse(text)).field).toBe('negative_prompt');
        expect(text).not.toContain('unspeakable');
      });

      test.each([
        ['an empty body', new Uint8Array(0)],
        ['garbage', new TextEncoder().encode('this is not a safetensors message, not even nearly')],
        ['a header longer than it may be', Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 1)],
      ])('%s', async (_, body) => {
        const response = await put(server, freshId(), body);
        expect(response.status).toBe(400);
        expect(stageProblem.parse(await response.json()).code).toBe('not_safetensors');
      });

      test('a message cut anywhere, or followed by anything', async () => {
        const body = stageBody(facts);
        const longer = new Uint8Array(body.length + 1);
        longer.set(body);
        for (const wrong of [body.subarray(0, 7), body.subarray(0, 100), body.subarray(0, body.length - 1), longer]) {
          const response = await put(server, freshId(), wrong.slice());
          expect(response.status).toBe(400);
          expect(stageProblem.parse(await response.json()).code).toBe('not_safetensors');
        }
      });

      test('a body said to be over the limit, before it is sent', async () => {
        const status = await sendRaw(server, `v1/stages/${freshId()}`, {
          length: MAX_MESSAGE_BYTES + 1,
          bytes: new Uint8Array(8),
          abandon: false,
        });
        expect(status).toBe(413);
      });

      test('an id it could not keep', async () => {
        for (const id of ['.hidden', 'sp%20ace', 'a'.repeat(201), '%00'])
          expect((await put(server, id, stageBody(facts))).status).toBe(400);
      });

      test('a stage it does not know, when it is told to stop it', async () => {
        const response = await call(server, 'DELETE', `v1/stages/${freshId()}`);
        expect(response.status).toBe(404);
        expect(stageProblem.parse(await response.json()).code).toBe('unknown_stage');
      });

      test('and nothing is half-done: the id of a refused or abandoned request is free', async () => {
        const id = freshId();
        const body = stageBody(facts, { sigmas: evenSigmas(1) });
        expect((await put(server, id, stageBody(facts, { sigmas: [0.5, 0.75] }))).status).toBe(422);
        expect(
          await sendRaw(server, `v1/stages/${id}`, {
            length: body.length,
            bytes: body.subarray(0, body.length / 2),
            abandon: true,
          }),
        ).toBe(null);
        expect((await finish(await put(server, id, body))).done.steps_done).toBe(1);
      });
    });

    describe('denoises', () => {
      test('telling each step as it happens, then done', async () => {
        const sigmas = Float32Array.of(1, 0.75, 0.5, 0.3);
        const { done, tensors, all } = await run({ sigmas: [...sigmas] });
        const steps = all.map(({ event }) => event).filter(({ event }) => event !== 'queued');
        expect(steps.slice(0, -1)).toEqual(
          [1, 2, 3].map((step) => ({ event: 'step', step, steps: 3, sigma: sigmas[step - 1], ms: expect.any(Number) })),
        );
        expect(done).toMatchObject({ steps_done: 3, model_digest: facts.digest, decode_ms: 0, encode_ms: 0 });
        expect(done.engine.length).toBeGreaterThan(0);
        expect(Object.keys(tensors)).toEqual(['latents']);
        expect(tensors.latents?.shape).toEqual([tokensOf(facts, 'low').scale.length, 4 * facts.channels]);
        expect((tensors.latents as Tensor<Float32Array>).data.every(Number.isFinite)).toBe(true);
      });

      test('the same body under two ids gives the same bytes', async () => {
        const shape: RequestShape = {
          layout: 'mixed',
          sigmas: evenSigmas(2, 0.9, 0.5),
          options: { decode: 'clean', preview: { format: 'webp', longest_side: 64 } },
        };
        const [one, two] = [await run(shape), await run(shape)];
        expectSameTensors(one.tensors, two.tensors);
      });

      test('two stages end to end are one: there is no state but the latents', async () => {
        const whole = await run({ sigmas: [1, 0.75, 0.5, 0.25, 0] });
        const first = await run({ sigmas: [1, 0.75, 0.5] });
        const second = await run({ sigmas: [0.5, 0.25, 0], tensors: { latents: first.tensors.latents ?? null } });
        expectSameTensors(second.tensors, whole.tensors);
      });

      test('an alias names the same model', async ({ skip }) => {
        const [alias] = facts.aliases;
        if (alias === undefined) return skip();
        expectSameTensors((await run({ options: { model: alias } })).tensors, (await run({})).tensors);
      });
    });

    describe('decodes', () => {
      const sideOf = (tensors: Received['tensors']) => ({
        height: tensors.rgb?.shape[0],
        width: tensors.rgb?.shape[1],
        channels: tensors.rgb?.shape[2],
      });

      test.each([
        ['low', 2],
        ['mixed', 1],
        ['all-upsampled', 1],
        ['full', 1],
      ] as const)('the clean estimate of %s tokens at 1/%i of each side', async (layout, share) => {
        const { width, height } = smallest(facts);
        const { done, tensors } = await run({ layout, sigmas: evenSigmas(2, 1, 0.7), options: { decode: 'clean' } });
        expect(Object.keys(tensors).toSorted()).toEqual(['latents', 'rgb']);
        expect(sideOf(tensors)).toEqual({ height: height / share, width: width / share, channels: 3 });
        expect(done.decode_ms).toBeGreaterThan(0);
      });

      test.each(['png', 'webp', 'jpeg'] as const)(
        'the finished image as %s, and a preview beside it',
        async (format) => {
          const { tensors } = await run({
            layout: 'full',
            options: { decode: 'image', format, preview: { format, longest_side: 32 } },
          });
          expect(Object.keys(tensors).toSorted()).toEqual(['image', 'preview']);
          const image = await sharp(tensors.image?.data).metadata();
          expect(image).toMatchObject({ format, ...smallest(facts), channels: 3 });
          expect([image.exif, image.icc, image.xmp, image.comments]).toEqual([
            undefined,
            undefined,
            undefined,
            undefined,
          ]);
          const preview = await sharp(tensors.preview?.data).metadata();
          expect(preview.format).toBe(format);
          expect(Math.max(preview.width, preview.height)).toBe(32);
          expect(tensors.preview?.data.length).toBeLessThanOrEqual(MAX_PREVIEW_BYTES);
        },
      );

      test('at sigma 0 the clean estimate is the image, pixel by pixel', async () => {
        const clean = await run({ layout: 'full', options: { decode: 'clean' } });
        const image = await run({ layout: 'full', options: { decode: 'image' } });
        const pixels = await sharp(image.tensors.image?.data).raw().toBuffer();
        expect(pixels.equals(clean.tensors.rgb?.data as Uint8Array)).toBe(true);
      });

      test('a prompt it cannot understand at all still gives an image', async () => {
        for (const prompt of ['', 'zzqxv blorfgh', '\u0000', '🦊🦊🦊']) {
          const { tensors } = await run({
            layout: 'full',
            sigmas: evenSigmas(1),
            options: { prompt, decode: 'image' },
          });
          expect((await sharp(tensors.image?.data).metadata()).format).toBe('png');
        }
      });

      test('a prompt longer than the model reads gives an image and a warning', async () => {
        const { done } = await run({
          sigmas: evenSigmas(1),
          options: { prompt: 'red '.repeat(4 * facts.text_tokens + 4) },
        });
        expect(done.warnings.length).toBeGreaterThan(0);
      });
    });

    describe('keeps a stage by its id', () => {
      test('the kept result is the same bytes, whole', async () => {
        const id = freshId();
        const body = stageBody(facts, { options: { decode: 'clean' } });
        const first = Buffer.from(await (await put(server, id, body)).arrayBuffer());
        const again = Buffer.from(await (await put(server, id, body)).arrayBuffer());
        expect(again.equals(first)).toBe(true);
      });

      test('the same id with another body is a conflict, running or kept', async () => {
        const id = freshId();
        const running = messages(await put(server, id, stageBody(facts, { sigmas: LONG })));
        await readUntil(running, 'step');
        const other = stageBody(facts, { sigmas: evenSigmas(1) });
        const response = await put(server, id, other);
        expect(response.status).toBe(409);
        expect(stageProblem.parse(await response.json()).code).toBe('stage_conflict');
        await readUntil(running, 'done');
        expect((await put(server, id, other)).status).toBe(409);
      }, 30_000);

      test('attaching to a running stage replays it from the start and follows it, several readers at once', async () => {
        const id = freshId();
        const body = stageBody(facts, { sigmas: LONG });
        const first = messages(await put(server, id, body));
        await readUntil(first, 'step');
        const others = await Promise.all([put(server, id, body), put(server, id, body)]);
        const [one, two] = await Promise.all(others.map(finish));
        const numbers = one?.all.flatMap(({ event }) => (event.event === 'step' ? [event.step] : []));
        expect(numbers).toEqual(LONG.slice(1).map((_, i) => i + 1));
        expect(two?.all.map(({ event }) => event)).toEqual(one?.all.map(({ event }) => event));
        expectSameTensors((await readUntil(first, 'done')).tensors, one?.tensors ?? {});
      }, 30_000);

      test('a lost connection stops nothing: who comes back finds it further on', async () => {
        const id = freshId();
        const body = stageBody(facts, { sigmas: LONG });
        const line = new AbortController();
        const lost = messages(await put(server, id, body, line.signal));
        await readUntil(lost, 'step');
        line.abort();
        const { all, done } = await finish(await put(server, id, body));
        expect(done.steps_done).toBe(LONG.length - 1);
        expect(all.find(({ event }) => event.event === 'step')?.event).toMatchObject({ step: 1 });
      }, 30_000);

      test('cancelled while it runs, it says so to its readers, stops, and frees its id', async () => {
        const id = freshId();
        const reader = messages(await put(server, id, stageBody(facts, { sigmas: LONG })));
        await readUntil(reader, 'step');
        expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
        const last = await readUntil(reader, 'error');
        expect(last.event).toMatchObject({ code: 'cancelled', retryable: false });
        expect(last.tensors).toEqual({});
        expect((await reader.next()).done).toBe(true);
        expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(404);
        expect((await finish(await put(server, id, stageBody(facts, { sigmas: evenSigmas(1) })))).done.steps_done).toBe(
          1,
        );
      }, 30_000);

      test('a kept result that is deleted is forgotten', async () => {
        const id = freshId();
        await collect(await put(server, id, stageBody(facts)));
        expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
        expect((await finish(await put(server, id, stageBody(facts, { sigmas: evenSigmas(1) })))).done.steps_done).toBe(
          1,
        );
      });
    });
  });
}
