import { env } from 'cloudflare:workers';
import { decode } from 'fast-png';
import { describe, expect, test } from 'vitest';
import type { JobView, Quote } from '../../src/job/job.ts';
import { call, createJob, imageOf, post, SMALL, watchAll } from './call.ts';

const APPLE = { prompt: 'a red apple', seed: 7, ralu: { preset: '7x' } };
const { preset, ...OWN } = { ...APPLE.ralu, prompt: APPLE.prompt, seed: APPLE.seed };

interface Answer {
  readonly size: string;
  readonly data: readonly [{ readonly b64_json: string }];
  readonly ralu: { readonly job_id: string; readonly warnings: readonly string[]; readonly enlarged: unknown };
}

const generate = (body: Readonly<Record<string, unknown>>): Promise<Response> =>
  post('/v1/images/generations', { ...APPLE, ...body });

describe('an image by an alias at a size that the model does not make', () => {
  test('has the pixels asked for, and says how it was made', async () => {
    const response = await generate({ model: 'dall-e-3', size: '1024x1024', response_format: 'b64_json' });
    expect(response.status).toBe(200);
    const { size, data, ralu } = await response.json<Answer>();
    const { width, height } = decode(Uint8Array.from(atob(data[0].b64_json), (char) => char.charCodeAt(0)));
    expect([size, width, height]).toEqual(['1024x1024', 1024, 1024]);
    expect(ralu.enlarged).toEqual({ from: '256x256', to: '1024x1024', factor: 4 });
    expect(ralu.warnings).toEqual([
      expect.stringMatching(/^model .* makes no 1024x1024: the picture was made at 256x256 and enlarged 4 times$/),
    ]);
    const job = await (await call(`/v1/jobs/${ralu.job_id}`)).json<JobView>();
    expect(job).toMatchObject({
      width: 256,
      height: 256,
      enlarged: ralu.enlarged,
      image: { width: 1024, height: 1024 },
    });
    expect(job.receipt?.stages.at(-1)?.tokens).toBe(256);
    expect(job.receipt?.warnings).toEqual(ralu.warnings);
  });

  test('streams the true size of every picture', async () => {
    const response = await generate({
      model: 'gpt-image-1',
      size: '1536x1024',
      stream: true,
      partial_images: 1,
    });
    const events = (await response.text())
      .split('\n')
      .filter((line) => line.startsWith('data: {'))
      .map((line) => JSON.parse(line.slice(6)) as { type: string; size: string; ralu?: { enlarged: unknown } });
    const named = (type: string) => events.find((event) => event.type === `image_generation.${type}`);
    expect(named('partial_image')?.size).toBe('128x64');
    expect(named('completed')).toMatchObject({
      size: '1536x1024',
      ralu: { enlarged: { from: '256x128', to: '1536x1024', factor: 8 } },
    });
  });

  test('is refused by the name of the field where it is too large', async () => {
    const response = await generate({ model: 'dall-e-3', size: '4096x4096' });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: { param: 'size', message: expect.stringContaining('a side may have at most 2048 pixels') } },
    ]);
  });

  test('is refused with the sizes that there are where the deployment enlarges nothing', async () => {
    const before = env.ENLARGE;
    Object.assign(env, { ENLARGE: 'off' });
    try {
      const response = await generate({ model: 'dall-e-3', size: '1024x1024' });
      expect([response.status, await response.json()]).toMatchObject([
        400,
        { error: { param: 'size', message: expect.stringMatching(/offers 256x256/) } },
      ]);
    } finally {
      Object.assign(env, { ENLARGE: before });
    }
  });
});

describe('a size that the model does not make', () => {
  test('is refused to who names the model by its own id, or names none', async () => {
    const { data } = await (await call('/v1/models')).json<{ data: readonly { readonly id: string }[] }>();
    for (const model of [data[0]?.id, undefined]) {
      const response = await generate({ ...(model && { model }), size: '1024x1024' });
      expect([response.status, await response.json()]).toMatchObject([400, { error: { param: 'size' } }]);
    }
  });
});

describe('a job with enlarge', () => {
  const job = { ...OWN, preset, ...SMALL };

  test('has a file of that size, of the picture that is made without', async () => {
    const [plain, larger, again] = await Promise.all([
      createJob(job),
      createJob({ ...job, enlarge: { width: 512, height: 384 } }),
      createJob({ ...job, enlarge: { width: 512, height: 384 } }),
    ]);
    for (const { id } of [plain, larger, again]) await watchAll(id);
    const [small, large] = [decode(await imageOf(plain.id)), decode(await imageOf(larger.id))];
    expect([large.width, large.height]).toEqual([512, 384]);
    const mean = (data: ArrayLike<number>): number => Array.from(data).reduce((sum, one) => sum + one, 0) / data.length;
    // a quarter of the height is cut off
    const middle = small.data.slice(32 * 256 * 3, 224 * 256 * 3);
    expect(mean(large.data)).toBeCloseTo(mean(middle), 0);
    expect(await imageOf(again.id)).toEqual(await imageOf(larger.id));
  });

  test('costs and counts what the job without does', async () => {
    const quote = async (body: Readonly<Record<string, unknown>>): Promise<Quote> =>
      (await post('/v1/jobs/quote', { ...job, ...body })).json();
    const [plain, larger] = [await quote({}), await quote({ enlarge: { width: 1024, height: 1024 } })];
    expect(larger).toEqual({ ...plain, enlarged: { from: '256x256', to: '1024x1024', factor: 4 } });
  });

  test('is refused where it is no size, too large, or cuts off too much', async () => {
    for (const [enlarge, field] of [
      [{ width: 0, height: 64 }, 'enlarge.width'],
      [{ width: 64 }, 'enlarge.height'],
      [{ width: 64, height: 64, kernel: 'cubic' }, 'enlarge.kernel'],
      [{ width: 3000, height: 3000 }, 'enlarge'],
      [{ width: 1024, height: 256 }, 'enlarge'],
    ] as const) {
      const response = await post('/v1/jobs', { ...job, enlarge });
      expect([response.status, await response.json()]).toMatchObject([400, { errors: [{ field }] }]);
    }
  });
});
