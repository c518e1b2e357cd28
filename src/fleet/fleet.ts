/** The fleet of one deployment: who is in it, what each says of itself, and the way to each. */
import type { StageServer } from '../stage/client.ts';
import { within } from '../stage/time-limit.ts';
import { type Backend, connect } from './backends.ts';
import type { KnownServer } from './models.ts';
import {
  afterAnswer,
  afterFailure,
  type FleetMemory,
  inDoubt,
  isDue,
  isOld,
  keptAt,
  makeFleetMemory,
  mayBeHeard,
  readKept,
  type Said,
  toKept,
} from './said.ts';

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
  /** when it last said which models it has, milliseconds since 1970; null: never */
  readonly listedAt: number | null;
}

export interface Fleet {
  /** as the configuration has them */
  readonly backends: readonly Backend[];
  /**
   * Every backend in the order of the configuration, with what it said last. Nobody waits for a server of which
   * something is known. Where nothing is, `isEnough` says of what is known by then whether to wait on: then half a
   * second more at most. Left out: something that some server said.
   */
  servers(isEnough?: (known: readonly FleetServer[]) => boolean): Promise<readonly FleetServer[]>;
  /** A server has not what it said: it is asked anew with the next question for the servers. */
  doubt(id: string): void;
  /**
   * Asks these servers anew, as somebody waits for what they may have by now: each four times a minute at most, however
   * often that is called. Resolves once they have answered, or not in time.
   */
  hear(ids: readonly string[]): Promise<void>;
  /** The stage server of a backend; null where none of that id is configured. */
  server(id: string): StageServer | null;
  /** The stage servers of all backends. */
  all(): readonly StageServer[];
}

export interface FleetTools {
  /** remembers what servers say beyond this isolate */
  readonly cache: AnswerCache;
  readonly clock: () => number;
  /** of the isolate; left out: this fleet remembers for itself */
  readonly memory?: FleetMemory;
  /** keeps the caller alive for what nobody waits for; left out: it is alive anyway */
  readonly later?: (work: Promise<unknown>) => void;
}

/** Longest wait for the cache: a server is asked instead. */
const CACHE_MS = 2_000;
/** Longest wait for a server that has said nothing yet, where what is known is enough. */
const PATIENCE_MS = 500;
/** Whoever began to ask is done after so long, or gone. */
const ASKING_MS = 6_000;
const NOT_YET = 'has not answered yet';

const someoneSaid = (known: readonly KnownServer[]): boolean => known.some(({ list }) => list !== null);

/**
 * The fleet of a configuration. What a server says is used for a minute without asking again, and for a day where it
 * does not answer; what is older than a minute is used at once and asked for anew beside that. A server that could not
 * be asked is left alone for ten seconds, then for twice as long each time, up to two minutes; for five seconds where
 * nothing is known of it and nobody else has what is wanted. Throws an Error that names the variable where the
 * configuration is none.
 */
