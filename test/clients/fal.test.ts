/** fal's own client against the running stack. */
import { ApiError, createFalClient, type FalClient, ValidationError } from '@fal-ai/client';
import { decode } from 'fast-png';
import { beforeAll, describe, expect, test } from 'vitest';
import { countedFetch, type Door, listen, openDoor, openPoorDoor, until } from './doors.ts';

let rig: Door;
let makeClient: (key: string, fetch?: typeof globalThis.fetch) => FalClient;
let fal: FalClient;
let app: string;

beforeAll(async () => {
  rig = await openDoor();
  const base = `${rig.service.url}/fal`;
  const here = (url: string) =>
    url.replace('https://queue.fal.run', `${base}/queue`).replace('https://fal.run', `${base}/run`);
  makeClient = (credentials, fetch = globalThis.fetch) =>
    createFalClient({
      credentials,
      fetch,
      requestMiddleware: async (request) => ({ ...request, url: here(request.url) }),
    });
  fal = makeClient(rig.service.key);
  const { data } = (await (
    await fetch(`${rig.service.url}/v1/models`, { headers: { authorization: `Bearer ${rig.service.key}` } })
  ).json()) as { data: { id: string }[] };
  app = `ralu/${data[0]?.id}`;
});

const APPLE = { prompt: 'a red apple', image_size: { width: 256, height: 256 }, seed: 7 };
const LONG = { prompt: 'a fox', image_size: { width: 256, height: 256 }, num_inference_steps: 900 };
interface Output {
  readonly images: readonly { readonly url: string; readonly width: number; readonly content_type: string }[];
  readonly seed: number;
  readonly timings: { readonly inference: number };
  readonly warnings: readonly string[];
  readonly receipts: readonly { readonly seed: number }[];
  readonly cost: { readonly usd: string };
  readonly partial?: { readonly stage: number; readonly image_index: number };
}
/** The client types the input of apps it knows. */
type Options = Parameters<FalClient['run']>[1];
const optionsOf = (input: object, more: object = {}): Options => ({ input, ...more }) as unknown as Options;
const widthAt = async (url: string): Promise<number> =>
  decode(new Uint8Array(await (await fetch(url)).arrayBuffer())).width;

test.each(['polling', 'streaming'] as const)(
  'subscribe by %s: queue updates with logs, then the picture',
  async (mode) => {
    const updates: { status: string; logs?: readonly { message: string }[] }[] = [];
    const { data, requestId } = await fal.subscribe(app, {
      input: APPLE,
      logs: true,
      mode,
      ...(mode === 'polling' && { pollInterval: 50 }),
      onQueueUpdate: (update) => updates.push(update as (typeof updates)[0]),
    } as Parameters<typeof fal.subscribe>[1]);
    const { images, seed, timings } = data as unknown as Output;
    expect(seed).toBe(7);
    expect(timings.inference).toBeGreaterThan(0);
    expect(decode(new Uint8Array(await (await fetch(images[0]?.url as string)).arrayBuffer())).width).toBe(256);
    const last = updates.at(-1);
    expect(last?.status).toBe('COMPLETED');
    expect(last?.logs?.filter(({ message }) => message.startsWith('stage'))).toHaveLength(3);
    expect(requestId).toMatch(/^job_/);
  },
);

test('submit under a longer path, status, cancel', async () => {
  const { request_id } = await fal.queue.submit(`${app}/text-to-image`, { input: LONG } as Parameters<
    typeof fal.queue.submit
  >[1]);
  await until(rig.service, request_id, 'running');
  expect(await fal.queue.status(`${app}/text-to-image`, { requestId: request_id })).toMatchObject({ request_id });
  const early = await fal.queue.result(app, { requestId: request_id }).catch((error: unknown) => error);
  expect(early).toMatchObject({ status: 400 });
  await fal.queue.cancel(app, { requestId: request_id });
  await until(rig.service, request_id, 'cancelled');
  const again = await fal.queue.cancel(app, { requestId: request_id }).catch((error: unknown) => error);
  expect(again).toBeInstanceOf(ApiError);
  expect((again as ApiError<unknown>).body).toEqual({ status: 'ALREADY_COMPLETED' });
});

