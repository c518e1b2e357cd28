/** Requests of fal's and Replicate's doors as the Worker has them: bounds of waiting, and several images as one. */
import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { OpenAPIHono } from '@hono/zod-openapi';
import { describe, expect, test } from 'vitest';
import type { AppEnv, Env } from '../../src/http/env.ts';
import { routeFalRun } from '../../src/http/fal/run.ts';
import { makeGate, stepThrough } from '../../src/http/gate.ts';
import type { Problem } from '../../src/http/problem.ts';
import type { JobView } from '../../src/job/job.ts';
import { call, imageOf, KEY, post, SMALL, watchAll } from './call.ts';

const { data: models } = await (await call('/v1/models')).json<{ data: { id: string }[] }>();
const APP = `ralu/${models[0]?.id}`;
const LONG = { prompt: 'a fox', image_size: SMALL, num_inference_steps: 900 };
const SHORT = { prompt: 'a fox', image_size: SMALL, num_inference_steps: 1, seed: 7 };
const result = (id: string) => call(`/fal/queue/${APP}/requests/${id}`);
const viewOf = async (id: string): Promise<JobView> => (await call(`/v1/jobs/${id}`)).json();

test('fal.run that is not done when nobody waits longer is a 504 that names the request, which goes on', async () => {
  const app = new OpenAPIHono<AppEnv>();
  app.use(stepThrough(makeGate()));
  routeFalRun(app, new Map(), 300);
  app.onError((error, c) => c.get('render')?.(error as Problem) ?? new Response(String(error), { status: 500 }));
  const context = createExecutionContext();
  const response = await app.fetch(
    new Request(`http://ralu.test/fal/run/${APP}`, {
      method: 'POST',
      headers: { authorization: `Key ${KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify(LONG),
    }),
    env as unknown as Env,
    context,
  );
  const id = response.headers.get('x-fal-request-id') as string;
  expect(response.status).toBe(504);
  // fal's clients ask again after any other 504
  expect(response.headers.get('x-fal-request-timeout-type')).toBe('user');
  expect(await response.json()).toEqual({
    detail: expect.stringContaining(`/fal/queue/${APP}/requests/${id}`),
    message: expect.stringContaining(`Request ${id} is not done after 0.3 s and goes on`),
    error_type: 'request_timeout',
  });
  await waitOnExecutionContext(context);
  expect(await viewOf(id)).toMatchObject({ finished_at: null });
  expect((await call(`/fal/queue/${APP}/requests/${id}/cancel`, { method: 'PUT' })).status).toBe(202);
});

test('fal.run that does not start in the caller’s own time is cancelled, and a 504 that no client repeats', async () => {
  // the one server has work for minutes, so what comes waits
  const held: string[] = [];
  for (let jobs = 0; jobs < 3; jobs++)
    held.push((await (await post(`/fal/queue/${APP}`, LONG)).json<{ request_id: string }>()).request_id);
  while ((await viewOf(held[0] as string)).status !== 'running')
    await new Promise((resolve) => setTimeout(resolve, 20));
  const run = (seconds: string) =>
    call(`/fal/run/${APP}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-fal-request-timeout': seconds },
      body: JSON.stringify(SHORT),
    });
  const response = await run('1.5');
  const id = response.headers.get('x-fal-request-id') as string;
  expect(response.status).toBe(504);
  expect(response.headers.get('x-fal-request-timeout-type')).toBe('user');
  expect(await response.json()).toMatchObject({
    detail: 'The request did not start within 1.5 s and was cancelled.',
    error_type: 'startup_timeout',
  });
  expect(await viewOf(id)).toMatchObject({ status: 'cancelled' });
  // another request's jobs are not stopped by one that comes with its key and less time
  const keyed = (path: string, more: Record<string, string> = {}) =>
    call(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'patient', ...more },
      body: JSON.stringify(SHORT),
    });
  const patient = keyed(`/fal/run/${APP}`);
  const hurried = await keyed(`/fal/run/${APP}`, { 'x-fal-request-timeout': '1.5' });
  expect([hurried.status, await hurried.json()]).toMatchObject([504, { detail: expect.stringContaining('goes on') }]);
  for (const id of held) await call(`/fal/queue/${APP}/requests/${id}/cancel`, { method: 'PUT' });
  expect((await patient).status).toBe(200);
  expect((await run('60')).status).toBe(200);
  expect((await run('soon')).status).toBe(422);
});

