/**
 * What is known of one stage server: what it said of itself, and how asking it has gone since. As a value that an
 * isolate remembers, and as an answer that a cache keeps for other isolates. Pure but for the memory's tables.
 */
import { type ModelList, modelList } from '../stage/contract.ts';
import { type Backend, parseBackends } from './backends.ts';

/** Times are milliseconds since 1970. */
export interface Said {
  /** null: it never said anything that is still kept */
  readonly list: ModelList | null;
  /** when it said that; 0: never */
  readonly listedAt: number;
  /** why it could not be asked the last time; null where it could */
  readonly fault: string | null;
  /** when it was last asked */
  readonly askedAt: number;
  /** how often in a row it could not be asked */
  readonly faults: number;
}

/** What a server says is used for so long without asking again. */
const FRESH_MS = 60_000;
/** What is older than this is not used before the server had a moment to say something newer. */
const OLD_MS = 10 * 60_000;
/** Where the server does not answer, what it said is used for so long. */
export const KEPT_MS = 24 * 3_600_000;
/** A server that could not be asked is left alone for so long, then twice as long, and so on. */
const PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 120_000;
/** The same where nothing is known of it, and nobody else has what is wanted. */
const NEEDED_PAUSE_MS = 5_000;
/** A server that may have by now what somebody waits for is asked so often at most. */
const HOPED_MS = 15_000;
/** What was said so lately is not doubted: a gateway may have old and new servers behind it. */
const DOUBT_MS = 1_000;
const MAX_FAULT = 300;

/** How long a server is left alone that could not be asked `faults` times in a row, milliseconds. */
export const pauseAfter = (faults: number): number => Math.min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** (faults - 1));

/**
 * Whether the server is to be asked again; `isNeeded`: nobody else has what is wanted. A clock that has stepped back
 * makes it due.
 */
export function isDue({ list, fault, askedAt, faults }: Said, isNeeded: boolean, now: number): boolean {
  const pause = isNeeded && !list ? Math.min(NEEDED_PAUSE_MS, pauseAfter(faults)) : pauseAfter(faults);
  return now < askedAt || now - askedAt >= (fault === null ? FRESH_MS : pause);
}

/** Whether the server should get a moment to say something newer: it said this long ago, and was not asked since. */
export const isOld = ({ fault, listedAt, askedAt }: Said, now: number): boolean =>
  now < askedAt || (fault === null && now - listedAt >= OLD_MS);

/** Whether a server may be asked again of which somebody hopes that it says something else. */
export const mayBeHeard = (said: Said | null, now: number): boolean =>
  !said || now < said.askedAt || now - said.askedAt >= HOPED_MS;

/** What is still true of it `now`: what it said more than a day ago is not. */
export const keptAt = (said: Said, now: number): Said =>
  said.list && Math.abs(now - said.listedAt) >= KEPT_MS ? { ...said, list: null, listedAt: 0 } : said;

/** After an answer. */
export const afterAnswer = (list: ModelList, now: number): Said => ({
  list,
  listedAt: now,
  fault: null,
  askedAt: now,
  faults: 0,
});

/** After a question that came to nothing. */
export const afterFailure = (before: Said | null, error: unknown, now: number): Said => ({
  list: before?.list ?? null,
  listedAt: before?.listedAt ?? 0,
  fault: (error instanceof Error ? error.message : String(error)).slice(0, MAX_FAULT),
  askedAt: now,
  faults: (before?.faults ?? 0) + 1,
});

/** What it said is not true any more, as one has seen: it is used as before, and due to be said anew. */
export const inDoubt = (said: Said, now: number): Said =>
  said.fault === null && now - said.askedAt >= DOUBT_MS ? { ...said, askedAt: now - FRESH_MS } : said;

/** As an answer that a cache keeps: the list as its body, the rest in headers. Law: `readKept` of it is `said`. */
export function toKept(said: Said, now: number): Response {
  const { list, listedAt, fault, askedAt, faults } = said;
  // what it said does not become younger by a fault
  const seconds = Math.max(1, Math.ceil((KEPT_MS - (list ? now - listedAt : 0)) / 1000));
  return Response.json(list, {
    headers: {
      'cache-control': `max-age=${seconds}`,
      'x-stored-at': String(listedAt),
      ...(fault !== null && {
        'x-fault': encodeURIComponent(fault),
        'x-asked-at': String(askedAt),
        'x-faults': String(faults),
      }),
    },
  });
}

/** What a cache has kept; null where it is nothing that we know. */
export async function readKept(kept: Response): Promise<Said | null> {
  const json: unknown = await kept.json().catch(() => undefined);
  const number = (name: string): number => Number(kept.headers.get(name) ?? 0) || 0;
  const listedAt = number('x-stored-at');
  const parsed = modelList.safeParse(json);
  const list = parsed.success ? parsed.data : null;
  const fault = kept.headers.get('x-fault');
  if (fault !== null) {
    const text = decodeURIComponent(fault);
    const asked = { fault: text, askedAt: number('x-asked-at'), faults: Math.max(1, number('x-faults')) };
    return { list, listedAt: list ? listedAt : 0, ...asked };
  }
  return list && { list, listedAt, fault: null, askedAt: listedAt, faults: 0 };
}

/** What an isolate remembers of one configuration. Values only: no request waits for another's. */
export interface Remembered {
  readonly backends: readonly Backend[];
  /** by backend */
  readonly said: Map<string, Said>;
  /** until when somebody is taken to be asking, by backend */
  readonly asking: Map<string, number>;
}

export interface FleetMemory {
  /** What is remembered of a configuration. Throws an Error that names the variable where it is none. */
  of(text: string): Remembered;
}

/** Configurations remembered at once; the oldest goes first. */
const MAX_TEXTS = 4;

export function makeFleetMemory(): FleetMemory {
  const kept = new Map<string, Remembered>();
  return {
    of(text) {
      const known = kept.get(text);
      if (known) return known;
      const made: Remembered = { backends: parseBackends(text), said: new Map(), asking: new Map() };
      kept.set(text, made);
      if (kept.size > MAX_TEXTS) kept.delete(kept.keys().next().value as string);
      return made;
    },
  };
}
