/** fal's own client against the running stack. */
import { ApiError, createFalClient, type FalClient, ValidationError } from '@fal-ai/client';
import { decode } from 'fast-png';
import { beforeAll, expect, test } from 'vitest';
import { countedFetch, type Door, listen, openDoor, openPoorDoor, until } from './doors.ts';

let rig: Door;
let makeClient: (key: string, fetch?: typeof globalThis.fetch) => FalClient;
let fal: FalClient;
let app: string;

beforeAll(async () => {
  rig = await openDoor();
  const queue = `${rig.service.url}/fal/queue`;
  makeClient = (credentials, fetch = globalThis.fetch) =>
    createFalClient({
      credentials,
      fetch,
      requestMiddleware: async (request) => ({ ...request, url: request.url.replace('https://queue.fal.run', queue) }),
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
}

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