describe('a request for several images', () => {
  test('is the first job’s: it alone has the webhook, and each knows the others', async () => {
    const response = await post(`/fal/queue/${APP}?fal_webhook=${encodeURIComponent('https://example.com/hook')}`, {
      ...SHORT,
      num_images: 3,
    });
    const { request_id } = await response.json<{ request_id: string }>();
    const ids = (response.headers.get('x-ralu-job-id') ?? '').split(', ');
    expect([ids.length, ids[0]]).toEqual([3, request_id]);
    for (const [i, id] of ids.entries()) {
      const { batch, seed, webhook } = await viewOf(id);
      expect([batch, seed, webhook === null]).toEqual([{ jobs: ids, inline: false }, 7 + i, i > 0]);
    }
    await Promise.all(ids.map(watchAll));
    const { images } = await (await result(request_id)).json<{ images: unknown[] }>();
    expect(images).toHaveLength(3);
    // image i is what a request for one image with seed + i gets
    const single = await post(`/fal/run/${APP}`, { ...SHORT, seed: 8 });
    expect(await imageOf(single.headers.get('x-fal-request-id') as string)).toEqual(await imageOf(ids[1] as string));
    // one that is erased is left out; another one speaks for itself
    await call(`/v1/jobs/${ids[1]}`, { method: 'DELETE' });
    expect((await (await result(request_id)).json<{ images: unknown[] }>()).images).toHaveLength(2);
    expect((await (await result(ids[2] as string)).json<{ images: unknown[] }>()).images).toHaveLength(1);
    expect((await result(ids[1] as string)).status).toBe(404);
  });

  test('has an idempotency key like any other', async () => {
    const ask = (body: object) =>
      call(`/fal/queue/${APP}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'two-of-them' },
        body: JSON.stringify(body),
      });
    const [first, second] = [await ask({ ...SHORT, num_images: 2 }), await ask({ ...SHORT, num_images: 2 })];
    expect(second.headers.get('idempotent-replayed')).toBe('true');
    expect(second.headers.get('x-ralu-job-id')).toBe(first.headers.get('x-ralu-job-id'));
    expect((await ask({ ...SHORT, num_images: 3 })).status).toBe(422);
  });

  test('that comes again after one of its jobs was erased speaks for the one that is made in its place', async () => {
    const ask = () =>
      call(`/fal/queue/${APP}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'one-erased' },
        body: JSON.stringify({ ...SHORT, num_images: 2 }),
      });
    const idsOf = (response: Response) => (response.headers.get('x-ralu-job-id') ?? '').split(', ');
    for (const erased of [1, 0]) {
      const before = idsOf(await ask());
      await Promise.all(before.map(watchAll));
      expect((await call(`/v1/jobs/${before[erased]}`, { method: 'DELETE' })).status).toBe(204);
      await expect.poll(async () => idsOf(await ask()).includes(before[erased] as string)).toBe(false);
      const after = idsOf(await ask());
      await Promise.all(after.map(watchAll));
      for (const id of after) expect((await viewOf(id)).batch).toEqual({ jobs: after, inline: false });
      const { images } = await (await result(after[0] as string)).json<{ images: unknown[] }>();
      expect(images).toHaveLength(2);
    }
  });

  test('whose one job is cancelled ends its stream at once, with the reason; the others go on', async () => {
    const response = await post(`/fal/run/${APP}/stream`, { ...LONG, num_images: 2 });
    const ids = (response.headers.get('x-ralu-job-id') ?? '').split(', ') as [string, string];
    expect((await call(`/v1/jobs/${ids[1]}/cancel`, { method: 'POST' })).status).toBe(200);
    const began = Date.now();
    const events = (await response.text()).split('\n\n').filter((block) => block.startsWith('data: '));
    // a job that nothing is heard of is looked at every ten seconds
    expect(Date.now() - began).toBeLessThan(8000);
    expect(JSON.parse(events.at(-1)?.slice('data: '.length) ?? '')).toEqual({
      detail: 'The request was cancelled.',
      message: 'The request was cancelled.',
      error_type: 'client_cancelled',
      request_id: ids[0],
    });
    const status = await call(`/fal/queue/${APP}/requests/${ids[0]}/status`);
    expect(['IN_QUEUE', 'IN_PROGRESS']).toContain((await status.json<{ status: string }>()).status);
    await call(`/fal/queue/${APP}/requests/${ids[0]}/cancel`, { method: 'PUT' });
    expect(await viewOf(ids[0])).toMatchObject({ status: 'cancelled' });
  });

  test('is four at most', async () => {
    const fal = await post(`/fal/queue/${APP}`, { ...SHORT, num_images: 5 });
    expect([fal.status, await fal.json()]).toMatchObject([422, { detail: [{ loc: ['body', 'num_images'] }] }]);
    const replicate = await post('/v1/predictions', { input: { prompt: 'a fox', num_outputs: 0 } });
    expect([replicate.status, await replicate.json()]).toMatchObject([
      422,
      { invalid_fields: [{ field: 'input.num_outputs' }] },
    ]);
  });
});

test('the logs of fal’s status may be asked for in any spelling', async () => {
  const { request_id } = await (await post(`/fal/queue/${APP}`, SHORT)).json<{ request_id: string }>();
  await watchAll(request_id);
  const status = `/fal/queue/${APP}/requests/${request_id}/status`;
  const logsOf = async (logs: string) => {
    const response = await call(`${status}?logs=${logs}`);
    const body = await response.json<{ logs: unknown[] | null }>();
    return [response.status, body.logs === null ? null : body.logs.length > 2];
  };
  for (const yes of ['1', 'true', 'True']) expect(await logsOf(yes), yes).toEqual([200, true]);
  for (const no of ['0', 'false', 'False']) expect(await logsOf(no), no).toEqual([200, null]);
  const wrong = await call(`${status}?logs=maybe`);
  expect([wrong.status, await wrong.json()]).toMatchObject([422, { detail: [{ loc: ['query', 'logs'] }] }]);
  const stream = await (await call(`${status}/stream?logs=true`)).text();
  expect(stream).toContain('"status":"COMPLETED"');
});
