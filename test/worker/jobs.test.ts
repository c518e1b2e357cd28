import { convertIndexedToRgb, type DecodedPng, decode } from 'fast-png';
import { describe, expect, test } from 'vitest';
import type { JobView, Quote } from '../../src/job/job.ts';
import {
  call,
  createJob,
  idsOf,
  imageOf,
  KEY,
  lastIdOf,
  post,
  type SeenEvent,
  SMALL,
  watch,
  watchAll,
} from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };

const packed = async (text: string, coding: 'gzip' | 'deflate'): Promise<ArrayBuffer> =>
  new Response(new Blob([text]).stream().pipeThrough(new CompressionStream(coding))).arrayBuffer();

describe('a job', () => {
  test('walks the rooms in order, each with its events, and ends in an image of the size asked for', async () => {
    const job = await createJob(APPLE);
    expect(job).toMatchObject({
      object: 'job',
      room: 'stage1',
      seed: 7,
      preset: '7x',
      width: 256,
      height: 256,
      error: null,
      image: null,
    });
    const events = await watchAll(job.id);
    const story = events
      .map(({ type, data }) => ('stage' in data && type !== 'queued' ? `${type}${data.stage}` : type))
      .filter((name, i, all) => name !== all[i - 1]);
    const isPreview = (name: string): boolean => name.startsWith('preview');
    const isPicture = (name: string): boolean => isPreview(name) || name.startsWith('thumbnail');
    expect(
      story.filter((name) => name !== 'queued' && !isPicture(name)).filter((n, i, all) => n !== all[i - 1]),
    ).toEqual(['plan', 'stage1', 'step1', 'selection', 'stage2', 'step2', 'stage3', 'step3', 'done']);
    // a picture follows its stage, which the next one does not wait for but where tokens are selected on it
    expect(story.indexOf('preview1')).toBeLessThan(story.indexOf('selection'));
    expect(story.filter(isPreview)).toEqual(['preview1', 'preview2']);
    for (const stage of [1, 2])
      expect(story.indexOf(`preview${stage}`)).toBeGreaterThan(story.lastIndexOf(`step${stage}`));
    expect(idsOf(events)).toEqual(idsOf(events).map((_, i) => i + 1));
    expect(
      events
        .filter(({ type }) => type === 'step')
        .map(({ data }) => [(data as { stage: number }).stage, (data as { step: number }).step]),
    ).toEqual(
      [1, 1, 2, 2, 2, 3, 3, 3, 3, 3].map((stage, i, all) => [
        stage,
        all.slice(0, i + 1).filter((s) => s === stage).length,
      ]),
    );

    const image = decode(await imageOf(job.id));
    expect([image.width, image.height, image.channels]).toEqual([256, 256, 3]);
    const finished = await (await call(`/v1/jobs/${job.id}`)).json<typeof job>();
    expect(finished.status).toBe('done');
    expect(finished.receipt?.stages.map(({ tokens, steps }) => [tokens, steps])).toEqual([
      [64, 2],
      [82, 3],
      [256, 5],
    ]);
    expect(finished.receipt?.tflops.ratio).toBeGreaterThan(7);
    const sum = finished.receipt?.stages.reduce((total, { tflops }) => total + tflops, 0) ?? 0;
    expect(sum).toBeCloseTo(finished.receipt?.tflops.denoise ?? Number.NaN, 12);
  });

  test('selects as many tokens as planned and shows them on pictures of the half-size image', async () => {
    const events = await watchAll((await createJob({ ...APPLE, seed: 8 })).id);
    const { data } = events.find(({ type }) => type === 'selection') as Extract<SeenEvent, { type: 'selection' }>;
    expect(data.indices).toHaveLength(6);
    expect([...data.indices].sort((a, b) => a - b)).toEqual(data.indices);
    const [edges, blocks] = [data.edges, data.blocks].map((picture) =>
      decode(Uint8Array.from(atob(picture?.b64_json ?? ''), (char) => char.charCodeAt(0))),
    );
    expect([edges?.width, edges?.height, blocks?.width]).toEqual([128, 128, 128]);
    const opaque = (picture: DecodedPng | undefined): Uint8Array | undefined =>
      picture && convertIndexedToRgb(picture).filter((value, i) => i % 4 === 3 && value > 0);
    expect(opaque(edges)).toHaveLength(data.edge_pixels ?? -1);
    expect(opaque(blocks)).toHaveLength(6 * 256);
  });

  test('gives the same bytes for the same seed and others for another', async () => {
    const [one, two, other] = await Promise.all([createJob(APPLE), createJob(APPLE), createJob({ ...APPLE, seed: 9 })]);
    for (const { id } of [one, two, other]) await watchAll(id);
    expect(await imageOf(one.id)).toEqual(await imageOf(two.id));
    expect(await imageOf(one.id)).not.toEqual(await imageOf(other.id));
  });

  test('can be watched from any event on, also when it has ended', async () => {
    const { id } = await createJob(APPLE);
    const all = await watchAll(id);
    const middle = idsOf(all)[5] as number;
    const rest: SeenEvent[] = [];
    for await (const event of watch(id, middle)) rest.push(event);
    expect(rest).toEqual(all.filter(({ id }) => id !== null && id > middle));
    const over = await call(`/v1/jobs/${id}/events`, { headers: { 'last-event-id': String(lastIdOf(all)) } });
    expect(over.status).toBe(204);
  });

  test.each([
    ['the plain run: one stage on the full grid', { preset: 'plain' }, [[256, 50]]],
    [
      'two stages',
      { N: [2, 3], e: [0.3, 1] },
      [
        [64, 2],
        [256, 3],
      ],
    ],
    [
      'four stages, more tokens going early each time',
      { N: [2, 2, 2, 2], e: [0.2, 0.3, 0.5, 1], r: [0.1, 0.5] },
      [
        [64, 2],
        [82, 2],
        [160, 2],
        [256, 2],
      ],
    ],
    [
      'nothing selected',
      { preset: '7x', r: 0 },
      [
        [64, 2],
        [64, 3],
        [256, 5],
      ],
    ],
    [
      'everything selected',
      { preset: '7x', r: 1 },
      [
        [64, 2],
        [256, 3],
        [256, 5],
      ],
    ],
    [
      'the published h and Z',
      { preset: '4x', published: true },
      [
        [64, 5],
        [121, 6],
        [256, 7],
      ],
    ],
    [
      'the reference implementation',
      { preset: '7x', reference: true },
      [
        [64, 2],
        [82, 3],
        [256, 5],
      ],
    ],
    [
      'no previews',
      { preset: '7x', preview: false },
      [
        [64, 2],
        [82, 3],
        [256, 5],
      ],
    ],
    [
      'token upsampling',
      { preset: '5x', upsampling: 'token' },
      [
        [64, 4],
        [100, 5],
        [256, 6],
      ],
    ],
    [
      'a selection by latents',
      { preset: '7x', selection: 'latent', preview: false },
      [
        [64, 2],
        [82, 3],
        [256, 5],
      ],
    ],
    [
      'no selection',
      { preset: '7x', selection: 'none' },
      [
        [64, 2],
        [64, 3],
        [256, 5],
      ],
    ],
    [
      'another solver',
      { preset: '7x', solver: 'ab2' },
      [
        [64, 2],
        [82, 3],
        [256, 5],
      ],
    ],
    [
      'a preset with a cache',
      { preset: '5x-taylor-2', published: true },
      [
        [64, 4, 3],
        [100, 5, 3],
        [256, 6, 4],
      ],
    ],
    [
      'a cache of the caller',
      { N: [2, 5], e: [0.3, 1], h: [3, 2], Z: 4, cache: { kind: 'taylor_velocity', interval: 3, order: 1, warmup: 2 } },
      [
        [64, 2],
        [256, 5, 3],
      ],
    ],
    [
      'h and Z of the caller',
      { N: [1, 1], e: [0.3, 1], h: [3, 2], Z: 4 },
      [
        [64, 1],
        [256, 1],
      ],
    ],
  ])('runs %s', async (_, schedule, stages) => {
    const { id } = await createJob({ prompt: 'a fox on a blue background', ...SMALL, seed: 1, ...schedule });
    const events = await watchAll(id);
    const last = events.at(-1);
    if (last?.type !== 'done') throw new Error(JSON.stringify(last));
    const { solver = 'euler' } = schedule as { readonly solver?: string };
    expect(last.data.receipt.solver).toBe(solver);
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({ plan: { solver } });
    const counts = stages.map(([tokens, steps, evaluations = steps]) => ({ tokens, steps, evaluations }));
    expect(last.data.receipt.stages).toMatchObject(counts);
    const { plan } = await (await call(`/v1/jobs/${id}`)).json<JobView>();
    expect(plan.stages).toMatchObject(counts);
    expect(last.data.receipt.cache).toEqual(plan.cache);
    expect(last.data.receipt.tflops).toEqual(plan.tflops);
  });

  test.each(['webp', 'jpeg'])('encodes %s when asked', async (format) => {
    const { id } = await createJob({ ...APPLE, output_format: format, quality: 70 });
    await watchAll(id);
    const response = await call(`/v1/jobs/${id}/image`);
    expect(response.headers.get('content-type')).toBe(`image/${format}`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (format === 'webp') expect(String.fromCharCode(...bytes.subarray(8, 12))).toBe('WEBP');
    else expect([...bytes.subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
  });

  test.each([
    ['in gzip', { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'gzip'],
    ['in gzip, as it was called once', { 'content-type': 'application/json', 'content-encoding': 'X-GZip' }, 'gzip'],
    ['in deflate', { 'content-type': 'application/json', 'content-encoding': 'deflate' }, 'deflate'],
    ['in no coding, and says so', { 'content-type': 'application/json', 'content-encoding': 'identity' }, null],
    ['with its type in capitals', { 'content-type': 'Application/JSON; Charset=UTF-8' }, null],
    ['with a type that ends in a semicolon', { 'content-type': 'application/json;' }, null],
    ['with a space before the parameter', { 'content-type': 'application/json ; charset=utf-8' }, null],
  ] as const)('is started by a body %s', async (_, headers, coding) => {
    const text = JSON.stringify({ ...APPLE, seed: 11 });
    const body = coding === null ? text : await packed(text, coding);
    const response = await call('/v1/jobs', { method: 'POST', headers, body });
    expect(response.status).toBe(202);
    expect(await response.json()).toMatchObject({ prompt: APPLE.prompt, seed: 11 });
  });

  test('is cancelled at once, stays so, and has no image', async () => {
    const { id } = await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1] });
    const events: SeenEvent[] = [];
    for await (const event of watch(id)) {
      events.push(event);
      if (event.type === 'step' && event.data.step === 1)
        expect(
          ((await (await call(`/v1/jobs/${id}/cancel`, { method: 'POST' })).json()) as { status: string }).status,
        ).toBe('cancelled');
    }
    expect(events.at(-1)).toMatchObject({ type: 'cancelled', data: { job_id: id, room: 'stage1' } });
    expect((await call(`/v1/jobs/${id}/image`)).status).toBe(409);
    expect(await (await call(`/v1/jobs/${id}/cancel`, { method: 'POST' })).json()).toMatchObject({
      status: 'cancelled',
    });
  });

  test('is erased with its image and events', async () => {
    const { id } = await createJob(APPLE);
    await watchAll(id);
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/image'],
      ['GET', '/events'],
      ['POST', '/cancel'],
      ['DELETE', ''],
    ]) {
      expect((await call(`/v1/jobs/${id}${path}`, { method: method as string })).status, `${method} ${path}`).toBe(404);
    }
  });

  test('names words the model has not learned in its receipt and still gives an image', async () => {
    const { id } = await createJob({ prompt: 'xyzzyq', ...SMALL, seed: 1 });
    const last = (await watchAll(id)).at(-1);
    if (last?.type !== 'done') throw new Error(JSON.stringify(last));
    expect(last.data.receipt.warnings.join(' ')).toContain('xyzzyq');
  });
});

