/**
 * Which stage servers a deployment has. A backend is data: an entry of the configuration, and a secret for its token.
 */
import { z } from 'zod';
import { connectStageServer, type StageServer } from '../stage/client.ts';

const MAX_BACKENDS = 64;
/** Most faults that one message names, and most characters shown of a value. */
const MAX_FAULTS = 8;
const MAX_SHOWN = 60;

/** An address that paths can be put behind. A user or password in it would be a secret in the open. */
const isBase = (text: string): boolean => {
  const url = URL.parse(text);
  return url !== null && url.username + url.password + url.search + url.hash === '' && !/[?#]$/.test(text);
};

const backend = z.strictObject({
  id: z.string('must be text').regex(/^[a-z0-9-]{1,64}$/, 'must have 1 to 64 of a-z, 0-9 and -'),
  url: z
    .url({ protocol: /^https?$/, error: 'must be an http or https address' })
    .refine(isBase, 'must have no user, password, query or fragment'),
  region: z.string().max(64).default(''),
  /** model ids it may be asked for; `*` is all it has */
  models: z.array(z.string().max(200)).max(256).default(['*']),
});
export type Backend = z.infer<typeof backend>;

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

/** `BACKENDS[0].id: got "GPU 1"; must have …`. An address is not shown: a password may be in it. */
function describeIssue({ path, message }: z.core.$ZodIssue, list: unknown): string {
  const field = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  const value = path.reduce<unknown>((inside, key) => (inside as Record<PropertyKey, unknown> | null)?.[key], list);
  const isShown = typeof value !== 'object' && path.at(-1) !== 'url';
  return `BACKENDS${field}: ${isShown ? `got ${JSON.stringify(value)?.slice(0, MAX_SHOWN)}; ` : ''}${message}`;
}

/** Name of the secret that holds a backend's bearer token: `gpu-1` → `BACKEND_TOKEN_GPU_1`. */
const tokenName = (id: string): string => `BACKEND_TOKEN_${id.toUpperCase().replaceAll('-', '_')}`;

/** The stage server of a backend. */
export function connect({ id, url }: Backend, secrets: Readonly<Record<string, unknown>>): StageServer {
  const token = secrets[tokenName(id)];
  return connectStageServer({
    fetcher: (input, init) => fetch(input, init),
    url,
    token: typeof token === 'string' ? token : '',
  });
}
