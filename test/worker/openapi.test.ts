/** The document describes a service that never breaks: no request made from it or against it is answered with a 5xx. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { call, openAccount } from './call.ts';

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
}
interface Answer {
  readonly $ref?: string;
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}
interface Operation {
  readonly tags: readonly string[];
  readonly responses: Readonly<Record<string, Answer>>;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: {
    readonly description?: string;
    readonly content: { readonly 'application/json': { readonly schema: Schema } };
  };
}
interface Document {
  readonly openapi: string;
  readonly tags: readonly { readonly name: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly responses: Readonly<Record<string, Answer>>;
  };
}

/** `#/components/schemas/Job` → `Job`. */
const nameOf = (ref: string): string => ref.slice(ref.lastIndexOf('/') + 1);

const document = await (await call('/openapi.json', { key: null })).json<Document>();

describe('the document', () => {
  test('names every route of every surface', () => {
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining([
        '/v1/jobs',
        '/v1/jobs/quote',
        '/v1/jobs/{id}/events',
        '/v1/images/generations',
        '/v1/models',
        '/v1/predictions',
        '/fal/queue/{owner}/{app}',
        '/v1/account',
        '/v1/webhooks/default/secret',
      ]),
    );
  });

  test('names what the conditions of a request for the image can come to', () => {
    expect(Object.keys(document.paths['/v1/jobs/{id}/image']?.get?.responses ?? {})).toEqual(
      expect.arrayContaining(['200', '206', '304', '409', '412', '416']),
    );
  });

  test('says of every good answer in JSON what is in it', () => {
    const bare = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).flatMap(([method, { responses }]) =>
        Object.entries(responses).flatMap(([status, { content }]) => {
          const schema = content?.['application/json']?.schema;
          const isBare = status < '300' && schema !== undefined && Object.keys(schema).length === 0;
          return isBare ? [`${method} ${path}`] : [];
        }),
      ),
    );
    expect(bare).toEqual([]);
  });

  test('says of every foreign body, and of none of ours, that null is as good as absent', () => {
    const bodies = Object.entries(document.paths).flatMap(([path, { post }]) =>
      post?.requestBody ? [[path, post.requestBody.description ?? ''] as const] : [],
    );
    const forgiving = bodies.filter(([, description]) => description.includes('Null')).map(([path]) => path);
    expect(forgiving).toEqual(bodies.map(([path]) => path).filter((path) => !/^\/v1\/(jobs|accounts?)\b/.test(path)));
    expect(forgiving.length).toBeGreaterThan(3);
  });

  test('has every operation in one of its groups, and no group without one', () => {
    const used = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { tags }]) => {
        expect(tags, `${method} ${path}`).toHaveLength(1);
        return tags[0];
      }),
    );
    expect(new Set(used)).toEqual(new Set(document.tags.map(({ name }) => name)));
  });
});

/** The same requests at every run. */
const SEED = 21;

/** The answer has a status of the operation, and a refusal the type and the shape that the document tells. */
async function expectDocumented(response: Response, { responses }: Operation): Promise<void> {
  const { status } = response;
  expect(Object.keys(responses)).toContain(String(status));
  const told = responses[String(status)];
  const { content = {} } = (told?.$ref ? document.components.responses[nameOf(told.$ref)] : told) ?? {};
  const type = (response.headers.get('content-type') ?? '').split(';')[0] as string;
  if (status < 400) {
    await response.body?.cancel();
    if (status === 200) expect(Object.keys(content)).toContain(type);
    return;
  }
  const schema = content[type]?.schema;
  expect(schema, `${status} as ${type}`).toBeDefined();
  const { required = [], properties } = schema?.$ref
    ? (document.components.schemas[nameOf(schema.$ref)] as Schema)
    : (schema as Schema);
  const body = await response.json<object>();
  expect(Object.keys(body)).toEqual(expect.arrayContaining([...required]));
  if (properties) expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(body)));
}

const JUNK = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double(),
  fc.string(),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.constant({}),
  fc.constant(2 ** 60),
  fc.constant('job_'.padEnd(36, '0')),
);

