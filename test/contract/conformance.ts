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
import { makesSize, type Size } from '../../src/numerics/grid.ts';
import { fitPicture } from '../../src/numerics/lanczos.ts';
import { CACHE_KINDS, type CacheKind } from '../../src/numerics/taylor.ts';
import {
  MAX_MESSAGE_BYTES,
  MAX_PREVIEW_BYTES,
  MAX_THUMBNAIL_BYTES,
  type ModelFacts,
  type ModelList,
  modelList,
  type ServedFacts,
  stageProblem,
  THUMBNAIL_SIDE,
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

/** Longest that one test may take: a real model on a processor needs seconds for a stage. */
const TEST_MS = 180_000;
const START_MS = 180_000;

/** How long a stage should run so that a test can act meanwhile, milliseconds, and the steps it may have. */
const LONG_MS = 1_000;
const LONG_STEPS = { least: 20, most: 150 };

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
    title: 'a negative prompt over the limit',
    shape: () => ({ options: { negative_prompt: 'a'.repeat(32_001) } }),
    status: 400,
    field: 'negative_prompt',
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
    shape: (facts) => ({ options: { ...smallest(facts), width: smallest(facts).width + 1 } }),
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

/** A prompt of more words than a model reads tokens, as far as a prompt may have them. */
const tooLong = ({ text_tokens }: ModelFacts): string => 'red '.repeat(Math.min(4 * text_tokens + 4, 8000));

/** The smallest size that a model's rule allows and its list has not; null where there is none. */
function smallestByRule(facts: ModelFacts): Size | null {
  if (!facts.size_rule) return null;
  const { multiple, max_pixels, max_aspect } = facts.size_rule;
  const most = Math.floor(Math.sqrt(max_pixels * max_aspect) / multiple);
  const sides = Array.from({ length: most }, (_, i) => (i + 1) * multiple);
  const sizes = sides.flatMap((width) => sides.map((height) => ({ width, height })));
  const allowed = sizes.filter((size) => makesSize(size, facts) && !makesSize(size, { ...facts, size_rule: null }));
  return allowed.toSorted((a, b) => a.width * a.height - b.width * b.height)[0] ?? null;
}

const largest = (values: Float32Array): number => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

const maxDistance = (a: Float32Array, b: Float32Array): number => largest(a.map((x, i) => x - b[i]!));

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
  describe(title, { timeout: TEST_MS }, () => {
    let server: Started;
    let list: ModelList;
    let facts: ServedFacts;
    /** sigmas of a stage that runs long enough to act meanwhile */
    let long: readonly number[];
    /** whether two runs must agree to the bit: what version 1 always promised, and later versions where they say so */
    const isExact = () => list.contract.version < 2 || facts.deterministic;
    /**
     * Latents are what the formula gives, `expected`, up to `rounding` of the largest value; or only near it, where the
     * engine promises no more or, without a `rounding`, where it may compute the two in another order. They are nearer
     * to it than to `other`, which a server gives that ignores the option.
     */
    const expectFormula = (
      got: Float32Array,
      expected: Float32Array,
      { rounding, other }: { rounding?: number; other?: Float32Array } = {},
    ) => {
      const isTight = isExact() && rounding !== undefined;
      const distance = isTight ? maxDistance : meanDistance;
      const error = distance(got, expected);
      expect(error / largest(got)).toBeLessThanOrEqual(isTight ? rounding : NEAR);
      if (other) expect(error, 'the option changes nothing').toBeLessThan(distance(got, other) / (isTight ? 10 : 2));
    };
    const canCache = (kind: CacheKind) =>
      list.contract.features.includes(`cache.${kind}`) && facts.caches.includes(kind);
    const latentsAfter = async (shape: RequestShape) => (await run(shape)).tensors.latents?.data as Float32Array;
    /** the velocity of a single step of Euler from these latents, or from the usual ones */
    const velocityAt = async (sigma: number, next: number, shape: RequestShape, from?: Float32Array) => {
      const n = tokensOf(facts, 'low').scale.length;
      const now = from ?? seededLatents(n * 4 * facts.channels);
      const tensors = { latents: { data: now, shape: [n, 4 * facts.channels] } };
      const after = await latentsAfter({ ...shape, sigmas: [sigma, next], tensors });
      return after.map((x, i) => (x - now[i]!) / (next - sigma));
    };
    const run = (shape: RequestShape) => put(server, freshId(), stageBody(facts, shape)).then(finish);

    beforeAll(async () => {
      server = await start();
      list = modelList.parse(await (await call(server, 'GET', 'v1/models')).json());
      facts = list.models[0] as ServedFacts;
      const { all } = await run({ sigmas: evenSigmas(8) });
      // the first steps may take longer than those that follow
      const stepMs = Math.min(...all.flatMap(({ event }) => (event.event === 'step' ? [event.ms] : [])));
      const steps = Math.ceil(LONG_MS / Math.max(stepMs, 0.001));
      long = evenSigmas(Math.min(LONG_STEPS.most, Math.max(LONG_STEPS.least, steps)), 1, 0.1);
    }, START_MS);
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

      test('its health, to anybody, and its queue to who has the token', async () => {
        const known = { status: expect.stringMatching(/^(ready|busy)$/), version: expect.any(String) };
        const response = await call(server, 'GET', 'healthz', { token: null });
        expect(response.status).toBe(200);
        const told = await response.json();
        expect(told).toMatchObject(known);
        // a server of an earlier version told everybody
        if (list.contract.version >= 3) expect(Object.keys(told as object)).not.toContain('queue');
        const all = { ...known, queue: expect.any(Number), eta_ms: expect.any(Number) };
        expect(await (await call(server, 'GET', 'healthz')).json()).toMatchObject(all);
      });

      test('what it did, as Prometheus text that counts', async () => {
        const steps = async () => {
          const text = await (await call(server, 'GET', 'metrics')).text();
          const found = text.matchAll(/^stage_steps_total\{[^}]*\} ([\d.e+]+)/gim);
          return [...found].reduce((sum, [, count]) => sum + Number(count), 0);
        };
        const before = await steps();
        await run({ sigmas: evenSigmas(3) });
        expect((await steps()) - before).toBe(3);
      });

      test('a list of caches whose features it states', ({ skip }) => {
        if (list.contract.version < 3) skip();
        for (const model of list.models)
          for (const kind of model.caches) expect(list.contract.features).toContain(`cache.${kind}`);
      });

      test('that it is ready, to anybody, where it has the route for it', async ({ skip }) => {
        const response = await call(server, 'GET', 'ping', { token: null });
        await response.body?.cancel();
        if (list.contract.version < 3 || response.status === 404 || response.status === 401) return skip();
        expect(response.status).toBe(200);
      });

      test('to who has the token in either of two headers', async ({ skip }) => {
        if (list.contract.version < 3) skip();
        const ask = (headers: Record<string, string>) => fetch(new URL('v1/models', server.url), { headers });
        const right = { authorization: `Bearer ${server.token}` };
        const wrong = { authorization: 'Bearer of a gateway' };
        for (const headers of [
          { 'x-stage-token': server.token },
          { ...wrong, 'x-stage-token': server.token },
          { ...right, 'x-stage-token': 'wrong' },
        ]) {
          const response = await ask(headers);
          await response.body?.cancel();
          expect(response.status, JSON.stringify(Object.keys(headers))).toBe(200);
        }
        for (const own of ['wrong', `${server.token}x`, `Bearer ${server.token}`])
          await expectRefusal(await ask({ ...wrong, 'x-stage-token': own }), { status: 401, code: 'unauthorized' });
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

    test('is heard when it refuses what has still to be sent', async () => {
      const body = new Uint8Array(8 * 2 ** 20);
      for (let times = 0; times < 10; times++) {
        const response = await call(server, 'PUT', `v1/stages/${freshId()}`, { body, token: 'wrong' });
        await expectRefusal(response, { status: 401, code: 'unauthorized' });
      }
    });

    describe('refuses what it cannot do, naming the rule and the field', () => {
      test.each(BAD.map((bad) => [bad.title, bad] as const))('%s', async (_, { shape, status, code, field }) => {
        const wanted = shape(facts);
        const response = await put(server, freshId(), stageBody(facts, wanted));
        await expectRefusal(response, { status, code, field }, wanted.options?.prompt as string | undefined);
      });

      test('a size that its rule does not allow', async ({ skip }) => {
        const rule = facts.size_rule;
        if (!rule) return skip();
        const { multiple, min_pixels, max_pixels, max_aspect } = rule;
        const up = (side: number) => multiple * Math.ceil(side / multiple);
        const sizes = [
          { width: up(Math.sqrt(min_pixels)) + 1, height: up(Math.sqrt(min_pixels)) },
          { width: up(Math.sqrt(max_pixels) + 1), height: up(Math.sqrt(max_pixels) + 1) },
          { width: multiple, height: up(multiple * max_aspect + 1) },
        ].filter((size) => !makesSize(size, facts));
        expect(sizes.length).toBeGreaterThan(0);
        for (const size of sizes) {
          const response = await put(server, freshId(), stageBody(facts, { options: { ...size } }));
          await expectRefusal(response, { status: 422, code: 'unsupported_size', field: 'width' });
        }
      });

      test('a cache of a kind that it or its model has not', async () => {
        for (const kind of CACHE_KINDS.filter((each) => !canCache(each))) {
          const cache = { kind, interval: 2, order: 1, warmup: 1 };
          const response = await put(server, freshId(), stageBody(facts, { options: { cache } }));
          const { code, field } = stageProblem.parse(await response.json());
          const refusals = ['422 unsupported_option cache'];
          // one that does not state the kind may not know it, or know no cache at all
          if (!list.contract.features.includes(`cache.${kind}`))
            refusals.push('400 bad_metadata cache.kind', '400 bad_metadata cache');
          expect(refusals).toContain(`${response.status} ${code} ${field}`);
        }
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
        const most = await textTokens(tooLong(facts));
        expect(most).toBeGreaterThanOrEqual(count as number);
        expect(most).toBeLessThanOrEqual(facts.text_tokens);
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
        let now = seededLatents(tokensOf(facts, 'low').scale.length * 4 * facts.channels);
        let before: Float32Array | null = null;
        for (let i = 0; i + 1 < sigmas.length; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          const velocity = await velocityAt(sigma, next, {}, now);
          const rho = before ? (next - sigma) / (sigma - sigmas[i - 1]!) : 0;
          now = now.map((x, j) => x + (next - sigma) * ((1 + rho / 2) * velocity[j]! - (rho / 2) * (before?.[j] ?? 0)));
          before = velocity;
        }
        const asked = await latentsAfter({ sigmas, options: { solver: 'ab2' } });
        expectFormula(asked, now, { rounding: 1e-4, other: await latentsAfter({ sigmas }) });
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
      const needsFeature = (skip: () => never) => canCache('taylor_velocity') || skip();
      const sigmas = [1, 0.9375, 0.8125, 0.75, 0.625, 0.375, 0.25];
      const cache = { kind: 'taylor_velocity', interval: 3, order: 2, warmup: 2 };
      /** the third and fourth step are forecast, then the last */
      const evaluated = [0, 1, 4];

      test('as the velocities say that single steps give, telling every step and how many it evaluated', async ({
        skip,
      }) => {
        needsFeature(skip);
        let now = seededLatents(tokensOf(facts, 'low').scale.length * 4 * facts.channels);
        const known: { step: number; differences: Float32Array[] }[] = [];
        for (let i = 0; i + 1 < sigmas.length; i++) {
          const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
          const before = known.at(-1);
          let velocity: Float32Array;
          if (evaluated.includes(i)) {
            velocity = await velocityAt(sigma, next, {}, now);
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
        const other = await latentsAfter({ sigmas });
        expectFormula(tensors.latents?.data as Float32Array, now, { rounding: 1e-3, other });
        const steps = all.flatMap(({ event }) => (event.event === 'step' ? [event.step] : []));
        expect([steps, done.steps_done, done.evaluations]).toEqual([[1, 2, 3, 4, 5, 6], 6, evaluated.length]);
      });
    });

    describe.for(['taylor_velocity', 'taylor_blocks'] as const)(
      'has a cache %s, where it states that feature and the model has it',
      (kind) => {
        const needsFeature = (skip: () => never) => canCache(kind) || skip();
        const sigmas = [1, 0.9375, 0.8125, 0.75, 0.625, 0.375, 0.25];
        const cache = { kind, interval: 3, order: 2, warmup: 2 };

        test('which tells every step and how many it evaluated, and is empty at the start of each stage', async ({
          skip,
        }) => {
          needsFeature(skip);
          const { done, tensors, all } = await run({ sigmas, options: { cache } });
          const steps = all.flatMap(({ event }) => (event.event === 'step' ? [event.step] : []));
          expect([steps, done.steps_done, done.evaluations]).toEqual([[1, 2, 3, 4, 5, 6], 6, 3]);
          expectSameTensors((await run({ sigmas, options: { cache } })).tensors, tensors, isExact());
          const others = [await latentsAfter({ sigmas })];
          for (const other of CACHE_KINDS.filter((each) => each !== kind && canCache(each)))
            others.push(await latentsAfter({ sigmas, options: { cache: { ...cache, kind: other } } }));
          for (const other of others)
            expect(meanDistance(tensors.latents?.data as Float32Array, other)).toBeGreaterThan(0);
        });

        test('which changes nothing before its first forecast, nor where no step is left to forecast', async ({
          skip,
        }) => {
          needsFeature(skip);
          const short = sigmas.slice(0, 3);
          const cached = await run({ sigmas: short, options: { cache } });
          expectFormula(cached.tensors.latents?.data as Float32Array, await latentsAfter({ sigmas: short }), {
            rounding: 1e-5,
          });
          expect(cached.done.evaluations).toBe(2);
          const warm = await run({ sigmas, options: { cache: { ...cache, warmup: 6 } } });
          expectFormula(warm.tensors.latents?.data as Float32Array, await latentsAfter({ sigmas }), { rounding: 1e-5 });
          expect(warm.done.evaluations).toBe(6);
        });

        test('on the tokens of every kind of stage, one after the other', async ({ skip }) => {
          needsFeature(skip);
          for (const layout of ['low', 'mixed', 'full'] as const) {
            const { done, tensors } = await run({ layout, sigmas, options: { cache } });
            expect(done.evaluations).toBe(3);
            expect(tensors.latents?.shape).toEqual([tokensOf(facts, layout).scale.length, 4 * facts.channels]);
          }
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
          const options = { cache: { ...cache, ...change } };
          const response = await put(server, freshId(), stageBody(facts, { options }));
          await expectRefusal(response, { status: 400, code: 'bad_metadata', field });
        });

        test('and none together with steps of second order', async ({ skip }) => {
          needsFeature(skip);
          if (!list.contract.features.includes('solver.ab2')) skip();
          const response = await put(server, freshId(), stageBody(facts, { options: { cache, solver: 'ab2' } }));
          await expectRefusal(response, { status: 422, code: 'unsupported_option', field: 'cache' });
        });
      },
    );

    describe('guides without a classifier, where its model is guided so', () => {
      /** the guidance of a test, within the model's range */
      const needsRange = (skip: () => never, ...values: number[]) => {
        const { guidance } = facts;
        if (guidance?.kind !== 'cfg' || values.some((value) => value < guidance.min || value > guidance.max)) skip();
      };
      const velocityOf = (guidance: number, negative_prompt = '') =>
        velocityAt(1, 0.5, { options: { guidance, negative_prompt } });

      test('along the line through the velocities of both prompts', async ({ skip }) => {
        needsRange(skip, 1.5, 2, 3);
        const [near, middle, far] = [await velocityOf(1.5), await velocityOf(2), await velocityOf(3)];
        const line = near.map((v, i) => v + 3 * (middle[i]! - v));
        expectFormula(far, line, { other: near });
      });

      test('with the velocity of the prompt alone at a guidance of 1, whatever the negative prompt', async ({
        skip,
      }) => {
        needsRange(skip, 1, 1.5, 2);
        const [one, near, middle] = [await velocityOf(1), await velocityOf(1.5), await velocityOf(2)];
        expectFormula(
          one,
          near.map((v, i) => 2 * v - middle[i]!),
          { other: middle },
        );
        if (!facts.negative_prompt) return;
        expectFormula(await velocityOf(1, 'a blue background'), one, { rounding: 1e-5 });
      });

      test('away from a negative prompt: from the prompt itself it cannot be guided away', async ({ skip }) => {
        needsRange(skip, 2, 3);
        if (!facts.negative_prompt) skip();
        const [two, three] = [await velocityOf(2, PROMPT), await velocityOf(3, PROMPT)];
        const other = await velocityOf(3);
        expectFormula(three, two, { other });
      });
    });

    describe('gives the clean latents, where it states the feature clean_latents', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('clean_latents') || skip();

      test('which are the latents at sigma 0 of one step, whatever is decoded', async ({ skip }) => {
        needsFeature(skip);
        const whole = await latentsAfter({ sigmas: [1, 0] });
        for (const decode of ['none', 'clean']) {
          const { tensors } = await run({ sigmas: [1, 0.5], options: { decode, clean_latents: true } });
          expect(tensors.clean_latents?.shape).toEqual(tensors.latents?.shape);
          expectFormula(tensors.clean_latents?.data as Float32Array, whole, { rounding: 1e-5 });
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

    describe('tells a preview behind the result, where it states the feature late_preview', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('late_preview') || skip();
      const preview = { format: 'png', longest_side: 64 };
      const late = { decode: 'clean', preview, late_preview: true };

      test.for([
        ['low', false],
        ['low', true],
        ['mixed', false],
        ['full', true],
      ] as const)(
        'of %s tokens, rgb %s: the same result and picture, in two messages',
        async ([layout, rgb], { skip }) => {
          needsFeature(skip);
          const shape = { layout, sigmas: evenSigmas(2, 1, 0.5) };
          const { done, tensors, behind, all } = await run({ ...shape, options: { ...late, rgb } });
          const together = await run({ ...shape, options: { decode: 'clean', preview, rgb } });
          expect(all.map(({ event }) => event.event).filter((event) => event !== 'queued')).toEqual([
            'step',
            'step',
            'done',
            'preview',
          ]);
          const { preview: picture, ...result } = together.tensors;
          expectSameTensors(tensors, result, isExact());
          expect(Object.keys(behind?.tensors ?? {})).toEqual(['preview']);
          const pixels = (file: Tensor | undefined) => sharp(file?.data).raw().toBuffer();
          const [one, other] = [await pixels(behind?.tensors.preview), await pixels(picture)];
          expect(one.length).toBe(other.length);
          expect(meanDistance(one, other)).toBeLessThanOrEqual(isExact() ? 0 : NEAR_LEVELS);
          // each millisecond is told once, by the message that had to wait for it
          expect([done.decode_ms > 0, done.encode_ms]).toEqual([rgb, 0]);
          expect([behind!.event.decode_ms > 0, behind!.event.encode_ms > 0]).toEqual([!rgb, true]);
        },
      );

      test('with the clean latents in the result', async ({ skip }) => {
        needsFeature(skip);
        if (!list.contract.features.includes('clean_latents')) skip();
        const { tensors } = await run({ options: { ...late, rgb: false, clean_latents: true } });
        expect(Object.keys(tensors)).toEqual(['latents', 'clean_latents']);
      });

      test('only when it is asked for', async ({ skip }) => {
        needsFeature(skip);
        const { tensors, behind } = await run({ options: { ...late, rgb: false, late_preview: false } });
        expect([Object.keys(tensors), behind]).toEqual([['latents', 'preview'], null]);
      });

      test('and keeps it with the result: the same bytes, whole', async ({ skip }) => {
        needsFeature(skip);
        const [id, body] = [freshId(), stageBody(facts, { options: late })];
        const first = Buffer.from(await (await put(server, id, body)).arrayBuffer());
        const again = Buffer.from(await (await put(server, id, body)).arrayBuffer());
        expect(again.equals(first)).toBe(true);
      });

      test.for([
        ['of nothing decoded', { decode: 'none', preview: null }],
        ['where no preview is asked for', { decode: 'clean', preview: null }],
        ['beside a finished image', { decode: 'image', preview }],
      ] as const)('but none %s', async ([, options], { skip }) => {
        needsFeature(skip);
        const body = stageBody(facts, { layout: 'full', options: { ...options, rgb: false, late_preview: true } });
        const refusal = { status: 422, code: 'unsupported_option', field: 'late_preview' };
        await expectRefusal(await put(server, freshId(), body), refusal);
      });

      test('and refuses what is neither true nor false', async ({ skip }) => {
        needsFeature(skip);
        const body = stageBody(facts, { options: { ...late, late_preview: 1 } });
        const refusal = { status: 400, code: 'bad_metadata', field: 'late_preview' };
        await expectRefusal(await put(server, freshId(), body), refusal);
      });
    });

    describe('shows a stage on its way, where it states the feature thumbnail', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('thumbnail') || skip();
      const look = (id: string) => call(server, 'GET', `v1/stages/${id}/thumbnail`);
      /** The first one after a step; throws when the stage ends without. */
      const lookPast = async (id: string, step = 0) => {
        for (;;) {
          const response = await look(id);
          const bytes = new Uint8Array(await response.arrayBuffer());
          const { headers, status } = response;
          if (status === 200 && Number(headers.get('x-stage-step')) > step) return { headers, bytes };
          if (status !== 200 && status !== 204) throw new Error(`a thumbnail that is status ${status}`);
          if (status === 204 && step > 0) throw new Error('the stage ended without another thumbnail');
        }
      };
      const stop = (id: string) => call(server, 'DELETE', `v1/stages/${id}`);

      test.for(['low', 'mixed', 'all-upsampled', 'full'] as const)(
        'of %s tokens, small, with its step and its size, newer each time',
        async (layout, { skip }) => {
          needsFeature(skip);
          const id = freshId();
          const reader = messages(await put(server, id, stageBody(facts, { layout, sigmas: long })));
          await readUntil(reader, 'step');
          const { headers, bytes } = await lookPast(id);
          const step = Number(headers.get('x-stage-step'));
          expect(step).toBeLessThan(long.length);
          expect(bytes.length).toBeLessThanOrEqual(MAX_THUMBNAIL_BYTES);
          const { width, height, format } = await sharp(bytes).metadata();
          expect(headers.get('content-type')).toBe(`image/${format}`);
          expect(headers.get('x-stage-size')).toBe(`${width}x${height}`);
          expect(Math.max(width, height)).toBeLessThanOrEqual(THUMBNAIL_SIDE);
          const size = smallest(facts);
          expect(Math.abs(width / height / (size.width / size.height) - 1)).toBeLessThan(0.1);
          const later = await lookPast(id, step);
          expect(Number(later.headers.get('x-stage-step'))).toBeGreaterThan(step);
          await stop(id);
          await reader.return(undefined);
        },
      );

      test('and however often it is asked, the result is the same, and so is every step', async ({ skip }) => {
        needsFeature(skip);
        const alone = await run({ sigmas: long });
        const id = freshId();
        const running = put(server, id, stageBody(facts, { sigmas: long })).then(finish);
        let isOver = false;
        const over = running.finally(() => {
          isOver = true;
        });
        while (!isOver) await (await look(id)).arrayBuffer();
        const watched = await over;
        expectSameTensors(watched.tensors, alone.tensors, isExact());
        expect(watched.done.steps_done).toBe(long.length - 1);
      });

      test('but nothing of one that waits, or has ended', async ({ skip }) => {
        needsFeature(skip);
        const [first, second] = [freshId(), freshId()];
        const running = messages(await put(server, first, stageBody(facts, { sigmas: long })));
        await readUntil(running, 'step');
        const waiting = messages(await put(server, second, stageBody(facts)));
        const { value } = await waiting.next();
        // a server may compute several at once
        if (value?.event.event === 'queued') expect((await look(second)).status).toBe(204);
        await stop(first);
        await readUntil(waiting, 'done');
        await waiting.next();
        expect((await look(second)).status).toBe(204);
        await stop(second);
        for (const id of [first, second])
          await expectRefusal(await look(id), { status: 404, code: 'unknown_stage', field: 'id' });
        await running.return(undefined);
      });

      test('to who has the token', async ({ skip }) => {
        needsFeature(skip);
        const refused = await call(server, 'GET', 'v1/stages/x/thumbnail', { token: null });
        await expectRefusal(refused, { status: 401, code: 'unauthorized' });
        await expectRefusal(await look(freshId()), { status: 404, code: 'unknown_stage', field: 'id' });
      });
    });

    describe('encodes the finished image at another size, where it states the feature enlarge', () => {
      const needsFeature = (skip: () => never) => list.contract.features.includes('enlarge') || skip();
      const image = (options: Readonly<Record<string, unknown>>) =>
        run({ layout: 'full', options: { decode: 'image', ...options } });
      const sizeOf = async (file: Tensor | undefined) => {
        const { width, height } = await sharp(file?.data).metadata();
        return { width, height };
      };
      const { round } = Math;

      test.for([
        ['larger', 3, 3],
        ['smaller', 0.5, 0.5],
        ['of another shape', 2, 1.5],
      ] as const)('%s: what Lanczos makes of it, from the middle', async ([, wider, higher], { skip }) => {
        needsFeature(skip);
        const from = smallest(facts);
        const enlarge = { width: round(from.width * wider), height: round(from.height * higher) };
        const plain = await image({});
        const other = await image({ enlarge });
        expect(Object.keys(other.tensors)).toEqual(['image']);
        const [pixels, got] = await Promise.all(
          [plain, other].map(({ tensors }) => sharp(tensors.image?.data).raw().toBuffer()),
        );
        expect(await sizeOf(other.tensors.image)).toEqual(enlarge);
        const expected = fitPicture(new Uint8Array(pixels as Buffer), from, enlarge);
        expect(meanDistance(got as Buffer, Buffer.from(expected))).toBeLessThanOrEqual(isExact() ? 1 : NEAR_LEVELS);
      });

      test.for(['png', 'webp', 'jpeg'] as const)(
        'as %s, and a preview of what was decoded beside it',
        async (format, { skip }) => {
          needsFeature(skip);
          const side = 4 * smallest(facts).width;
          const enlarge = { width: side, height: side };
          const preview = { format: 'png', longest_side: 1024 };
          const { tensors } = await image({ format, enlarge, preview });
          expect(await sizeOf(tensors.image)).toEqual(enlarge);
          expect((await sharp(tensors.image?.data).metadata()).format).toBe(format);
          expect(await sizeOf(tensors.preview)).toEqual(smallest(facts));
        },
      );

      test('at its own size as if nothing were asked', async ({ skip }) => {
        needsFeature(skip);
        const [same, plain] = [await image({ enlarge: smallest(facts) }), await image({})];
        expectSameTensors(same.tensors, plain.tensors, isExact());
      });

      test.for(['none', 'clean'] as const)('but nothing else: not with decode %s', async (decode, { skip }) => {
        needsFeature(skip);
        const body = stageBody(facts, { options: { decode, rgb: false, enlarge: { width: 64, height: 64 } } });
        const refusal = { status: 422, code: 'unsupported_option', field: 'enlarge' };
        await expectRefusal(await put(server, freshId(), body), refusal);
      });

      test.for([
        ['a side beyond the limit', { width: 2049, height: 64 }, 'enlarge.width'],
        ['a side of nothing', { width: 64, height: 0 }, 'enlarge.height'],
        ['half a pixel', { width: 64.5, height: 64 }, 'enlarge.width'],
        ['one side alone', { width: 64 }, 'enlarge.height'],
        ['a number', 2, 'enlarge'],
      ] as const)('and refuses %s', async ([, enlarge, field], { skip }) => {
        needsFeature(skip);
        const body = stageBody(facts, { layout: 'full', options: { decode: 'image', enlarge } });
        await expectRefusal(await put(server, freshId(), body), { status: 400, code: 'bad_metadata', field });
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

      test('a size that only its rule allows', async ({ skip }) => {
        const size = smallestByRule(facts);
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
        for (const prompt of ['', 'zzqxv blorfgh', '\u0000', '🦊🦊🦊', '一只红色的猫', '猫'.repeat(32_000)]) {
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
          options: { prompt: tooLong(facts) },
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
        const running = messages(await put(server, id, stageBody(facts, { sigmas: long })));
        await readUntil(running, 'step');
        const other = stageBody(facts, { sigmas: evenSigmas(1) });
        const conflict = { status: 409, code: 'stage_conflict', field: 'id' };
        await expectRefusal(await put(server, id, other), conflict);
        await readUntil(running, 'done');
        await expectRefusal(await put(server, id, other), conflict);
      });

      test('attaching to a running stage replays it from the start and follows it, several readers at once', async () => {
        const id = freshId();
        const body = stageBody(facts, { sigmas: long });
        const first = messages(await put(server, id, body));
        await readUntil(first, 'step');
        const others = await Promise.all([put(server, id, body), put(server, id, body)]);
        const [one, two] = await Promise.all(others.map(finish));
        const numbers = one?.all.flatMap(({ event }) => (event.event === 'step' ? [event.step] : []));
        expect(numbers).toEqual(long.slice(1).map((_, i) => i + 1));
        expect(two?.all.map(({ event }) => event)).toEqual(one?.all.map(({ event }) => event));
        expectSameTensors((await readUntil(first, 'done')).tensors, one?.tensors ?? {}, true);
      });

      test('a lost connection stops nothing: who comes back finds it further on', async () => {
        const id = freshId();
        const body = stageBody(facts, { sigmas: long });
        const line = new AbortController();
        const lost = messages(await put(server, id, body, line.signal));
        await readUntil(lost, 'step');
        line.abort();
        const { all, done } = await finish(await put(server, id, body));
        expect(done.steps_done).toBe(long.length - 1);
        expect(all.find(({ event }) => event.event === 'step')?.event).toMatchObject({ step: 1 });
      });

      test('cancelled while it runs, it says so to its readers, stops, and frees its id', async () => {
        const id = freshId();
        const reader = messages(await put(server, id, stageBody(facts, { sigmas: long })));
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
      });

      test('a kept result that is deleted is forgotten', async () => {
        const id = freshId();
        await collect(await put(server, id, stageBody(facts)));
        expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
        expect((await finish(await put(server, id, stageBody(facts, { sigmas: evenSigmas(1) })))).done.steps_done).toBe(
          1,
        );
      });

      test('what was forgotten is forgotten with its encoded prompt, where the server remembers prompts', async ({
        skip,
      }) => {
        const [first, second] = [freshId(), freshId()];
        const encodeMs = async (id: string) =>
          (await finish(await put(server, id, stageBody(facts, { sigmas: evenSigmas(1), options: { prompt } })))).done
            .encode_text_ms;
        const prompt = `a fox that nobody has asked for, ${first}`;
        expect(await encodeMs(first)).toBeGreaterThan(0);
        // 0 is what was not done: this server remembers
        if ((await encodeMs(second)) !== 0) skip();
        for (const id of [first, second]) expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
        expect(await encodeMs(freshId())).toBeGreaterThan(0);
      });
    });
  });
}
