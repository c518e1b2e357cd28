/** A tokenizer on a thread of its own, so that no prompt holds up the thread that serves everybody. */
import { Worker } from 'node:worker_threads';
import type { TokenizedPrompt, TokenizeOptions } from './tokenize.ts';
import type { ThreadAnswer, ThreadData } from './tokenize-thread.ts';

/** Longest time for one prompt, and for the start, milliseconds. The worst prompt of the contract takes some 200. */
const LIMIT_MS = 10_000;

export interface TokenizerThread {
  /** as `makeTokenize` says; rejects when the thread fails, takes too long or is closed */
  tokenize(prompt: string): Promise<TokenizedPrompt>;
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (answer: ThreadAnswer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A thread with the tokenizer `makeTokenize(contents, options)`. It takes one prompt after the other. A thread that
 * fails, or takes longer than `limitMs` for one, is ended: the prompts sent to it reject, and the next prompt starts a
 * new one. The thread keeps the process alive only while a prompt waits. Rejects when the contents are no tokenizer.
 */
export async function startTokenizer(
  contents: unknown,
  options: TokenizeOptions,
  limitMs = LIMIT_MS,
): Promise<TokenizerThread> {
  const data: ThreadData = { contents, options };
  let isClosed = false;
  let thread = startThread(data, limitMs);
  await thread.ready;
  return {
    async tokenize(prompt) {
      if (isClosed) throw new Error('the tokenizer is closed');
      if (thread.hasEnded()) thread = startThread(data, limitMs);
      const answer = await thread.ask(prompt);
      if (!('tokenized' in answer)) throw new Error('the tokenizer answered out of turn');
      return answer.tokenized;
    },
    close() {
      isClosed = true;
      return thread.end(new Error('the tokenizer is closed'));
    },
  };
}

function startThread(data: ThreadData, limitMs: number) {
  // the flags of this process are not for the thread, and some are refused there
  const worker = new Worker(new URL('./tokenize-thread.ts', import.meta.url), { workerData: data, execArgv: [] });
  /** the first is what the thread works on */
  const waiting: Waiting[] = [];
  let timer: NodeJS.Timeout | undefined;
  let failure: Error | undefined;

  /** gives the first that waits the whole limit, and lets the process go when nobody does */
  function watchFirst(): void {
    clearTimeout(timer);
    if (waiting.length === 0) worker.unref();
    else {
      worker.ref();
      timer = setTimeout(() => end(new Error(`the tokenizer took longer than ${limitMs} ms`)), limitMs);
    }
  }
  function wait(): Promise<ThreadAnswer> {
    return new Promise((resolve, reject) => {
      if (failure) return reject(failure);
      waiting.push({ resolve, reject });
      if (waiting.length === 1) watchFirst();
    });
  }
  async function end(error: Error): Promise<void> {
    failure ??= error;
    for (const each of waiting.splice(0)) each.reject(failure);
    clearTimeout(timer);
    await worker.terminate();
  }

  worker.on('message', (answer: ThreadAnswer) => {
    waiting.shift()?.resolve(answer);
    watchFirst();
  });
  worker.on('error', (cause: unknown) => end(cause instanceof Error ? cause : new Error(String(cause))));
  worker.on('exit', () => end(new Error('the thread of the tokenizer has ended')));
  const ready = wait();
  ready.catch(() => undefined); // a later thread's start is nobody's to await: its first prompt rejects too
  return {
    ready,
    ask: (prompt: string) => {
      const answer = wait();
      worker.postMessage(prompt);
      return answer;
    },
    hasEnded: () => failure !== undefined,
    end,
  };
}
