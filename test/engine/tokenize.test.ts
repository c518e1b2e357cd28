import { Tokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { makeReadEmoji } from '../../containers/onnx/engine/emoji.ts';
import { makeTokenize } from '../../containers/onnx/engine/tokenize.ts';
import { makeWordPieces } from '../../containers/onnx/engine/word-pieces.ts';

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

it('a tokenizer with words the model has not learned to draw names them, each once, in order and as they are read', () => {
  for (const wholeWords of [true, false]) {
    const tokenize = makeTokenize(VOCABULARY, { maxTokens: 8, wholeWords, unlearned: ['z', 'red', 'fox'] });
    expect(tokenize('a FOX, Red fox')).toEqual({
      ids: [0, 2, 3, 10, 4, 3],
      warnings: ['reads words it has not learned to draw: fox, red'],
    });
    // a word in pieces is another than the piece it begins with
    expect(tokenize('a zebra').warnings).toEqual(wholeWords ? [`${IN_PIECES}zebra`] : []);
    expect(tokenize('z').warnings).toEqual(['reads words it has not learned to draw: z']);
  }
});

it('a tokenizer that splits words as a matter of course says nothing of it', () => {
  const tokenize = makeTokenize(VOCABULARY, { maxTokens: 8, wholeWords: false });
  expect(tokenize('a zebra')).toEqual({ ids: [0, 2, 5, 6, 7, 8, 9], warnings: [] });
});

/** Byte-level BPE as in CLIP and GPT, with a token before and after every text. */
const BPE = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [{ id: 0, content: '<s>', special: true }],
  normalizer: { type: 'NFC' },
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '<s>', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '</s>', type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] },
      '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] },
    },
  },
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    unk_token: '<unk>',
    merges: ['r e', 're d', 'Ġ red', 'f o', 'fo x', 'Ġ fox'],
    vocab: Object.fromEntries(
      '<s> </s> <unk> r e d f o x Ġ re red Ġred fo fox Ġfox'.split(' ').map((token, id) => [token, id]),
    ),
  },
};

/** Unigram as in T5: spaces are part of the tokens, and a whole text is one word. */
const unigram = (pieces: readonly string[]) => ({
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
    pair: [],
    special_tokens: { '</s>': { id: '</s>', ids: [0], tokens: ['</s>'] } },
  },
  decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
  model: { type: 'Unigram', unk_id: 1, vocab: [['</s>', 0], ['<unk>', 0], ...pieces.map((piece) => [piece, -2])] },
});
const UNIGRAM = unigram(['▁', 'r', 'e', 'd', 'f', 'o', 'x', '▁red', '▁fox', 're', 'ox']);

const word = fc.constantFrom(
  'red',
  'fox',
  'RED',
  'zebra',
  'a',
  'redfox',
  ',',
  '<s>',
  'Σ',
  'é',
  'e\u0301',
  '🦊',
  '林檎',
);
const text = fc
  .array(
    fc.tuple(
      fc.oneof({ weight: 4, arbitrary: word }, fc.string({ unit: 'grapheme' })),
      fc.constantFrom(' ', ' ', '  ', '', '\n'),
    ),
  )
  .map((parts) => parts.flat().join(''));

afterEach(() => vi.restoreAllMocks());

describe.each([
  ['WordPiece', VOCABULARY, '[UNK]'],
  ['BPE', BPE, '<unk>'],
  ['Unigram', UNIGRAM, undefined],
  ['Unigram with a token that goes on after a space', unigram(['▁', 'r', 'e', 'd', 'red▁r', '▁red', 'd▁']), undefined],
] as const)('%s', (_, contents, unknownToken) => {
  it('gives the ids of the whole prompt, though it does not read it all', () => {
    const tokenizer = new Tokenizer(contents, {});
    const unknown = unknownToken === undefined ? undefined : tokenizer.token_to_id(unknownToken);
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 6 }), (prompt, maxTokens) => {
        const whole = tokenizer.encode(prompt).ids.filter((id) => id !== unknown);
        const { ids } = makeTokenize(contents, { maxTokens, wholeWords: true })(prompt);
        expect(ids).toEqual(whole.slice(0, maxTokens));
      }),
      { numRuns: 500 },
    );
  });

  it('gives the ids and warnings of the whole prompt with names for emoji', () => {
    const emoji = { '🦊': 'fox', '❤': 'red fox, red and more red than that', '🦊\u200d❤': 'redfox' };
    const read = makeReadEmoji(emoji);
    const anyEmoji = fc.constantFrom('🦊', '❤', '❤\ufe0f', '🦊\u200d❤', '🦊🏽', '🍎');
    const mixed = fc.array(fc.oneof(text, anyEmoji), { maxLength: 30 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(mixed, fc.integer({ min: 1, max: 6 }), (prompt, maxTokens) => {
        const options = { maxTokens, wholeWords: true };
        const tokenized = makeTokenize(contents, { ...options, emoji })(prompt);
        expect(tokenized).toEqual(makeTokenize(contents, options)(read(prompt)));
      }),
      { numRuns: 200 },
    );
  });

  it('says little, whatever it reads', () => {
    const tokenize = makeTokenize(contents, { maxTokens: 4, wholeWords: true, unlearned: ['red', 'a'] });
    const longWord = fc.string({ minLength: 100, maxLength: 400, unit: fc.constantFrom('r', 'e', 'd', '🦊', ',') });
    fc.assert(
      fc.property(fc.oneof(text, longWord), (prompt) => {
        const { warnings } = tokenize(prompt);
        expect(warnings.length).toBeLessThanOrEqual(5);
        for (const warning of warnings) expect(warning.length).toBeLessThanOrEqual(200);
      }),
    );
  });
});

