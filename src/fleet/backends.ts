/**
 * Which stage servers a deployment has. A backend is data: an entry of the configuration, a secret for its token, and
 * one for each other secret that a gateway on the way to it wants.
 */
import { z } from 'zod';
import { connectStageServer, type StageServer } from '../stage/client.ts';
import { TOKEN_HEADERS } from '../stage/route.ts';

const MAX_BACKENDS = 64;
/** Most faults that one message names, and most characters shown of a value. */
const MAX_FAULTS = 8;
const MAX_SHOWN = 60;

/** An address that paths can be put behind. A user or password in it would be a secret in the open. */
const isBase = (text: string): boolean => {
  const url = URL.parse(text);
  return url !== null && url.username + url.password + url.search + url.hash === '' && !/[?#]$/.test(text);
};

/** Most headers of one backend, and most characters of a value that stands in the configuration, or in a secret. */
const MAX_HEADERS = 16;
const MAX_VALUE = 1000;
const MAX_SECRET = 4096;
/** Names that HTTP or the contract has a use for: a gateway cannot want them from us. */
const TAKEN = [
  ...['accept-encoding', 'connection', 'content-encoding', 'content-length', 'content-type', 'expect', 'host'],
  ...['keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'x-stage-token'],
];
const HEADER_VALUE = /^[!-~]([ -~]*[!-~])?$/;
const SECRET_NAME = /^BACKEND_[A-Z0-9_]{1,56}$/;

const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, 'a header has 1 to 64 letters, digits and dashes')
  .refine((name) => !TAKEN.includes(name.toLowerCase()), `none of these is free: ${TAKEN.join(', ')}`);
const headerValue = z
  .string('must be text')
  .max(MAX_VALUE, `must have at most ${MAX_VALUE} characters`)
  .regex(HEADER_VALUE, 'must have printable ASCII characters, and no space at its ends');
const secretName = z
  .string('must be text')
  .regex(SECRET_NAME, 'must be the name of a secret: BACKEND_ and 1 to 56 of A-Z, 0-9 and _');
const headersOf = <T extends z.ZodType>(value: T) =>
  z
    .record(headerName, value)
    .refine((all) => Object.keys(all).length <= MAX_HEADERS, `must have at most ${MAX_HEADERS} headers`);

/** Most of each field that is a number. */
const MAX_WEIGHT = 100;
const MAX_SLOTS = 64;
const MAX_COLD_START = 3600;
const SLOTS_RULE = `must be a whole number from 1 to ${MAX_SLOTS}`;
const numberWithin = (least: number, most: number) => {
  const rule = `must be a number from ${least} to ${most}`;
  return z.number(rule).min(least, rule).max(most, rule);
};

const backend = z
  .strictObject({
    id: z.string('must be text').regex(/^[a-z0-9-]{1,64}$/, 'must have 1 to 64 of a-z, 0-9 and -'),
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http or https address' })
      .refine(isBase, 'must have no user, password, query or fragment'),
    /** where it stands: an id of REGIONS, or just a name where the deployment has none */
    region: z.string('must be text').max(64).default(''),
    /** what is scheduled together: one dispatcher leads the backends of a region and pool */
    pool: z
      .string('must be text')
      .regex(/^[a-z0-9-]{1,64}$/, 'must have 1 to 64 of a-z, 0-9 and -')
      .default('default'),
    /** its share of the work beside others of its kind; 0: it begins nothing more, and finishes what it has */
    weight: numberWithin(0, MAX_WEIGHT).default(1),
    /** stages that are sent to it at once */
    slots: z.int(SLOTS_RULE).min(1, SLOTS_RULE).max(MAX_SLOTS, SLOTS_RULE).default(2),
    /** how long it takes to come up where nothing of it runs; null: it always runs */
    cold_start_seconds: numberWithin(0, MAX_COLD_START).nullable().default(null),
    /** model ids it may be asked for; `*` is all it has */
    models: z.array(z.string().max(200)).max(256).default(['*']),
    token_header: z.enum(TOKEN_HEADERS, `must be ${TOKEN_HEADERS.join(' or ')}`).default('Authorization'),
    /** headers of every request, for a gateway on the way */
    headers: headersOf(headerValue).default({}),
    /** the same, each with the name of the secret that is its whole value */
    secret_headers: headersOf(secretName).default({}),
    /** how a gateway leads the requests of one job to one of several workers behind it */
    affinity: z
      .strictObject({ header: headerName, by: z.enum(['job', 'worker'], 'must be job or worker') })
      .nullable()
      .default(null),
    /** binding of the Worker that leads there, such as a Workers VPC service; null: the network */
    binding: z
      .string('must be text')
      .regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'must be the name of a binding: A-Z, then at most 63 of A-Z, 0-9 and _')
      .nullable()
      .default(null),
  })
  .superRefine(checkHeaders);
