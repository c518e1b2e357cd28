/**
 * What every stage server must do, whatever model it serves and whoever wrote it: `conformance(title, start)` registers
 * the tests against any base URL. The model's facts come from its own `/v1/models`, and the first model is tried. What
 * a later version of the contract or a feature brings is skipped for a server that does not state it. What depends
 * on a server's settings (queue length, orphan time, draining) is tested in server.test.ts.
 *
 * A refusal is known by its status, `code` and `field`. Its sentence may be any that does not repeat the prompt.
 */
import { request as httpRequest } from 'node:http';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  MAX_MESSAGE_BYTES,
  MAX_PREVIEW_BYTES,
  type ModelFacts,
  type ModelList,
  modelList,
  type ServedFacts,
  stageProblem,
} from '../../src/stage/contract.ts';
import type { Tensor } from '../../src/stage/safetensors.ts';
import {
  call,
  collect,
  evenSigmas,
  finish,
  freshId,
  hasEvenGrid,
  messages,
  PROMPT,
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
  readonly code: string;
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
    code: 'bad_metadata',
  },
  {
    title: 'a missing option',
    shape: () => ({ metadata: { quality: null } }),
    status: 400,
    field: 'quality',
    code: 'bad_metadata',
  },
  {
    title: 'an option nobody knows',
    shape: () => ({ metadata: { sampler: '"heun"' } }),
    status: 400,
    field: 'sampler',
    code: 'bad_metadata',
  },
  {
    title: 'a number given as text',
    shape: () => ({ metadata: { width: '"wide"' } }),
    status: 400,
    field: 'width',
    code: 'bad_metadata',
  },
  {
    title: 'a prompt over the limit',
    shape: () => ({ options: { prompt: 'a'.repeat(32_001) } }),
    status: 400,
    field: 'prompt',
    code: 'bad_metadata',
  },
  {
    title: 'an unknown kind of decoding',
    shape: () => ({ options: { decode: 'video' } }),
    status: 400,
    field: 'decode',
    code: 'bad_metadata',
  },
  {
    title: 'an unknown format',
    shape: () => ({ options: { format: 'gif' } }),
    status: 400,
    field: 'format',
    code: 'bad_metadata',
  },
  {
    title: 'a quality of 0',
    shape: () => ({ options: { quality: 0 } }),
    status: 400,
    field: 'quality',
    code: 'bad_metadata',
  },
  {
    title: 'a cache that is no object',
    shape: () => ({ options: { cache: true } }),
    status: 400,
    field: 'cache',
    code: 'bad_metadata',
  },
  {
    title: 'pixels of what is not decoded',
    shape: () => ({ options: { rgb: true } }),
    status: 422,
    field: 'rgb',
    code: 'unsupported_option',
  },
  {
    title: 'a preview larger than 1024',
    shape: () => ({ options: { decode: 'clean', preview: { format: 'webp', longest_side: 4096 } } }),
    status: 400,
    field: 'preview.longest_side',
    code: 'bad_metadata',
  },
  {
    title: 'a missing tensor',
    shape: () => ({ tensors: { sigmas: null } }),
    status: 400,
    field: 'sigmas',
    code: 'bad_tensor',
  },
  {
    title: 'a tensor nobody knows',
    shape: () => ({ tensors: { mask: f32([1], [1]) } }),
    status: 400,
    field: 'mask',
    code: 'bad_tensor',
  },
  {
    title: 'latents of another dtype',
    shape: () => ({ tensors: { latents: { data: new Uint8Array(4), shape: [1, 4] } } }),
    status: 400,
    field: 'latents',
    code: 'bad_tensor',
  },
  {
    title: 'scales of another dtype',
    shape: () => ({ tensors: { scale: f32([1], [1]) } }),
    status: 400,
    field: 'scale',
    code: 'bad_tensor',
  },
  {
    title: 'latents of another rank',
    shape: () => ({ tensors: { latents: f32([1, 2, 3, 4], [1, 2, 2]) } }),
    status: 400,
    field: 'latents',
    code: 'bad_tensor',
  },
  {
    title: 'fewer ids than tokens',
    shape: () => ({ tensors: { img_ids: f32([0, 0, 0], [1, 3]) } }),
    status: 400,
    field: 'img_ids',
    code: 'bad_tensor',
  },
  {
    title: 'fewer scales than tokens',
    shape: () => ({ tensors: { scale: { data: new Uint8Array(1), shape: [1] } } }),
    status: 400,
    field: 'scale',
    code: 'bad_tensor',
  },
  {
    title: 'sigmas of another rank',
    shape: () => ({ tensors: { sigmas: f32([1, 0], [1, 2]) } }),
    status: 400,
    field: 'sigmas',
    code: 'bad_tensor',
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
    code: 'no_tokens',
  },
  {
    title: 'an unknown model',
    shape: () => ({ options: { model: 'no-such-model' } }),
    status: 422,
    field: 'model',
    code: 'unknown_model',
  },
  {
    title: 'a size the model does not have',
    shape: () => ({ options: { width: 48, height: 16 } }),
    status: 422,
    field: 'width',
    code: 'unsupported_size',
  },
  {
    title: 'tokens of another width',
    shape: (facts) => {
      const n = tokensOf(facts, 'low').scale.length;
      return { tensors: { latents: { data: new Float32Array(n * 4), shape: [n, 4] } } };
    },
    status: 422,
    field: 'latents',
    code: 'out_of_range',
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
    code: 'too_many_tokens',
  },
  {
    title: 'NaN among the latents',
    shape: (facts) => ({ tensors: { latents: latentsOf(facts, setAt(5, Number.NaN)) } }),
    status: 422,
    field: 'latents',
    code: 'not_finite',
  },
  {
    title: 'Infinity among the latents',
    shape: (facts) => ({ tensors: { latents: latentsOf(facts, setAt(4, -Infinity)) } }),
    status: 422,
    field: 'latents',
    code: 'not_finite',
  },
  {
    title: 'NaN among the ids',
    shape: (facts) => ({ tensors: { img_ids: idsOf(facts, 'low', setAt(4, Number.NaN)) } }),
    status: 422,
    field: 'img_ids',
    code: 'not_finite',
  },
  {
    title: 'a frame other than 0',
    shape: (facts) => ({ tensors: { img_ids: idsOf(facts, 'low', setAt(3, 1)) } }),
    status: 422,
    field: 'img_ids',
    code: 'out_of_range',
  },
  {
    title: 'a scale of 3',
    shape: (facts) => ({ tensors: { scale: scaleOf(facts, setAt(1, 3)) } }),
    status: 422,
    field: 'scale',
    code: 'out_of_range',
  },
  {
    title: 'a scale of 0',
    shape: (facts) => ({ tensors: { scale: scaleOf(facts, setAt(0, 0)) } }),
    status: 422,
    field: 'scale',
    code: 'out_of_range',
  },
  {
    title: 'a single sigma',
    shape: () => ({ sigmas: [1] }),
    status: 422,
    field: 'sigmas',
    code: 'out_of_range',
  },
  { title: 'no sigma', shape: () => ({ sigmas: [] }), status: 422, field: 'sigmas', code: 'out_of_range' },
  {
    title: 'sigmas that stay equal',
    shape: () => ({ sigmas: [1, 0.5, 0.5] }),
    status: 422,
    field: 'sigmas',
    code: 'not_decreasing',
  },
  {
    title: 'sigmas that rise',
    shape: () => ({ sigmas: [0.5, 0.75] }),
    status: 422,
    field: 'sigmas',
    code: 'not_decreasing',
  },
  {
    title: 'a sigma over 1',
    shape: () => ({ sigmas: [1.5, 0] }),
    status: 422,
    field: 'sigmas',
    code: 'out_of_range',
  },
  {
    title: 'a sigma under 0',
    shape: () => ({ sigmas: [0.5, -0.25] }),
    status: 422,
    field: 'sigmas',
    code: 'out_of_range',
  },
  {
    title: 'a sigma that is NaN',
    shape: () => ({ sigmas: [1, Number.NaN] }),
    status: 422,
    field: 'sigmas',
    code: 'not_finite',
  },
  {
    title: 'a preview of nothing decoded',
    shape: () => ({ options: { preview: { format: 'webp', longest_side: 64 } } }),
    status: 422,
    field: 'preview',
    code: 'unsupported_option',
  },
  {
    title: 'an image before sigma 0',
    shape: () => ({ layout: 'full', sigmas: [1, 0.5], options: { decode: 'image' } }),
    status: 422,
    field: 'sigmas',
    code: 'unfinished_image',
  },
  {
    title: 'an image of low tokens',
    shape: () => ({ layout: 'low', options: { decode: 'image' } }),
    status: 422,
    field: 'scale',
    code: 'unfinished_image',
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
    code: 'bad_grid',
  },
  {
    title: 'a clean estimate of tokens outside the grid',
    shape: (facts) => ({ options: { decode: 'clean' }, tensors: { img_ids: idsOf(facts, 'low', setAt(1, 1000)) } }),
    status: 422,
    field: 'img_ids',
    code: 'bad_grid',
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
    code: 'bad_grid',
  },
];

