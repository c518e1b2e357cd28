/** Encoded prompts, remembered for a while: the stages of a job send the same text. */
import type { EncodedText, Model } from './model.ts';

/** The text of a prompt and the milliseconds that encoding it took: 0 where it was remembered. */
export interface Encoding {
  readonly text: EncodedText;
  readonly ms: number;
}

/** Whose text it is: the account, undefined where the request names none, and the stage that asks. */
export interface TextUser {
  readonly accountTag: string | undefined;
  readonly stageId: string;
}

export interface TextCache {
  encode(prompt: string, user: TextUser): Promise<Encoding>;
  /** Forgets every text that this stage has used. */
  forget(stageId: string): void;
}

export interface TextLimits {
  /** encoded prompts remembered, a model */
  readonly texts: number;
  /** how long one is remembered after it was last used */
  readonly keepMs: number;
}

/** Stages that may share a text; one more has it encoded anew. So the list of those who may have it forgotten ends. */
const MAX_USERS = 1000;

interface Kept {
  readonly text: Promise<EncodedText>;
  readonly users: Set<string>;
  readonly timer: NodeJS.Timeout;
}

/**
 * `model.encodeText` that keeps the most recently used prompts. A prompt that fails is not kept; one asked for twice at
 * once is encoded once. Laws: a prompt that one account has sent is encoded no faster for another, so the time of
 * encoding tells nobody what others ask for; what a stage has used is gone once any of its stages was forgotten.
 * Requests without a tag share one account.
 */
export function cacheText(model: Pick<Model, 'encodeText'>, { texts, keepMs }: TextLimits): TextCache {
  const kept = new Map<string, Kept>();

  function drop(key: string): void {
    clearTimeout(kept.get(key)?.timer);
    kept.delete(key);
  }

  function remember(key: string, prompt: string): Kept {
    drop(key);
    const text = model.encodeText(prompt);
    const timer = setTimeout(() => drop(key), keepMs);
    timer.unref();
    const entry = { text, users: new Set<string>(), timer };
    text.catch(() => kept.get(key) === entry && drop(key));
    return entry;
  }

  return {
    async encode(prompt, { accountTag = '', stageId }) {
      const key = `${accountTag} ${prompt}`; // a tag has no space, so two pairs never share a key
      const begin = performance.now();
      const known = kept.get(key);
      const entry = known && known.users.size < MAX_USERS ? known : remember(key, prompt);
      entry.users.add(stageId);
      entry.timer.refresh();
      // a Map iterates in the order of insertion, so putting it in again makes it the youngest
      kept.delete(key);
      kept.set(key, entry);
      if (kept.size > texts) drop(kept.keys().next().value as string);
      const text = await entry.text;
      return { text, ms: entry === known ? 0 : performance.now() - begin };
    },

    forget(stageId) {
      for (const [key, { users }] of kept) if (users.has(stageId)) drop(key);
    },
  };
}
