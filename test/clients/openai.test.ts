/** OpenAI's own client against the running stack. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decode } from 'fast-png';
import OpenAI, { APIError } from 'openai';
import { beforeAll, describe, expect, test } from 'vitest';
import { getJob } from '../../scripts/generate/client.ts';
import type { CostView } from '../../src/billing/charge.ts';
import { countedFetch, type Door, openDoor, openPoorDoor, until } from './doors.ts';

let rig: Door;
let client: OpenAI;

beforeAll(async () => {
  rig = await openDoor();
  client = new OpenAI({ baseURL: `${rig.service.url}/v1`, apiKey: rig.service.key });
});

/** What this service adds to OpenAI's answer. */
interface Method {
  readonly job_id: string;
  readonly job_ids: readonly string[];
  readonly seeds: readonly number[];
  readonly preset: string | null;
  readonly stages: readonly {
    readonly image_index: number;
    readonly stage: number;
    readonly tokens: number;
    readonly steps: number;
    readonly ms: number;
  }[];
  readonly tflops: number;
  readonly tflops_plain: number;
  readonly warnings: readonly string[];
  readonly engine: string;
  readonly cost: CostView;
}
const methodOf = (answer: object): Method => (answer as { ralu: Method }).ralu;

const SMALL = { prompt: 'a red apple', size: '256x256' } as const;
type Extra = Partial<OpenAI.ImageGenerateParamsNonStreaming> & Record<string, unknown>;
const generate = (extra: Extra = {}, options: OpenAI.RequestOptions = {}) =>
  client.images.generate({ ...SMALL, ...extra } as OpenAI.ImageGenerateParamsNonStreaming, options);
const stream = (extra: Record<string, unknown> = {}, options: OpenAI.RequestOptions = {}) =>
  client.images.generate({ ...SMALL, stream: true, ...extra } as OpenAI.ImageGenerateParamsStreaming, options);
const pixels = (b64: string | undefined) => decode(Buffer.from(b64 ?? '', 'base64'));

/** The error of a call that must not succeed. */
async function refusal(call: Promise<unknown>): Promise<APIError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof APIError)) throw new Error(`no APIError: ${String(error)}`);
  return error;
}

/** A long job: it runs until it is stopped. */
const LONG = { steps: 1000 };

/**
 * Stands between client and service, and lets the connection of the first request drop as soon as the service has it;
 * others pass.
 */
