/** The list of regions: what is one, and what is wrong with one that is none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBackends } from '../../src/fleet/backends.ts';
import { faultOfStanding, jurisdictionOf, LOCATION_HINTS, parseRegions } from '../../src/fleet/regions.ts';

const PARIS = { id: 'paris', latitude: 48.86, longitude: 2.35 };
const parse = (...regions: unknown[]) => parseRegions(JSON.stringify(regions));

test('a region has a place, and neither hint nor jurisdiction unless told otherwise', () => {
  expect(parse(PARIS)).toEqual([{ ...PARIS, hint: null, jurisdiction: null }]);
  const told = { ...PARIS, hint: 'weur', jurisdiction: 'eu' };
  expect(parse(told)).toEqual([told]);
  expect(jurisdictionOf(parse(told), 'paris')).toBe('eu');
  expect(jurisdictionOf(parse(told), 'rome')).toBeNull();
});

test('there are none where nothing, or an empty list, is said', () => {
  for (const text of [undefined, '', '[]']) expect(parseRegions(text)).toEqual([]);
});

test('every hint of the platform is taken', () => {
  for (const hint of LOCATION_HINTS) expect(parse({ ...PARIS, hint })[0]?.hint).toBe(hint);
});

describe('is refused, naming variable, field, value and rule', () => {
  test.each([
    ['a text that is no JSON', '[{', 'REGIONS is not JSON'],
    ['what is no list', '{}', 'REGIONS: must be a list'],
    ['a place without a latitude', [{ id: 'a', longitude: 0 }], 'REGIONS[0].latitude: got undefined; must be a number'],
    [
      'a latitude beyond the pole',
      [{ ...PARIS, latitude: 91 }],
      'REGIONS[0].latitude: got 91; must be a number of degrees from -90 to 90',
    ],
    [
      'a longitude as text',
      [{ ...PARIS, longitude: '2' }],
      'REGIONS[0].longitude: got "2"; must be a number of degrees from -180 to 180',
    ],
    ['a hint of no place', [{ ...PARIS, hint: 'eu' }], 'REGIONS[0].hint: got "eu"; must be one of wnam, enam'],
    [
      'a law of no country',
      [{ ...PARIS, jurisdiction: 'mars' }],
      'REGIONS[0].jurisdiction: got "mars"; must be one of eu, us, fedramp, or null',
    ],
    ['an id with a slash', [{ ...PARIS, id: 'a/b' }], 'REGIONS[0].id: got "a/b"; must have 1 to 64 of a-z, 0-9 and -'],
    ['two of one id', [PARIS, PARIS], 'REGIONS: two regions have the same id'],
    ['a key nobody knows', [{ ...PARIS, lat: 1 }], 'REGIONS[0]: Unrecognized key: "lat"'],
    [
      'more than 32',
      Array.from({ length: 33 }, (_, i) => ({ ...PARIS, id: `r${i}` })),
      'REGIONS: must have at most 32 regions',
    ],
  ])('%s', (_, value, message) => {
    expect(() => parseRegions(typeof value === 'string' ? value : JSON.stringify(value))).toThrow(message);
  });

  test('whatever it is, in one short message that begins with the variable', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), (text) => {
        try {
          parseRegions(text);
        } catch (error) {
          expect((error as Error).message).toMatch(/^REGIONS/);
          expect((error as Error).message.length).toBeLessThan(1000);
        }
      }),
    );
  });
});

describe('a backend', () => {
  const at = (region: string) => parseBackends(JSON.stringify([{ id: 'gpu-1', url: 'https://gpu.example', region }]));

  test('stands in one of the regions where the deployment names some', () => {
    expect(faultOfStanding(parse(PARIS), at('paris'))).toBeNull();
    for (const region of ['', 'rome'])
      expect(faultOfStanding(parse(PARIS), at(region))).toBe(
        `BACKENDS, backend gpu-1, region: got "${region}"; must be one of REGIONS: paris`,
      );
  });

  test('stands where it says, or nowhere, where the deployment names none', () => {
    for (const region of ['', 'rome']) expect(faultOfStanding([], at(region))).toBeNull();
  });
});
