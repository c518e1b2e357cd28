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

  const stop = new AbortController();
  const { readable, writable } = new IdentityTransformStream();
  let timer: ReturnType<typeof setTimeout> | null = null;
  const look = async (): Promise<void> => {
    // an account that does not answer is no reason to end what it opened: it is asked again
    const opens = await stillOpens(c, caller, ANSWER_AGE_MS).catch(() => true);
    if (!opens) stop.abort(new Error('the key of this stream opens nothing any more'));
    else if (!stop.signal.aborted) timer = setTimeout(look, LOOK_MS);
  };
  timer = setTimeout(look, LOOK_MS);
  const end = (): void => {
    clearTimeout(timer);
    stop.abort();
  };
  body.pipeTo(writable, { signal: stop.signal }).then(end, end);
  c.res = new Response(readable, c.res);
});
