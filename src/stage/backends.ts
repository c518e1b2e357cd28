/**
 * Which stage servers there are, and which of them serves a model. Backends are data: a list in the configuration and
 * one secret each.
 */
import { z } from 'zod';
import { connectStageServer, type StageServer } from './client.ts';
import { type ModelFacts, modelList } from './contract.ts';

const backend = z.object({
  id: z.string().regex(/^[a-z0-9-]+$/),
  url: z.url(),
  region: z.string().default(''),
  /** model ids it may be asked for; `*` is all it has */
  models: z.array(z.string()).default(['*']),
});
export type Backend = z.infer<typeof backend>;

/**
 * The backends of a configuration text. Throws an Error that names the variable and the fault; a wrong configuration
 * must not look like an empty one.
 */
export function parseBackends(text: string): readonly Backend[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw new Error('BACKENDS is not JSON');
  }
  const parsed = z.array(backend).safeParse(list);
  if (!parsed.success) throw new Error(`BACKENDS: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Name of the secret that holds a backend's bearer token: `gpu-1` → `BACKEND_TOKEN_GPU_1`. */
const tokenName = (id: string): string => `BACKEND_TOKEN_${id.toUpperCase().replaceAll('-', '_')}`;

/** The stage server of a backend. */
export function openStageServer({ id, url }: Backend, secrets: Readonly<Record<string, unknown>>): StageServer {
  const token = secrets[tokenName(id)];
  return connectStageServer({
    fetcher: (input, init) => fetch(input, init),
    url,
    token: typeof token === 'string' ? token : '',
  });
}

/** A model with the backends that serve it, in the order of the configuration. */
export interface ServedModel {
  readonly facts: ModelFacts;
  readonly backends: readonly string[];
}

const FRESH_MS = 60_000;
const KEPT_SECONDS = 24 * 3600;

/**
 * The models of all backends, first come first named. A backend's answer is used for a minute without asking again, and
 * for a day when it does not answer. Null when no backend could be reached and nothing is kept: nobody knows then what
 * exists.
 */
export async function findModels(
  backends: readonly Backend[],
  open: (backend: Backend) => StageServer,
  cache: Cache,
  now: number,
): Promise<readonly ServedModel[] | null> {
  const answers = await Promise.all(backends.map((backend) => modelsOf(backend, open, cache, now)));
  if (answers.every((answer) => answer === null)) return null;
  const served = new Map<string, { facts: ModelFacts; backends: string[] }>();
  answers.forEach((models, i) => {
    const { id, models: allowed } = backends[i] as Backend;
    for (const facts of models ?? []) {
      if (!allowed.includes('*') && !allowed.includes(facts.id)) continue;
      const known = served.get(facts.id);
      if (!known) served.set(facts.id, { facts, backends: [id] });
      // another build of the same model would give other pictures: only equal digests share a name
      else if (known.facts.digest === facts.digest) known.backends.push(id);
    }
  });
  return [...served.values()];
}

async function modelsOf(
  backend: Backend,
  open: (backend: Backend) => StageServer,
  cache: Cache,
  now: number,
): Promise<readonly ModelFacts[] | null> {
  const key = new Request(new URL('/v1/models', backend.url).href);
  const kept = await cache.match(key);
  const keptModels = kept ? modelList.safeParse(await kept.json()) : null;
  const age = now - Number(kept?.headers.get('x-stored-at') ?? 0);
  if (keptModels?.success && age < FRESH_MS) return keptModels.data.models;
  try {
    const models = await open(backend).models();
    await cache.put(
      key,
      Response.json(
        { models },
        { headers: { 'cache-control': `max-age=${KEPT_SECONDS}`, 'x-stored-at': String(now) } },
      ),
    );
    return models;
  } catch {
    return keptModels?.success ? keptModels.data.models : null;
  }
}

/** The model a caller names, by id or alias; the first one when none is named. */
export function resolveModel(models: readonly ServedModel[], name: string | undefined): ServedModel | null {
  if (name === undefined) return models[0] ?? null;
  return (
    models.find(({ facts }) => facts.id === name) ?? models.find(({ facts }) => facts.aliases.includes(name)) ?? null
  );
}
