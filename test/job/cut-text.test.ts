import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutText } from '../../src/job/cut-text.ts';

test('a text is cut between characters, and says so', () => {
  expect(cutText('a🍎🍎', 3)).toBe('a🍎…');
  expect(cutText('a🍎🍎', 4)).toBe('a🍎…');
  expect(cutText('a🍎🍎', 5)).toBe('a🍎🍎');
});

test('what is cut is whole characters and the beginning of the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(30), (text, length) => {
      const cut = cutText(text, length);
      expect(cut.isWellFormed()).toBe(text.isWellFormed());
      expect(text.startsWith(cut === text ? text : cut.slice(0, -1))).toBe(true);
      expect(cut === text || cut.length <= length + 1).toBe(true);
    }),
  );
});
