/** Requests that no route takes, in the shape of the door they knocked at. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { methodNotAllowed as refuseOtherMethods } from 'hono/method-not-allowed';
import { elsewhere } from '../doors/elsewhere.ts';
import type { AppEnv } from './env.ts';
import { methodNotAllowed, Problem } from './problem.ts';
import { say, speakerAt, speakerOf } from './speakers.ts';

/**
 * A known address with another method is a 405 that says which methods it takes, in the shape of the routes there; any
 * other address a 404: under `/v1` and `/openai`, and where OpenAI's clients come that are pointed beside `/v1`, in
 * OpenAI's shape, under the prefix of another door in its own. What such clients look for and this service does not
 * have, it says. Must come before every route.
 */
export function refuseUnknownRoutes(app: OpenAPIHono<AppEnv>): void {
  app.use(
    refuseOtherMethods({
      app,
      onMethodNotAllowed: (c, methods) =>
        // a preflight is answered everywhere
        say(c, methodNotAllowed(c.req.method, [...methods, 'OPTIONS']), speakerOf(app, methods, c.req.path)),
    }),
  );
  app.notFound((c) => {
    const { path } = c.req;
    const known = elsewhere(path);
    const detail = known?.detail ?? 'There is nothing at this address.';
    return say(c, new Problem({ status: 404, code: 'no_such_route', detail }), speakerAt(path, known));
  });
}
