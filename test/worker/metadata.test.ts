import { env } from 'cloudflare:workers';
import { decode } from 'fast-png';
import { expect, test } from 'vitest';
import type { JobView } from '../../src/job/job.ts';
import { call, createJob, imageOf, post, SMALL, watchAll } from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };

/** The texts of the finished picture of a job, and its bytes. */
async function pictureOf(body: Readonly<Record<string, unknown>>) {
  const job = await createJob({ ...APPLE, ...body });
  const events = await watchAll(job.id);
  const bytes = await imageOf(job.id);
  return { job, events, bytes, text: decode(bytes).text };
}

async function withMetadata<T>(value: string, work: () => Promise<T>): Promise<T> {
  const before = env.METADATA;
  Object.assign(env, { METADATA: value });
  try {
    return await work();
  } finally {
    Object.assign(env, { METADATA: before });
  }
}

test('a finished picture says what it was made from, and nothing of whose it is or when', async () => {
  const { job, bytes, text } = await pictureOf({ user: 'a-customer' });
  expect(Object.keys(text)).toEqual(['parameters', 'ralu']);
  expect(text.parameters).toMatch(
    /^a red apple\nSteps: 10, Sampler: Euler, Schedule type: 7x, Seed: 7, Size: 256x256, /,
  );
  expect(JSON.parse(text.ralu as string)).toMatchObject({
    ralu: 1,
    model_digest: job.plan.model_digest,
    request: { model: job.model, prompt: 'a red apple', seed: 7, preset: '7x', output_format: 'png' },
  });
  const all = Object.values(text).join();
  for (const secret of [job.id, job.id.slice(4, 20), 'a-customer', String(job.created_at)])
    expect(all).not.toContain(secret);
  const view = await (await call(`/v1/jobs/${job.id}`)).json<JobView>();
  expect(view.image?.bytes).toBe(bytes.length);
});

test('equal requests have equal files, and the request in a picture gives that picture', async () => {
  const [one, two] = [await pictureOf({}), await pictureOf({ deadline_seconds: 600, preview: false })];
  expect(two.bytes).toEqual(one.bytes);
  const { request } = JSON.parse(one.text.ralu as string) as { request: Record<string, unknown> };
  const again = await createJob(request);
  await watchAll(again.id);
  expect(await imageOf(again.id)).toEqual(one.bytes);
});

test('the request that a job tells makes its very file again, whatever the deployment says by then', async () => {
  for (const [metadata, METADATA] of [
    [false, 'on'],
    [true, 'off'],
  ] as const) {
    const { job, bytes } = await pictureOf({ metadata });
    const again = await withMetadata(METADATA, () => pictureOf(job.request as unknown as Record<string, unknown>));
    expect(again.bytes).toEqual(bytes);
  }
});

test('a request may want none, and then the file is what the stage server encoded: the same pixels', async () => {
  const [bare, told] = [await pictureOf({ metadata: false }), await pictureOf({})];
  expect(bare.text).toEqual({});
  expect(decode(bare.bytes).data).toEqual(decode(told.bytes).data);
  expect(bare.bytes.length).toBeLessThan(told.bytes.length);
});

test('a deployment may want none, unless the request does', async () => {
  await withMetadata('off', async () => {
    expect((await pictureOf({})).text).toEqual({});
    expect(Object.keys((await pictureOf({ metadata: true })).text)).toEqual(['parameters', 'ralu']);
  });
});

test('an image of OpenAI’s door may want none', async () => {
  const imageAt = async (ralu: Readonly<Record<string, unknown>>) => {
    const body = { prompt: 'a red apple', seed: 7, size: '256x256', response_format: 'b64_json', ralu };
    const response = await post('/v1/images/generations', body);
    const { data } = await response.json<{ data: readonly [{ b64_json: string }] }>();
    return decode(Uint8Array.from(atob(data[0].b64_json), (char) => char.charCodeAt(0))).text;
  };
  expect(Object.keys(await imageAt({ preset: '7x' }))).toEqual(['parameters', 'ralu']);
  expect(await imageAt({ preset: '7x', metadata: false })).toEqual({});
});

test('previews and overlays say nothing', async () => {
  const { events } = await pictureOf({});
  const pictures = events.flatMap(({ data }) => JSON.stringify(data).match(/"b64_json":"[^"]+"/g) ?? []);
  expect(pictures.length).toBeGreaterThanOrEqual(4);
  for (const picture of pictures) {
    const bytes = atob(picture.slice('"b64_json":"'.length, -1));
    for (const name of ['parameters', 'ralu', 'EXIF', 'a red apple']) expect(bytes).not.toContain(name);
  }
});
