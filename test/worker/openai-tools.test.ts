/** What tools for OpenAI ask of the service beside a picture: models by name, answers later, Azure's addresses. */
import { describe, expect, test } from 'vitest';
import { call, KEY, openAccount, post, watchAll } from './call.ts';

interface Model {
  readonly id: string;
  readonly object: string;
  readonly aliases: readonly string[];
  readonly alias_of: string | null;
}
const { data } = await (await call('/v1/models')).json<{ data: readonly Model[] }>();
const [first] = data as readonly [Model];
const SMALL = { prompt: 'a fox', size: '256x256' };

describe('models', () => {
  test('an alias is an entry of the list, after the models, and says which it means', () => {
    const models = data.filter(({ alias_of }) => alias_of === null);
    expect(data.slice(0, models.length)).toEqual(models);
    const aliases = data.filter(({ alias_of }) => alias_of === first.id).map(({ id }) => id);
    expect(aliases).toEqual(first.aliases);
    expect(aliases).toContain('dall-e-3');
    expect(new Set(data.map(({ id }) => id)).size).toBe(data.length);
  });

  test('each is found by its name', async () => {
    for (const entry of data) expect(await (await call(`/v1/models/${entry.id}`)).json(), entry.id).toEqual(entry);
  });

  test('an unknown one is a 404 in OpenAI’s shape that names those that there are', async () => {
    const response = await call('/v1/models/gpt-9');
    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({
      error: {
        message: expect.stringMatching(/no model gpt-9.*dall-e-3/),
        type: 'invalid_request_error',
        param: null,
        code: 'model_not_found',
      },
    });
  });
});

describe('Azure', () => {
  const azure = (path: string, init: RequestInit = {}) =>
    call(path, { ...init, key: null, headers: { 'api-key': KEY, 'content-type': 'application/json' } });
  const draw = (deployment: string, body: object = {}) =>
    azure(`/openai/deployments/${deployment}/images/generations?api-version=2025-04-01-preview`, {
      method: 'POST',
      body: JSON.stringify({ ...SMALL, ...body }),
    });

  test('a deployment is a model by id or alias, whatever the body says', async () => {
    const response = await draw('dall-e-3', { model: 'gpt-9', style: 'natural' });
    expect(response.status).toBe(200);
    const answer = await response.json<{ data: { url: string }[]; ralu: { model: string }; warnings: string[] }>();
    expect(answer.data[0]?.url).toMatch(/^http:/);
    expect(answer.ralu.model).toBe(first.id);
    expect(answer.warnings).toContain('style is ignored: the models have no styles');
  });

  test('another one is not found', async () => {
    const response = await draw('my-deployment');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: 'DeploymentNotFound' } });
  });

  test('the address of its second version has models, pictures and tasks', async () => {
    expect(await (await azure('/openai/v1/models')).json()).toEqual({ object: 'list', data });
    expect(await (await azure(`/openai/v1/models/dall-e-3`)).json()).toMatchObject({ alias_of: first.id });
    const init = { method: 'POST', body: JSON.stringify(SMALL) };
    expect((await azure('/openai/v1/images/generations', init)).status).toBe(200);
  });

  test('the key opens in api-key here alone', async () => {
    expect((await call('/openai/v1/models')).status).toBe(200);
    expect((await call('/openai/v1/models', { headers: { 'api-key': await openAccount() } })).status).toBe(401);
    expect((await call('/v1/models', { key: null, headers: { 'api-key': KEY } })).status).toBe(401);
    expect((await call('/openai/v1/models', { key: null })).status).toBe(401);
  });
});

describe('Prefer: respond-async', () => {
  interface Task {
    readonly id: string;
    readonly status: string;
    readonly progress: number;
    readonly poll_url: string;
    readonly data: readonly { readonly url?: string; readonly b64_json?: string }[];
    readonly error: { readonly code: string } | null;
    readonly ralu: { readonly job_ids: readonly string[] };
  }
  const ask = (body: object, prefer = 'respond-async') =>
    call('/v1/images/generations', {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer },
      body: JSON.stringify({ ...SMALL, ...body }),
    });
  const poll = async (address: string): Promise<Task> => {
    const { pathname, search } = new URL(address);
    return (await call(pathname + search)).json();
  };

  test('is a 202 that says where to ask, and the answer is there in the end', async () => {
    const response = await ask({ n: 2, model: 'dall-e-3', seed: 7, style: 'vivid' });
    expect(response.status).toBe(202);
    expect(response.headers.get('preference-applied')).toBe('respond-async');
    const task = await response.json<Task & { warnings: string[] }>();
    expect(task).toMatchObject({ object: 'image.generation', data: [], error: null, ralu: { seeds: [7, 8] } });
    expect(task.warnings).toEqual(['style is ignored: the models have no styles']);
    expect(['queued', 'in_progress']).toContain(task.status);
    expect(response.headers.get('location')).toBe(task.poll_url);
    expect(task.id).toBe(task.ralu.job_ids.join(','));
    expect(['queued', 'in_progress']).toContain((await poll(task.poll_url)).status);
    await Promise.all(task.ralu.job_ids.map((id) => watchAll(id)));
    const state = await poll(task.poll_url);
    expect(state).toMatchObject({ id: task.id, status: 'completed', progress: 100, error: null, usage: {} });
    expect(state.data.map(({ url }) => typeof url)).toEqual(['string', 'string']);
    const [bare] = (await (await call(`/v1/images/generations/${task.ralu.job_ids[1]}`)).json<Task>()).data;
    expect(bare?.b64_json).toMatch(/^iVBOR/);
  });

  test('with wait=, the whole answer where it comes in time', async () => {
    const response = await ask({}, 'respond-async, wait=60');
    expect(response.status).toBe(200);
    expect((await response.json<Task>()).data).toHaveLength(1);
    const slow = await ask({ steps: 900 }, 'wait=1; respond-async');
    expect(slow.status).toBe(202);
    const { id } = await slow.json<Task>();
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    expect(await (await call(`/v1/images/generations/${id}`)).json()).toMatchObject({
      status: 'cancelled',
      data: [],
      error: { code: 'job_cancelled' },
    });
  });

  test.each([
    ['a stream', { stream: true }, {}],
    ['bytes', {}, { accept: 'image/*' }],
  ])('%s has no use for it', async (_, body, headers) => {
    const response = await call('/v1/images/generations', {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'respond-async', ...headers },
      body: JSON.stringify({ ...SMALL, ...body }),
    });
    expect([response.status, response.headers.get('preference-applied')]).toEqual([200, null]);
    await response.body?.cancel();
  });

  test('a task that is not there, or somebody else’s, is not found', async () => {
    const { id } = await (await ask({})).json<Task>();
    const other = await openAccount();
    expect((await call(`/v1/images/generations/${id}`, { key: other })).status).toBe(404);
    expect((await call('/v1/images/generations/x')).status).toBe(404);
    expect((await call(`/v1/images/generations/${id},x`)).status).toBe(404);
    const many = await call(`/v1/images/generations/${Array(11).fill(id).join(',')}`);
    expect([many.status, await many.json()]).toMatchObject([400, { error: { param: 'id' } }]);
  });
});

test('what Hugging Face’s client sends is refused in a shape that it reads', async () => {
  const response = await post('/v1/images/generations', { inputs: 'a fox', parameters: {} });
  expect([response.status, await response.json()]).toEqual([400, { error: expect.stringContaining('"prompt"') }]);
});
