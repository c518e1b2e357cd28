import { describe, expect, it } from 'vitest';
import { ignoredIn } from '../../src/doors/ignored.ts';

const FIELDS = {
  style: { why: 'the models have no styles' },
  go_fast: { why: 'a preset decides that', anyway: [false] },
};

describe('fields that are ignored', () => {
  it('each that asks for something it does not get is told', () => {
    expect(ignoredIn({ style: 'vivid', go_fast: true, prompt: 'an apple' }, FIELDS)).toEqual([
      'style is ignored: the models have no styles',
      'go_fast is ignored: a preset decides that',
    ]);
  });

  it.each([
    ['is not there', {}],
    ['is null', { style: null }],
    ['asks for what happens anyway', { go_fast: false }],
    ['is inherited', Object.create({ style: 'vivid' })],
  ])('nothing is said of one that %s', (_, body) => {
    expect(ignoredIn(body, FIELDS)).toEqual([]);
  });
});
