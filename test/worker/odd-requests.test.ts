/**
 * Whatever comes to whatever address, the answer is no 5xx, and a refusal has the shape of the door that was knocked
 * at: odd methods, paths, headers and bodies, the same at every run.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import { elsewhere } from '../../src/doors/elsewhere.ts';
import { ALL_SHAPES, type ErrorShape, shapeOf } from '../../src/http/openapi/error-shapes.ts';
import { speakerAt, speakerOf } from '../../src/http/speakers.ts';
import { call, openAccount } from './call.ts';

const SEED = 21;
/** Requests to each address. */
const NUM_RUNS = 40;

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}
const { paths } = await (await call('/openapi.json', { key: null })).json<Document>();
const app = createApp();

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PROPFIND'];

const SEGMENT = fc.oneof(
  fc.constantFrom(
    'job_00000000000000000000000000000000',
    'acct_0000000000000000',
    'ralu',
    'requests',
    'constructor',
    '__proto__',
    '%F0%9F%8D%8E',
    '%E0%A4%A',
    '%00',
    'a;b=c',
    'a%2Fb',
    'x'.repeat(2000),
  ),
  fc.string({ minLength: 1, maxLength: 12 }).map(encodeURIComponent),
);
const TAIL = fc.constantFrom(
  '',
  '',
  '',
  '',
  '/',
  '//',
  '.png',
  '/x',
  '?',
  '?token=x',
  '?logs=yes&logs=no',
  '?a[b]=c',
  '#x',
);

const HEADERS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  'content-type': fc.constantFrom(
    'application/json',
    'application/json; charset=utf-16',
    'APPLICATION/JSON',
    'application/problem+json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded',
    ';',
  ),
  'content-encoding': fc.constantFrom('gzip', 'br', 'identity', 'gzip, gzip', 'x'),
  accept: fc.constantFrom('image/*', 'image/avif', 'text/event-stream', '*/*', ',,;q=x'),
  prefer: fc.constantFrom('wait', 'wait=99999', 'respond-async', 'wait=-1', 'x'),
  range: fc.constantFrom('bytes=0-', 'bytes=-0', 'bytes=5-1', 'bytes=0-0,2-3', 'items=1'),
  'if-none-match': fc.constantFrom('*', '"x"', 'W/', '"'),
  'if-modified-since': fc.constantFrom('x', 'Thu, 01 Jan 1970 00:00:00 GMT'),
  'idempotency-key': fc.constantFrom('', '""', 'a', 'x'.repeat(300)),
  'last-event-id': fc.constantFrom('0', '-1', '1e9', 'image1:3', '999999999999999'),
  'cancel-after': fc.constantFrom('', '0', '90s', '1h99999m', 'soon'),
  'x-fal-request-timeout': fc.constantFrom('1', '-1', 'x', '1e99'),
  'x-stainless-retry-count': fc.constantFrom('1', '-1', 'x'),
  authorization: fc.constantFrom('', 'Bearer', 'Bearer x', 'Token x', 'Key a:b', 'Basic YTpi', 'Bearer ralu_0'),
  'api-key': fc.constantFrom('', 'x'),
  'x-key': fc.constantFrom('', 'x'),
};

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
const BODY = fc.oneof(
  fc.constant(null),
  fc.json({ maxDepth: 3 }),
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(
    '',
    '{}',
    '[]',
    'null',
    '"x"',
    '1e999',
    '{"prompt":',
    '\uFEFF{"prompt":"a"}',
    '{"prompt":"\\ud800"}',
    '{"prompt":"a","__proto__":{"n":2}}',
    '{"input":{"prompt":"a","constructor":1}}',
    '{"prompt":{"toString":null}}',
    '{"inputs":"a"}',
    '{"prompt":"a","prompt":7}',
    `{"prompt":${nested(40)}}`,
    `{"N":[${'1,'.repeat(200)}1]}`,
    nested(5000),
    `{"prompt":"${'x'.repeat(300_000)}"}`,
  ),
);

