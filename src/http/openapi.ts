/** `/openapi.json`: the OpenAPI 3.1 document of the routes, made from the contracts they check with. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { prefixOf } from '../job/links.ts';
import type { AppEnv } from './env.ts';
import { ALL_SHAPES, shapeOf } from './openapi/error-shapes.ts';
import { type ApiDocument, completed } from './openapi/refusals.ts';
import { publicBase } from './public-address.ts';
import { speakerOf } from './speakers.ts';

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
  const { openAPIRegistry: registry } = app;
  const scheme = (name: string, description: string) =>
    registry.registerComponent('securitySchemes', name, { type: 'http', scheme: 'bearer', description });
  scheme('key', 'A key of an account; accounts are opened with the admin key.');
  scheme('adminKey', 'The admin key of the deployment.');
  scheme('metricsToken', 'The token that opens the metrics.');
  registry.registerComponent('securitySchemes', 'azureKey', {
    type: 'apiKey',
    in: 'header',
    name: 'api-key',
    description: 'The same key, where Azure’s clients put it.',
  });
  for (const { schema, schemaName } of ALL_SHAPES) registry.register(schemaName, schema);
  // made when it is first asked for: routes do not change
  let made: ApiDocument | null = null;
  const documentOf = (): ApiDocument => {
    made ??= completed(app.getOpenAPI31Document(CONFIG), ALL_SHAPES, (method, path) =>
      shapeOf(speakerOf(app, [method], path)),
    );
    return made;
  };
  // a server's address may be relative: the paths below it are this service's wherever it is
  app.get('/openapi.json', (c) =>
    c.json({ ...documentOf(), servers: [{ url: prefixOf(publicBase(c.env, c.req.url)) || '/' }] }),
  );
}
