/**
 * What every operation of the OpenAPI document can be refused with, and the headers that answers have. It is told by
 * what the document and the table of needs say of a route, so that a new route has it too. A route names itself only
 * what is its own: an answer that is fine, a 404 or 409 with a meaning of its own. Pure.
 */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { ProblemFields } from '../../doors/problem.ts';
import { NEEDS, type Need, startsJobs } from '../needs.ts';
import type { ErrorShape } from './error-shapes.ts';
import { groupOf, TAGS } from './groups.ts';

export type ApiDocument = ReturnType<OpenAPIHono['getOpenAPI31Document']>;
type PathItem = NonNullable<ApiDocument['paths']>[string];
type Operation = NonNullable<PathItem['get']>;
type Responses = NonNullable<Operation['responses']>;
type Response = Responses[string];
type Components = NonNullable<ApiDocument['components']>;

interface Refusal {
  readonly name: string;
  readonly description: string;
  readonly headers?: readonly HeaderName[];
}

/** Refusals that any door may give: what they mean, how they are named, and which headers they have. */
const REFUSALS = {
  400: { name: 'BadRequest', description: 'A field is not valid: the answer names it, its value and the rule' },
  401: { name: 'Unauthorized', description: 'No key, or one that does not open', headers: ['www-authenticate'] },
  402: {
    name: 'NotPaid',
    description: 'The account has too little credit, or has spent what it may for now',
    headers: ['x-ralu-quote-usd', 'x-ralu-available-usd', 'x-should-retry'],
  },
  403: {
    name: 'Forbidden',
    description: 'The key lacks the scope that the answer names',
    headers: ['www-authenticate'],
  },
  404: { name: 'NotFound', description: 'There is nothing of that name, or it is not yours' },
  405: { name: 'MethodNotAllowed', description: 'The address takes other methods', headers: ['allow'] },
  409: { name: 'Conflict', description: 'Not now: the answer says what is in the way' },
  410: { name: 'Gone', description: 'The job was cancelled', headers: ['x-ralu-job-id'] },
  412: { name: 'PreconditionFailed', description: 'A condition in the headers does not hold' },
  413: { name: 'BodyTooLarge', description: 'The body has more bytes than any request of ours' },
  415: { name: 'UnsupportedMediaType', description: 'The body is not JSON' },
  416: { name: 'RangeNotSatisfiable', description: 'Range names nothing of it' },
  422: { name: 'Unprocessable', description: 'The Idempotency-Key came with another request' },
  429: {
    name: 'TooManyRequests',
    description: 'Too many images a minute, jobs at once, questions, or tries without a valid key',
    headers: ['retry-after', 'retry-after-ms'],
  },
  499: { name: 'Cancelled', description: 'The request was cancelled' },
  500: { name: 'InternalError', description: 'Something went wrong here; the request id names it' },
  503: {
    name: 'Unavailable',
    description: 'No stage server, or something behind the service does not answer; try again',
    headers: ['retry-after', 'retry-after-ms'],
  },
  504: { name: 'NotInTime', description: 'It did not start, or end, in time' },
} as const satisfies Readonly<Record<ProblemFields['status'], Refusal>>;
type Status = `${keyof typeof REFUSALS}`;

const HEADERS = {
  'x-request-id': 'names the request, here and in the log',
  'x-ralu-job-id': 'the jobs of the request',
  'x-ratelimit-limit-requests': 'images a minute that the key may ask for',
  'x-ratelimit-remaining-requests': 'of these, what is left',
  'x-ratelimit-reset-requests': 'until all are there again, such as 1200ms',
  'x-ralu-quote-usd': 'the most that it may cost, in dollars; absent where nothing is charged',
  'x-ralu-cost-usd': 'what it cost, once all has ended',
  'x-ralu-available-usd': 'what the account may still spend',
  'idempotent-replayed': 'true: the jobs of an earlier request with the same key',
  'retry-after': 'seconds',
  'retry-after-ms': 'milliseconds',
  'x-should-retry': 'false: the same request would be refused again',
  'www-authenticate': 'what opens the address',
  allow: 'the methods that the address takes',
} as const;
type HeaderName = keyof typeof HEADERS;

/** Headers of an answer that started jobs. */
const OF_STARTS: readonly HeaderName[] = [
  'x-ralu-job-id',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
  'x-ralu-quote-usd',
  'x-ralu-cost-usd',
  'idempotent-replayed',
];

/** What is known of a route besides its operation. */
interface Route {
  readonly method: string;
  readonly path: string;
  readonly need: Need | undefined;
  /** null: nobody has written down what its errors look like */
  readonly shape: ErrorShape | null;
}

/** The refusals that need no naming: they follow from what a route asks for. Ascending. */
function refusalsOf(
  { method, path, need, shape }: Route,
  { requestBody, parameters = [] }: Operation,
): readonly Status[] {
  const inputs = parameters.map((each) => ('in' in each ? each.in : 'query'));
  const isScoped = need !== undefined && !['any', 'deployment', 'metrics'].includes(need);
  const has: Readonly<Partial<Record<Status, boolean>>> = {
    401: need !== undefined,
    403: isScoped,
    404: inputs.includes('path'),
    413: requestBody !== undefined,
    415: requestBody !== undefined,
    429: need !== undefined,
    500: true,
    503: true,
  };
  const ofStarts: readonly Status[] =
    need === 'generate' && startsJobs(method, path) ? ['402', '404', '409', '422'] : [];
  const isRead = requestBody !== undefined || inputs.some((place) => place === 'query' || place === 'header');
  const badRequest: readonly Status[] = isRead ? (shape?.badRequest ?? ['400']) : [];
  const found = (Object.keys(has) as Status[]).filter((status) => has[status]);
  return [...new Set([...badRequest, ...found, ...ofStarts])].toSorted();
}

