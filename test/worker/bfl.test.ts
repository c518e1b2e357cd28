/** Black Forest Labs' API: submit, poll, fetch. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { readRow } from '../../durable-objects/job/tables.ts';
import { draftBfl } from '../../src/doors/bfl.ts';
import { bflBody } from '../../src/http/bfl.ts';
import type { DraftTools } from '../../src/job/plan-request.ts';
import { FLUX, value } from '../job/requests.ts';
import { call, KEY, openAccount, watchAll } from './call.ts';

const tools: DraftTools = { draw: () => 42, allowEngineChange: false, mayEnlarge: true, tariff: null };
const draft = (body: object, facts = FLUX, name = 'flux') =>
  draftBfl(bflBody.parse({ prompt: 'a fox', ...body }), name, [facts], tools);
const planned = (body: object, facts = FLUX) => value(draft(body, facts)).plan(new Map());

const [{ id: MODEL }] = (await (await call('/v1/models')).json<{ data: [{ id: string }] }>()).data;
const xKey = (key = KEY) => ({ key: null, headers: { 'x-key': key, 'content-type': 'application/json' } });
const submit = (body: object, model = MODEL, init: object = xKey()) =>
  call(`/bfl/v1/${model}`, { method: 'POST', body: JSON.stringify({ prompt: 'a fox', ...body }), ...init });

interface Submitted {
  readonly id: string;
  readonly polling_url: string;
  readonly cost: number;
  readonly output_mp: number;
  readonly warnings?: readonly string[];
}
interface Result {
  readonly status: string;
  readonly progress: number;
  readonly result: { readonly sample: string; readonly seed: number; readonly duration: number } | null;
}
const poll = async (address: string): Promise<Result> =>
  (await call(address.slice(address.indexOf('/bfl/')), xKey())).json();

describe('a request', () => {
  test('means size, ratio, steps, guidance and format; what it does not is told', () => {
    const [job] = planned({ width: 512, height: 512, steps: 9, guidance: 3, seed: 7, safety_tolerance: 2, raw: true });
    expect(job?.request).toMatchObject({
      enlarge: { width: 512, height: 512 },
      schedule: { steps: [9] },
      guidance: 3,
      seed: 7,
      format: 'jpeg',
    });
    expect(job?.plan.warnings.slice(0, 2)).toEqual([
      'safety_tolerance is ignored: the deployment decides: its judge of prompts is asked either way',
      'raw is ignored: the models have no raw mode',
    ]);
    const wide = { ...FLUX, sizes: [...FLUX.sizes, { width: 1344, height: 768 }] };
    expect(planned({ aspect_ratio: '16:9', prompt_upsampling: false }, wide)[0]).toMatchObject({
      request: { width: 1344, height: 768 },
      plan: { warnings: ['aspect_ratio 16:9: the picture has 1344x768, the nearest that the model makes'] },
    });
    const unguided = { ...FLUX, guidance: null };
    expect(planned({ guidance: 3 }, unguided)[0]?.plan.warnings).toEqual([
      'guidance is ignored: model flux-1-dev has no guidance',
    ]);
  });

  test.each([
    ['webhook_url', { webhook_url: 'https://10.0.0.1/hook' }],
    ['webhook_url', { webhook_url: 'http://example.com/hook' }],
    ['webhook_secret', { webhook_secret: 'x'.repeat(501) }],
    ['input_image', { input_image: 'aGk=' }],
    ['input_image_10', { input_image_10: 'aGk=' }],
    ['image_prompt', { image_prompt: 'aGk=' }],
    ['finetune_id', { finetune_id: 'x' }],
  ])('is refused by %s over HTTP, in BFL’s shape', async (field, body) => {
    const response = await submit(body);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ detail: [{ loc: ['body', field] }] });
  });

  test('of an unknown model is a 404 that names those that there are', async () => {
    const response = await submit({}, 'flux-pro-9');
    expect([response.status, await response.json()]).toEqual([
      404,
      { detail: expect.stringMatching(`There is no model flux-pro-9: the model is one of ${MODEL}`) },
    ]);
  });
});

describe('submit and poll', () => {
  test('until the picture is Ready, with a link that needs no key', async () => {
    const response = await submit({ width: 256, height: 256, seed: 7, output_format: 'png', safety_tolerance: 2 });
    expect(response.status).toBe(200);
    const { id, polling_url, cost, output_mp, warnings } = await response.json<Submitted>();
    expect(polling_url).toBe(`http://ralu.test/bfl/v1/get_result?id=${id}`);
    expect(cost).toBeCloseTo(100 * Number(response.headers.get('x-ralu-quote-usd')));
    expect([output_mp, warnings]).toEqual([
      0.065536,
      ['safety_tolerance is ignored: the deployment decides: its judge of prompts is asked either way'],
    ]);
    expect((await poll(polling_url)).status).toBe('Pending');
    await watchAll(id);
    const state = await poll(polling_url);
    expect(state).toMatchObject({
      id,
      status: 'Ready',
      progress: 1,
      result: { seed: 7, prompt: 'a fox' },
      details: null,
    });
    const { sample = '', duration } = state.result ?? {};
    expect(duration).toBeGreaterThan(0);
    const picture = await call(new URL(sample).pathname + new URL(sample).search, { key: null });
    expect([picture.status, picture.headers.get('content-type')]).toEqual([200, 'image/png']);
    await picture.body?.cancel();
  });

  test('a cancelled request is an Error that says so', async () => {
    const { id, polling_url } = await (await submit({ steps: 900 })).json<Submitted>();
    expect((await poll(polling_url)).status).toBe('Pending');
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    expect(await poll(polling_url)).toMatchObject({ status: 'Error', result: null, details: { reason: 'cancelled' } });
  });

  test('a webhook is named in the answer, and its secret is seen nowhere', async () => {
    const webhook_url = 'https://203.0.113.1.example.com/hook';
    const response = await submit({ webhook_url, webhook_secret: 'hippopotamus' });
    const submitted = await response.json<Submitted>();
    expect(submitted).toMatchObject({ status: expect.stringMatching(/Pending|Ready/), webhook_url });
    const { id, polling_url } = submitted;
    const stored = () => runInDurableObject(env.JOBS.getByName(id), ({ rows }) => JSON.stringify(readRow(rows)));
    expect(await stored()).toContain('hippopotamus');
    const { webhook, ...view } = await (await call(`/v1/jobs/${id}`)).json<{ webhook: object }>();
    expect(Object.keys(webhook)).toEqual(['url', 'state', 'tries']);
    expect(JSON.stringify([view, await poll(polling_url)])).not.toContain('hippopotamus');
    const gone = await call(`/v1/jobs/${id}`, { method: 'DELETE' });
    expect(gone.status).toBe(204);
    expect(await stored()).not.toContain('hippopotamus');
  });

  test('a secret without a webhook is ignored, and told', () => {
    const [job] = planned({ webhook_secret: 'hippopotamus' });
    expect(job?.plan.warnings).toEqual(['webhook_secret is ignored: there is no webhook_url']);
    expect(JSON.stringify(job)).not.toContain('hippopotamus');
    expect(planned({ webhook_url: '', webhook_secret: '' })[0]?.plan.warnings).toEqual([]);
  });

  test('what is not there, or somebody else’s, is not found', async () => {
    const { id } = await (await submit({})).json<Submitted>();
    for (const [asked, key] of [
      [`job_${'0'.repeat(32)}`, KEY],
      ['x', KEY],
      [id, await openAccount()],
    ] as const) {
      const response = await call(`/bfl/v1/get_result?id=${asked}`, xKey(key));
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ status: 'Task not found', result: null });
    }
  });

  test('the same Idempotency-Key is the same request', async () => {
    const init = { ...xKey(), headers: { ...xKey().headers, 'idempotency-key': 'bfl-once' } };
    const [one, two] = [await submit({}, MODEL, init), await submit({}, MODEL, init)];
    expect((await one.json<Submitted>()).id).toBe((await two.json<Submitted>()).id);
    expect(two.headers.get('idempotent-replayed')).toBe('true');
  });
});

test('the key goes into x-key or Authorization; two that differ are refused', async () => {
  const ask = (headers: Record<string, string>) => call('/bfl/v1/get_result?id=x', { key: null, headers });
  expect((await ask({ 'x-key': KEY })).status).toBe(404);
  expect((await ask({ authorization: `Bearer ${KEY}` })).status).toBe(404);
  expect((await ask({ 'x-key': KEY, authorization: `Bearer ${KEY}` })).status).toBe(404);
  const two = await ask({ 'x-key': KEY, authorization: `Bearer ${await openAccount()}` });
  expect([two.status, await two.json()]).toEqual([401, { detail: expect.stringContaining('two keys') }]);
  expect((await ask({})).status).toBe(401);
  expect((await call('/v1/models', { key: null, headers: { 'x-key': KEY } })).status).toBe(401);
});
