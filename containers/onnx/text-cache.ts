/** Encoded prompts, remembered: the three stages of a job send the same text. */
import type { EncodedText, Model } from './model.ts';

/**
 * `model.encodeText` that keeps the `size` most recently used prompts. A prompt that fails is not kept; one asked for
 * twice at once is encoded once.
 */
export function cacheText(model: Pick<Model, 'encodeText'>, size: number): (prompt: string) => Promise<EncodedText> {
  const kept = new Map<string, Promise<EncodedText>>();
  return (prompt) => {
    const text = kept.get(prompt) ?? model.encodeText(prompt);
    // a Map iterates in the order of insertion, so putting it in again makes it the youngest
    kept.delete(prompt);
    kept.set(prompt, text);
    if (kept.size > size) kept.delete(kept.keys().next().value as string);
    text.catch(() => kept.get(prompt) === text && kept.delete(prompt));
    return text;
  };
}
