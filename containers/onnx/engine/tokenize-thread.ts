/** The thread that `start-tokenizer.ts` starts: answers each prompt with its tokens, in the order they came. */
import { parentPort, workerData } from 'node:worker_threads';
import { makeTokenize, type TokenizedPrompt, type TokenizeOptions } from './tokenize.ts';

export interface ThreadData {
  /** of a `tokenizer.json` */
  readonly contents: unknown;
  readonly options: TokenizeOptions;
}
/** What the thread says: first that it is ready, then one answer to each prompt. */
export type ThreadAnswer = { readonly isReady: true } | { readonly tokenized: TokenizedPrompt };

const { contents, options } = workerData as ThreadData;
const tokenize = open();
const answer = (value: ThreadAnswer): void => parentPort?.postMessage(value);
parentPort?.on('message', (prompt: string) => answer({ tokenized: tokenize(prompt) }));
answer({ isReady: true });

function open(): (prompt: string) => TokenizedPrompt {
  try {
    return makeTokenize(contents, options);
  } catch (cause) {
    // an error of zod loses its message on the way to the other thread
    throw new Error(`is no tokenizer: ${cause instanceof Error ? cause.message : cause}`);
  }
}
