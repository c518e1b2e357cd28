/** What no route takes: other methods of known addresses, and addresses that nobody has. */
import { describe, expect, test } from 'vitest';
import { call, createJob, KEY, SMALL } from './call.ts';

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}
const { paths } = await (await call('/openapi.json', { key: null })).json<Document>();
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'];

const addressOf = (path: string): string => path.replaceAll(/\{\w+\}/g, 'x');
const matches = (path: string, address: string): boolean =>
  new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(address);

/** The methods that the document has for an address. */
const methodsAt = (address: string): readonly string[] => [
  ...new Set(
    Object.entries(paths).flatMap(([path, methods]) =>
      matches(path, address) ? Object.keys(methods).map((method) => method.toUpperCase()) : [],
    ),
  ),
];

/** Addresses that answer in OpenAI's shape. */
const OPENAI = /^(\/openai\/|\/v1\/images\/|\/v1\/models(\/[^/]+)?$)/;

/** An answer is a refusal with this code in the shape that belongs to the address. */
async function expectShape(
  response: Response,
  shape: 'openai' | 'fal' | 'fastapi' | 'ours',
  code: string,
): Promise<void> {
  const type = response.headers.get('content-type');
  const body = await response.json();
  const { status } = response;
  switch (shape) {
    case 'openai':
      expect(type).toMatch(/^application\/json/);
      expect(body).toEqual({
        error: { message: expect.any(String), type: 'invalid_request_error', param: null, code },
      });
      break;
    case 'fal':
      expect(type).toMatch(/^application\/json/);
      expect(body).toEqual({ detail: expect.any(String), message: expect.any(String), error_type: code });
      break;
    case 'fastapi':
      expect(type).toMatch(/^application\/json/);
      expect(body).toEqual({ detail: expect.any(String) });
      break;
    case 'ours':
      expect(type).toBe('application/problem+json');
      expect(body).toMatchObject({ status, code, title: expect.any(String), detail: expect.any(String) });
      break;
  }
}

