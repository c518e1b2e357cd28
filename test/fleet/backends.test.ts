/** The list of backends: what is a configuration, and what is wrong with one that is none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBackends } from '../../src/fleet/backends.ts';

const parse = (...backends: unknown[]) => parseBackends(JSON.stringify(backends));
const GPU = { id: 'gpu-1', url: 'https://gpu-1.example.com' };

test('a backend has every model and no region unless told otherwise', () => {
  expect(parse(GPU, { ...GPU, id: 'b', region: 'eu', models: ['m'] })).toEqual([
    { ...GPU, region: '', models: ['*'] },
    { ...GPU, id: 'b', region: 'eu', models: ['m'] },
  ]);
  expect(parse()).toEqual([]);
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
    ['a key nobody knows', [{ ...GPU, modles: ['m'] }], 'BACKENDS[0]: Unrecognized key: "modles"'],
  ])('%s', (_, value, message) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    expect(() => parseBackends(text)).toThrow(message);
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
