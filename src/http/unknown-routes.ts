/** Requests that no route takes, in the shape of the door they knocked at. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { methodNotAllowed as refuseOtherMethods } from 'hono/method-not-allowed';
import type { AppEnv } from './env.ts';
import { speakFal } from './fal.ts';
import { speakOpenAI } from './openai/speak.ts';
import { methodNotAllowed, Problem } from './problem.ts';

type Speaker = typeof speakOpenAI;
const SPEAKERS: readonly Speaker[] = [speakOpenAI, speakFal];

/**
 * A known address with another method is a 405 that says which methods it takes, in the shape of the routes there; any
 * other address a 404: under `/v1` in OpenAI's shape, since its clients ask there for what this service does not have,
 * under `/fal` in fal's. Must come before every route.
 */
export function refuseUnknownRoutes(app: OpenAPIHono<AppEnv>): void {
  const speakerOf = (methods: readonly string[], path: string): Speaker | undefined => {
    const handlers = methods.flatMap((method) => app.router.match(method, path)[0].map(([[handler]]) => handler));
    return SPEAKERS.find((speaker) => handlers.includes(speaker));
  };
  app.use(
    refuseOtherMethods({
      app,
      onMethodNotAllowed: (c, methods) =>
        // a preflight is answered everywhere
        say(c, methodNotAllowed(c.req.method, [...methods, 'OPTIONS']), speakerOf(methods, c.req.path)),
    }),
  );
  app.notFound((c) =>
    say(
      c,
      new Problem({ status: 404, code: 'no_such_route', detail: 'There is nothing at this address.' }),
      speakerAt(c.req.path),
    ),
  );
}

/** Whose clients come to an address that nobody has. */
function speakerAt(path: string): Speaker | undefined {
  if (/^\/v1(?:\/|$)/.test(path)) return speakOpenAI;
  if (/^\/fal(?:\/|$)/.test(path)) return speakFal;
  return undefined;
}

/** The problem as a speaker has it; in our own shape without one. */
async function say(c: Context<AppEnv>, problem: Problem, speaker: Speaker | undefined): Promise<Response> {
  c.set('render', undefined);
  await speaker?.(c, async () => undefined);
  return c.get('render')?.(problem) ?? problem.toResponse();
}
