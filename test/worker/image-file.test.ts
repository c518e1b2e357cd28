/** The picture as a file: a part of it by RFC 9110, section 14, its name, its extension. */
import { beforeAll, describe, expect, test } from 'vitest';
import { askedRange, type ByteRange } from '../../src/http/byte-range.ts';
import type { LinkedJob } from '../../src/job/links.ts';
import { call, createJob, KEY, SMALL, watchAll } from './call.ts';

const THERE = { etag: '"abc"', modified: new Date('2026-11-01T12:00:00.700Z') };
const SAME = 'Sun, 01 Nov 2026 12:00:00 GMT';

test.each<[ByteRange | 'all' | 'none', Record<string, string>]>([
  ['all', {}],
  [{ start: 0, end: 99 }, { range: 'bytes=0-99' }],
  [{ start: 0, end: 0 }, { range: 'bytes=0-0' }],
  [{ start: 990, end: 999 }, { range: 'bytes=-10' }],
  [{ start: 0, end: 999 }, { range: 'bytes=-5000' }],
  [{ start: 100, end: 999 }, { range: 'bytes=100-' }],
  [{ start: 100, end: 999 }, { range: 'Bytes=100-5000' }],
  ['none', { range: 'bytes=1000-' }],
  ['none', { range: 'bytes=-0' }],
  ['all', { range: 'bytes=0-1,5-6' }],
  ['all', { range: 'bytes=9-5' }],
  ['all', { range: 'bytes=x-5' }],
  ['all', { range: 'bytes=5-6,x' }],
  ['all', { range: 'bytes=' }],
  ['all', { range: 'lines=0-1' }],
  ['all', { range: '0-1' }],
  [
    { start: 5, end: 6 },
    { range: 'bytes=5-6', 'if-range': '"abc"' },
  ],
  [
    { start: 5, end: 6 },
    { range: 'bytes=5-6', 'if-range': SAME },
  ],
  ['all', { range: 'bytes=5-6', 'if-range': '"other"' }],
  ['all', { range: 'bytes=5-6', 'if-range': 'W/"abc"' }],
  ['all', { range: 'bytes=5-6', 'if-range': 'Sun, 01 Nov 2026 12:00:01 GMT' }],
])('%j of 1000 bytes: %j', (expected, headers) => {
  expect(askedRange(new Headers(headers), THERE, 1000)).toEqual(expected);
});

describe('the image', () => {
  let id: string;
  let whole: Uint8Array;
  beforeAll(async () => {
    ({ id } = await createJob({ prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 }));
    await watchAll(id);
    whole = await (await call(`/v1/jobs/${id}/image`)).bytes();
  });
  const image = (headers: Record<string, string>, more: Parameters<typeof call>[1] = {}) =>
    call(`/v1/jobs/${id}/image`, { ...more, headers });

  test('is had in parts, which make the whole', async () => {
    const first = await image({ range: 'bytes=0-999' });
    expect(first.status).toBe(206);
    expect(Object.fromEntries(first.headers)).toMatchObject({
      'content-type': 'image/png',
      'content-range': `bytes 0-999/${whole.length}`,
      'content-length': '1000',
      'accept-ranges': 'bytes',
    });
    const etag = first.headers.get('etag') as string;
    const rest = await image({ range: 'bytes=1000-', 'if-range': etag });
    expect(rest.status).toBe(206);
    expect(Buffer.concat([await first.bytes(), await rest.bytes()]).equals(whole)).toBe(true);
    const other = await image({ range: 'bytes=1000-', 'if-range': '"other"' });
    expect([other.status, (await other.bytes()).length]).toEqual([200, whole.length]);
  });

  test('is had whole by HEAD whatever part is named, and not where the caller has it', async () => {
    const head = await image({ range: 'bytes=0-999' }, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(whole.length)]);
    const seen = await image({ range: 'bytes=0-999', 'if-none-match': head.headers.get('etag') as string });
    expect(seen.status).toBe(304);
  });

  test('has no part outside of it', async () => {
    const response = await image({ range: `bytes=${whole.length}-` });
    expect([response.status, response.headers.get('content-range')]).toEqual([416, `bytes */${whole.length}`]);
    expect(await response.json()).toMatchObject({ code: 'range_not_satisfiable', status: 416 });
  });

  test('is a link to a file with an extension, and is saved under the name of its job', async () => {
    const { links, urls } = await (await call(`/v1/jobs/${id}`)).json<LinkedJob>();
    expect(links.image).toMatch(new RegExp(`^${urls.image}\\.png\\?token=`));
    const response = await call(links.image, { key: null });
    expect([response.status, response.headers.get('content-disposition')]).toEqual([
      200,
      `inline; filename="${id}.png"`,
    ]);
    expect(Buffer.from(await response.bytes()).equals(whole)).toBe(true);
    expect((await call(links.image.replace('.png', ''), { key: null })).status).toBe(200);
  });

  test('has the extension of its format and no other', async () => {
    const jpeg = await createJob({ prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7, output_format: 'jpeg' });
    await watchAll(jpeg.id);
    const statusOf = async (job: string, file: string, key: string | null = KEY): Promise<number> =>
      (await call(`/v1/jobs/${job}/${file}`, { key })).status;
    expect([await statusOf(jpeg.id, 'image.jpeg'), await statusOf(jpeg.id, 'image.jpg')]).toEqual([200, 200]);
    expect([await statusOf(jpeg.id, 'image.png'), await statusOf(id, 'image.jpg')]).toEqual([404, 404]);
    expect([await statusOf(id, 'image.png'), await statusOf(id, 'image.png', null)]).toEqual([200, 401]);
    const other = await call(`/v1/jobs/${id}/image.webp`);
    expect(await other.json()).toMatchObject({ code: 'no_such_image', detail: expect.stringContaining('image.png') });
    // no file of a job
    expect([await statusOf(id, 'image.gif'), await statusOf(id, 'picture.png')]).toEqual([404, 404]);
    expect((await call(`/v1/jobs/${id}/picture.png`, { method: 'POST' })).status).toBe(404);
    expect((await call(`/v1/jobs/${id}/image.png`, { method: 'POST' })).status).toBe(405);
  });
});
