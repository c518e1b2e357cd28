/** What holds of what callers and strangers saw while a deployment was struck. Pure. */

/** A job that was watched from its start to its end, through cuts, with thumbnails wanted. */
export interface Watched {
  readonly job: string;
  /** of the stored events, in the order in which they came, over all connections */
  readonly ids: readonly number[];
  /** type of the last event; null: none came */
  readonly last: string | null;
  readonly thumbnails: readonly { readonly isStored: boolean; readonly bytes: number }[];
}

/** A request for several pictures. */
export interface Several {
  readonly name: string;
  readonly count: number;
  readonly status: string;
  /** pictures that it names when it is over, and how many of them could be had */
  readonly pictures: number;
  readonly had: number;
  readonly error: string | null;
  /** how each of its jobs ended */
  readonly ends: readonly string[];
}

/** One look at a share. Times are milliseconds since 1970. */
export interface Look {
  readonly path: string;
  readonly from: number;
  readonly to: number;
  /** 0: there was no answer */
  readonly status: number;
}

export interface Visited {
  readonly job: string;
  /** Unix seconds */
  readonly expiresAt: number;
  /** when its end was asked for and when that was answered; null: it was not */
  readonly endAskedAt: number | null;
  readonly endedAt: number | null;
  readonly looks: readonly Look[];
}

export interface Seen {
  readonly watched: readonly Watched[];
  readonly several: readonly Several[];
  readonly visited: readonly Visited[];
}

/** Most of a thumbnail, bytes. */
const THUMBNAIL_BYTES = 4096;

/** Sentences that name each law that does not hold; empty where all do. */
export function brokenSights({ watched, several, visited }: Seen): string[] {
  const broken: string[] = [];
  const say = (law: string, evidence: readonly unknown[]): void => {
    if (evidence.length > 0)
      broken.push(`${law}: ${evidence.length}, ${JSON.stringify(evidence.slice(0, 3)).slice(0, 500)}`);
  };
  say(
    'who watches through cuts sees every stored event once, in order, and the end last',
    watched
      .filter(
        ({ ids, last }) => ids.some((id, i) => id !== i + 1) || !['done', 'failed', 'cancelled'].includes(`${last}`),
      )
      .map(({ job, ids, last }) => ({ job, last, ids: ids.join(' ') })),
  );
  say(
    'a thumbnail is small, and never stored',
    watched.flatMap(({ job, thumbnails }) =>
      thumbnails.filter(({ isStored, bytes }) => isStored || bytes > THUMBNAIL_BYTES).map((one) => ({ job, ...one })),
    ),
  );
  say(
    'a request for several pictures has all of them, or says why it has not',
    several.filter(({ count, status, pictures, had, error, ends }) => {
      const isWhole = pictures === count && had === count && ends.every((end) => end === 'done');
      return status === 'succeeded' ? !isWhole : status !== 'failed' || !error;
    }),
  );
  say(
    'a share opens exactly while it should',
    visited.flatMap((share) =>
      share.looks.filter((look) => isWrong(share, look)).map((look) => ({ ...share, looks: [look] })),
    ),
  );
  return broken;
}

/** Whether a share answered what it may not have. An answer that did not come, or says "not now", tells nothing. */
function isWrong({ expiresAt, endAskedAt, endedAt }: Visited, { from, to, status }: Look): boolean {
  switch (status) {
    case 200:
      // told in whole seconds
      return (endedAt !== null && from > endedAt) || from >= (expiresAt + 1) * 1000;
    case 404:
      return !(to >= expiresAt * 1000 || (endAskedAt !== null && to >= endAskedAt));
    default:
      return status !== 0 && status < 500;
  }
}
