/** Emoji in a prompt, by the names that a model states. */
import { describe, expect, test } from 'vitest';
import { emojiIn, spellOut } from '../../playground/ask/emoji.js';

describe('emoji', () => {
  const NAMES = { '🍎': 'apple', '🍏': 'green apple', '❤': 'heart', '👩‍🚀': 'astronaut', '☃': 'snowman' };
  const read = (prompt: string) => emojiIn(prompt, NAMES).map(({ emoji, name }) => [emoji, name]);

  test.each<[string, [string, string | null][]]>([
    ['🍎 on blue', [['🍎', 'apple']]],
    ['a🍎🍏', [['🍎', 'apple'], ['🍏', 'green apple']]], // biome-ignore format: a row
    ['❤ and ❤️', [['❤', 'heart'], ['❤️', 'heart']]], // biome-ignore format: a row
    ['👩🏽‍🚀', [['👩🏽‍🚀', 'astronaut']]],
    // joined, and so another
    ['👩‍🔬', [['👩‍🔬', null]]],
    ['🦓 🇨🇱 3️⃣', [['🦓', null], ['🇨🇱', null], ['3️⃣', null]]], // biome-ignore format: a row
    // text, not pictures
    ['3 # ← © ™ ✔ “a”', []],
    ['©️', [['©️', null]]],
    ['', []],
  ])('in “%s” are %j', (prompt, found) => {
    expect(read(prompt)).toEqual(found);
  });

  test('stand where they are said to stand', () => {
    const prompt = 'two 🍎, a 👩🏽‍🚀 and ☃️';
    for (const { start, end, emoji } of emojiIn(prompt, NAMES)) expect(prompt.slice(start, end)).toBe(emoji);
    expect(emojiIn(prompt, NAMES)).toHaveLength(3);
  });

  test('are none where the model does not say what it reads them as', () => {
    expect(emojiIn('🍎', undefined)).toEqual([]);
    expect(emojiIn('🍎 constructor', {})).toEqual([{ start: 0, end: 2, emoji: '🍎', name: null }]);
  });

  test.each([
    ['🍎 on blue', '🍎', 'apple on blue'],
    ['a🍎🍎,🍏', '🍎', 'a apple apple,🍏'],
    ['a 🦓', '🦓', 'a 🦓'],
    ['a fox', '🍎', 'a fox'],
  ])('%s with %s spelled out is %s', (prompt, emoji, spelled) => {
    expect(spellOut(prompt, emoji, NAMES)).toBe(spelled);
  });
});