/** How far apart two runs may be where the engine is not deterministic: of the largest value, and levels of a pixel. */
const NEAR = 0.02;
const NEAR_LEVELS = 3;

const bytesOf = (view: ArrayBufferView | undefined): Buffer =>
  Buffer.from(view?.buffer ?? new ArrayBuffer(0), view?.byteOffset, view?.byteLength);

/** Mean distance of two arrays, entry by entry. */
function meanDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs((a[i] as number) - (b[i] as number));
  return sum / a.length;
}

/** Tensors of two runs are the same bytes; or, where the engine promises no such thing, near each other. */
function expectSameTensors(a: Received['tensors'], b: Received['tensors'], isExact: boolean): void {
  expect(Object.keys(a)).toEqual(Object.keys(b));
  for (const [name, { data, shape }] of Object.entries(a)) {
    const other = b[name] as Tensor;
    if (isExact || shape.length > 1) expect(other.shape, name).toEqual(shape);
    if (isExact) expect(bytesOf(data).equals(bytesOf(other.data)), `${name} differs`).toBe(true);
    else if (data instanceof Float32Array)
      expect(meanDistance(data, other.data), name).toBeLessThanOrEqual(
        NEAR * data.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
      );
    else if (shape.length > 1) expect(meanDistance(data, other.data), name).toBeLessThanOrEqual(NEAR_LEVELS);
  }
}

