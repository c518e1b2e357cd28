/**
 * What a model can be asked for, by the words that it says it knows. Pure. A model that reads any text says none.
 *
 * @import { ModelFacts } from '../../src/stage/contract.ts'
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

/**
 * The whole words among the first `most` characters of a prompt.
 *
 * @param {string} prompt
 * @param {number} most
 */
export const wholeWords = (prompt, most) =>
  prompt.length <= most ? prompt : prompt.slice(0, most + 1).replace(/\S*$/, '');

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
