/**
 * `/openapi.json`: the OpenAPI 3.1 document of the routes, made from the contracts they check with; `/docs`: the same
 * to read, in one page without scripts.
 */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { prefixOf } from '../job/links.ts';
import { type ApiDocument, renderDocs } from './docs-page.ts';
import type { AppEnv } from './env.ts';
import { publicBase } from './public-address.ts';

const CONFIG = {
  openapi: '3.1.0',
  info: {
    title: 'RALU',
    version: '1',
    description:
      'Text to image in three stages, each seen as it happens. One job is one image; OpenAI’s, Replicate’s and fal’s surfaces are other doors to the same jobs.',
  },
  security: [{ key: [] }],
};

/** Must come after every other route: what is not there yet is not in the document. */
export function routeOpenAPI(app: OpenAPIHono<AppEnv>): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'key', {
    type: 'http',
    scheme: 'bearer',
    description: 'A key of an account; accounts are opened with the admin key.',
  });
  // a server's address may be relative: the paths below it are this service's wherever it is
  app.doc31('/openapi.json', (c) => ({ ...CONFIG, servers: [{ url: prefixOf(publicBase(c.env, c.req.url)) || '/' }] }));
  app.get('/docs', (c) => {
    c.header(
      'content-security-policy',
      "default-src 'none'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    );
    return c.html(renderDocs(app.getOpenAPI31Document(CONFIG) as unknown as ApiDocument));
  });
}
