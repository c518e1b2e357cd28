/** What jobs can do beside running: be waited for, quoted, limited in time, judged, cached. */
import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test } from 'vitest';
import type { JobView } from '../../src/job/job.ts';
import { call, createJob, openAccount, post, SMALL, watchAll } from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };
const changeable = env as unknown as Record<string, string>;
const cancel = (id: string) => call(`/v1/jobs/${id}/cancel`, { method: 'POST' });

describe('wait', () => {
  test('answers as soon as the job has ended', async () => {
    const { id } = await createJob(APPLE);
    expect(await (await call(`/v1/jobs/${id}?wait=30`)).json()).toMatchObject({ id, status: 'done' });
  });

  test('answers with the job as it stands when the time is over', async () => {
    const { id } = await createJob(LONG);
    const began = Date.now();
    expect(await (await call(`/v1/jobs/${id}?wait=1`)).json()).toMatchObject({ id, finished_at: null });
    expect(Date.now() - began).toBeGreaterThan(900);
    await cancel(id);
  });

  test.each(['61', '-1', 'x'])('wait=%s is refused', async (wait) => {
    const { id } = await createJob(APPLE);
    const response = await call(`/v1/jobs/${id}?wait=${wait}`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ field: 'wait' }] });
  });
});

describe('quote', () => {
  test('is the plan of the same job, without one; seconds once the account has done some', async () => {
    const key = await openAccount();
    const send = (path: string) =>
      call(path, { key, method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(APPLE) });
    const first = await (await send('/v1/jobs/quote')).json<{ tflops: number; seconds: null; plan: object }>();
    expect(first).toMatchObject({
      object: 'quote',
      preset: '7x',
      seed: 7,
      seconds: null,
      queue: { waiting: expect.any(Number), eta_ms: expect.any(Number) },
    });
    expect(await (await call('/v1/jobs', { key })).json()).toMatchObject({ data: [] });
    const job = await (await send('/v1/jobs')).json<{
      id: string;
      plan: { tflops: Record<'denoise' | 'decode' | 'text', number> };
    }>();
    expect(job.plan).toEqual(first.plan);
    expect(first.tflops).toBeCloseTo(job.plan.tflops.denoise + job.plan.tflops.decode + job.plan.tflops.text, 9);
    await call(`/v1/jobs/${job.id}?wait=30`, { key });
    await expect
      .poll(async () => (await (await send('/v1/jobs/quote')).json<{ seconds: number | null }>()).seconds, {
        timeout: 5000,
      })
      .toBeGreaterThan(0);
  });

  test('warns of what the model does not read before there is a job, and the job goes on saying it', async () => {
    const body = { ...APPLE, prompt: 'a red 苹果' };
    const warning = expect.stringMatching(/ reads only Latin, so it does not read the Han in the prompt$/);
    const quote = await (await post('/v1/jobs/quote', body)).json<{ plan: { warnings: string[] } }>();
    expect(quote.plan.warnings).toEqual([warning]);
    const job = await createJob(body);
    expect(job.plan.warnings).toEqual([warning]);
    const events = await watchAll(job.id);
    expect(events.find(({ type }) => type === 'plan')?.data).toMatchObject({ warnings: [warning] });
    const ended = await (await call(`/v1/jobs/${job.id}`)).json<JobView>();
    expect(ended.receipt?.warnings).toEqual([warning, expect.stringContaining('苹果')]);
    const { logs } = await (await call(`/v1/predictions/${job.id}`)).json<{ logs: string }>();
    expect(logs).toContain('does not read the Han');
  });

  test('refuses what a job would be refused for', async () => {
    expect(await (await post('/v1/jobs/quote', { ...APPLE, preset: '9x' })).json()).toMatchObject({
      status: 400,
      errors: [{ field: 'preset' }],
    });
  });
});

describe('deadline', () => {
  test('a job that is not done by then fails, also in the middle of a stage', async () => {
    const { id } = await createJob({ ...LONG, deadline_seconds: 1 });
    expect((await watchAll(id)).at(-1)).toMatchObject({ type: 'failed', data: { reason: 'deadline_exceeded' } });
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({
      status: 'failed',
      error: { reason: 'deadline_exceeded' },
    });
  });

  test('one that is done in time knows nothing of it', async () => {
    const { id } = await createJob({ ...APPLE, deadline_seconds: 60 });
    expect((await watchAll(id)).at(-1)?.type).toBe('done');
  });
});

describe('the image', () => {
  test('is not sent again to whoever has it', async () => {
    const { id } = await createJob(APPLE);
    await watchAll(id);
    const first = await call(`/v1/jobs/${id}/image`);
    const etag = first.headers.get('etag') as string;
    await first.arrayBuffer();
    const again = await call(`/v1/jobs/${id}/image`, { headers: { 'if-none-match': etag } });
    expect(again.status).toBe(304);
    expect(again.headers.get('etag')).toBe(etag);
    const other = await call(`/v1/jobs/${id}/image`, { headers: { 'if-none-match': '"other"' } });
    expect(other.status).toBe(200);
    await other.arrayBuffer();
  });
});

describe('a judge of prompts', () => {
  afterEach(() => {
    changeable.MODERATION_URL = '';
  });

  /** Where the stage server of these tests answers: whatever it says is no verdict. */
  const NO_JUDGE = (JSON.parse(env.BACKENDS) as { url: string }[])[0]?.url as string;

  test('that gives no verdict lets nothing in', async () => {
    for (const url of [`${NO_JUDGE}/healthz`, 'http://127.0.0.1:1/']) {
      changeable.MODERATION_URL = url;
      const response = await post('/v1/jobs', APPLE);
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ code: 'moderation_unavailable' });
    }
  });
});

describe('webhooks', () => {
  test('an address that may not be called is refused before any work', async () => {
    for (const webhook_url of ['http://example.com/', 'https://10.0.0.1/', 'https://localhost/']) {
      expect(await (await post('/v1/jobs', { ...APPLE, webhook_url })).json()).toMatchObject({
        status: 400,
        errors: [{ field: 'webhook_url' }],
      });
    }
  });
});