test('bad input is a ValidationError with the field’s place', async () => {
  const error = await fal.queue
    .submit(app, { input: { ...APPLE, image_size: { width: 100, height: 100 } } } as Parameters<
      typeof fal.queue.submit
    >[1])
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ValidationError);
  expect((error as ValidationError).fieldErrors[0]?.loc).toContain('body');
  const nobody = await fal.queue
    .submit('ralu/nobody', { input: APPLE } as Parameters<typeof fal.queue.submit>[1])
    .catch((reason: unknown) => reason);
  expect(nobody).toMatchObject({ status: 404 });
});

test('what a picture cost stands in the result, and in units and dollars in its headers', async () => {
  const { data, requestId } = await fal.subscribe(app, { input: APPLE } as Parameters<typeof fal.subscribe>[1]);
  const { cost } = data as unknown as { cost: { usd: string; quote_usd: string } };
  const response = await fetch(`${rig.service.url}/fal/queue/${app}/requests/${requestId}`, {
    headers: { authorization: `Key ${rig.service.key}` },
  });
  expect(response.headers.get('x-ralu-cost-usd')).toBe(cost.usd);
  expect(Number(cost.usd)).toBeGreaterThan(0);
  expect(response.headers.get('x-fal-billable-units')).toMatch(/^\d+\.\d{6}$/);
});

test('without credit the client throws its error at once: it does not ask again', async () => {
  const { service } = await openPoorDoor();
  const counted = countedFetch();
  const error = await makeClient(service.key, counted.fetch)
    .queue.submit(app, { input: APPLE } as Parameters<typeof fal.queue.submit>[1])
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    status: 402,
    body: {
      detail: expect.stringMatching(/^The request may cost 0\.\d{6} USD, and the account has 0\.000000 USD left/),
    },
  });
  expect(counted.count()).toBe(1);
});

test('run waits for the result, and its request is found in the queue', async () => {
  const { data, requestId } = await fal.run(app, optionsOf(APPLE, { startTimeout: 3600 }));
  const { images, seed, warnings } = data as unknown as Output;
  expect([await widthAt(images[0]?.url as string), seed, warnings]).toEqual([256, 7, []]);
  const again = await fal.queue.result(app, { requestId });
  expect((again.data as unknown as Output).seed).toBe(7);
  const error = await fal.run(app, optionsOf({ ...APPLE, colour: 'red' })).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ValidationError);
  expect((error as Error).message).toContain('colour');
});

test('stream shows each stage’s picture, then the result', async () => {
  const stream = await fal.stream(app, optionsOf(APPLE) as Parameters<typeof fal.stream>[1]);
  const seen: Output[] = [];
  for await (const event of stream) seen.push(event as unknown as Output);
  expect(seen.map(({ partial }) => partial?.stage ?? null)).toEqual([1, 2, null]);
  expect(seen.map(({ images }) => images[0]?.url.slice(0, 5))).toEqual(['data:', 'data:', 'http:']);
  const done = (await stream.done()) as unknown as Output;
  expect(await widthAt(done.images[0]?.url as string)).toBe(256);
  expect(stream.requestId).toMatch(/^job_/);
});

test('what apps of fal take is meant, or ignored with a warning', async () => {
  const { data } = await fal.run(
    `${app}/dev`,
    optionsOf({
      prompt: 'a red apple',
      image_size: 'landscape_4_3',
      num_inference_steps: 4,
      guidance_scale: 3.5,
      num_images: 1,
      seed: null,
      enable_safety_checker: true,
      sync_mode: 'True',
      output_format: 'JPEG',
      acceleration: 'regular',
      safety_tolerance: '2',
      enable_prompt_expansion: false,
      loras: [],
    }),
  );
  const { images, warnings } = data as unknown as Output;
  expect(images[0]).toMatchObject({ content_type: 'image/jpeg', width: 256 });
  expect(images[0]?.url).toMatch(/^data:image\/jpeg;base64,\/9j/);
  expect(warnings).toEqual([
    'image_size landscape_4_3 means 1024x768: the picture has 256x256, the nearest that the model makes',
    expect.stringMatching(/^guidance_scale is ignored: model \S+ has no guidance$/),
    'safety_tolerance is ignored: the deployment decides: its judge of prompts is asked either way',
    'acceleration is ignored: the preset decides how much is computed',
  ]);
  for (const field of [{ image_url: 'https://example.com/a.png' }, { loras: [{ path: 'x' }] }]) {
    const error = await fal.run(app, optionsOf({ ...APPLE, ...field })).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ status: 422 });
    expect((error as ValidationError).fieldErrors[0]).toMatchObject({
      loc: ['body', Object.keys(field)[0]],
      msg: expect.stringContaining('is not there'),
    });
  }
});

