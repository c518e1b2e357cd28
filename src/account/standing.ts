/**
 * How keys stand, remembered for a while: a key says itself that it is ours, so all that its account has to tell is
 * whether it still counts, and a read need not ask that every time. Bounded, for one isolate.
 */
import type { ReadKey } from './key.ts';
import type { Scope } from './scopes.ts';

/** What an account says of one of its keys. Times are milliseconds since 1970. */
export interface Standing {
  /** what is kept of the key */
  readonly hash: string;
  readonly scopes: readonly Scope[];
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

/** Why a key does not open, nothing being told apart that an outsider could use. */
export type KeyRefusal = 'unknown' | 'revoked' | 'expired';

/** Why a key does not open now; null where it does. `standing` is null where the account knows no such key. */
export function refuseKey(standing: Standing | null, key: Pick<ReadKey, 'hashes'>, now: number): KeyRefusal | null {
  // keyed hashes: whoever does not hold the deployment's secret cannot steer them, so the time this takes tells nothing
  if (standing === null || !key.hashes.includes(standing.hash)) return 'unknown';
  if (standing.revokedAt !== null) return 'revoked';
  return standing.expiresAt !== null && now >= standing.expiresAt ? 'expired' : null;
}

/** How old an answer may be that a read is served by: after this time a revoked key opens nothing any more. */
export const READ_AGE_MS = 30_000;

export interface Standings {
  /** How the key stands, as its account said at most `maxAgeMs` ago; `ask` asks it. Null: it knows no such key. */
  of(
    key: Pick<ReadKey, 'account' | 'id'>,
    maxAgeMs: number,
    ask: () => Promise<Standing | null>,
  ): Promise<Standing | null>;
  /** The same without asking; undefined where nothing so young is kept. */
  kept(key: Pick<ReadKey, 'account' | 'id'>, maxAgeMs: number): Standing | undefined;
  /** Whether the account is known, from whatever time, to have this very key. */
  knows(key: Pick<ReadKey, 'account' | 'id' | 'hashes'>): boolean;
  /** The next question goes to the account. */
  forget(key: Pick<ReadKey, 'account' | 'id'>): void;
}

/** Keys remembered at once; the one least recently asked for goes first. */
const MAX_KEYS = 5000;

export function makeStandings(now: () => number, maxKeys = MAX_KEYS): Standings {
  const kept = new Map<string, { readonly standing: Standing; readonly at: number }>();
  const nameOf = ({ account, id }: Pick<ReadKey, 'account' | 'id'>): string => `${account}.${id}`;
  const youngerThan = (maxAgeMs: number, name: string): Standing | undefined => {
    const known = kept.get(name);
    const at = now();
    return known && at - known.at < maxAgeMs && at >= known.at ? known.standing : undefined;
  };
  return {
    kept: (key, maxAgeMs) => youngerThan(maxAgeMs, nameOf(key)),
    async of(key, maxAgeMs, ask) {
      const name = nameOf(key);
      const at = now();
      const young = youngerThan(maxAgeMs, name);
      if (young) return young;
      const standing = await ask();
      kept.delete(name);
      if (standing) kept.set(name, { standing, at });
      if (kept.size > maxKeys) kept.delete(kept.keys().next().value as string);
      return standing;
    },
    knows: (key) => {
      const known = kept.get(nameOf(key));
      return known !== undefined && key.hashes.includes(known.standing.hash);
    },
    forget: (key) => {
      kept.delete(nameOf(key));
    },
  };
}
