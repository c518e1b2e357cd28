/** Emoji are read as their names: laws over any text, and the names of the embedded model. */
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { emojiNames, makeReadEmoji, namesWithin } from '../../containers/onnx/engine/emoji.ts';
import { makeTokenize } from '../../containers/onnx/engine/tokenize.ts';

const MODELS = new URL('../../models', import.meta.url).pathname;
const [model = ''] = readdirSync(MODELS);
const fileOf = (name: string): unknown => JSON.parse(readFileSync(`${MODELS}/${model}/${name}`, 'utf8'));
const NAMES = emojiNames.parse(fileOf('emoji.json'));
const readEmoji = makeReadEmoji(NAMES);

describe('a text', () => {
  it('without emoji stays as it is', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'é', '3', '#', ' ', ',', '林', '©', '▪', '↔', '🏽', '\u200d') }),
        (text) => {
          expect(readEmoji(text)).toBe(text);
        },
      ),
    );
    expect(makeReadEmoji({})('a 🍎 ❤️')).toBe('a 🍎 ❤️');
  });

  it('has each emoji as a word of its own, however they stand together', () => {
    const emoji = fc.constantFrom(...Object.keys(NAMES));
    fc.assert(
      fc.property(fc.array(fc.tuple(emoji, fc.constantFrom('', ' ', 'a'))), (parts) => {
        const words = parts.flatMap(([each, after]) => [
          NAMES[each] as string,
          ...(after.trim() === '' ? [] : [after]),
        ]);
        const written = parts.map(([each, after]) => each + after).join('');
        expect(readEmoji(written).split(/\s+/).join(' ').trim()).toBe(words.join(' '));
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a 🍎 on a red background', 'a apple on a red background'],
    ['a🍎🍌b', 'a apple banana b'],
    ['🍎, (🍌)! the 🦊’s 🔑', 'apple, (banana)! the fox’s key'],
    ['🍎+🍌', 'apple + banana'],
    // with and without the emoji presentation, as text, and in tones
    ['❤ ❤️ ❤︎', 'heart heart heart'],
    ['👍🏿 👍', 'thumbs up thumbs up'],
    ['👩🏽‍❤️‍👨🏻', 'couple with heart woman, man'],
    ['▪ ▪️', '▪ black small square'],
    // joined: the longest, else the parts
    ['🐈‍⬛ 🐈 ⬛', 'black cat cat black large square'],
    ['🦊‍🍎', 'fox apple'],
    ['👩🏽‍🍎', 'woman apple'],
    ['🧔‍🦰', 'person beard 🦰'],
    // flags, keycaps
    ['🇨🇱🇨🇭', 'flag of Chile flag of Switzerland'],
    ['🏴󠁧󠁢󠁳󠁣󠁴󠁿 🏴󠁧󠁢󠁸󠁸󠁸󠁿 🏴', 'flag of Scotland black flag black flag'],
    ['🇽🇽', '🇽🇽'],
    ['3️⃣ 🍎, 3⃣ 3', '3 apple, 3 3'],
  ])('%s is read as %s', (written, read) => {
    expect(readEmoji(written)).toBe(read);
  });

  it('of 32,000 characters is read in linear time, whatever emoji it begins', () => {
    const [longest = ''] = Object.keys(NAMES).toSorted((a, b) => b.length - a.length);
    const begun = [...longest].slice(0, -1).join('');
    for (const unit of [begun, `❤${'\ufe0f'.repeat(99)}`, `👩${'🏽'.repeat(2000)}`, '❤\ufe0f\u200d', '🦊']) {
      const written = unit.repeat(Math.ceil(32_000 / unit.length));
      const begin = performance.now();
      readEmoji(written);
      // it takes some 10 ms; a quadratic reader takes seconds
      expect(performance.now() - begin).toBeLessThan(1000);
    }
  });
});

describe('the names of the embedded model', () => {
  const options = { maxTokens: 64, wholeWords: true };
  const tokenize = makeTokenize(fileOf('tokenizer.json'), { ...options, emoji: NAMES });
  const plain = makeTokenize(fileOf('tokenizer.json'), options);

  it('give the tokens of the names, for every emoji; nothing is skipped but two marks of keys', () => {
    for (const [emoji, name] of Object.entries(NAMES)) {
      expect(tokenize(`a ${emoji} on pink`)).toEqual(plain(`a ${name} on pink`));
      if (!['#', '*'].includes(name)) expect(tokenize(`a ${emoji} on pink`).warnings.join()).not.toMatch(/skipped/);
    }
  });

  it('are words it has learned for what it draws', () => {
    for (const emoji of ['🍎', '🐶', '🦊', '🐻', '🚗', '✈️', '☂️', '❤️', '🐈', '💙', '🍏', '🚌', '⛄', '3️⃣'])
      expect(tokenize(`${emoji} on blue`).warnings).toEqual([]);
  });
});

describe('names within a vocabulary', () => {
  it('are those made of its words alone, from whichever phrases', () => {
    const names = { '🍎': 'apple', '🍏': 'Green apple', '🍦': 'soft ice cream', '🍨': 'ice cream', '#⃣': '#' };
    const within = namesWithin(names, ['apple', 'ice cream', 'green']);
    expect(within).toEqual({ '🍎': 'apple', '🍏': 'Green apple', '🍨': 'ice cream' });
    expect(namesWithin(names, [])).toEqual({});
  });
});

describe('a file of names', () => {
  it.each([
    ['no record', ['🍎']],
    ['an empty emoji', { '': 'nothing' }],
    ['an empty name', { '🍎': '' }],
    ['a long name', { '🍎': 'a'.repeat(101) }],
    ['a long emoji', { ['🍎'.repeat(65)]: 'apples' }],
    ['too many', Object.fromEntries(Array.from({ length: 8193 }, (_, i) => [String.fromCodePoint(0x20000 + i), 'x']))],
  ])('is refused with %s', (_, value) => {
    expect(emojiNames.safeParse(value).success).toBe(false);
  });
});
