/** Encoded prompts, remembered: the three stages of a job send the same text. */
import type { EncodedText, Model } from './model.ts';

/** The text of a prompt; `accountTag` says for whom, undefined where the request names nobody. */
export type EncodeText = (prompt: string, accountTag: string | undefined) => Promise<EncodedText>;

/**
 * `model.encodeText` that keeps the `size` most recently used prompts. A prompt that fails is not kept; one asked for
 * twice at once is encoded once. Law: a prompt that one account has sent is encoded no faster for another, so the time
 * of encoding tells nobody what others ask for. Requests without a tag share one account.
 */
export function cacheText(model: Pick<Model, 'encodeText'>, size: number): EncodeText {
  const kept = new Map<string, Promise<EncodedText>>();
  return (prompt, accountTag = '') => {
    const key = `${accountTag} ${prompt}`; // a tag has no space, so two pairs never share a key
    const text = kept.get(key) ?? model.encodeText(prompt);
    // a Map iterates in the order of insertion, so putting it in again makes it the youngest
    kept.delete(key);
    kept.set(key, text);
    if (kept.size > size) kept.delete(kept.keys().next().value as string);
    text.catch(() => kept.get(key) === text && kept.delete(key));
    return text;
  };
}
