/** Requests that no route takes, in the shape of the door they knocked at. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { methodNotAllowed as refuseOtherMethods } from 'hono/method-not-allowed';
import type { AppEnv } from './env.ts';
import { methodNotAllowed, Problem } from './problem.ts';
import { say, speakerAt, speakerOf } from './speakers.ts';

/**
 * A known address with another method is a 405 that says which methods it takes, in the shape of the routes there; any
 * other address a 404: under `/v1` in OpenAI's shape, since its clients ask there for what this service does not have,
 * under `/fal` in fal's. Must come before every route.
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
  app.notFound((c) =>
    say(
      c,
      new Problem({ status: 404, code: 'no_such_route', detail: 'There is nothing at this address.' }),
      speakerAt(c.req.path),
    ),
  );
}