/** A refusal that a program can act on, and a sentence that gives nothing away. */
async function expectRefusal(
  response: Response,
  expected: { status: number; code: string; field?: string },
  prompt = PROMPT,
): Promise<void> {
  const answer = await response.json();
  const { code, message, field } = stageProblem.parse(answer);
  expect({ status: response.status, code, field }, JSON.stringify(answer)).toEqual({ field: undefined, ...expected });
  expect(message.trim()).not.toBe('');
  expect(message).not.toContain(prompt.slice(0, 200));
}

/**
 * Sends raw bytes of a request whose body is said to be `length` long; resolves with the answer, or null when `abandon`
 * cuts the line after them.
 */
function sendRaw(
  { url, token }: Target,
  path: string,
  { length, bytes, abandon }: { length: number; bytes: Uint8Array; abandon: boolean },
): Promise<Response | null> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      new URL(path, url),
      { method: 'PUT', headers: { authorization: `Bearer ${token}`, 'content-length': length } },
      async (response) => {
        resolve(new Response(Buffer.concat(await response.toArray()), { status: response.statusCode ?? 0 }));
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
    let list: ModelList;
    let facts: ServedFacts;
    /** whether two runs must agree to the bit: what version 1 always promised, and later versions where they say so */
    const isExact = () => list.contract.version < 2 || facts.deterministic;
    const run = (shape: RequestShape) => put(server, freshId(), stageBody(facts, shape)).then(finish);

    beforeAll(async () => {
      server = await start();
      list = modelList.parse(await (await call(server, 'GET', 'v1/models')).json());
      facts = list.models[0] as ServedFacts;
    }, 60_000);
    afterAll(() => server?.stop());

    describe('says who it is', () => {
      test('the contract it speaks, each feature once', () => {
        const { version, features } = list.contract;
        expect(features.length).toBe(new Set(features).size);
        if (version < 2) expect(features).toEqual([]);
      });

      test('what computes each model, and whether that is deterministic', async ({ skip }) => {
        if (list.contract.version < 2) skip();
        const { models } = (await (await call(server, 'GET', 'v1/models')).json()) as { models: unknown[] };
        for (const model of models)
          expect(model).toMatchObject({
            engine_class: expect.any(String),
            deterministic: expect.any(Boolean),
          });
      });

      test('its models, with sizes that it has enough tokens for, one of them with a grid that can be halved', () => {
        expect(facts.sizes.some((size) => hasEvenGrid(facts, size))).toBe(true);
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
            /^stage_steps_total\{.*\} (\S+)$/m.exec(await (await call(server, 'GET', 'metrics')).text())?.[1] ?? 0,
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
          await expectRefusal(response, { status: 401, code: 'unauthorized' });
        }
      });
    });

    describe('refuses what it cannot do, naming the rule and the field', () => {
      test.each(BAD.map((bad) => [bad.title, bad] as const))('%s', async (_, { shape, status, code, field }) => {
        const wanted = shape(facts);
        const response = await put(server, freshId(), stageBody(facts, wanted));
        await expectRefusal(response, { status, code, field }, wanted.options?.prompt as string | undefined);
      });

      test('guidance the model has not, or outside its range', async () => {
        const guidance = facts.guidance ? facts.guidance.max + 1 : 3.5;
        const code = facts.guidance ? 'out_of_range' : 'unsupported_option';
        const response = await put(server, freshId(), stageBody(facts, { options: { guidance } }));
        await expectRefusal(response, { status: 422, code, field: 'guidance' });
      });

      test('a negative prompt where the model takes none, without repeating it', async ({ skip }) => {
        if (facts.negative_prompt) skip();
        const response = await put(
          server,
          freshId(),
          stageBody(facts, { options: { negative_prompt: 'unspeakable' } }),
        );
        const expected = { status: 422, code: 'unsupported_option', field: 'negative_prompt' };
        await expectRefusal(response, expected, 'unspeakable');
      });

      test.each([
        ['an empty body', new Uint8Array(0)],
        ['garbage', new TextEncoder().encode('this is not a safetensors message, not even nearly')],
        ['a header longer than it may be', Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 1)],
      ])('%s', async (_, body) => {
        await expectRefusal(await put(server, freshId(), body), { status: 400, code: 'not_safetensors' });
      });

      test('a message cut anywhere, or followed by anything', async () => {
        const body = stageBody(facts);
        const longer = new Uint8Array(body.length + 1);
        longer.set(body);
        for (const wrong of [body.subarray(0, 7), body.subarray(0, 100), body.subarray(0, body.length - 1), longer]) {
          const response = await put(server, freshId(), wrong.slice());
          await expectRefusal(response, { status: 400, code: 'not_safetensors' });
        }
      });

      test('a body said to be over the limit, before it is sent', async () => {
        const answer = await sendRaw(server, `v1/stages/${freshId()}`, {
          length: MAX_MESSAGE_BYTES + 1,
          bytes: new Uint8Array(8),
          abandon: false,
        });
        await expectRefusal(answer as Response, { status: 413, code: 'too_large' });
      });

      test('an id it could not keep', async () => {
        for (const id of ['.hidden', 'sp%20ace', 'a'.repeat(201), '%00'])
          await expectRefusal(await put(server, id, stageBody(facts)), { status: 400, code: 'bad_id', field: 'id' });
      });

      test('a stage it does not know, when it is told to stop it', async () => {
        const response = await call(server, 'DELETE', `v1/stages/${freshId()}`);
        await expectRefusal(response, { status: 404, code: 'unknown_stage', field: 'id' });
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
        expect(Object.keys(tensors)).toEqual(['latents']);
        expect(tensors.latents?.shape).toEqual([tokensOf(facts, 'low').scale.length, 4 * facts.channels]);
        expect((tensors.latents as Tensor<Float32Array>).data.every(Number.isFinite)).toBe(true);
      });

      test('with the engine it states', async ({ skip }) => {
        if (list.contract.version < 2) skip();
        expect((await run({ sigmas: evenSigmas(1) })).done.engine).toBe(facts.engine_class);
      });

      test('telling how many text tokens it computed with, the same when it hears a prompt again', async ({ skip }) => {
        if (list.contract.version < 2) skip();
        const textTokens = async (prompt: string) =>
          (await run({ sigmas: evenSigmas(1), options: { prompt } })).done.text_tokens;
        const count = await textTokens(PROMPT);
        expect(count).toEqual(expect.any(Number));
        expect(await textTokens(PROMPT)).toBe(count);
        expect(await textTokens('red '.repeat(4 * facts.text_tokens + 4))).toBeGreaterThanOrEqual(count as number);
        expect(await textTokens('red '.repeat(4 * facts.text_tokens + 4))).toBeLessThanOrEqual(facts.text_tokens);
      });

      test('the same body under two ids gives the same bytes', async () => {
        const shape: RequestShape = {
          layout: 'mixed',
          sigmas: evenSigmas(2, 0.9, 0.5),
          options: { decode: 'clean', preview: { format: 'webp', longest_side: 64 } },
        };
        const [one, two] = [await run(shape), await run(shape)];
        expectSameTensors(one.tensors, two.tensors, isExact());
      });

      test('two stages end to end are one: there is no state but the latents', async () => {
        const whole = await run({ sigmas: [1, 0.75, 0.5, 0.25, 0] });
        const first = await run({ sigmas: [1, 0.75, 0.5] });
        const second = await run({ sigmas: [0.5, 0.25, 0], tensors: { latents: first.tensors.latents ?? null } });
        expectSameTensors(second.tensors, whole.tensors, isExact());
      });

      test('an alias names the same model', async ({ skip }) => {
        const [alias] = facts.aliases;
        if (alias === undefined) return skip();
        const named = await run({ options: { model: alias } });
        expectSameTensors(named.tensors, (await run({})).tensors, isExact());
      });
    });

    describe('takes the tag of an account, where it states the feature account_tag', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('account_tag') || skip();

      test('which changes nothing of the result', async ({ skip }) => {
        needsFeature(skip);
        const none = await run({ sigmas: evenSigmas(2) });
        for (const account_tag of ['a', '_-09Az', 'z'.repeat(64), '1', 'null']) {
          const tagged = await run({ sigmas: evenSigmas(2), options: { account_tag } });
          expectSameTensors(tagged.tensors, none.tensors, isExact());
        }
      });

      test.for([
        ['empty', ''],
        ['too long', 'a'.repeat(65)],
        ['with a space', 'a b'],
        ['with a slash', 'a/b'],
        ['of other letters', 'ä'],
      ])('but none that is %s', async ([, account_tag], { skip }) => {
        needsFeature(skip);
        const response = await put(server, freshId(), stageBody(facts, { options: { account_tag } }));
        await expectRefusal(response, { status: 400, code: 'bad_metadata', field: 'account_tag' });
      });
    });

    describe('steps by Adams-Bashforth 2, where it states the feature solver.ab2', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('solver.ab2') || skip();
      const sigmas = [1, 0.875, 0.75, 0.25];

      test('as the velocities say that steps of Euler give', async ({ skip }) => {
        needsFeature(skip);
        const n = tokensOf(facts, 'low').scale.length;
        const shape = [n, 4 * facts.channels];
        let now = seededLatents(n * 4 * facts.channels);
        let before: Float32Array | null = null;
        for (let i = 0; i + 1 < sigmas.length; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          const tensors = { latents: { data: now, shape } };
          const euler = (await run({ sigmas: [sigma, next], tensors })).tensors.latents?.data as Float32Array;
          const velocity = euler.map((x, j) => (x - now[j]!) / (next - sigma));
          const rho = before ? (next - sigma) / (sigma - sigmas[i - 1]!) : 0;
          now = now.map((x, j) => x + (next - sigma) * ((1 + rho / 2) * velocity[j]! - (rho / 2) * (before?.[j] ?? 0)));
          before = velocity;
        }
        const asked = (await run({ sigmas, options: { solver: 'ab2' } })).tensors.latents?.data as Float32Array;
        const euler = (await run({ sigmas })).tensors.latents?.data as Float32Array;
        const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const error = largest(asked.map((x, j) => x - now[j]!));
        expect(error / largest(asked)).toBeLessThan(1e-4);
        // a server that takes the field and steps by Euler does not pass
        expect(error).toBeLessThan(largest(asked.map((x, j) => x - euler[j]!)) / 10);
      });

      test('euler, named, is what it is without a name; a single step is the same by either', async ({ skip }) => {
        needsFeature(skip);
        const named = await run({ sigmas, options: { solver: 'euler' } });
        expectSameTensors(named.tensors, (await run({ sigmas })).tensors, isExact());
        const one = await run({ sigmas: [1, 0.5], options: { solver: 'ab2' } });
        expectSameTensors(one.tensors, (await run({ sigmas: [1, 0.5] })).tensors, isExact());
      });

      test('but no solver that nobody knows', async ({ skip }) => {
        needsFeature(skip);
        const response = await put(server, freshId(), stageBody(facts, { options: { solver: 'heun' } }));
        await expectRefusal(response, { status: 400, code: 'bad_metadata', field: 'solver' });
      });
    });

    describe('forecasts velocities between evaluations, where it states the feature cache.taylor_velocity', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('cache.taylor_velocity') || skip();
      const sigmas = [1, 0.9375, 0.8125, 0.75, 0.625, 0.375, 0.25];
      const cache = { kind: 'taylor_velocity', interval: 3, order: 2, warmup: 2 };
      /** the third and fourth step are forecast, then the last */
      const evaluated = [0, 1, 4];

      test('as the velocities say that single steps give, telling every step and how many it evaluated', async ({
        skip,
      }) => {
        needsFeature(skip);
        const shape = [tokensOf(facts, 'low').scale.length, 4 * facts.channels];
        let now = seededLatents(shape[0]! * shape[1]!);
        const known: { step: number; differences: Float32Array[] }[] = [];
        for (let i = 0; i + 1 < sigmas.length; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          const before = known.at(-1);
          let velocity: Float32Array;
          if (evaluated.includes(i)) {
            const tensors = { latents: { data: now, shape } };
            const euler = (await run({ sigmas: [sigma, next], tensors })).tensors.latents?.data as Float32Array;
            velocity = euler.map((x, j) => (x - now[j]!) / (next - sigma));
            const differences = [velocity];
            for (const [n, former] of (before?.differences ?? []).slice(0, cache.order).entries())
              differences.push(differences[n]!.map((x, j) => (x - former[j]!) / (i - before!.step)));
            known.push({ step: i, differences });
          } else {
            const [zero, one, two] = before!.differences;
            const ahead = i - before!.step;
            velocity = zero!.map((x, j) => x + ahead * one![j]! + ((two?.[j] ?? 0) * ahead ** 2) / 2);
          }
          now = now.map((x, j) => x + (next - sigma) * velocity[j]!);
        }
        const { done, tensors, all } = await run({ sigmas, options: { cache } });
        const asked = tensors.latents?.data as Float32Array;
        const euler = (await run({ sigmas })).tensors.latents?.data as Float32Array;
        const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const error = largest(asked.map((x, j) => x - now[j]!));
        expect(error / largest(asked)).toBeLessThan(1e-3);
        // a server that takes the field and evaluates every step does not pass
        expect(error).toBeLessThan(largest(asked.map((x, j) => x - euler[j]!)) / 10);
        const steps = all.flatMap(({ event }) => (event.event === 'step' ? [event.step] : []));
        expect([steps, done.steps_done, done.evaluations]).toEqual([[1, 2, 3, 4, 5, 6], 6, evaluated.length]);
      });

      test('remembering nothing of a stage before, and changing nothing where no step is left to forecast', async ({
        skip,
      }) => {
        needsFeature(skip);
        const short = sigmas.slice(0, 3);
        const whole = await run({ sigmas: short });
        const cached = await run({ sigmas: short, options: { cache } });
        expectSameTensors(cached.tensors, whole.tensors, isExact());
        expect(cached.done.evaluations).toBe(2);
        const again = await run({ sigmas, options: { cache } });
        expectSameTensors((await run({ sigmas, options: { cache } })).tensors, again.tensors, isExact());
      });

      test.for([
        ['of a kind nobody knows', { kind: 'taylor' }, 'cache.kind'],
        ['that evaluates every step', { interval: 1 }, 'cache.interval'],
        ['without a warm-up', { warmup: 0 }, 'cache.warmup'],
        ['of a negative order', { order: -1 }, 'cache.order'],
        ['of an order over 4', { order: 5 }, 'cache.order'],
        ['with a part of a step', { interval: 2.5 }, 'cache.interval'],
      ] as const)('but no cache %s', async ([, change, field], { skip }) => {
        needsFeature(skip);
        const response = await put(
          server,
          freshId(),
          stageBody(facts, { options: { cache: { ...cache, ...change } } }),
        );
        await expectRefusal(response, { status: 400, code: 'bad_metadata', field });
      });

      test('and none together with steps of second order', async ({ skip }) => {
        needsFeature(skip);
        if (!list.contract.features.includes('solver.ab2')) skip();
        const response = await put(server, freshId(), stageBody(facts, { options: { cache, solver: 'ab2' } }));
        await expectRefusal(response, { status: 422, code: 'unsupported_option', field: 'cache' });
      });
    });

    describe('gives the clean latents, where it states the feature clean_latents', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('clean_latents') || skip();

      test('which are the latents at sigma 0 of one step, whatever is decoded', async ({ skip }) => {
        needsFeature(skip);
        const whole = (await run({ sigmas: [1, 0] })).tensors.latents?.data as Float32Array;
        const largest = whole.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        for (const decode of ['none', 'clean']) {
          const { tensors } = await run({ sigmas: [1, 0.5], options: { decode, clean_latents: true } });
          expect(tensors.clean_latents?.shape).toEqual(tensors.latents?.shape);
          const clean = tensors.clean_latents?.data as Float32Array;
          const error = clean.reduce((most, x, i) => Math.max(most, Math.abs(x - whole[i]!)), 0);
          expect(error / largest).toBeLessThan(1e-5);
        }
      });

      test('only when they are asked for, and not with a finished image', async ({ skip }) => {
        needsFeature(skip);
        const { tensors } = await run({ sigmas: [1, 0.5], options: { clean_latents: false } });
        expect(Object.keys(tensors)).toEqual(['latents']);
        const options = { decode: 'image', clean_latents: true };
        const response = await put(server, freshId(), stageBody(facts, { layout: 'full', options }));
        await expectRefusal(response, { status: 422, code: 'unsupported_option', field: 'clean_latents' });
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

      test('a size whose grid cannot be halved, as a plain run of full tokens', async ({ skip }) => {
        const size = facts.sizes.find((each) => !hasEvenGrid(facts, each));
        if (!size) return skip();
        const { tensors } = await run({ layout: 'full', size, sigmas: evenSigmas(1), options: { decode: 'image' } });
        expect(await sharp(tensors.image?.data).metadata()).toMatchObject({ format: 'png', ...size });
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
        const rgb = clean.tensors.rgb?.data as Uint8Array;
        expect(pixels.length).toBe(rgb.length);
        expect(meanDistance(pixels, rgb)).toBeLessThanOrEqual(isExact() ? 0 : NEAR_LEVELS);
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
        const conflict = { status: 409, code: 'stage_conflict', field: 'id' };
        await expectRefusal(await put(server, id, other), conflict);
        await readUntil(running, 'done');
        await expectRefusal(await put(server, id, other), conflict);
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
        expectSameTensors((await readUntil(first, 'done')).tensors, one?.tensors ?? {}, true);
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