const requestTo = (path: string) =>
  fc.record({
    method: fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...METHODS) }, { weight: 3, arbitrary: fc.constant('') }),
    segments: fc.array(SEGMENT, { minLength: 4, maxLength: 4 }),
    tail: TAIL,
    headers: fc.record(HEADERS, { requiredKeys: [] }).map((headers) => Object.entries(headers).slice(0, 4)),
    hasKey: fc.boolean(),
    body: BODY,
    path: fc.constant(path),
  });

const matches = (path: string, address: string): boolean =>
  new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(address);

/** The shapes that a refusal at an address may have. */
function shapesAt(address: string): readonly (ErrorShape | null)[] {
  // a picture has names of files too, which the document does not list
  const listed = address.replace(/\/image\.(?:png|webp|jpe?g)$/, '/image');
  const known = Object.keys(paths).filter((path) => matches(path, listed));
  const ofRoutes = known.flatMap((path) =>
    Object.keys(paths[path] ?? {}).map((method) => shapeOf(speakerOf(app, [method.toUpperCase()], address))),
  );
  return ofRoutes.length > 0 ? ofRoutes : [shapeOf(speakerAt(address, elsewhere(address)))];
}

/** Hugging Face's clients are told in their shape wherever they are pointed. */
const isOfHuggingFace = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && 'error' in body && typeof body.error === 'string';

const key = await openAccount({ images_per_minute: 100_000, concurrent_jobs: 1 });
const held = await call('/v1/jobs', {
  key,
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ prompt: 'a fox', N: [1000], e: [1], deadline_seconds: 600 }),
});
const { id } = await held.json<{ id: string }>();

test('every shape of an error is told apart by its schema', () => {
  expect(ALL_SHAPES.length).toBeGreaterThan(3);
  for (const { schema } of ALL_SHAPES) expect(schema.safeParse({}).success).toBe(false);
});

test.each([...Object.keys(paths), '/v1/{a}', '/fal/{a}/{b}', '/{a}', '/openai/{a}', '/sdapi/v1/{a}'])(
  '%s',
  async (path) => {
    const methods = Object.keys(paths[path] ?? { get: {} }).map((method) => method.toUpperCase());
    await fc.assert(
      fc.asyncProperty(requestTo(path), async ({ method, segments, tail, headers, hasKey, body }) => {
        const address = segments.reduce((filled, segment) => filled.replace(/\{\w+\}/, () => segment), path) + tail;
        const verb = method || (methods[segments[0]?.length === 1 ? 0 : methods.length - 1] as string);
        const mayHaveBody = !['GET', 'HEAD'].includes(verb);
        const response = await call(address, {
          key: hasKey ? key : null,
          method: verb,
          headers: [...headers.filter(([name]) => !(hasKey && name === 'authorization'))] as [string, string][],
          ...(mayHaveBody && body !== null && { body }),
        });
        expect(response.status).toBeLessThan(500);
        const { pathname } = new URL(`http://ralu.test${address}`);
        if (response.status < 400 || verb === 'HEAD') {
          await response.body?.cancel();
          return;
        }
        const told: unknown = await response.json();
        if (isOfHuggingFace(told)) return;
        const shapes = shapesAt(pathname);
        const type = response.headers.get('content-type')?.split(';')[0];
        expect(shapes.map((shape) => shape?.contentType)).toContain(type);
        const fits = shapes.some((shape) => shape?.schema.safeParse(told).success);
        // what fal says of a request that cannot be cancelled is no error of its own
        const isCancel = /\/requests\/[^/]+\/cancel$/.test(pathname);
        expect(fits || isCancel, JSON.stringify(told).slice(0, 300)).toBe(true);
      }),
      { numRuns: NUM_RUNS, seed: SEED },
    );
  },
);

test('and the job that held the place is cancelled', async () => {
  expect((await call(`/v1/jobs/${id}/cancel`, { key, method: 'POST' })).status).toBe(200);
});
