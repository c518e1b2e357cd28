/**
 * What a model can be asked for, by the words that it says it knows. Pure. A model that reads any text says none.
 *
 * @import { ModelFacts } from '../src/stage/contract.ts'
 */

/** @typedef {Pick<ModelFacts, 'vocabulary' | 'examples' | 'emoji'>} Asked what a model says of prompts */
/** @typedef {{ start: number, end: number }} Place in a prompt */

/** Words between the words. */
const GLUE = 'a an the and or with of in on at to from by one its background'.split(' ');
const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}]+)*/gu;

/** Regular plurals of a word. @param {string} word */
const plurals = (word) => [`${word}s`, `${word}es`, ...(word.endsWith('y') ? [`${word.slice(0, -1)}ies`] : [])];

/** @param {string} text */
const wordsOf = (text) => text.toLowerCase().match(WORD) ?? [];

/** Every word that a model knows, with plurals; null where it does not say. @param {Asked} model */
export function knownWords({ vocabulary, examples = [] }) {
  if (!vocabulary) return null;
  const phrases = [...Object.values(vocabulary).flat(), ...examples].flatMap(wordsOf);
  return new Set([...GLUE, ...phrases, ...phrases.flatMap(plurals)]);
}

/**
 * Where in a prompt words stand that are none of these; numbers, signs and emoji are no words.
 *
 * @param {string} prompt
 * @param {ReadonlySet<string> | null} known null: all are
 * @returns {Place[]}
 */
export function unknownIn(prompt, known) {
  if (!known) return [];
  return [...prompt.matchAll(WORD)]
    .filter(([word]) => !known.has(word.toLowerCase()) && /\p{L}/u.test(word))
    .map(({ 0: word, index }) => ({ start: index, end: index + word.length }));
}

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

/** @param {string} noun */
const withArticle = (noun) => `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`;

/**
 * A prompt that the model can draw; null where it does not say what. `random` is in [0, 1).
 *
 * @param {Asked} model
 * @param {() => number} random
 */
export function surprise({ vocabulary, examples = [] }, random) {
  /** @param {readonly string[]} list */
  const one = (list) => list[Math.floor(random() * list.length)] ?? '';
  const kind = random();
  if (!vocabulary || vocabulary.objects.length === 0 || (kind < 0.3 && examples.length > 0))
    return one(examples) || null;
  const { objects, colours, backgrounds } = vocabulary;
  const object = one(objects);
  const own = kind < 0.7 ? one(colours) : '';
  const behind = kind >= 0.5 ? one(backgrounds.filter((colour) => colour !== own)) : '';
  const thing = withArticle(own === '' ? object : `${own} ${object}`);
  return behind === '' ? thing : `${thing} on ${withArticle(behind)} background`;
}

/**
 * A prompt with a word put in at a place, apart from what stands beside it.
 *
 * @param {string} prompt
 * @param {{ start: number, end: number }} at what is replaced
 * @param {string} word
 * @returns {{ prompt: string, cursor: number }}
 */
export function insertWord(prompt, { start, end }, word) {
  const [before, after] = [prompt.slice(0, start), prompt.slice(end)];
  const left = before === '' || /\s$/.test(before) ? '' : ' ';
  const right = after === '' || /^[\s,.;:!?]/.test(after) ? '' : ' ';
  const head = `${before}${left}${word}`;
  return { prompt: `${head}${right}${after}`, cursor: head.length };
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
