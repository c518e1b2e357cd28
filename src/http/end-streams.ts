/** Streams end when the key does that opened them. */
import { createMiddleware } from 'hono/factory';
import { stillOpens } from './auth.ts';
import type { AppEnv } from './env.ts';

/** How often the key of a stream is looked at, and how old the answer may be: together less than 30 s. */
const LOOK_MS = 10_000;
const ANSWER_AGE_MS = 15_000;

/** Ends an answer of server-sent events within 30 s after its key was revoked or has expired. */
export const endStreams = createMiddleware<AppEnv>(async function endStreams(c, next) {
  await next();
  const caller = c.get('caller');
  const { body } = c.res;
  if (!caller || !body || c.req.method === 'HEAD') return;
  if (c.res.headers.get('content-type') !== 'text/event-stream') return;
  // an account that does not answer is no reason to end what it opened: it is asked again
  const opens = () => stillOpens(c, caller, ANSWER_AGE_MS).catch(() => true);
  c.res = new Response(untilRefused(body, opens), c.res);
});

/** What `body` says, until its end or until `opens` is false. Its reader sets the pace. */
function untilRefused(body: ReadableStream<Uint8Array>, opens: () => Promise<boolean>): ReadableStream<Uint8Array> {
  const source = body.getReader();
  let timer = setTimeout(look, LOOK_MS);
  let isOver = false;
  let isRefused = false;
  async function look(): Promise<void> {
    const isOpen = await opens();
    if (isOver) return;
    if (isOpen) {
      timer = setTimeout(look, LOOK_MS);
      return;
    }
    isRefused = true;
    await source.cancel().catch(() => undefined);
  }
  const end = (): void => {
    isOver = true;
    clearTimeout(timer);
  };
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