describe('the doors', () => {
  test('nobody comes in without the key, and the refusal says how', async () => {
    for (const key of [null, 'wrong', '', `${KEY} more`]) {
      const response = await call('/v1/jobs', { key });
      expect(response.status).toBe(401);
      expect(response.headers.get('content-type')).toBe('application/problem+json');
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
    }
    expect((await call('/healthz', { key: null })).status).toBe(200);
  });

  test('models are listed as OpenAI lists them, with their facts beside', async () => {
    const list = await (await call('/v1/models')).json<{ object: string; data: Record<string, unknown>[] }>();
    expect(list.object).toBe('list');
    expect(list.data[0]).toMatchObject({
      object: 'model',
      owned_by: 'ralu',
      family: 'flux.1',
      sizes: expect.arrayContaining([SMALL]),
      size_rule: null,
      upsampling: ['latent', 'token'],
      caches: ['taylor_velocity'],
      guidance: null,
    });
  });

  test('a model is listed with the words it has learned and prompts to begin with', async () => {
    const list = await (await call('/v1/models')).json<{
      data: { vocabulary: Record<string, string[]>; emoji: Record<string, string>; examples: string[] }[];
    }>();
    const { vocabulary, emoji, examples } = list.data[0]!;
    expect(Object.entries(vocabulary).map(([kind, words]) => [kind, words.length])).toEqual([
      ['objects', 64],
      ['colours', 7],
      ['backgrounds', 11],
      ['counts', 3],
    ]);
    expect(vocabulary.counts).toEqual(['two', 'three', 'four']);
    expect(vocabulary.objects).toContain('ice cream');
    expect(emoji).toEqual({ '🍎': 'apple', '🍏': 'green apple' });
    expect(examples).toHaveLength(8);
    expect(examples).toContain('two lemons on a green background');
  });

  test('presets are listed from the plain run to the default, with the cache of those that forecast', async () => {
    const list = await (await call('/v1/models')).json<{ data: { presets: { name: string; cache: unknown }[] }[] }>();
    const cache = { kind: 'taylor_velocity', interval: 2, order: 2 };
    expect(list.data[0]?.presets.map((preset) => [preset.name, preset.cache])).toEqual([
      ['plain', null],
      ['7x-two-stage', null],
      ['4x', null],
      ['5x', null],
      ['5x-taylor-3', { ...cache, warmup: 3 }],
      ['5x-taylor-2', { ...cache, warmup: 2 }],
      ['7x', null],
    ]);
  });

  test('a quote of a preset with a cache has the work of its evaluations', async () => {
    const quote = async (preset: string) =>
      (await post('/v1/jobs/quote', { prompt: 'a fox', ...SMALL, seed: 1, preset })).json<Quote>();
    const [whole, cached] = await Promise.all(['5x', '5x-taylor-2'].map(quote));
    expect(cached!.plan.stages.map(({ steps, evaluations }) => [steps, evaluations])).toEqual([
      [4, 3],
      [5, 3],
      [6, 4],
    ]);
    expect(whole!.plan.stages.map(({ steps, evaluations }) => evaluations - steps)).toEqual([0, 0, 0]);
    expect(cached!.tflops - whole!.tflops).toBeCloseTo(cached!.plan.tflops.denoise - whole!.plan.tflops.denoise, 9);
    expect(cached!.plan.tflops.ratio).toBeGreaterThan(1.4 * whole!.plan.tflops.ratio);
  });

  test('a quote of a speed has as many steps as that leaves', async () => {
    const quote = await (await post('/v1/jobs/quote', { prompt: 'a fox', seed: 1, speed: 7 })).json<Quote>();
    expect(quote.preset).toBeNull();
    expect(quote.plan.stages.map(({ end }) => end)).toEqual([0.2, 1]);
    expect(quote.plan.tflops.ratio).toBeGreaterThanOrEqual(7);
    expect(quote.plan.tflops.ratio).toBeLessThan(8);
  });

  test('a job that names no size gets the model’s first', async () => {
    const job = await createJob({ prompt: 'a fox' });
    expect(job).toMatchObject({ width: 256, height: 256 });
    expect((await call(`/v1/jobs/${job.id}`, { method: 'DELETE' })).status).toBe(204);
    const list = await (await call('/v1/models')).json<{ data: { sizes: unknown[] }[] }>();
    expect(list.data[0]?.sizes[0]).toEqual({ width: job.width, height: job.height });
  });

  test('a browser on another site may call and read our headers', async () => {
    const preflight = await call('/v1/jobs', {
      method: 'OPTIONS',
      key: null,
      headers: {
        origin: 'https://example.org',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    expect(preflight.status).toBe(204);
    const response = await call('/v1/jobs/nothing', { headers: { origin: 'https://example.org' } });
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(response.headers.get('access-control-expose-headers')).toContain('x-ralu-job-id');
  });

  test('an unknown address and an id that was never ours are 404s', async () => {
    for (const path of ['/v1/nothing', '/v1/jobs/x', `/v1/jobs/job_${'0'.repeat(32)}`])
      expect((await call(path)).status, path).toBe(404);
  });

  test('a wrong Last-Event-ID is refused', async () => {
    const { id } = await createJob(APPLE);
    await watchAll(id);
    for (const wrong of ['x', '-1', '1.5', '999999'])
      expect((await call(`/v1/jobs/${id}/events`, { headers: { 'last-event-id': wrong } })).status, wrong).toBe(400);
  });
});

describe('bad input gets a 4xx that names field, value and rule', () => {
  const prompt = 'a fox';
  const CACHE = { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 2 } as const;
  test.each<[string, unknown, string]>([
    ['no prompt', {}, 'prompt'],
    ['an empty prompt', { prompt: '' }, 'prompt'],
    ['a blank prompt', { prompt: '  \n' }, 'prompt'],
    ['a prompt of 100 kB', { prompt: 'a'.repeat(100_000) }, 'prompt'],
    ['a prompt that is no text', { prompt: 7 }, 'prompt'],
    ['an unknown model', { prompt, model: 'nobody' }, 'model'],
    ['an unknown preset', { prompt, preset: '9x' }, 'preset'],
    ['a preset of other models', { prompt, preset: '2x' }, 'preset'],
    ['a size not offered', { prompt, width: 512, height: 512 }, 'width, height'],
    ['a cache of another kind', { prompt, cache: { ...CACHE, kind: 'taylor_blocks' } }, 'cache.kind'],
    ['width zero', { prompt, width: 0 }, 'width'],
    ['a negative height', { prompt, height: -256 }, 'height'],
    ['a huge width', { prompt, width: 1e9 }, 'width, height'],
    ['a width that is no whole number', { prompt, width: 256.5 }, 'width'],
    ['a seed below -1', { prompt, seed: -2 }, 'seed'],
    ['a seed over 32 bits', { prompt, seed: 2 ** 32 }, 'seed'],
    ['N = 0', { prompt, N: [0, 1, 1], e: [0.2, 0.3, 1], r: 0.1 }, 'N'],
    ['N that is no whole number', { prompt, N: [1.5], e: [1] }, 'N'],
    ['too many steps', { prompt, N: [1001], e: [1] }, 'N'],
    ['no N', { prompt, e: [1] }, 'N'],
    ['no e', { prompt, N: [1] }, 'e'],
    ['e of another length', { prompt, N: [1, 1], e: [1] }, 'e'],
    ['e not rising', { prompt, N: [1, 1, 1], e: [0.3, 0.3, 1], r: 0.1 }, 'e'],
    ['e that begins at 0', { prompt, N: [1, 1], e: [0, 1] }, 'e'],
    ['e closer together than numbers can tell', { prompt, N: [2, 3, 5], e: [0.1, 0.9999999999999999, 1], r: 0.1 }, 'e'],
    ['e at the edge of nothing', { prompt, N: [2, 3, 5], e: [5e-324, 0.3, 1], r: 0.1 }, 'e'],
    ['e next to 0', { prompt, N: [2, 3, 5], e: [1e-9, 0.3, 1], r: 0.1 }, 'e'],
    ['last e not 1', { prompt, N: [1, 1], e: [0.3, 0.9] }, 'e'],
    ['r below 0', { prompt, r: -0.1 }, 'r'],
    ['r above 1', { prompt, r: 1.1 }, 'r'],
    ['no r for three stages', { prompt, N: [1, 1, 1], e: [0.2, 0.3, 1] }, 'r'],
    ['r for two stages', { prompt, N: [1, 1], e: [0.2, 1], r: 0.5 }, 'r'],
    ['falling r', { prompt, N: [1, 1, 1, 1], e: [0.2, 0.3, 0.4, 1], r: [0.5, 0.2] }, 'r'],
    ['r for the plain run', { prompt, preset: 'plain', r: 0.1 }, 'r'],
    ['Z below 2', { prompt, N: [1, 1], e: [0.3, 1], h: [3, 2], Z: 1.9 }, 'Z'],
    ['Z without h', { prompt, N: [1, 1], e: [0.3, 1], Z: 4 }, 'h'],
    ['h without Z', { prompt, N: [1, 1], e: [0.3, 1], h: [3, 2] }, 'Z'],
    ['h out of bounds', { prompt, N: [1, 1], e: [0.3, 1], h: [30, 2], Z: 4 }, 'h'],
    ['Z for one stage', { prompt, N: [5], e: [1], Z: 4 }, 'Z'],
    ['z_max with nothing to fit', { prompt, preset: 'plain', z_max: 5 }, 'z_max'],
    ['z_max below 2', { prompt, z_max: 1 }, 'z_max'],
    ['a speed and N', { prompt, speed: 7, N: [1, 2], e: [0.2, 1] }, 'speed'],
    ['a speed and a preset', { prompt, speed: 7, preset: '7x' }, 'speed'],
    ['a speed below 1', { prompt, speed: 0.5 }, 'speed'],
    ['a speed above 50', { prompt, speed: 51 }, 'speed'],
    ['a speed that leaves no step for each stage', { prompt, speed: 45 }, 'speed'],
    ['preset and N', { prompt, preset: '7x', N: [1], e: [1] }, 'N'],
    ['published constants of a custom schedule', { prompt, N: [1], e: [1], published: true }, 'published'],
    ['published constants of the plain run', { prompt, preset: 'plain', published: true }, 'published'],
    ['guidance for a model without', { prompt, guidance: 3.5 }, 'guidance'],
    ['a negative prompt for a model without', { prompt, negative_prompt: 'blurry' }, 'negative_prompt'],
    ['latent upsampling in a reference run', { prompt, reference: true, upsampling: 'latent' }, 'upsampling'],
    ['another solver in a reference run', { prompt, reference: true, solver: 'ab2' }, 'solver'],
    ['another solver in a published run', { prompt, published: true, solver: 'ab2' }, 'solver'],
    ['an unknown solver', { prompt, solver: 'heun' }, 'solver'],
    ['an unknown kind of cache', { prompt, cache: { kind: 'tea', interval: 2, order: 2, warmup: 2 } }, 'cache.kind'],
    ['a cache without an order', { prompt, cache: { kind: 'taylor_velocity', interval: 2, warmup: 2 } }, 'cache.order'],
    ['a cache that is null', { prompt, cache: null }, 'cache'],
    ['an interval of 1', { prompt, cache: { ...CACHE, interval: 1 } }, 'cache.interval'],
    ['a warm-up that leaves nothing', { prompt, preset: '7x', cache: { ...CACHE, warmup: 5 } }, 'cache.warmup'],
    ['an interval longer than a stage', { prompt, preset: '7x', cache: { ...CACHE, interval: 9 } }, 'cache.interval'],
    ['a cache beside that of the preset', { prompt, preset: '5x-taylor-3', cache: CACHE }, 'cache'],
    ['a cache in a published run', { prompt, published: true, cache: CACHE }, 'cache'],
    ['a cache in a reference run', { prompt, reference: true, cache: CACHE }, 'cache'],
    ['a preset with a cache in a reference run', { prompt, reference: true, preset: '5x-taylor-3' }, 'preset'],
    ['a cache with another solver', { prompt, solver: 'ab2', cache: CACHE }, 'solver'],
    ['another selection in a reference run', { prompt, reference: true, selection: 'none' }, 'selection'],
    ['tokens that go early where none is selected', { prompt, selection: 'none', r: 0.1 }, 'r'],
    ['an unknown selection', { prompt, selection: 'sobel' }, 'selection'],
    ['an unknown upsampling', { prompt, upsampling: 'bicubic' }, 'upsampling'],
    ['an unknown format', { prompt, output_format: 'gif' }, 'output_format'],
    ['quality 0', { prompt, output_format: 'webp', quality: 0 }, 'quality'],
    ['quality for png', { prompt, quality: 50 }, 'quality'],
    ['a field we do not have', { prompt, steps: 20 }, 'steps'],
    ['a list', [], '(body)'],
    ['null', null, '(body)'],
  ])('%s', async (_, body, field) => {
    const response = await post('/v1/jobs', body);
    expect(response.status).toBe(400);
    const problem = await response.json<{
      code: string;
      detail: string;
      errors: { field: string; value?: unknown; rule: string }[];
    }>();
    expect(problem.code).toBe('invalid_request');
    const fault = problem.errors.find((error) => error.field === field);
    expect(fault?.rule).toMatch(/\w/);
    const given = (body as Record<string, unknown> | null)?.[field];
    if (typeof given === 'number' || (Array.isArray(given) && JSON.stringify(given).length < 60))
      expect(fault?.value).toEqual(given);
    expect(problem.detail).toContain(field);
    expect(problem.detail.length).toBeLessThan(600);
  });

  test('malformed JSON', async () => {
    const response = await post('/v1/jobs', '{"prompt": ');
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('must be JSON');
  });

  test('lists within lists without end', async () => {
    for (const depth of [17, 100_000]) {
      const response = await post('/v1/jobs', `{"prompt": ${'['.repeat(depth)}${']'.repeat(depth)}}`);
      expect(response.status, `${depth}`).toBe(400);
      expect(await response.text()).toContain('must be at most 16 levels deep');
    }
    const within = await post('/v1/jobs', `{"prompt": ${'['.repeat(15)}${']'.repeat(15)}}`);
    expect(await within.json()).toMatchObject({ errors: [{ field: 'prompt' }] });
  });

  test('another content type', async () => {
    for (const type of ['text/plain', 'multipart/form-data', 'application/jsonish', 'json', 'application/']) {
      const response = await call('/v1/jobs', {
        method: 'POST',
        headers: { 'content-type': type },
        body: JSON.stringify({ prompt }),
      });
      expect(response.status, type).toBe(415);
    }
  });

  test('a body in a coding that nobody undoes, or that is not what it says', async () => {
    const send = (coding: string, body: BodyInit) =>
      call('/v1/jobs', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-encoding': coding },
        body,
      });
    for (const coding of ['br', 'zstd', 'gzip, gzip', 'constructor']) {
      const response = await send(coding, JSON.stringify({ prompt }));
      expect([response.status, response.headers.get('accept-encoding')], coding).toEqual([415, 'gzip, deflate']);
      expect(await response.json()).toMatchObject({ errors: [{ field: 'content-encoding', value: coding }] });
    }
    const broken = await send('gzip', JSON.stringify({ prompt }));
    expect([broken.status, await broken.text()]).toEqual([400, expect.stringContaining('must be gzip')]);
    const cut = await send('gzip', (await packed(JSON.stringify({ prompt }), 'gzip')).slice(0, -12));
    expect(cut.status).toBe(400);
    const bomb = await send('gzip', await packed(JSON.stringify({ prompt: 'a'.repeat(50_000_000) }), 'gzip'));
    expect(bomb.status).toBe(413);
  });

  test('a body over the limit', async () => {
    const response = await post('/v1/jobs', { prompt: 'a'.repeat(300_000) });
    expect(response.status).toBe(413);
    expect(await response.text()).toContain('262144');
  });
});