it('reads all of a prompt where a token goes on after a space: its last letter may decide the first token', () => {
  const scores = { '▁': -5, a: -5, '▁a': -1.1, 'a▁': -1 };
  const model = { type: 'Unigram', unk_id: 1, vocab: [['</s>', 0], ['<unk>', 0], ...Object.entries(scores)] };
  const tokenize = makeTokenize({ ...UNIGRAM, model }, { maxTokens: 4, wholeWords: false });
  expect(tokenize('a '.repeat(30)).ids).toEqual([2, 5, 5, 5]);
  expect(tokenize('a '.repeat(30).trimEnd()).ids).toEqual([4, 4, 4, 4]);
});

describe('a prompt of 32,000 characters', () => {
  const longest = (unit: string): string => unit.repeat(Math.ceil(32_000 / unit.length)).slice(0, 32_000);
  const tokenize = makeTokenize(VOCABULARY, { maxTokens: 64, wholeWords: true });

  it.each(['red fox ', 'zebra, ', `${'a'.repeat(100)} `, `${'red fox '.repeat(3)}\n   `])(
    'is read until it fills the limit: %j',
    (unit) => {
      const encode = vi.spyOn(Tokenizer.prototype, 'encode');
      const { ids, warnings } = tokenize(longest(unit));
      expect(ids).toHaveLength(64);
      expect(warnings.at(-1)).toMatch(
        /^the prompt has more than 64 text tokens and the model reads 64, left out: .* …$/,
      );
      expect(encode.mock.calls.map(([read]) => read.length)).toEqual([expect.toSatisfy((length) => length <= 66 * 8)]);
    },
  );

  it('is not made long by names of emoji: it is read until they fill the limit', () => {
    const emoji = { '☂': `umbrella${' red'.repeat(20)}` };
    const encode = vi.spyOn(Tokenizer.prototype, 'encode');
    const { ids } = makeTokenize(VOCABULARY, { maxTokens: 64, wholeWords: true, emoji })(
      `${'林 '.repeat(3000)}${'☂ '.repeat(13_000)}`,
    );
    expect(ids).toHaveLength(64);
    // with all names it has a million characters
    expect(encode.mock.calls.reduce((sum, [read]) => sum + read.length, 0)).toBeLessThan(50_000);
  });

  it('is read to its end where the model knows little of it', () => {
    const { ids, warnings } = tokenize(`${longest('林').slice(8)} red fox`);
    expect(ids).toEqual([0, 4, 3]);
    expect(warnings).toEqual(['skipped words the model does not know: 林']);
  });

  it('is not cut inside a word: without a space, all of it is read', () => {
    const { ids, warnings } = tokenize(longest('red,'));
    expect(ids).toHaveLength(64);
    expect(warnings).toEqual([
      expect.stringMatching(/^the prompt has 16001 text tokens and the model reads 64, left out: , red, red/),
    ]);
  });
});

describe('word pieces', () => {
  const { model } = VOCABULARY;

  it('are those of the library', () => {
    const library = new Tokenizer(VOCABULARY, {}).model;
    const pieces = makeWordPieces(model);
    const anyWord = fc.string({
      maxLength: 120,
      unit: fc.constantFrom('a', 'b', 'e', 'r', 'z', 'zebra', 'red', '#', '🦊'),
    });
    fc.assert(
      fc.property(fc.array(anyWord), (words) => {
        expect(pieces(words)).toEqual(library?.(words));
      }),
      { numRuns: 500 },
    );
  });

  it('reads each letter at most as often as the longest token has letters', () => {
    const pieces = makeWordPieces({ ...model, vocab: { ...model.vocab, aaaaaaaab: 11, '##aaaaaaab': 12 } });
    let numReads = 0;
    const get = Map.prototype.get;
    Map.prototype.get = function (key) {
      numReads++;
      return get.call(this, key);
    };
    try {
      pieces(Array.from({ length: 320 }, () => 'a'.repeat(100)));
    } finally {
      Map.prototype.get = get;
    }
    expect(numReads).toBeGreaterThan(32_000);
    expect(numReads).toBeLessThanOrEqual(32_000 * 9);
  });
});
