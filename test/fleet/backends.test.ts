/** The list of backends: what is a configuration, and what is wrong with one that is none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { connect, parseBackends } from '../../src/fleet/backends.ts';

const parse = (...backends: unknown[]) => parseBackends(JSON.stringify(backends));
const GPU = { id: 'gpu-1', url: 'https://gpu-1.example.com' };

test('a backend is asked over the network with its token as a bearer, and nothing else, unless told otherwise', () => {
  const plain = { token_header: 'Authorization', headers: {}, secret_headers: {}, affinity: null, binding: null };
  expect(parse(GPU)[0]).toMatchObject(plain);
});

test('a backend has every model and no region unless told otherwise', () => {
  expect(parse(GPU, { ...GPU, id: 'b', region: 'eu', models: ['m'] })).toMatchObject([
    { ...GPU, region: '', models: ['*'] },
    { ...GPU, id: 'b', region: 'eu', models: ['m'] },
  ]);
  expect(parse()).toEqual([]);
});

test('a backend is one of the default pool, with two slots and the weight of one, and always runs, unless told otherwise', () => {
  const told = { pool: 'spot', weight: 0.25, slots: 64, cold_start_seconds: 90 };
  expect(parse(GPU, { ...GPU, id: 'b', ...told }, { ...GPU, id: 'c', weight: 0 })).toMatchObject([
    { pool: 'default', weight: 1, slots: 2, cold_start_seconds: null },
    told,
    { weight: 0 },
  ]);
});

test.each(['http://127.0.0.1:8788', 'https://host.example/', 'https://host.example/a/b', 'http://[::1]:1'])(
  '%s is an address',
  (url) => expect(parse({ ...GPU, url })[0]?.url).toBe(url),
);

const LONG = 'x'.repeat(100);
describe('is refused, naming variable, field, value and rule', () => {
  test.each([
    ['a text that is no JSON', '[{', 'BACKENDS is not JSON'],
    ['what is no list', '{}', 'BACKENDS: Invalid input: expected array, received object'],
    ['null', 'null', 'BACKENDS: Invalid input: expected array, received null'],
    ['what is no backend', '[null]', 'BACKENDS[0]: Invalid input: expected object, received null'],
    ['no id', [{ url: GPU.url }], 'BACKENDS[0].id: got undefined; must be text'],
    ['a number', [{ ...GPU, id: 7 }], 'BACKENDS[0].id: got 7; must be text'],
    ['an empty id', [{ ...GPU, id: '' }], 'BACKENDS[0].id: got ""; must have 1 to 64 of a-z, 0-9 and -'],
    [
      'an id that no secret could be named after',
      [GPU, { ...GPU, id: 'GPU 1' }],
      'BACKENDS[1].id: got "GPU 1"; must have 1 to 64 of a-z, 0-9 and -',
    ],
    [
      'a long id, of which the beginning is shown',
      [{ ...GPU, id: LONG }],
      `BACKENDS[0].id: got "${LONG.slice(0, 59)}; must have 1 to 64 of a-z, 0-9 and -`,
    ],
    ['two of one id', [GPU, GPU], 'BACKENDS: two backends have the same id'],
    ['no address', [{ id: 'a' }], 'BACKENDS[0].url: must be an http or https address'],
    ['an address of another kind', [{ ...GPU, url: 'ftp://a' }], 'BACKENDS[0].url: must be an http or https address'],
    ['a host alone', [{ ...GPU, url: 'gpu-1:8788' }], 'BACKENDS[0].url: must be an http or https address'],
    [
      'models that are no list',
      [{ ...GPU, models: 'm' }],
      'BACKENDS[0].models: got "m"; Invalid input: expected array',
    ],
    ['a model that is no text', [{ ...GPU, models: ['m', 1] }], 'BACKENDS[0].models[1]: got 1; Invalid input'],
    [
      'a token in a header of another name',
      [{ ...GPU, token_header: 'x-token' }],
      'BACKENDS[0].token_header: got "x-token"; must be Authorization or X-Stage-Token',
    ],
    ['headers that are none', [{ ...GPU, headers: 'a: b' }], 'BACKENDS[0].headers: Invalid input: expected record'],
    [
      'a header whose name has a space',
      [{ ...GPU, headers: { 'a b': 'c' } }],
      'BACKENDS[0].headers.a b: a header has 1 to 64 letters, digits and dashes',
    ],
    [
      'a header that holds a line break',
      [{ ...GPU, headers: { a: 'hunter2\r\nb: c' } }],
      'BACKENDS[0].headers.a: must have printable ASCII characters, and no space at its ends',
    ],
    [
      'a header of a thousand and one',
      [{ ...GPU, headers: { a: 'b'.repeat(1001) } }],
      'BACKENDS[0].headers.a: must have at most 1000 characters',
    ],
    [
      'a header that HTTP needs',
      [{ ...GPU, headers: { Host: 'a' } }],
      'BACKENDS[0].headers.Host: none of these is free',
    ],
    [
      'a length of its own',
      [{ ...GPU, secret_headers: { 'content-length': 'BACKEND_A' } }],
      'BACKENDS[0].secret_headers.content-length: none of these is free',
    ],
    [
      'a token among the headers',
      [{ ...GPU, headers: { 'X-Stage-Token': 'hunter2' } }],
      'BACKENDS[0].headers.X-Stage-Token: none of these is free',
    ],
    [
      'a bearer in the open',
      [{ ...GPU, token_header: 'X-Stage-Token', headers: { authorization: 'Bearer hunter2' } }],
      'BACKENDS[0].headers.authorization: Authorization belongs in secret_headers',
    ],
    [
      'two bearers',
      [{ ...GPU, secret_headers: { Authorization: 'BACKEND_KEY' } }],
      'BACKENDS[0].secret_headers.Authorization: Authorization holds the token',
    ],
    [
      'one header twice',
      [{ ...GPU, headers: { 'Modal-Key': 'a' }, secret_headers: { 'modal-key': 'BACKEND_KEY' } }],
      'BACKENDS[0].secret_headers.modal-key: modal-key is set twice',
    ],
    [
      'a secret that is not for a backend',
      [{ ...GPU, secret_headers: { a: 'SIGNING_SECRET' } }],
      'BACKENDS[0].secret_headers.a: must be the name of a secret: BACKEND_',
    ],
    [
      'an affinity by nothing known',
      [{ ...GPU, affinity: { header: 'X-Runpod-Worker-Id', by: 'luck' } }],
      'BACKENDS[0].affinity.by: got "luck"; must be job or worker',
    ],
    [
      'an affinity by the bearer',
      [{ ...GPU, affinity: { header: 'Authorization', by: 'job' } }],
      'BACKENDS[0].affinity.header: got "Authorization"; Authorization belongs in secret_headers',
    ],
    [
      'an affinity by a header that is set',
      [{ ...GPU, headers: { a: 'b' }, affinity: { header: 'A', by: 'job' } }],
      'BACKENDS[0].affinity.header: got "A"; a is set twice',
    ],
    [
      'a binding of no such name',
      [{ ...GPU, binding: 'box' }],
      'BACKENDS[0].binding: got "box"; must be the name of a binding',
    ],
    [
      'a pool that no object could be named after',
      [{ ...GPU, pool: 'eu/spot' }],
      'BACKENDS[0].pool: got "eu/spot"; must have 1 to 64 of a-z, 0-9 and -',
    ],
    ['a region that is no text', [{ ...GPU, region: 7 }], 'BACKENDS[0].region: got 7; must be text'],
    ['a weight below nothing', [{ ...GPU, weight: -1 }], 'BACKENDS[0].weight: got -1; must be a number from 0 to 100'],
    ['a weight in words', [{ ...GPU, weight: '1' }], 'BACKENDS[0].weight: got "1"; must be a number from 0 to 100'],
    ['no slot', [{ ...GPU, slots: 0 }], 'BACKENDS[0].slots: got 0; must be a whole number from 1 to 64'],
    ['half a slot', [{ ...GPU, slots: 1.5 }], 'BACKENDS[0].slots: got 1.5; must be a whole number from 1 to 64'],
    [
      'a start of more than an hour',
      [{ ...GPU, cold_start_seconds: 3601 }],
      'BACKENDS[0].cold_start_seconds: got 3601; must be a number from 0 to 3600',
    ],
    ['a key nobody knows', [{ ...GPU, modles: ['m'] }], 'BACKENDS[0]: Unrecognized key: "modles"'],
  ])('%s', (_, value, message) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    expect(() => parseBackends(text)).toThrow(message);
    expect(() => parseBackends(text)).not.toThrow('hunter2');
  });

  test('more than 16 headers', () => {
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`h${i}`, 'a']));
    expect(parse({ ...GPU, headers: many(16) })).toHaveLength(1);
    expect(() => parse({ ...GPU, headers: many(17) })).toThrow('BACKENDS[0].headers: must have at most 16 headers');
  });

  test.each([
    'https://user:hunter2@host',
    'https://hunter2@host',
    'https://host/?key=hunter2',
    'https://host/#hunter2',
  ])('an address with more than a place, which it does not repeat: %s', (url) => {
    expect(() => parse({ ...GPU, url })).toThrow('BACKENDS[0].url: must have no user, password, query or fragment');
    expect(() => parse({ ...GPU, url })).not.toThrow('hunter2');
  });

  test('more than 64', () => {
    const many = Array.from({ length: 65 }, (_, i) => ({ ...GPU, id: `g${i}` }));
    expect(parse(...many.slice(1))).toHaveLength(64);
    expect(() => parse(...many)).toThrow(/^BACKENDS: .*64/);
  });

  test('whatever it is, in one short message that begins with the variable', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), (text) => {
        try {
          parseBackends(text);
        } catch (error) {
          expect((error as Error).message).toMatch(/^BACKENDS/);
          expect((error as Error).message.length).toBeLessThan(2000);
        }
      }),
    );
    const faults = (text: string) => text.match(/BACKENDS\[/g)?.length;
    expect(() => parse(...Array(60).fill({}))).toThrow(expect.toSatisfy((error: Error) => faults(error.message) === 8));
  });
});

describe('a backend behind a gateway', () => {
  const RUNPOD = {
    ...GPU,
    token_header: 'X-Stage-Token',
    headers: { 'X-Region': 'eu' },
    secret_headers: { Authorization: 'BACKEND_RUNPOD_KEY' },
    binding: 'BOX',
  };
  /** A binding that answers every request with what is asked of a stage server, and keeps the requests. */
  const binding = () => {
    const seen: Request[] = [];
    const fetch = async (input: string, init?: RequestInit) => {
      seen.push(new Request(input, init));
      return Response.json({ models: [], queue: 2, eta_ms: 10 });
    };
    return { seen, BOX: { fetch } };
  };
  const of = (backend: object) => parse(backend)[0] as Parameters<typeof connect>[0];

  test('is sent its headers, the secret ones among them, and the token beside the bearer of the gateway', async () => {
    const { seen, BOX } = binding();
    const secrets = { BACKEND_RUNPOD_KEY: 'Bearer rpa_1', BACKEND_TOKEN_GPU_1: 'token', BOX };
    expect(await connect(of(RUNPOD), secrets).models()).toMatchObject({ models: [] });
    expect(Object.fromEntries(seen[0]?.headers ?? [])).toEqual({
      authorization: 'Bearer rpa_1',
      'x-region': 'eu',
      'x-stage-token': 'token',
    });
    expect(seen[0]?.url).toBe('https://gpu-1.example.com/v1/models');
  });

  test.each([
    ['a secret that is not there', {}, 'there is no secret BACKEND_RUNPOD_KEY'],
    [
      'a secret with a line break',
      { BACKEND_RUNPOD_KEY: 'Bearer hunter2\n' },
      'the secret BACKEND_RUNPOD_KEY must have',
    ],
    ['an empty secret', { BACKEND_RUNPOD_KEY: '' }, 'the secret BACKEND_RUNPOD_KEY must have'],
    [
      'a binding that is not there',
      { BACKEND_RUNPOD_KEY: 'a' },
      'binding: there is no binding BOX that takes requests',
    ],
    ['a binding that is text', { BACKEND_RUNPOD_KEY: 'a', BOX: 'b' }, 'there is no binding BOX that takes requests'],
  ])('names %s, and no value', (_, secrets, message) => {
    expect(() => connect(of(RUNPOD), secrets)).toThrow(message);
    expect(() => connect(of(RUNPOD), secrets)).toThrow(/^BACKENDS, backend gpu-1, /);
    expect(() => connect(of(RUNPOD), secrets)).not.toThrow('hunter2');
  });
});
