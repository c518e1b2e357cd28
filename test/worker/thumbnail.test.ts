/** The finished picture once more, small, for lists: where it is told, who may see it, and how long. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeAll, describe, expect, test } from 'vitest';
import type { JobObject } from '../../durable-objects/job.ts';
import type { JobView } from '../../src/job/job.ts';
import type { LinkedJob } from '../../src/job/links.ts';
import { call, createJob, imageOf, openAccount, SMALL, watchAll } from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };

async function finished(body: Record<string, unknown> = APPLE): Promise<LinkedJob> {
  const { id } = await createJob(body);
  await watchAll(id);
  return (await call(`/v1/jobs/${id}`)).json<LinkedJob>();
}
const byLink = (link: string | null) => call(link ?? '', { key: null });

describe('the small picture', () => {
  let job: LinkedJob;
  beforeAll(async () => {
    job = await finished();
  });

  test('is a small file of WebP, to whoever has the key, and to whoever has its link', async () => {
    expect(job.urls.thumbnail).toBe(`/v1/jobs/${job.id}/thumbnail`);
    for (const response of [await call(job.urls.thumbnail as string), await byLink(job.links.thumbnail)]) {
      expect(response.status).toBe(200);
      const { headers } = response;
      const bytes = await response.bytes();
      expect(Object.fromEntries(headers)).toMatchObject({
        'content-type': 'image/webp',
        'content-length': String(bytes.length),
        'cache-control': 'private, no-cache',
        'content-disposition': `inline; filename="${job.id}.small.webp"`,
        etag: expect.stringMatching(/^"[0-9a-f]{32}"$/),
      });
      expect(new TextDecoder().decode(bytes.subarray(8, 12))).toBe('WEBP');
      // of noise; a picture of something has a third of it
      expect(bytes.length).toBeLessThan(8192);
    }
  });

  test('is told by the job and in the list, and nothing else of the job has it', async () => {
    const list = await (await call('/v1/jobs')).json<{ data: LinkedJob[] }>();
    const listed = list.data.find(({ id }) => id === job.id);
    expect(listed?.urls.thumbnail).toBe(job.urls.thumbnail);
    expect(listed?.links.thumbnail).toContain(`${job.urls.thumbnail}?token=`);
    expect(Object.keys(job.image ?? {}).toSorted()).toEqual(['bytes', 'format', 'height', 'url', 'width']);
    const done = (await watchAll(job.id)).at(-1);
    expect(done?.data).toMatchObject({ image: job.image });
    expect(JSON.stringify([job, done])).not.toContain('b64_json');
  });

  test('is sent again only where it is not the one that the caller has', async () => {
    const { headers } = await call(job.urls.thumbnail as string);
    const [etag, modified] = [headers.get('etag') ?? '', headers.get('last-modified') ?? ''];
    const asked = async (conditions: Record<string, string>, method = 'GET') => {
      const response = await call(job.urls.thumbnail as string, { method, headers: conditions });
      return [response.status, (await response.bytes()).length > 0];
    };
    expect(await asked({ 'if-none-match': etag })).toEqual([304, false]);
    expect(await asked({ 'if-modified-since': modified })).toEqual([304, false]);
    expect(await asked({ 'if-none-match': '"other"' })).toEqual([200, true]);
    expect(await asked({ 'if-match': '"other"' })).toEqual([412, true]);
    expect(await asked({}, 'HEAD')).toEqual([200, false]);
  });

  test('opens to nobody else: no other key, no link to the picture or the events, nobody without', async () => {
    const tokenOf = (link: string) => new URL(link, 'http://ralu.test').searchParams.get('token');
    const stranger = await openAccount();
    const path = job.urls.thumbnail as string;
    expect((await call(path, { key: stranger })).status).toBe(404);
    expect((await call(path, { key: null })).status).toBe(401);
    for (const link of [job.links.image, job.links.events])
      expect((await call(`${path}?token=${tokenOf(link)}`, { key: null })).status).toBe(401);
    const own = tokenOf(job.links.thumbnail as string);
    expect((await call(`${job.urls.image}?token=${own}`, { key: null })).status).toBe(401);
  });

  test('is not there before the picture, nor without one', async () => {
    const { id, urls, links } = (await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1] })) as LinkedJob;
    expect([urls.thumbnail, links.thumbnail]).toEqual([null, null]);
    const refused = async () => {
      const response = await call(`/v1/jobs/${id}/thumbnail`);
      return [response.status, (await response.json<{ code: string }>()).code];
    };
    expect(await refused()).toEqual([409, 'image_not_ready']);
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    expect(await refused()).toEqual([409, 'image_not_ready']);
    expect((await (await call(`/v1/jobs/${id}`)).json<JobView>()).urls.thumbnail).toBeNull();
  });

  test('of a job that an earlier version finished is none, and the picture is there', async () => {
    const { id, image, links } = await finished();
    expect(links.thumbnail).not.toBeNull();
    const object = env.JOBS.getByName(id) as unknown as DurableObjectStub<JobObject>;
    await runInDurableObject(object, ({ rows }) => rows.update({ image }));
    const then = await (await call(`/v1/jobs/${id}`)).json<LinkedJob>();
    expect([then.image, then.urls.thumbnail, then.links.thumbnail]).toEqual([image, null, null]);
    expect((await imageOf(id)).length).toBe(image?.bytes);
  });

  test('goes with its job, for the key and for the link', async () => {
    const { id, urls, links } = await finished();
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    expect((await call(urls.thumbnail as string)).status).toBe(404);
    expect((await byLink(links.thumbnail)).status).toBe(404);
    const object = env.JOBS.getByName(id) as unknown as DurableObjectStub<JobObject>;
    const left = await runInDurableObject(object, ({ rows }) => (rows.isThere() ? rows.raw() : null));
    expect(left).toBeNull();
  });

  test('is asked for where no previews are, and changes no byte of the picture', async () => {
    const other = await finished({ ...APPLE, preview: false });
    expect(other.links.thumbnail).not.toBeNull();
    expect(await imageOf(other.id)).toEqual(await imageOf(job.id));
  });
});
