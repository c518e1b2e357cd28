/** `/openapi.json`: the OpenAPI 3.1 document of the routes, made from the contracts they check with. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { prefixOf } from '../job/links.ts';
import type { AppEnv } from './env.ts';
import { ALL_SHAPES, shapeOf } from './openapi/error-shapes.ts';
import { type ApiDocument, completed } from './openapi/refusals.ts';
import { publicBase } from './public-address.ts';
import { speakerOf } from './speakers.ts';

/** What the reference opens on, as Markdown: how to begin. */
const DESCRIPTION = `\
Pictures from words, in stages that you can watch. A picture is a job: you start it, follow its events and fetch what it made. Clients of OpenAI, Azure, Replicate, fal, AUTOMATIC1111 and Black Forest Labs reach the same jobs at addresses of their own.

### A first picture

\`\`\`sh
curl "$RALU_URL/v1/images/generations" -o apple.png \\
  -H "authorization: Bearer $RALU_API_KEY" \\
  -H "content-type: application/json" -H "accept: image/*" \\
  -d '{"prompt": "a red apple", "seed": 7}'
\`\`\`

\`RALU_URL\` is the address of this service, \`RALU_API_KEY\` a key of your account. The file is the picture; the headers of the answer say how it was made.

### To watch it

1. \`POST /v1/jobs\` starts a job. Its answer has \`links\` that need no key: of its events, its picture and more.
2. \`GET /v1/jobs/{id}/events\` tells each stage as it happens, as server-sent events.
3. \`GET /v1/jobs/{id}/image\` is the finished picture.

### What else to know

- \`GET /v1/models\` lists models with their presets, sizes and the words that they know.
- \`POST /v1/jobs/quote\` says what a request would cost, and starts nothing.
- The same request with the same seed makes the same picture.
- An error has a \`code\` for programs and a sentence for people. Each surface tells it in its own form; jobs in that of RFC 9457.
`;

const CONFIG = {
  openapi: '3.1.0',
  info: {
    title: 'RALU',
    version: '1',
    description: DESCRIPTION,
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