async function flakyProxy(): Promise<{ url: string; server: Server }> {
  let requests = 0;
  const server = createServer(async (req, res) => {
    const body = await new Response(req as unknown as ReadableStream).text();
    const headers = Object.fromEntries(
      Object.entries(req.headers).filter(([name]) => !['host', 'connection', 'content-length'].includes(name)),
    ) as Record<string, string>;
    const answer = fetch(rig.service.url + req.url, { method: 'POST', headers, body });
    if (requests++ === 0) {
      // the answer is on its way when the connection breaks
      await answer;
      res.destroy();
      return;
    }
    const response = await answer;
    res
      .writeHead(response.status, { 'content-type': 'application/json' })
      .end(Buffer.from(await response.arrayBuffer()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

describe('images.generate', () => {
  test('gives a picture of the size asked for, with usage and what the method did', async () => {
    const answer = await generate({ seed: 7 });
    const { width, height } = pixels(answer.data?.[0]?.b64_json);
    expect([width, height]).toEqual([256, 256]);
    expect(answer).toMatchObject({ size: '256x256', quality: 'auto', background: 'opaque', output_format: 'png' });
    const method = methodOf(answer);
    expect(method).toMatchObject({ seeds: [7], preset: '7x', warnings: [] });
    expect(method.stages.map(({ stage, steps }) => [stage, steps])).toEqual([
      [1, 2],
      [2, 3],
      [3, 5],
    ]);
    expect(method.tflops_plain / method.tflops).toBeGreaterThan(4);
    expect(answer.usage?.output_tokens).toBe(method.stages.reduce((sum, { tokens, steps }) => sum + tokens * steps, 0));
    expect((await getJob(rig.service, method.job_id)).status).toBe('done');
  });

  test('n images are n jobs with following seeds, and each can be had alone again', async () => {
    const answer = await generate({ n: 3, seed: 4_294_967_294 });
    const { seeds, job_ids, stages } = methodOf(answer);
    expect(seeds).toEqual([4_294_967_294, 4_294_967_295, 0]);
    expect(new Set(job_ids).size).toBe(3);
    expect(stages.map(({ image_index }) => image_index)).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
    const listed = await fetch(`${rig.service.url}/v1/jobs?request_id=${answer._request_id}`, {
      headers: { authorization: `Bearer ${rig.service.key}` },
    });
    expect(((await listed.json()) as { data: { id: string }[] }).data.map(({ id }) => id).toSorted()).toEqual(
      job_ids.toSorted(),
    );
    const alone = await generate({ seed: 0 });
    expect(alone.data?.[0]?.b64_json).toBe(answer.data?.[2]?.b64_json);
    expect(answer.data?.[0]?.b64_json).not.toBe(answer.data?.[2]?.b64_json);
  });

  test('a url opens without a key', async () => {
    const { data } = await generate({ response_format: 'url', output_format: 'webp', output_compression: 80 });
    const response = await fetch(data?.[0]?.url as string);
    expect(response.headers.get('content-type')).toBe('image/webp');
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(500);
  });

  test.each([
    ['low', '7x'],
    ['medium', '5x'],
    ['high', '4x'],
  ] as const)('quality %s is preset %s', async (quality, preset) => {
    const answer = await generate({ quality });
    expect(methodOf(answer).preset).toBe(preset);
    expect(answer.quality).toBe(quality);
  });

  test('null is as good as absent, also in fields that are not supported', async () => {
    const nulls = Object.fromEntries(
      ['style', 'quality', 'size', 'n', 'background', 'user', 'steps', 'ralu', 'svg'].map((field) => [field, null]),
    );
    const [sent, left] = [await generate({ seed: 7, ...nulls } as Extra), await generate({ seed: 7 })];
    expect(sent.data?.[0]?.b64_json).toBe(left.data?.[0]?.b64_json);
  });

  test('an address that nobody has, and a method that one does not take, are errors of the client’s own kinds', async () => {
    expect(await refusal(client.images.edit({ image: new File(['x'], 'x.png'), prompt: 'x' }))).toMatchObject({
      status: 404,
      code: 'no_such_route',
      type: 'invalid_request_error',
    });
    expect(await refusal(client.get('/images/generations'))).toMatchObject({ status: 405, code: 'method_not_allowed' });
  });

  test('steps, and a schedule of its own', async () => {
    expect(methodOf(await generate({ steps: 3 })).stages.map(({ tokens, steps }) => [tokens, steps])).toEqual([
      [256, 3],
    ]);
    const own = await generate({ ralu: { N: [1, 2], e: [0.4, 1] } });
    expect(methodOf(own).stages.map(({ tokens, steps }) => [tokens, steps])).toEqual([
      [64, 1],
      [256, 2],
    ]);
  });

  test('hard-coded names of others mean the first model, and the list of models says so', async () => {
    const { data } = await client.models.list();
    const [first] = data as [OpenAI.Model & { aliases: string[]; examples: string[] }];
    expect(first.aliases).toContain('gpt-image-1');
    expect(first.examples).toContain('a fox on a pink background');
    expect(methodOf(await generate({ model: 'gpt-image-1' }))).toMatchObject({ model: first.id });
  });
});

describe('what it costs', () => {
  test('is under ralu, in usage and in a header: of all images together', async () => {
    const { data: answer, response } = await generate({ n: 2 }).withResponse();
    const { cost, job_ids } = methodOf(answer);
    const jobs = await Promise.all(job_ids.map((id) => getJob(rig.service, id)));
    const sum = jobs.reduce((total, job) => total + Number(job.cost?.usd), 0);
    expect(sum).toBeGreaterThan(0);
    expect(Number(cost.usd)).toBeCloseTo(sum, 9);
    expect(Number(cost.usd)).toBeLessThanOrEqual(Number(cost.quote_usd));
    expect(response.headers.get('x-ralu-cost-usd')).toBe(cost.usd);
    expect((answer.usage as unknown as { cost: number }).cost).toBe(Number(cost.usd));
  });

  test('a stream has the quote in a header and in its plan, and the cost in its last event', async () => {
    const { data: events, response } = await stream().withResponse();
    const seen: { type: string; cost?: CostView; ralu?: Method; usage?: { cost?: number } }[] = [];
    for await (const event of events) seen.push(event as unknown as (typeof seen)[0]);
    const plan = seen.find(({ type }) => type === 'ralu.plan');
    expect(plan?.cost).toMatchObject({ usd: null, quote_usd: response.headers.get('x-ralu-quote-usd') });
    const last = seen.at(-1);
    expect(last?.ralu?.cost).toEqual({ ...plan?.cost, usd: expect.stringMatching(/^0\.\d{6}$/) });
    expect(last?.usage?.cost).toBe(Number(last?.ralu?.cost.usd));
  });

  test('a stream that is cancelled says it in the error that the client throws', async () => {
    const { data: events, response } = await stream(LONG).withResponse();
    const id = response.headers.get('x-ralu-job-id') as string;
    const error = await refusal(
      (async () => {
        for await (const event of events)
          if ((event.type as string) === 'ralu.step')
            await fetch(`${rig.service.url}/v1/jobs/${id}/cancel`, {
              method: 'POST',
              headers: { authorization: `Bearer ${rig.service.key}` },
            });
      })(),
    );
    const { cost } = await getJob(rig.service, id);
    expect(error.error).toMatchObject({ code: 'job_cancelled', ralu: { job_id: id, cost } });
  });

  test('without credit the client throws its error at once: it does not ask again', async () => {
    const { service } = await openPoorDoor();
    const counted = countedFetch();
    const poor = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: service.key, fetch: counted.fetch });
    const error = await refusal(poor.images.generate(SMALL));
    expect(error).toMatchObject({ status: 402, type: 'insufficient_quota', code: 'insufficient_credit', param: null });
    expect(error.message).toMatch(/may cost 0\.\d{6} USD, and the account has 0\.000000 USD left/);
    expect(error.headers?.get('x-should-retry')).toBe('false');
    expect(counted.count()).toBe(1);
  });
});

describe('images.generate as a stream', () => {
  test('shows the real stages in order, then the picture, with our events between them', async () => {
    const call = stream({ seed: 7, partial_images: 2 });
    const { data: events, response } = await call.withResponse();
    const seen: { type: string; b64_json?: string; partial_image_index?: number; size?: string }[] = [];
    for await (const event of events) seen.push(event);
    const types = seen.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1]);
    const told = types.filter((type) => type !== 'ralu.queued');
    const beforeStage2 = ['ralu.plan', 'ralu.stage', 'ralu.step', 'image_generation.partial_image', 'ralu.selection'];
    expect(told.slice(0, 7)).toEqual([...beforeStage2, 'ralu.stage', 'ralu.step']);
    // the picture of stage 2 comes while stage 3 begins
    expect(told.slice(7).filter((type) => type === 'image_generation.partial_image')).toHaveLength(1);
    expect(
      told
        .slice(7)
        .filter((type) => type !== 'image_generation.partial_image')
        .filter((type, i, all) => type !== all[i - 1]),
    ).toEqual(['ralu.stage', 'ralu.step', 'image_generation.completed']);
    const pictures = seen.filter(({ b64_json }) => b64_json !== undefined);
    expect(pictures.map(({ b64_json }) => pixels(b64_json).width)).toEqual([128, 256, 256]);
    expect(pictures.map(({ size }) => size)).toEqual(['128x128', '256x256', '256x256']);
    expect(pictures.map(({ partial_image_index }) => partial_image_index)).toEqual([0, 1, undefined]);
    const plain = await generate({ seed: 7 });
    expect(pictures[2]?.b64_json).toBe(plain.data?.[0]?.b64_json);
    const id = response.headers.get('x-ralu-job-id') as string;
    expect((await getJob(rig.service, id)).status).toBe('done');
  });

  test.each([
    [undefined, 0],
    [1, 1],
    [3, 2],
  ])('partial_images %s sends %i of them', async (partial_images, count) => {
    const types: string[] = [];
    for await (const event of await stream({ ...(partial_images !== undefined && { partial_images }) }))
      types.push(event.type);
    expect(types.filter((type) => type === 'image_generation.partial_image')).toHaveLength(count);
    expect(types.at(-1)).toBe('image_generation.completed');
  });

  test('several images tell which one an event is of', async () => {
    const done: unknown[] = [];
    for await (const event of await stream({ n: 2 }))
      if (event.type === 'image_generation.completed')
        done.push((event as unknown as { image_index: number }).image_index);
    expect(done.toSorted()).toEqual([0, 1]);
  });

  test('leaving the loop stops the work', async () => {
    const { data: events, response } = await stream(LONG).withResponse();
    for await (const event of events) if ((event.type as string) === 'ralu.step') break;
    await until(rig.service, response.headers.get('x-ralu-job-id') as string, 'cancelled');
  });

  test.each([
    ['with an Idempotency-Key', {}, { headers: { 'Idempotency-Key': 'stay' } }],
    ['where the request says so', { ralu: { N: [60], e: [1], on_disconnect: 'continue' }, steps: undefined }, {}],
  ])('leaving the loop lets it go on %s', async (_, extra, options) => {
    const { data: events, response } = await stream({ steps: 60, ...extra }, options).withResponse();
    for await (const event of events) if ((event.type as string) === 'ralu.stage') break;
    await until(rig.service, response.headers.get('x-ralu-job-id') as string, 'done');
  });

  test('a job that is cancelled elsewhere is an error of the stream', async () => {
    const { data: events, response } = await stream(LONG).withResponse();
    const id = response.headers.get('x-ralu-job-id') as string;
    const error = await refusal(
      (async () => {
        for await (const event of events)
          if ((event.type as string) === 'ralu.stage')
            await fetch(`${rig.service.url}/v1/jobs/${id}/cancel`, {
              method: 'POST',
              headers: { authorization: `Bearer ${rig.service.key}` },
            });
      })(),
    );
    expect(error).toMatchObject({ code: 'job_cancelled' });
  });
});

describe('asking twice', () => {
  test('the client’s own retry after a broken connection attaches to the job of the first try', async () => {
    const { url, server } = await flakyProxy();
    try {
      const unlucky = new OpenAI({ baseURL: `${url}/v1`, apiKey: rig.service.key });
      const before = await fetch(`${rig.service.url}/v1/jobs?limit=1`, {
        headers: { authorization: `Bearer ${rig.service.key}` },
      }).then((response) => response.json() as Promise<{ data: { id: string }[] }>);
      const answer = await unlucky.images.generate({ prompt: 'a yellow lemon', size: '256x256' });
      const after = await fetch(`${rig.service.url}/v1/jobs?limit=2`, {
        headers: { authorization: `Bearer ${rig.service.key}` },
      }).then((response) => response.json() as Promise<{ data: { id: string }[] }>);
      expect(after.data.map(({ id }) => id)).toEqual([methodOf(answer).job_id, before.data[0]?.id]);
    } finally {
      server.close();
    }
  });

  test('the same request sent anew is a new job; with the same Idempotency-Key it is the same', async () => {
    const one = methodOf(await generate()).job_id;
    expect(methodOf(await generate()).job_id).not.toBe(one);
    const keyed = { headers: { 'Idempotency-Key': 'twice' } };
    const first = methodOf(await generate({}, keyed)).job_id;
    expect(methodOf(await generate({}, keyed)).job_id).toBe(first);
    const other = await refusal(generate({ prompt: 'a green pear' }, keyed));
    expect(other).toMatchObject({ status: 422, code: 'idempotency_mismatch' });
  });
});

describe('refusals have OpenAI’s shape', () => {
  test.each<[string, Extra, { param: string; code: string }]>([
    ['a blank prompt', { prompt: ' ' }, { param: 'prompt', code: 'invalid_value' }],
    ['a size the model has not', { size: '1792x1024' }, { param: 'size', code: 'invalid_value' }],
    ['a size that is none', { size: 'big' as '256x256' }, { param: 'size', code: 'invalid_value' }],
    ['too many images', { n: 11 }, { param: 'n', code: 'invalid_value' }],
    ['an unknown model', { model: 'nobody' }, { param: 'model', code: 'invalid_value' }],
    ['an unknown preset', { ralu: { preset: '9x' } }, { param: 'ralu.preset', code: 'invalid_value' }],
    ['a schedule that falls', { ralu: { N: [1, 1], e: [0.5, 0.4] } }, { param: 'ralu.e', code: 'invalid_value' }],
    [
      'quality beside a preset',
      { quality: 'low', ralu: { preset: '4x' } },
      { param: 'quality', code: 'invalid_value' },
    ],
    ['compression of png', { output_compression: 50 }, { param: 'output_compression', code: 'invalid_value' }],
    ['guidance the model has not', { guidance: 3 }, { param: 'guidance', code: 'invalid_value' }],
    ['partial images without a stream', { partial_images: 1 }, { param: 'partial_images', code: 'invalid_value' }],
    ['complexity', { complexity: 'high' }, { param: 'complexity', code: 'unsupported_parameter' }],
    ['a transparent background', { background: 'transparent' }, { param: 'background', code: 'unsupported_parameter' }],
    ['gif', { output_format: 'gif' }, { param: 'output_format', code: 'unsupported_parameter' }],
    ['a field nobody knows', { colour: 'red' }, { param: 'colour', code: 'unsupported_parameter' }],
  ])('%s', async (_, extra, expected) => {
    const error = await refusal(generate(extra));
    expect(error.status).toBe(400);
    expect(error).toMatchObject({ ...expected, type: 'invalid_request_error' });
    expect(error.message).toContain(expected.param);
    expect(error.requestID).toMatch(/\S/);
  });

  test('a key that opens nothing', async () => {
    const nobody = new OpenAI({ baseURL: `${rig.service.url}/v1`, apiKey: 'sk-wrong' });
    expect(await refusal(nobody.images.generate(SMALL))).toMatchObject({
      status: 401,
      type: 'authentication_error',
      code: 'unauthorized',
    });
    expect(await refusal(Promise.resolve(nobody.models.list()))).toMatchObject({
      status: 401,
      type: 'authentication_error',
    });
  });

  test('a crowd: 429 with the time to come back, which the client obeys by itself', async () => {
    const limits = { images_per_minute: 100, concurrent_jobs: 2, tflops_per_image: 1e9, steps_per_image: 1000 };
    const body = JSON.stringify({ name: 'narrow', limits, billing: { mode: 'postpaid' } });
    const opened = await fetch(`${rig.service.url}/v1/accounts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rig.adminKey}`, 'content-type': 'application/json' },
      body,
    });
    const { key } = (await opened.json()) as { key: { key: string } };
    const narrow = new OpenAI({ baseURL: `${rig.service.url}/v1`, apiKey: key.key });
    const crowd = await narrow.images.generate({
      ...SMALL,
      ...LONG,
      n: 2,
      stream: true,
    } as OpenAI.ImageGenerateParamsStreaming);
    const error = await refusal(narrow.images.generate(SMALL, { maxRetries: 0 }));
    expect(error).toMatchObject({ status: 429, type: 'rate_limit_error', code: 'too_many_jobs' });
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(0);
    // on a busy machine the crowd takes longer to stop than two tries
    const patient = narrow.images.generate(SMALL, { maxRetries: 6 });
    crowd.controller.abort();
    expect((await patient).data).toHaveLength(1);
  });
});

describe('without a client', () => {
  const ask = (headers: Record<string, string>, body: object = {}) =>
    fetch(`${rig.service.url}/v1/images/generations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rig.service.key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ ...SMALL, ...body }),
    });

  test('Accept: image/* is the bytes alone, with the facts in headers', async () => {
    const response = await ask({ accept: 'image/*' }, { seed: 7, prompt: 'a red appel' });
    expect(response.headers.get('content-type')).toBe('image/png');
    expect(decode(new Uint8Array(await response.arrayBuffer())).width).toBe(256);
    expect(response.headers.get('x-ralu-seed')).toBe('7');
    expect(response.headers.get('x-ralu-preset')).toBe('7x');
    expect(JSON.parse(response.headers.get('x-ralu-warnings') as string).join()).toContain('appel');
    expect((await getJob(rig.service, response.headers.get('x-ralu-job-id') as string)).status).toBe('done');
  });

  test('Accept: image/webp chooses the format, and several images do not fit', async () => {
    const response = await ask({ accept: 'image/webp' });
    expect(response.headers.get('content-type')).toBe('image/webp');
    await response.arrayBuffer();
    expect((await ask({ accept: 'image/*' }, { n: 2 })).status).toBe(400);
  });
});
