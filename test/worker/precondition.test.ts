/** Conditional requests: the rules of RFC 9110, section 13, and what the image's route makes of them. */
import { beforeAll, describe, expect, test } from 'vitest';
import { checkPreconditions, type Precondition } from '../../src/http/precondition.ts';
import { call, createJob, SMALL, watchAll } from './call.ts';

const THERE = { etag: '"abc"', modified: new Date('2026-11-01T12:00:00.700Z') };
const SAME = 'Sun, 01 Nov 2026 12:00:00 GMT';
const BEFORE = 'Sun, 01 Nov 2026 11:59:59 GMT';
const AFTER = 'Sun, 01 Nov 2026 12:00:01 GMT';

test.each<[Precondition, Record<string, string>]>([
  ['proceed', {}],
  ['proceed', { 'if-match': '"abc"' }],
  ['proceed', { 'if-match': '"other", "abc"' }],
  ['proceed', { 'if-match': '"a,b" ,, "abc" ,' }],
  ['proceed', { 'if-match': '*' }],
  ['failed', { 'if-match': '"other"' }],
  ['failed', { 'if-match': 'W/"abc"' }],
  ['failed', { 'if-match': 'abc' }],
  ['failed', { 'if-match': '"abc' }],
  ['failed', { 'if-match': '' }],
  ['failed', { 'if-match': '"abc" and more' }],
  ['failed', { 'if-match': `"${' '.repeat(3)}"` }],
  ['not_modified', { 'if-none-match': '"abc"' }],
  ['not_modified', { 'if-none-match': 'W/"abc"' }],
  ['not_modified', { 'if-none-match': 'W/"other",W/"abc"' }],
  ['not_modified', { 'if-none-match': ' * ' }],
  ['proceed', { 'if-none-match': '"other"' }],
  ['proceed', { 'if-none-match': 'abc' }],
  ['proceed', { 'if-none-match': '"abc" x' }],
  ['proceed', { 'if-none-match': '"abc"x"abc"' }],
  ['not_modified', { 'if-modified-since': SAME }],
  ['not_modified', { 'if-modified-since': AFTER }],
  ['proceed', { 'if-modified-since': BEFORE }],
  ['not_modified', { 'if-modified-since': 'Sunday, 01-Nov-26 12:00:00 GMT' }],
  ['not_modified', { 'if-modified-since': 'Sun Nov  1 12:00:00 2026' }],
  ['proceed', { 'if-modified-since': 'Sun Nov  1 11:59:59 2026' }],
  ['proceed', { 'if-modified-since': 'tomorrow' }],
  ['proceed', { 'if-modified-since': '2100' }],
  ['proceed', { 'if-modified-since': 'Sun, 41 Nov 2100 12:00:00 GMT' }],
  ['proceed', { 'if-modified-since': '2100-01-01T00:00:00Z' }],
  ['proceed', { 'if-unmodified-since': SAME }],
  ['failed', { 'if-unmodified-since': BEFORE }],
  ['proceed', { 'if-unmodified-since': 'long ago' }],
  // a tag is worth more than a date, and what must match comes before what must not
  ['proceed', { 'if-match': '"abc"', 'if-unmodified-since': BEFORE }],
  ['proceed', { 'if-none-match': '"other"', 'if-modified-since': AFTER }],
  ['failed', { 'if-match': '"other"', 'if-none-match': '"abc"' }],
  ['not_modified', { 'if-match': '"abc"', 'if-none-match': '"abc"' }],
])('%s: %j', (expected, headers) => {
  expect(checkPreconditions(new Headers(headers), THERE)).toBe(expected);
});

test('a long list that is none is told so at once', () => {
  const began = performance.now();
  for (const list of [`"a"${' , '.repeat(10_000)}x`, `${'"a",'.repeat(10_000)}x`, `${' '.repeat(30_000)}x`])
    expect(checkPreconditions(new Headers({ 'if-match': list }), THERE)).toBe('failed');
  expect(performance.now() - began).toBeLessThan(2000);
});

describe('the image', () => {
  let path: string;
  let etag: string;
  let modified: string;
  beforeAll(async () => {
    const { id } = await createJob({ prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 });
    await watchAll(id);
    path = `/v1/jobs/${id}/image`;
    const { headers } = await call(path, { method: 'HEAD' });
    etag = headers.get('etag') as string;
    modified = headers.get('last-modified') as string;
  });

  test.each<[number, (etag: string, modified: string) => Record<string, string>]>([
    [200, () => ({})],
    [200, (etag) => ({ 'if-match': etag })],
    [412, () => ({ 'if-match': '"other"' })],
    [412, () => ({ 'if-match': 'garbage' })],
    [304, (etag) => ({ 'if-none-match': etag })],
    [304, () => ({ 'if-none-match': '*' })],
    [200, () => ({ 'if-none-match': 'garbage' })],
    [200, () => ({ 'if-none-match': '"' })],
    [304, (_, modified) => ({ 'if-modified-since': modified })],
    [200, () => ({ 'if-modified-since': 'garbage' })],
    [412, () => ({ 'if-unmodified-since': BEFORE })],
    [200, () => ({ 'if-unmodified-since': 'garbage' })],
  ])('is a %i, by GET and by HEAD', async (status, headersOf) => {
    for (const method of ['GET', 'HEAD']) {
      const response = await call(path, { method, headers: headersOf(etag, modified) });
      expect(response.status, method).toBe(status);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (method === 'HEAD' || status === 304) expect(bytes.length).toBe(0);
      if (status === 200) {
        expect(response.headers.get('content-type')).toBe('image/png');
        expect(Number(response.headers.get('content-length'))).toBeGreaterThan(1000);
        if (method === 'GET') expect(bytes.length).toBe(Number(response.headers.get('content-length')));
      }
      if (status === 412) expect(response.headers.get('content-type')).toBe('application/problem+json');
      else expect(response.headers.get('etag')).toBe(etag);
    }
  });

  test('a failed condition names the image that is there', async () => {
    const response = await call(path, { headers: { 'if-match': '"other"' } });
    expect(await response.json()).toMatchObject({ code: 'precondition_failed', detail: expect.stringContaining(etag) });
  });
});
