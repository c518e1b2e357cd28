/** fal's own client against the running stack. */
import { ApiError, createFalClient, type FalClient, ValidationError } from '@fal-ai/client';
import { decode } from 'fast-png';
import { beforeAll, expect, test } from 'vitest';
import { type Door, listen, openDoor, until } from './doors.ts';

let rig: Door;
let fal: FalClient;
let app: string;

beforeAll(async () => {
  rig = await openDoor();
  const queue = `${rig.service.url}/fal/queue`;
  fal = createFalClient({
    credentials: rig.service.key,
    requestMiddleware: async (request) => ({ ...request, url: request.url.replace('https://queue.fal.run', queue) }),
  });
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

test('a webhook tells the end', async () => {
  const listener = await listen();
  try {
    const { request_id } = await fal.queue.submit(app, { input: APPLE, webhookUrl: listener.url } as Parameters<
      typeof fal.queue.submit
    >[1]);
    const { body } = await listener.next();
    expect(JSON.parse(body)).toMatchObject({ request_id, status: 'OK', payload: { seed: 7 } });
  } finally {
    listener.close();
  }
});