const shapeAt = (address: string) => {
  if (OPENAI.test(address)) return 'openai';
  if (/^\/(sdapi|bfl)\//.test(address)) return 'fastapi';
  return address.startsWith('/fal/') ? 'fal' : 'ours';
};

const known = Object.keys(paths)
  .map(addressOf)
  .concat('/healthz', '/openapi.json', '/s/x', '/s/x/image.png', '/s/x/stages/1')
  .map((address) => [address, methodsAt(address)] as const);

describe('a known address with a method that it does not take', () => {
  test.each(known)('%s is a 405 that says which it takes', async (address, documented) => {
    const taken = documented.length > 0 ? documented : ['GET'];
    const others = METHODS.filter((method) => !taken.includes(method));
    expect(others.length).toBeGreaterThan(0);
    for (const method of others) {
      const response = await call(address, { method, key: null });
      expect(response.status, `${method} ${address}`).toBe(405);
      const allowed = response.headers.get('allow')?.split(', ') ?? [];
      const withHead = taken.includes('GET') ? [...taken, 'HEAD'] : taken;
      expect(allowed.toSorted()).toEqual([...withHead, 'OPTIONS'].toSorted());
      expect(response.headers.get('x-request-id')).toMatch(/\S/);
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      await expectShape(response, shapeAt(address), 'method_not_allowed');
    }
  });

  test('also one that nobody ever heard of', async () => {
    const response = await call('/v1/jobs', { method: 'PROPFIND' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST, GET, HEAD, OPTIONS');
  });

  test('HEAD where there is no GET', async () => {
    const response = await call('/v1/images/generations', { method: 'HEAD' });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST, OPTIONS');
    expect(await response.text()).toBe('');
  });

  test('a request of fal’s queue is not taken for an app to submit to', async () => {
    const response = await call('/fal/queue/ralu/x/requests/job_1', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"prompt": "a fox"}',
    });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toContain('GET');
    await expectShape(response, 'fal', 'method_not_allowed');
  });
});

describe('an address that nobody has', () => {
  test.each([
    ['/v1', 'openai'],
    ['/v1/chat/completions', 'openai'],
    ['/v1/images/edits', 'openai'],
    ['/v1/jobs/x/y/z', 'openai'],
    ['/openai', 'openai'],
    ['/openai/deployments/x/chat/completions', 'openai'],
    ['/images/generations', 'openai'],
    ['/models', 'openai'],
    ['/chat/completions', 'openai'],
    ['/fal', 'fal'],
    ['/fal/run', 'fal'],
    ['/v1/predictions/x/y', 'ours'],
    ['/v1/models/ralu/x/readme', 'ours'],
    ['/fal/queue', 'fal'],
    ['/v1x', 'ours'],
    ['/falx', 'ours'],
    ['/sdapi', 'fastapi'],
    ['/sdapi/v1/img2img', 'fastapi'],
    ['/bfl', 'fastapi'],
    ['/bfl/v2/x', 'fastapi'],
  ] as const)('%s is a 404 in the shape of its door: %s', async (address, shape) => {
    for (const method of ['GET', 'POST']) {
      const response = await call(address, { method, key: null });
      expect(response.status).toBe(404);
      expect(response.headers.get('allow')).toBeNull();
      await expectShape(response, shape, 'no_such_route');
    }
  });

  test.each([
    ['/images/generations', 'the base address of this service ends in /v1'],
    ['/models/dall-e-3', 'the base address of this service ends in /v1'],
    ['/v1/v1/images/generations', '/v1 stands in it twice'],
    ['/v1/chat/completions', 'There is no chat here'],
    ['/v1/responses', 'POST /v1/images/generations draws a picture'],
    ['/v1/images/edits', 'drawn from text alone'],
    ['/openai/deployments/dall-e-3/images/edits', 'drawn from text alone'],
    ['/v1/embeddings', 'draws pictures and does nothing else'],
  ])('%s says what OpenAI’s clients find here instead', async (address, words) => {
    const response = await call(address, { method: 'POST', key: null });
    expect((await response.json<{ error: { message: string } }>()).error.message).toContain(words);
  });

  test('what AUTOMATIC1111 makes of pictures is refused with what is here', async () => {
    const response = await call('/sdapi/v1/img2img', { method: 'POST', key: null });
    expect([response.status, await response.json()]).toEqual([404, { detail: expect.stringContaining('txt2img') }]);
  });

  test('a model of Hugging Face’s inference is refused in a shape that its client reads', async () => {
    for (const path of ['/models/black-forest-labs/FLUX.1-dev', '/hf-inference/models/a/b']) {
      const response = await call(path, { method: 'POST', key: null, body: '{"inputs": "a fox"}' });
      expect(response.status).toBe(404);
      expect(await response.json()).toEqual({ error: expect.stringContaining('OpenAI’s form') });
    }
  });

  test('a thing that is not there, at an address that is, stays its route’s 404', async () => {
    const job = await call(`/v1/jobs/job_${'0'.repeat(32)}`);
    expect(job.status).toBe(404);
    await expectShape(job, 'ours', 'job_not_found');
    const cancel = await call(`/fal/queue/ralu/x/requests/job_${'0'.repeat(32)}/cancel`, { method: 'PUT' });
    expect([cancel.status, await cancel.json()]).toEqual([404, { status: 'NOT_FOUND' }]);
  });
});

describe('HEAD', () => {
  test('is GET without the body', async () => {
    for (const path of ['/healthz', '/openapi.json', '/v1/models', '/v1/jobs', '/v1/account']) {
      const [head, get] = [await call(path, { method: 'HEAD' }), await call(path)];
      expect(head.status, path).toBe(200);
      expect(head.headers.get('content-type')).toBe(get.headers.get('content-type'));
      expect(await head.text()).toBe('');
      await get.body?.cancel();
    }
  });

  test('of a stream ends at once, and the job goes on', async () => {
    const { id } = await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1] });
    const head = await call(`/v1/jobs/${id}/events`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    expect(await head.text()).toBe('');
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({ finished_at: null });
    await call(`/v1/jobs/${id}`, { method: 'DELETE' });
  });

  test('without a key is refused as GET is', async () => {
    expect((await call('/v1/jobs', { method: 'HEAD', key: null })).status).toBe(401);
    expect((await call('/v1/jobs', { method: 'HEAD', key: KEY })).status).toBe(200);
  });
});
