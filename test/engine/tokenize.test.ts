import { describe, expect, it } from 'vitest';
import { makeTokenize } from '../../containers/onnx/engine/tokenize.ts';

/** WordPiece with a special token before every text. */
const wordPiece = (vocabulary: readonly string[]) => ({
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: true,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '[START]', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { '[START]': { id: '[START]', ids: [0], tokens: ['[START]'] } },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
  },
});
const VOCABULARY = wordPiece(['[START]', '[UNK]', 'a', 'fox', 'red', 'z', '##e', '##b', '##r', '##a', ',']);
const IN_PIECES = 'reads in pieces words it has not learned: ';

describe('a tokenizer whose learned words are whole', () => {
  const tokenize = makeTokenize(VOCABULARY, { maxTokens: 8, wholeWords: true });

  it('says nothing of a prompt it has learned', () => {
    expect(tokenize('A red  FOX,')).toEqual({ ids: [0, 2, 4, 3, 10], warnings: [] });
  });

  it('keeps the pieces of other words and names the words, each once and in order', () => {
    const { ids, warnings } = tokenize('zebra, fox, ZEBRA bra');
    expect(ids).toEqual([0, 5, 6, 7, 8, 9, 10, 3]);
    expect(warnings[0]).toBe('skipped words the model does not know: bra');
    expect(warnings[1]).toBe(`${IN_PIECES}zebra`);
  });

  it('counts the token that begins every text when it cuts, and not when it asks whether a word is known', () => {
    expect(tokenize('red red red red red red red').warnings).toEqual([]);
    expect(tokenize('red red red red red red red fox').warnings).toEqual([
      'the prompt has 9 text tokens and the model reads 8, left out: fox',
    ]);
    for (const prompt of ['', '  ', '🦊']) {
      expect(tokenize(prompt).ids).toEqual([0]);
      expect(tokenize(prompt).warnings.at(-1)).toMatch(/^the prompt holds no word the model knows/);
    }
  });
});

it('a tokenizer that splits words as a matter of course says nothing of it', () => {
  const tokenize = makeTokenize(VOCABULARY, { maxTokens: 8, wholeWords: false });
  expect(tokenize('a zebra')).toEqual({ ids: [0, 2, 5, 6, 7, 8, 9], warnings: [] });
});
