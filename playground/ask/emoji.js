/**
 * Emoji in a prompt, and the words that a model reads them as. Pure, and loaded with the first emoji that is written.
 *
 * @import { Asked, Place } from './words.js'
 */
import { insertWord } from './words.js';

/** What people see as one character. */
const CHARACTERS = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** A flag has no pictograph, and a key has a frame around a digit. */
const MAYBE_EMOJI = /[\p{Extended_Pictographic}\p{Regional_Indicator}]|\u20e3/u;
/** What is drawn as an emoji: an arrow or a heart is text unless U+FE0F follows. */
const SURELY_EMOJI = /[\p{Emoji_Presentation}\p{Regional_Indicator}]|\u20e3|\ufe0f/u;
const SKIN_TONES = /[\u{1f3fb}-\u{1f3ff}]/gu;

/** What a model reads an emoji as. @param {string} emoji @param {Readonly<Record<string, string>>} names */
function nameOf(emoji, names) {
  const toned = emoji.replace(SKIN_TONES, '');
  return [toned, toned.replaceAll('\ufe0f', '')].find((form) => Object.hasOwn(names, form));
}

/**
 * The emoji in a prompt, with the name that the model reads each as; null: none that it has learned. There are none
 * where it does not say what it reads them as. One that is text without U+FE0F counts where it has a name.
 *
 * @param {string} prompt
 * @param {Asked['emoji']} names
 * @returns {(Place & { emoji: string, name: string | null })[]}
 */
export function emojiIn(prompt, names) {
  if (!names || !MAYBE_EMOJI.test(prompt)) return [];
  return [...CHARACTERS.segment(prompt)]
    .filter(({ segment }) => MAYBE_EMOJI.test(segment))
    .map(({ segment: emoji, index: start }) => {
      const form = nameOf(emoji, names);
      return { start, end: start + emoji.length, emoji, name: form === undefined ? null : (names[form] ?? null) };
    })
    .filter(({ emoji, name }) => name !== null || SURELY_EMOJI.test(emoji));
}

/**
 * A prompt with the words that a model reads in place of one emoji, wherever it stands.
 *
 * @param {string} prompt
 * @param {string} emoji
 * @param {Asked['emoji']} names
 */
export const spellOut = (prompt, emoji, names) =>
  emojiIn(prompt, names)
    .filter((found) => found.emoji === emoji)
    .reduceRight((text, { start, end, name }) => insertWord(text, { start, end }, name ?? emoji).prompt, prompt);
