/** Several pictures of one request, and the address that names them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MOST_PRESETS, seedsOf, worksOf } from '../../playground/ask/several.js';
import { addressOf, addressWithout, MOST_IN_GROUP, parseAddress } from '../../playground/session/address.js';

const BODY = { model: 'm', width: 256, height: 128, preset: '7x', r: 0.2 };
const presetsOf = (...names: string[]) => names.map((name) => ({ name, N: [1], e: [1], r: [], cache: null }));
const PRESETS = presetsOf('plain', '4x', '7x');

describe('the pictures', () => {
  test('are one, four of the same work, or one with each preset, the default first', () => {
    expect(worksOf('one', BODY, PRESETS)).toEqual([BODY]);
    expect(worksOf('seeds', BODY, PRESETS)).toEqual([BODY, BODY, BODY, BODY]);
    const size = { model: 'm', width: 256, height: 128 };
    expect(worksOf('presets', BODY, PRESETS)).toEqual(['7x', '4x', 'plain'].map((preset) => ({ ...size, preset })));
  });

  test('with presets are bounded, and fit into an address with one that is pinned', () => {
    const many = presetsOf(...Array.from({ length: 40 }, (_, i) => `p${i}`));
    expect(worksOf('presets', BODY, many)).toHaveLength(MOST_PRESETS);
    expect(MOST_PRESETS + 1).toBe(MOST_IN_GROUP);
  });

  test('have seeds that follow one another, or one where presets are compared', () => {
    const random = () => 0.5;
    expect(seedsOf('one', 1, 7, random)).toEqual([7]);
    expect(seedsOf('one', 1, null, random)).toEqual([null]);
    expect(seedsOf('seeds', 4, 7, random)).toEqual([7, 8, 9, 10]);
    expect(seedsOf('seeds', 4, 2 ** 32 - 2, random)).toEqual([2 ** 32 - 2, 2 ** 32 - 1, 0, 1]);
    expect(seedsOf('seeds', 4, null, random)).toEqual([null, null, null, null]);
    expect(seedsOf('presets', 3, 7, random)).toEqual([7, 7, 7]);
    expect(seedsOf('presets', 2, null, random)).toEqual([2 ** 31, 2 ** 31]);
    expect(seedsOf('presets', 2, null, () => 1 - 2 ** -53)).toEqual([2 ** 32 - 1, 2 ** 32 - 1]);
  });
});

describe('an address', () => {
  const id = fc.stringMatching(/^job_[0-9a-z]{32,64}$/);
  const group = fc.oneof(fc.constant([]), fc.array(id, { minLength: 2, maxLength: MOST_IN_GROUP }));
  const shown = fc.record({ job: id, beside: fc.oneof(fc.constant(null), fc.constant('plain'), id), group });

  test('says what is shown, and is read as that', () => {
    fc.assert(
      fc.property(shown, (each) => {
        expect(parseAddress(addressOf(each))).toEqual(each);
      }),
      { seed: 22, numRuns: 200 },
    );
  });

  test('without a job names it nowhere, and shows what stood beside it', () => {
    const [a = '', b = '', c = ''] = 'abc'.split('').map((letter) => `job_${letter.repeat(32)}`);
    expect(addressWithout({ job: a, beside: b, group: [] }, a)).toBe('');
    expect(addressWithout({ job: a, beside: b, group: [] }, b)).toBe(`#${a}`);
    expect(addressWithout({ job: a, beside: null, group: [a, b, c] }, a)).toBe(`#${b}~${b},${c}`);
    expect(addressWithout({ job: a, beside: 'plain', group: [a, b, c] }, c)).toBe(`#${a}+plain~${a},${b}`);
    expect(addressWithout({ job: a, beside: null, group: [a, b] }, a)).toBe(`#${b}`);
  });

  const job = `job_${'a'.repeat(32)}`;
  test.each([
    ['', '#', '#key=x', `#${job.slice(0, -1)}`, `#${job}+`, `#${job}~${job}`, `#${job}~${job},plain`],
    [`#${job}~${Array(MOST_IN_GROUP + 1).fill(job)}`, `#${job}~`, `#${job}~${job},${job}+plain`],
  ])('of any other form names nothing: %s', (...hashes) => {
    for (const hash of hashes) expect(parseAddress(hash)).toBeNull();
  });

  test('of a job alone is short', () => {
    expect(addressOf({ job })).toBe(`#${job}`);
    expect(addressOf({ job, group: [job] })).toBe(`#${job}`);
  });
});