/** Values that fit a schema, and now and then one that does not. */
function valuesOf(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
  const fits = (): fc.Arbitrary<unknown> => {
    if (schema.$ref) return valuesOf(document.components.schemas[nameOf(schema.$ref)] ?? {}, depth + 1);
    if (schema.const !== undefined) return fc.constant(schema.const);
    if (schema.enum) return fc.constantFrom(...schema.enum);
    if (schema.anyOf) return fc.oneof(...schema.anyOf.map((each) => valuesOf(each, depth + 1)));
    switch ([schema.type].flat()[0]) {
      case 'integer':
        return fc.integer({
          min: Math.max(-1000, schema.minimum ?? -10),
          max: Math.min(schema.maximum ?? 2000, 2 ** 32 - 1),
        });
      case 'number':
        return fc.double({ min: -2, max: 100, noNaN: true });
      case 'boolean':
        return fc.boolean();
      case 'string':
        return fc.oneof(
          fc.string({ maxLength: 40 }),
          fc.constantFrom('256x256', 'auto', 'plain', '7x', 'a red apple', 'https://example.com/'),
        );
      case 'array':
        return fc.array(valuesOf(schema.items ?? {}, depth + 1), { maxLength: 4 });
      case 'object': {
        const { properties = {}, required = [] } = schema;
        return fc.record(
          Object.fromEntries(Object.entries(properties).map(([name, each]) => [name, valuesOf(each, depth + 1)])),
          { requiredKeys: required.filter((name) => name in properties) },
        );
      }
      default:
        return JUNK;
    }
  };
  return fc.oneof({ weight: 12, arbitrary: fits() }, { weight: 1, arbitrary: JUNK });
}

const SEGMENT = fc.oneof(
  fc.constant('job_00000000000000000000000000000000'),
  fc.string({ minLength: 1, maxLength: 20 }).map(encodeURIComponent),
  fc.constantFrom('acct_0000000000000000', '..', '%00', 'flux'),
);

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly body: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

function requestsOf(path: string, method: string, { parameters = [], requestBody }: Operation): fc.Arbitrary<Sent> {
  const names = parameters.filter((each) => each.in === 'path').map(({ name }) => name);
  const query = parameters.filter((each) => each.in === 'query');
  const header = parameters.filter((each) => each.in === 'header');
  const body = requestBody
    ? fc.oneof(
        {
          weight: 20,
          arbitrary: valuesOf(requestBody.content['application/json'].schema).map(
            (value) => JSON.stringify(value) ?? 'null',
          ),
        },
        { weight: 1, arbitrary: fc.string() },
      )
    : fc.constant(null);
  const texts = (list: typeof parameters) =>
    fc.record(Object.fromEntries(list.map(({ name, schema }) => [name, valuesOf(schema).map(String)])), {
      requiredKeys: [],
    });
  return fc
    .tuple(fc.tuple(...names.map(() => SEGMENT)), texts(query), texts(header), body)
    .map(([segments, params, headers, text]) => ({
      method: method.toUpperCase(),
      path: `${names.reduce((filled, name, i) => filled.replace(`{${name}}`, segments[i] as string), path)}?${new URLSearchParams(params as Record<string, string>)}`,
      body: text,
      headers: Object.fromEntries(
        Object.entries(headers as Record<string, string>).filter(([, value]) => /^[\x20-\x7e]*$/.test(value)),
      ),
    }));
}

describe('requests made from the document', async () => {
  // one job at a time: a valid request is refused for its number, not run a thousand times
  const key = await openAccount({ images_per_minute: 100_000, concurrent_jobs: 1 });
  const held = await call('/v1/jobs', {
    key,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'a fox', N: [1000], e: [1], deadline_seconds: 600 }),
  });
  const { id } = await held.json<{ id: string }>();
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]) => [`${method.toUpperCase()} ${path}`, path, method, operation] as const,
    ),
  );

  test.each(operations)(
    '%s is never answered with a 5xx, and as the document says',
    async (_, path, method, operation) => {
      await fc.assert(
        fc.asyncProperty(requestsOf(path, method, operation), async ({ method, path, body, headers }) => {
          const response = await call(path, {
            key,
            method,
            headers: { ...headers, ...(body !== null && { 'content-type': 'application/json' }) },
            ...(body !== null && { body }),
          });
          expect(response.status).toBeLessThan(500);
          // a segment such as `..` leads elsewhere
          if (new URL(`http://ralu.test${path}`).pathname === path.slice(0, path.indexOf('?')))
            await expectDocumented(response, operation);
          else await response.body?.cancel();
        }),
        { numRuns: 60, seed: SEED },
      );
    },
  );

  test('and the job that held the place is cancelled', async () => {
    expect((await call(`/v1/jobs/${id}/cancel`, { key, method: 'POST' })).status).toBe(200);
  });
});
