import { expect, test } from 'vitest';
import { oldFormsUntil } from '../../src/account/old-forms.ts';

test('keys and ids of the first form are taken through the day that is named, and not at all where none is', () => {
  expect(oldFormsUntil('2026-12-31')).toBe(Date.parse('2027-01-01T00:00:00Z'));
  expect(oldFormsUntil('')).toBe(0);
});

test.each(['tomorrow', '2026-13-01', '2026-02-30', '31.12.2026', '2026-12-31T00:00:00Z'])('"%s" is no date', (text) => {
  expect(oldFormsUntil(text)).toBeNull();
});
