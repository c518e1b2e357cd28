/** Streams and waits end when the key does that opened them. */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { refuse, stillOpens } from './auth.ts';
import type { AppEnv } from './env.ts';

/**
 * How often the key of a stream or a wait is looked at, and how old the answer may be: together less than 30 s. So what
 * takes less than ten seconds asks nothing, and all that goes on for one key ask together.
 */
const LOOK_MS = 10_000;
const ANSWER_AGE_MS = 15_000;

/** Ends an answer of server-sent events within 30 s after its key was revoked or has expired. */
export const endStreams = createMiddleware<AppEnv>(async function endStreams(c, next) {
  await next();
  const { body } = c.res;
  if (!c.get('caller') || !body || c.req.method === 'HEAD') return;
  if (c.res.headers.get('content-type') !== 'text/event-stream') return;
  c.res = new Response(untilRefused(c, body), c.res);
});

/**
 * What `wait` gives for a request that came with a key; its signal comes where the key opens nothing any more. Throws a
 * 401 Problem then, within 30 s.
 */
export async function whileItOpens<T>(c: Context<AppEnv>, wait: (refused: AbortSignal) => Promise<T>): Promise<T> {
  const refused = new AbortController();
  const end = watchKey(c, () => refused.abort());
  try {
    const found = await wait(refused.signal);
    if (refused.signal.aborted) throw refuse('The key opens nothing any more: it was revoked, or has expired.');
    return found;
  } finally {
    end();
  }
}

/** Looks at the key of a request until what is returned is called, or it is refused: then `onRefused` is. */
function watchKey(c: Context<AppEnv>, onRefused: () => void): () => void {
  let timer = setTimeout(look, LOOK_MS);
  let isOver = false;
  async function look(): Promise<void> {
    // an account that does not answer is no reason to end what it opened: it is asked again
    const isOpen = await stillOpens(c, c.var.caller, ANSWER_AGE_MS).catch(() => true);
    if (isOver) return;
    if (isOpen) timer = setTimeout(look, LOOK_MS);
    else onRefused();
  }
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** What `body` says, until its end or until the key opens nothing any more. Its reader sets the pace. */
function untilRefused(c: Context<AppEnv>, body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const source = body.getReader();
  let isRefused = false;
  const end = watchKey(c, () => {
    isRefused = true;
    source.cancel().catch(() => undefined);
  });
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      try {
        const { done, value } = await source.read();
        if (!done) return controller.enqueue(value);
        end();
        controller.close();
      } catch (error) {
        end();
        // workerd tells a read that waits of the cancelling as of an error
        if (isRefused) controller.close();
        else controller.error(error);
      }
    },
    cancel(reason) {
      end();
      return source.cancel(reason);
    },
  });
}
