/** A prompt as token ids, with what was lost on the way. Pure once the tokenizer is made. */
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';

/** Longest piece of the prompt repeated in a warning. */
const MAX_QUOTE = 120;

const tokenizerFile = z.looseObject({ model: z.looseObject({ unk_token: z.string().nullish() }) });

export interface TokenizeOptions {
  /** most ids of a prompt, those of the tokenizer's own special tokens among them */
  readonly maxTokens: number;
  /** whether every word the model has learned is one token, so that a word in pieces is one it has not */
  readonly wholeWords: boolean;
}

export interface TokenizedPrompt {
  readonly ids: readonly number[];
  /** sentences for the caller */
  readonly warnings: readonly string[];
}

/**
 * A function from prompt to at most `maxTokens` ids, for the contents of a Hugging Face `tokenizer.json`. Tokens the
 * vocabulary does not know are left out before the rest is cut; both are named in the warnings, and with `wholeWords`
 * also the words that are read in pieces. Law: without warnings, decoding the ids gives back the normalised prompt,
 * after what the tokenizer itself puts before it. Throws when the contents are no tokenizer.
 */
export function makeTokenize(
  contents: unknown,
  { maxTokens, wholeWords }: TokenizeOptions,
): (prompt: string) => TokenizedPrompt {
  const unknownToken = tokenizerFile.parse(contents).model.unk_token ?? undefined;
  const tokenizer = new Tokenizer(contents as object, {});
  const unknownId = unknownToken === undefined ? undefined : tokenizer.token_to_id(unknownToken);
  const isKnown = (id: number): boolean => id !== unknownId;

  /** the prompt's words whose tokens are like that, each once, in order */
  function wordsWith(prompt: string, areLike: (tokens: readonly string[]) => boolean): string[] {
    const normalized = tokenizer.normalizer ? tokenizer.normalizer(prompt) : prompt;
    const words: string[] = tokenizer.pre_tokenizer ? tokenizer.pre_tokenizer(normalized) : [normalized];
    return [...new Set(words)].filter((word) => areLike(tokenizer.model?.([word]) ?? []));
  }

  return (prompt) => {
    const { ids } = tokenizer.encode(prompt);
    const known = ids.filter(isKnown);
    const warnings: string[] = [];
    if (known.length < ids.length)
      warnings.push(
        `skipped words the model does not know: ${quote(wordsWith(prompt, (tokens) => tokens.some((token) => token === unknownToken)).join(', '))}`,
      );
    const inPieces = wholeWords ? wordsWith(prompt, (tokens) => tokens.length > 1) : [];
    if (inPieces.length > 0) warnings.push(`reads in pieces words it has not learned: ${quote(inPieces.join(', '))}`);
    if (!tokenizer.encode(prompt, { add_special_tokens: false }).ids.some(isKnown))
      warnings.push('the prompt holds no word the model knows, so the picture does not follow it');
    if (known.length > maxTokens)
      warnings.push(
        `the prompt has ${known.length} text tokens and the model reads ${maxTokens}, left out: ${quote(tokenizer.decode(known.slice(maxTokens)))}`,
      );
    return { ids: known.slice(0, maxTokens), warnings };
  };
}

const quote = (text: string): string => (text.length <= MAX_QUOTE ? text : `${text.slice(0, MAX_QUOTE).trimEnd()} …`);
