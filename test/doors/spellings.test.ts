import { describe, expect, it } from 'vitest';
import { anyBoolean, anyCase, ignoredFields } from '../../src/http/spellings.ts';

describe('spellings of other languages', () => {
  it.each([true, 'true', 'True', 'TRUE', '1', 1, 'yes', ' on '])('%j is true', (value) => {
    expect(anyBoolean.parse(value)).toBe(true);
  });

  it.each([false, 'false', 'False', '0', 0, 'no', 'off'])('%j is false', (value) => {
    expect(anyBoolean.parse(value)).toBe(false);
  });

  it.each(['', 'maybe', 2, null, {}, ['true', 'x']])('%j is no boolean', (value) => {
    expect(anyBoolean.safeParse(value).success).toBe(false);
  });

  it('a word is one in any case, and no other word', () => {
    const format = anyCase(['png', 'jpg']);
    expect(format.parse('PNG')).toBe('png');
    expect(format.safeParse('gif').success).toBe(false);
    expect(format.safeParse(7).success).toBe(false);
  });

  it('a field that is ignored may hold anything', () => {
    const { style } = ignoredFields({ style: { why: 'the models have no styles' } });
    for (const value of [undefined, 'vivid', 7, { deep: [] }]) expect(style.safeParse(value).success).toBe(true);
  });
});