describe('several images', () => {
  const TWO = { ...APPLE, num_images: 2 };

  test('are one request: its status, logs, result and cost are of all', async () => {
    const updates: { status: string; logs?: readonly { message: string }[] }[] = [];
    const { data, requestId } = await fal.subscribe(app, {
      ...optionsOf(TWO),
      logs: true,
      mode: 'streaming',
      onQueueUpdate: (update: unknown) => updates.push(update as (typeof updates)[0]),
    } as Parameters<typeof fal.subscribe>[1]);
    const { images, receipts, cost } = data as unknown as Output;
    expect(await Promise.all(images.map(({ url }) => widthAt(url)))).toEqual([256, 256]);
    expect(receipts.map(({ seed }) => seed)).toEqual([7, 8]);
    const single = await fal.run(app, optionsOf(APPLE));
    const one = Number((single.data as unknown as Output).cost.usd);
    expect(Number(cost.usd)).toBeCloseTo(2 * one, 6);
    const lines = updates.at(-1)?.logs?.map(({ message }) => message) ?? [];
    for (const image of [1, 2])
      expect(
        lines.filter((line) => line.startsWith(`image ${image}: stage`)),
        String(image),
      ).toHaveLength(3);
    expect(updates.filter(({ status }) => status === 'COMPLETED')).toHaveLength(1);
    expect(requestId).toMatch(/^job_/);
  });

  test('stream their pictures by index, then one result', async () => {
    const stream = await fal.stream(app, optionsOf(TWO) as Parameters<typeof fal.stream>[1]);
    const seen: Output[] = [];
    for await (const event of stream) seen.push(event as unknown as Output);
    const shown = seen.map(({ partial }) => (partial ? `${partial.image_index}.${partial.stage}` : 'result'));
    expect(shown.toSorted()).toEqual(['0.1', '0.2', '1.1', '1.2', 'result']);
    expect(shown.at(-1)).toBe('result');
    expect(seen.at(-1)?.images).toHaveLength(2);
  });

  test('are cancelled together', async () => {
    const { request_id } = await fal.queue.submit(
      app,
      optionsOf({ ...LONG, num_images: 2 }) as Parameters<typeof fal.queue.submit>[1],
    );
    await until(rig.service, request_id, 'running');
    await fal.queue.cancel(app, { requestId: request_id });
    const status = await fal.queue.status(app, { requestId: request_id });
    expect(status.status).toBe('COMPLETED');
    const error = await fal.queue.result(app, { requestId: request_id }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ status: 499, body: { error_type: 'client_cancelled' } });
  });

  test('have one webhook, once all have ended', async () => {
    const listener = await listen();
    try {
      const { request_id } = await fal.queue.submit(app, {
        ...optionsOf(TWO),
        webhookUrl: listener.url,
      } as Parameters<typeof fal.queue.submit>[1]);
      const { body } = await listener.next();
      const told = JSON.parse(body) as { request_id: string; payload: Output };
      expect(told).toMatchObject({ request_id, status: 'OK' });
      expect(told.payload.images).toHaveLength(2);
    } finally {
      listener.close();
    }
  });
});

test('a webhook tells the end', async () => {
  const listener = await listen();
  try {
    const { request_id } = await fal.queue.submit(app, { input: APPLE, webhookUrl: listener.url } as Parameters<
      typeof fal.queue.submit
    >[1]);
    const { body } = await listener.next();
    expect(JSON.parse(body)).toMatchObject({
      request_id,
      status: 'OK',
      payload: { seed: 7, cost: { usd: expect.any(String) } },
    });
  } finally {
    listener.close();
  }
});
