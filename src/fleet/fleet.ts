/** The fleet of one deployment: who is in it, what each says of itself, and the way to each. */
import type { StageServer } from '../stage/client.ts';
import { modelList } from '../stage/contract.ts';
import { within } from '../stage/time-limit.ts';
import { type Backend, connect, parseBackends } from './backends.ts';
import type { KnownServer } from './models.ts';

/** What a deployment gives: the list of backends as text, and their tokens among everything else. */
export interface FleetEnv {
  readonly BACKENDS: string;
}

/** The part of the platform's Cache that is used: an answer by its address, until its `max-age` is over. */
export interface AnswerCache {
  match(key: Request): Promise<Response | undefined>;
  put(key: Request, answer: Response): Promise<void>;
}

/** The dispatcher that a backend belongs to. */
export const dispatcherName = ({ region, pool }: Pick<Backend, 'region' | 'pool'>): string => `${region}/${pool}`;

/** A configured backend with what it said last. */
export interface FleetServer extends KnownServer {
  readonly backend: Backend;
}

export interface Fleet {
  /** as the configuration has them */
  readonly backends: readonly Backend[];
  /**
   * Every backend in the order of the configuration, with what it said at most a minute ago, or when it last answered.
   */
  servers(): Promise<readonly FleetServer[]>;
  /** The stage server of a backend; null where none of that id is configured. */
  server(id: string): StageServer | null;
  /** The stage servers of all backends. */
  all(): readonly StageServer[];
}

const FRESH_MS = 60_000;
const KEPT_SECONDS = 24 * 3600;
/** A server that could not be asked is left alone for so long: one that hangs must not cost every stage seconds. */
const AFTER_FAULT_MS = 10_000;
const MAX_FAULT = 300;
/** Longest wait for the cache: a server is asked instead. */
const CACHE_MS = 2_000;

/**
 * The fleet of a configuration. It asks each server at most once a minute, and one that could not be asked at most
 * every ten seconds. `cache` remembers what servers say beyond this fleet: a minute without asking again, and for a day
 * where one does not answer. Throws an Error that names the variable where the configuration is none.
 */
export function openFleet(env: FleetEnv, cache: AnswerCache, clock: () => number): Fleet {
  const backends = parseBackends(env.BACKENDS);
  const connected = new Map(
    backends.map((backend) => [backend.id, connect(backend, env as unknown as Readonly<Record<string, unknown>>)]),
  );
  const known = new Map<string, { readonly asked: number; readonly said: Promise<Said> }>();

  /** What a backend says of itself: asked once, however many want to know at the same time. */
  async function about(backend: Backend): Promise<FleetServer> {
    const now = clock();
    const last = known.get(backend.id);
    if (last && now >= last.asked) {
      const { list, fault, at } = await last.said;
      if (now - at < (fault === null ? FRESH_MS : AFTER_FAULT_MS)) return { backend, list, fault };
      // whoever waited for this answer beside us may have asked again already
      if (known.get(backend.id) !== last) return about(backend);
    }
    const said = listOf(backend, connected.get(backend.id) as StageServer, cache, now);
    known.set(backend.id, { asked: now, said });
    const { list, fault } = await said;
    return { backend, list, fault };
  }

  return {
    backends,
    servers: () => Promise.all(backends.map(about)),
    server: (id) => connected.get(id) ?? null,
    all: () => [...connected.values()],
  };
}

/** What is known of a server, and since when. */
interface Said extends Pick<KnownServer, 'list' | 'fault'> {
  readonly at: number;
}

/** What a server says of itself, or said when it last answered. Never rejects: a cache that fails holds nothing. */
async function listOf(backend: Backend, server: StageServer, cache: AnswerCache, now: number): Promise<Said> {
  // two backends may share a host and differ in their paths, or share an address and differ in what leads there
  const behind = backend.binding === null ? '' : `?binding=${backend.binding}`;
  const key = new Request(new URL(`v1/models${behind}`, backend.url.replace(/\/*$/, '/')).href);
  const read = async () => {
    const kept = await cache.match(key);
    return kept && { json: await kept.json(), at: Number(kept.headers.get('x-stored-at') ?? 0) };
  };
  const kept = await within(CACHE_MS, 'the cache', read()).catch(() => undefined);
  const parsed = kept ? modelList.safeParse(kept.json) : null;
  const list = parsed?.success ? parsed.data : null;
  const at = kept?.at ?? 0;
  if (list && now >= at && now - at < FRESH_MS) return { list, fault: null, at };
  try {
    const said = await server.models();
    const headers = { 'cache-control': `max-age=${KEPT_SECONDS}`, 'x-stored-at': String(now) };
    // what cannot be kept is asked for again
    await within(CACHE_MS, 'the cache', cache.put(key, Response.json(said, { headers }))).catch(() => {});
    return { list: said, fault: null, at: now };
  } catch (error) {
    return { list, fault: (error instanceof Error ? error.message : String(error)).slice(0, MAX_FAULT), at: now };
  }
}