export type Backend = z.infer<typeof backend>;

/** Each header has one meaning; and what opens a door does not stand in the open. */
function checkHeaders(
  { token_header, headers, secret_headers, affinity }: z.infer<typeof backend>,
  context: z.RefinementCtx,
): void {
  const refuse = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message });
  const seen = new Set(token_header === 'Authorization' ? ['authorization'] : []);
  const names: readonly string[][] = [
    ...Object.keys(headers).map((name) => ['headers', name]),
    ...Object.keys(secret_headers).map((name) => ['secret_headers', name]),
    ...(affinity ? [['affinity', 'header', affinity.header]] : []),
  ];
  for (const path of names) {
    const name = (path.at(-1) as string).toLowerCase();
    if (name === 'authorization' && path[0] !== 'secret_headers')
      refuse(path.slice(0, 2), 'Authorization belongs in secret_headers, beside token_header X-Stage-Token');
    else if (seen.has(name))
      refuse(
        path.slice(0, 2),
        name === 'authorization'
          ? 'Authorization holds the token: move that with token_header X-Stage-Token'
          : `${name} is set twice`,
      );
    seen.add(name);
  }
}

const backends = z
  .array(backend)
  .max(MAX_BACKENDS)
  .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, 'two backends have the same id');

/**
 * The backends of a configuration text. Throws an Error that names the variable, the field, its value and the rule: a
 * wrong configuration must not look like an empty one.
 */
export function parseBackends(text: string): readonly Backend[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw new Error('BACKENDS is not JSON');
  }
  const parsed = backends.safeParse(list);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.slice(0, MAX_FAULTS).map((issue) => describeIssue(issue, list));
  throw new Error(faults.join('; '));
}

/** `BACKENDS[0].id: got "GPU 1"; must have …`. An address or a header is not shown: a password may be in it. */
function describeIssue({ path, ...issue }: z.core.$ZodIssue, list: unknown): string {
  const field = path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key).slice(0, MAX_SHOWN)}`))
    .join('');
  const value = path.reduce<unknown>((inside, key) => (inside as Record<PropertyKey, unknown> | null)?.[key], list);
  const isShown = typeof value !== 'object' && !path.some((key) => SECRETIVE.includes(key));
  // what is wrong with a key of a record stands one level below
  const message = (issue.code === 'invalid_key' && issue.issues[0]?.message) || issue.message;
  return `BACKENDS${field}: ${isShown ? `got ${JSON.stringify(value)?.slice(0, MAX_SHOWN)}; ` : ''}${message}`;
}
const SECRETIVE: readonly PropertyKey[] = ['url', 'headers', 'secret_headers'];

/** Name of the secret that holds a backend's token: `gpu-1` → `BACKEND_TOKEN_GPU_1`. */
const tokenName = (id: string): string => `BACKEND_TOKEN_${id.toUpperCase().replaceAll('-', '_')}`;

/**
 * The stage server of a backend; `bindings` are all that the deployment gives. Throws an Error that names backend,
 * field and rule where a secret or binding that the backend refers to is not there, or is none.
 */
export function connect(backend: Backend, bindings: Readonly<Record<string, unknown>>): StageServer {
  const { id, url, token_header: tokenHeader, affinity } = backend;
  const token = bindings[tokenName(id)];
  const secrets = Object.entries(backend.secret_headers).map(([name, secret]) => [
    name,
    secretValue(bindings, secret, `BACKENDS, backend ${id}, secret_headers.${name}`),
  ]);
  return connectStageServer({
    fetcher: wayTo(backend, bindings),
    url,
    token: typeof token === 'string' ? token : '',
    route: { tokenHeader, headers: { ...backend.headers, ...Object.fromEntries(secrets) }, affinity },
  });
}

function secretValue(bindings: Readonly<Record<string, unknown>>, secret: string, field: string): string {
  const value = bindings[secret];
  if (typeof value !== 'string') throw new Error(`${field}: there is no secret ${secret}`);
  if (value.length <= MAX_SECRET && HEADER_VALUE.test(value)) return value;
  throw new Error(
    `${field}: the secret ${secret} must have 1 to ${MAX_SECRET} printable ASCII characters, and no space at its ends`,
  );
}

/** What takes a backend's requests: the network, or its binding. */
function wayTo({ id, binding }: Backend, bindings: Readonly<Record<string, unknown>>): typeof fetch {
  if (binding === null) return (input, init) => fetch(input, init);
  const far = bindings[binding] as { readonly fetch?: typeof fetch } | undefined;
  if (typeof far?.fetch !== 'function')
    throw new Error(`BACKENDS, backend ${id}, binding: there is no binding ${binding} that takes requests`);
  return (input, init) => (far as { readonly fetch: typeof fetch }).fetch(input, init);
}
