/**
 * Which stage servers a deployment has. A backend is data: an entry of the configuration, and a secret for its token.
 */
import { z } from 'zod';
import { connectStageServer, type StageServer } from '../stage/client.ts';

const MAX_BACKENDS = 64;

const backend = z.object({
  id: z.string().regex(/^[a-z0-9-]{1,64}$/, 'must have 1 to 64 of a-z, 0-9 and -'),
  url: z.url({ protocol: /^https?$/ }),
  region: z.string().default(''),
  /** model ids it may be asked for; `*` is all it has */
  models: z.array(z.string()).max(256).default(['*']),
});
export type Backend = z.infer<typeof backend>;

const backends = z
  .array(backend)
  .max(MAX_BACKENDS)
  .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, 'two backends have the same id');

/**
 * The backends of a configuration text. Throws an Error that names the variable and the fault: a wrong configuration
 * must not look like an empty one.
 */
export function parseBackends(text: string): readonly Backend[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw new Error('BACKENDS is not JSON');
  }
  const parsed = backends.safeParse(list);
  if (!parsed.success) throw new Error(`BACKENDS: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
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
