/** A prompt as token ids, with what was lost on the way. Pure once the tokenizer is made. */
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { type EmojiNames, makeReadEmoji } from './emoji.ts';
import { makeWordPieces } from './word-pieces.ts';

/** Longest piece of the prompt repeated in a warning. */
const MAX_QUOTE = 120;
/** Most tokens that can stand in such a piece: a token of single bytes may be a quarter of a character. */
const MAX_QUOTE_TOKENS = 4 * MAX_QUOTE;

/** How much longer the next beginning is that is read, so that those before it cost little. */
const HEAD_GROWTH = 8;

/** A token with a space, or what stands for one, anywhere but at its start. */
const SPACE_INSIDE = /[^ ▁Ġ][ ▁Ġ]/;

const tokenizerFile = z.looseObject({ model: z.looseObject({ unk_token: z.string().nullish() }) });
const wordPieceFile = z.looseObject({
  model: z.looseObject({
    type: z.literal('WordPiece'),
    vocab: z.record(z.string(), z.int()),
    unk_token: z.string(),
    continuing_subword_prefix: z.string(),
    max_input_chars_per_word: z.int().positive().default(100),
  }),
});

export interface TokenizeOptions {
  /** most ids of a prompt, those of the tokenizer's own special tokens among them */
  readonly maxTokens: number;
  /** whether every word the model has learned is one token, so that a word in pieces is one it has not */
  readonly wholeWords: boolean;
  /** words that are one token and that the model has not learned to draw, as the tokenizer normalises them */
  readonly unlearned?: readonly string[] | undefined;
  /** what emoji are read as; as the tokenizer reads them when left out */
  readonly emoji?: EmojiNames | undefined;
}

export interface TokenizedPrompt {
  readonly ids: readonly number[];
  /** sentences for the caller */
  readonly warnings: readonly string[];
}

/**
 * A function from prompt to at most `maxTokens` ids, for the contents of a Hugging Face `tokenizer.json`. First, names
 * take the place of emoji that have one. Tokens the vocabulary does not know are left out before the rest is cut; both
 * are named in the warnings, with `wholeWords` also the words that are read in pieces, and those that are `unlearned`.
 * Where the beginning of a long prompt fills the limit, the rest is not read: the warnings then name the words of the
 * beginning only. Laws: without warnings, decoding the ids gives back the normalised prompt, after what the tokenizer
 * itself puts before it; the ids are those of the whole prompt with its names. Throws when the contents are no
 * tokenizer.
 */
export function makeTokenize(
  contents: unknown,
  { maxTokens, wholeWords, unlearned = [], emoji = {} }: TokenizeOptions,
): (prompt: string) => TokenizedPrompt {
  const unknownToken = tokenizerFile.parse(contents).model.unk_token ?? undefined;
  const tokenizer = new Tokenizer(contents as object, {});
  const wordPieces = wordPieceFile.safeParse(contents);
  if (wordPieces.success && tokenizer.model) tokenizer.model.encode = makeWordPieces(wordPieces.data.model);
  const unknownId = unknownToken === undefined ? undefined : tokenizer.token_to_id(unknownToken);
  const isKnown = (id: number): boolean => id !== unknownId;
  /** what the tokenizer itself adds to every text */
  const numAdded = tokenizer.encode('').ids.filter(isKnown).length;
  const unlearnedWords = new Set(unlearned);
  const readEmoji = makeReadEmoji(emoji);
  const headLength = longestHead([...tokenizer.get_vocab().keys()], maxTokens);

  /** the text's words, each once, in order */
  function wordsOf(text: string): string[] {
    const normalized = tokenizer.normalizer ? tokenizer.normalizer(text) : text;
    const words: string[] = tokenizer.pre_tokenizer ? tokenizer.pre_tokenizer(normalized) : [normalized];
    return [...new Set(words)];
  }

  /** the first of ever longer beginnings of the prompt that alone is too long for the model, otherwise all of it */
  function read(prompt: string): { text: string; ids: number[]; known: number[] } {
    for (let length = headLength; ; length *= HEAD_GROWTH) {
      const text = headOf(prompt, length);
      const { ids } = tokenizer.encode(text);
      const known = ids.filter(isKnown);
      // added tokens may stand at the end, where they are not those of the whole prompt
      if (text === prompt || known.length - numAdded > maxTokens) return { text, ids, known };
    }
  }

  return (written) => {
    const prompt = readEmoji(written);
    const { text, ids, known } = read(prompt);
    const isRest = text.length < prompt.length;
    const warnings: string[] = [];
    const someUnknown = known.length < ids.length;
    const words = someUnknown || wholeWords || unlearnedWords.size > 0 ? wordsOf(text) : [];
    const tokensOf = (word: string): readonly string[] => tokenizer.model?.([word]) ?? [];
    if (someUnknown) {
      const skipped = words.filter((word) => tokensOf(word).some((token) => token === unknownToken));
      warnings.push(`skipped words the model does not know: ${quote(skipped.join(', '))}`);
    }
    const inPieces = wholeWords ? words.filter((word) => tokensOf(word).length > 1) : [];
    if (inPieces.length > 0) warnings.push(`reads in pieces words it has not learned: ${quote(inPieces.join(', '))}`);
    const notLearned = words.filter((word) => unlearnedWords.has(word));
    if (notLearned.length > 0) warnings.push(`reads words it has not learned to draw: ${quote(notLearned.join(', '))}`);
    if (known.length <= numAdded)
      warnings.push('the prompt holds no word the model knows, so the picture does not follow it');
    if (known.length > maxTokens) {
      const leftOut = tokenizer.decode(known.slice(maxTokens, maxTokens + MAX_QUOTE_TOKENS));
      const count = isRest ? `more than ${maxTokens}` : known.length;
      warnings.push(
        `the prompt has ${count} text tokens and the model reads ${maxTokens}, left out: ${quote(leftOut, isRest)}`,
      );
    }
    return { ids: known.slice(0, maxTokens), warnings };
  };
}

/**
 * Characters that hold more than `maxTokens` tokens of this vocabulary, if words are known and one space apart: a token
 * is no longer than the longest. Without bound where a token goes on after a space, since such a text has no place to
 * be cut.
 */
function longestHead(vocabulary: readonly string[], maxTokens: number): number {
  if (vocabulary.some((token) => SPACE_INSIDE.test(token))) return Number.POSITIVE_INFINITY;
  const longest = vocabulary.reduce((most, token) => Math.max(most, token.length), 0);
  return (maxTokens + 2) * (longest + 1);
}

/**
 * The beginning of a text, at most `length` characters, cut before a space that follows a word. All of the text where
 * it is no longer, or has no such space there.
 */
function headOf(text: string, length: number): string {
  if (text.length <= length) return text;
  let end = text.lastIndexOf(' ', length);
  while (end > 0 && /\s/.test(text[end - 1] as string)) end = text.lastIndexOf(' ', end - 1);
  return end > 0 ? text.slice(0, end) : text;
}

const quote = (text: string, goesOn = false): string =>
  text.length <= MAX_QUOTE && !goesOn ? text : `${text.slice(0, MAX_QUOTE).trimEnd()} …`;
