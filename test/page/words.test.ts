/** What a model can be asked for, by what it says of itself. */
import { describe, expect, test } from 'vitest';
import manifest from '../../models/fluent-scenes/manifest.json' with { type: 'json' };
import { insertWord, knownWords, surprise, unknownIn, wholeWords } from '../../playground/ask/words.js';
import type { ModelFacts } from '../../src/stage/contract.ts';

const MODEL: Pick<ModelFacts, 'vocabulary' | 'examples'> = {
  vocabulary: {
    objects: ['fox', 'cherry', 'ice cream', 'owl'],
    colours: ['red', 'orange'],
    backgrounds: ['white', 'red'],
    counts: ['two'],
  },
  examples: ['an owl above a fox'],
};

describe('words that a model has not learned', () => {
  const found = (prompt: string): string[] =>
    unknownIn(prompt, knownWords(MODEL)).map(({ start, end }) => prompt.slice(start, end));

  test.each<[string, string[]]>([
    ['a red fox', []],
    ['Two FOXES above cherries, and 3 owls!', []],
    ['an ice cream on a white background', []],
    ['a zebra under a fox', ['zebra', 'under']],
    ['a foxy fox’s don’t', ['foxy', 'fox’s', 'don’t']],
    ['🦊 2 ½ 99', []],
    ['красная лиса', ['красная', 'лиса']],
    ['', []],
  ])('in “%s” are %j', (prompt, unknown) => {
    expect(found(prompt)).toEqual(unknown);
  });

  test.each([
    ['a red apple', 11, 'a red apple'],
    ['a red apple', 10, 'a red '],
    ['a red apple', 5, 'a red '],
    ['a red apple', 4, 'a '],
    ['apple', 3, ''],
  ])('are none that are cut: of “%s” %i characters are “%s”', (prompt, most, words) => {
    expect(wholeWords(prompt, most)).toBe(words);
  });

  test('are none where it does not say what it has learned', () => {
    expect(unknownIn('a zebra', knownWords({}))).toEqual([]);
  });

  test('are none in the examples of the embedded model', () => {
    const facts: Pick<ModelFacts, 'vocabulary' | 'examples'> = manifest.facts;
    expect(facts.examples?.length).toBeGreaterThan(3);
    for (const example of facts.examples ?? []) expect(unknownIn(example, knownWords(facts))).toEqual([]);
  });
});

describe('a surprise', () => {
  test('is always something that the model knows', () => {
    let state = 1;
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const prompts = Array.from({ length: 300 }, () => surprise(MODEL, random) as string);
    expect(prompts.filter((prompt) => unknownIn(prompt, knownWords(MODEL)).length > 0)).toEqual([]);
    expect(new Set(prompts).size).toBeGreaterThan(20);
    expect(prompts.filter((prompt) => /\ba [aeiou]|\ban [^aeiou]/.test(prompt))).toEqual([]);
    expect(prompts.filter((prompt) => /red .* on a red/.test(prompt))).toEqual([]);
  });

  test('is an example of a model that says no words, and nothing of one that says nothing', () => {
    expect(surprise({ examples: ['a fox'] }, () => 0.9)).toBe('a fox');
    expect(surprise({}, () => 0.9)).toBeNull();
  });
});

test.each([
  ['', 0, 0, 'fox', 'fox', 3],
  ['a', 1, 1, 'fox', 'a fox', 5],
  ['a red ', 6, 6, 'fox', 'a red fox', 9],
  ['a fox', 2, 2, 'red', 'a red fox', 5],
  ['a dog, an owl', 2, 5, 'fox', 'a fox, an owl', 5],
])('into “%s” at %i to %i, %s makes “%s”', (prompt, start, end, word, made, cursor) => {
  expect(insertWord(prompt, { start, end }, word)).toEqual({ prompt: made, cursor });
});