export function openFleet(
  env: FleetEnv,
  { cache, clock, memory = makeFleetMemory(), later = () => {} }: FleetTools,
): Fleet {
  const { backends, said, asking } = memory.of(env.BACKENDS);
  const connected = new Map(
    backends.map((backend) => [backend.id, connect(backend, env as unknown as Readonly<Record<string, unknown>>)]),
  );
  /** questions of this fleet that are under way */
  const asked = new Map<string, Promise<void>>();
  const reads = new Map<string, Promise<void>>();

  const knownOf = (id: string): Said | null => {
    const known = said.get(id);
    return known ? keptAt(known, clock()) : null;
  };

  /** Looks into the cache for what another isolate has heard. */
  async function recall(backend: Backend): Promise<void> {
    const read = async () => {
      const kept = await cache.match(keyOf(backend));
      return kept ? readKept(kept) : null;
    };
    const found = await within(CACHE_MS, 'the cache', read()).catch(() => null);
    if (found && !said.has(backend.id)) said.set(backend.id, found);
  }

  /** Asks a server, and keeps what it says, or that it says nothing. Never rejects. */
  async function ask(backend: Backend): Promise<void> {
    const { id } = backend;
    asking.set(id, clock() + ASKING_MS);
    const answer = await (connected.get(id) as StageServer).models().then(
      (list) => ({ list }),
      (error: unknown) => ({ error }),
    );
    const now = clock();
    const heard = 'list' in answer ? afterAnswer(answer.list, now) : afterFailure(knownOf(id), answer.error, now);
    said.set(id, heard);
    asking.delete(id);
    // what cannot be kept is asked for again
    await within(CACHE_MS, 'the cache', cache.put(keyOf(backend), toKept(heard, now))).catch(() => {});
  }

  /** One promise for each backend at a time: within a fleet everybody waits for the same. */
  function once(map: Map<string, Promise<void>>, backend: Backend, work: (backend: Backend) => Promise<void>) {
    const running = map.get(backend.id);
    if (running) return running;
    const begun = work(backend).finally(() => map.delete(backend.id));
    map.set(backend.id, begun);
    return begun;
  }

  /** Whether another request of this isolate asks a server already. */
  function isAskedElsewhere(id: string): boolean {
    const left = (asking.get(id) ?? 0) - clock();
    return !asked.has(id) && left > 0 && left <= ASKING_MS;
  }

  /** Asks where that is due. `isFirst`: of this server nothing is known, or nothing of late. */
  function askIfDue(backend: Backend, isEnough: boolean): Question | null {
    const now = clock();
    const known = knownOf(backend.id);
    if (known && !isDue(known, !isEnough, now)) return null;
    // what is known will do
    if (isAskedElsewhere(backend.id) && (known?.list || isEnough)) return null;
    const answered = once(asked, backend, ask);
    later(answered);
    return { answered, isFirst: !known || isOld(known, now) };
  }

  const view = (): readonly FleetServer[] =>
    backends.map((backend) => {
      const known = knownOf(backend.id);
      return {
        backend,
        list: known?.list ?? null,
        fault: known ? known.fault : NOT_YET,
        listedAt: known?.listedAt || null,
      };
    });

  return {
    backends,
    async servers(isEnough = someoneSaid) {
      await Promise.all(backends.filter(({ id }) => !said.has(id)).map((backend) => once(reads, backend, recall)));
      const suffices = (): boolean => isEnough(view());
      const isKnown = suffices();
      const questions = backends.map((backend) => askIfDue(backend, isKnown)).filter((question) => question !== null);
      await untilEnough(
        questions.filter(({ isFirst }) => isFirst),
        PATIENCE_MS,
        suffices,
      );
      // those that did not answer before are waited for where nothing else is left
      if (!suffices()) await untilEnough(questions, 0, suffices);
      return view();
    },
    doubt(id) {
      const known = said.get(id);
      if (known) said.set(id, inDoubt(known, clock()));
    },
    async hear(ids) {
      const hoped = backends.filter(({ id }) => ids.includes(id) && mayBeHeard(said.get(id) ?? null, clock()));
      await Promise.all(hoped.filter(({ id }) => !isAskedElsewhere(id)).map((backend) => once(asked, backend, ask)));
    },
    server: (id) => connected.get(id) ?? null,
    all: () => [...connected.values()],
  };
}

interface Question {
  readonly answered: Promise<void>;
  readonly isFirst: boolean;
}

/** Until all questions are answered, or so many that it is enough and `patienceMs` have passed since. */
async function untilEnough(questions: readonly Question[], patienceMs: number, isEnough: () => boolean): Promise<void> {
  if (questions.length === 0) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  let left = questions.length;
  let timer: ReturnType<typeof setTimeout> | null = null;
  const look = (): void => {
    if (left === 0) resolve();
    else if (timer === null && isEnough()) timer = setTimeout(resolve, patienceMs);
  };
  for (const { answered } of questions)
    void answered.then(() => {
      left--;
      look();
    });
  look();
  await promise;
  if (timer !== null) clearTimeout(timer);
}

/** Where the cache keeps what a backend says: two may share a host and differ in their paths, or share an address and
 * differ in what leads there. */
function keyOf({ url, binding }: Backend): Request {
  const behind = binding === null ? '' : `?binding=${binding}`;
  return new Request(new URL(`v1/models${behind}`, url.replace(/\/*$/, '/')).href);
}