const headersOf = (names: readonly HeaderName[]): NonNullable<Extract<Response, { headers?: unknown }>['headers']> =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));

/** A refusal as a door words it. */
function refusal(
  status: Status,
  shape: ErrorShape | null,
  description: string = REFUSALS[status].description,
): Response {
  const { headers = [] }: Refusal = REFUSALS[status];
  return {
    description,
    headers: headersOf(['x-request-id', ...headers]),
    ...(shape && {
      content: { [shape.contentType]: { schema: { $ref: `#/components/schemas/${shape.schemaName}` } } },
    }),
  };
}

type Content = NonNullable<Extract<Response, { content?: unknown }>['content']>;

/** A stream of events is no text that has a schema: some readers take each event for a value, some the whole. */
const withEvents = (content: Content): Content =>
  'text/event-stream' in content ? { ...content, 'text/event-stream': {} } : content;

const isRefusal = (status: string): status is Status => Object.hasOwn(REFUSALS, status);

/** The answers of an operation: its own, with what all have; and after them the refusals that it did not name. */
function responsesOf(route: Route, operation: Operation): Responses {
  const { shape } = route;
  const own = Object.entries(operation.responses ?? {}).map(([status, response]): readonly [string, Response] => {
    if ('$ref' in response) return [status, response];
    if (isRefusal(status) && response.content === undefined)
      return [status, refusal(status, shape, response.description)];
    const isStart = route.need === 'generate' && startsJobs(route.method, route.path);
    const all: readonly HeaderName[] = ['x-request-id', ...(isStart && status.startsWith('2') ? OF_STARTS : [])];
    const content = response.content && withEvents(response.content);
    return [status, { ...response, ...(content && { content }), headers: { ...response.headers, ...headersOf(all) } }];
  });
  const shared = refusalsOf(route, operation).map((status): readonly [string, Response] => [
    status,
    shape ? { $ref: `#/components/responses/${nameOf(status, shape)}` } : refusal(status, null),
  ]);
  return Object.fromEntries([...shared, ...own].toSorted(([a], [b]) => Number(a) - Number(b)));
}

const nameOf = (status: Status, { door }: ErrorShape): string => door + REFUSALS[status].name;

/** `GET /v1/jobs/{id}` → `getV1JobsById`. */
const operationIdOf = (method: string, path: string): string =>
  method.toLowerCase() +
  path
    .split(/[^A-Za-z0-9{}]+/)
    .map((part) => (part.startsWith('{') ? `By${capital(part.slice(1, -1))}` : capital(part)))
    .join('');
const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

/** Who may come: whoever has a key; and with a link nobody needs one. */
function securityOf(need: Need | undefined, path: string): NonNullable<Operation['security']> {
  switch (need) {
    case undefined:
      return [];
    case 'read_or_link':
      return [{ key: [] }, {}];
    case 'deployment':
      return [{ adminKey: [] }];
    case 'metrics':
      return [{ adminKey: [] }, { metricsToken: [] }];
    default:
      return path.startsWith('/openai/') ? [{ key: [] }, { azureKey: [] }] : [{ key: [] }];
  }
}

const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const;

/**
 * The document with everything that follows from the routes. `shapeAt`: what errors look like there; null where that is
 * not written down.
 */
export function completed(
  document: ApiDocument,
  shapes: readonly ErrorShape[],
  shapeAt: (method: string, path: string) => ErrorShape | null,
): ApiDocument {
  const paths = Object.entries(document.paths ?? {}).map(([path, item]) => {
    const operations = METHODS.flatMap((name) => {
      const operation = item[name];
      if (operation === undefined) return [];
      const method = name.toUpperCase();
      const need = NEEDS[`${method} ${path}`];
      const route = { method, path, need, shape: shapeAt(method, path) };
      const group = groupOf(path);
      return [
        [
          name,
          {
            operationId: operationIdOf(method, path),
            ...(group !== null && { tags: [group] }),
            ...operation,
            security: securityOf(need, path),
            responses: responsesOf(route, operation),
          },
        ] as const,
      ];
    });
    return [path, { ...item, ...Object.fromEntries(operations) }] as const;
  });
  const shared = shapes.flatMap((shape) =>
    (Object.keys(REFUSALS) as Status[]).map((status) => [nameOf(status, shape), refusal(status, shape)] as const),
  );
  // those that no route has are left out
  const told = JSON.stringify(paths);
  const responses: Components['responses'] = Object.fromEntries(
    shared.filter(([name]) => told.includes(`"#/components/responses/${name}"`)),
  );
  const headers: Components['headers'] = Object.fromEntries(
    Object.entries(HEADERS).map(([name, description]) => [name, { description, schema: { type: 'string' as const } }]),
  );
  return {
    ...document,
    tags: TAGS,
    paths: Object.fromEntries(paths),
    components: { ...document.components, responses, headers },
  };
}
