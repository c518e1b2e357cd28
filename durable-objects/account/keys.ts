/** The keys of an account: made, replaced, revoked, and how each stands. Nothing here awaits. */
import {
  type Actor,
  type AddedKey,
  isOut,
  type KeyRecord,
  type KeyView,
  MAX_KEYS,
  MAX_LIVE_KEYS,
  type NewKey,
  type SuccessorKey,
} from '../../src/account/account.ts';
import type { Standing } from '../../src/account/standing.ts';
import * as tables from './key-tables.ts';
import type { AccountParts } from './parts.ts';
import { withTally } from './tally-table.ts';

/** how exactly a key's last use is kept */
const USE_PRECISION_MS = 3_600_000;

export interface Keys {
  /** Adds a key. Those that open nothing any more make room for it; those that do never. */
  add(key: NewKey, actor: Actor): AddedKey;
  views(): readonly KeyView[];
  /**
   * A new key in the place of one that still opens: name, scopes, budgets and expiry are those of the old one, which
   * opens for `overlapMs` more. Null where there is no such key.
   */
  rotate(id: string, successor: SuccessorKey, actor: Actor): KeyView | null;
  /** The key opens nothing any more. False where there is no such key. */
  revoke(id: string, actor: Actor): boolean;
  /** How a key stands; null where there is none such. Whoever asks lets its holder in, so it was used. */
  standing(id: string): Standing | null;
}

export function makeKeys({ storage, account, note }: AccountParts): Keys {
  const { sql } = storage;

  function insert(key: NewKey, now: number): void {
    tables.deleteOutKeys(sql, MAX_KEYS - 1, now);
    tables.insertKey(sql, { ...key, createdAt: now });
  }

  const known = (id: string): KeyRecord | null => account() && tables.readKey(sql, id);

  return {
    add(key, actor) {
      if (!account()) return 'no_account';
      const now = Date.now();
      if (tables.countLiveKeys(sql, now) >= MAX_LIVE_KEYS) return 'too_many_keys';
      storage.transactionSync(() => {
        insert(key, now);
        const { id, hash: _hash, ...made } = key;
        note(actor, 'key_made', id, made);
      });
      return 'added';
    },
    views: () => (account() ? tables.readKeys(sql).map(viewKey) : []),
    rotate(id, { id: newId, hash, overlapMs }, actor) {
      const now = Date.now();
      const old = known(id);
      if (!old || isOut(old, now)) return null;
      const { name, scopes, expiresAt, tflopsPerMinute, microUsdPerDay, microUsdPerMonth } = old;
      const until = Math.min(now + overlapMs, expiresAt ?? Number.POSITIVE_INFINITY);
      storage.transactionSync(() => {
        const kept = { name, scopes, expiresAt, tflopsPerMinute, microUsdPerDay, microUsdPerMonth };
        insert({ id: newId, hash, ...kept }, now);
        tables.inheritLineage(sql, id, newId);
        // what one key has used of its budgets, the other has used too
        withTally(sql, (tally) => {
          const arrivals = tally.arrivals[id];
          if (arrivals) tally.arrivals[newId] = arrivals;
        });
        tables.setExpiry(sql, id, until);
        note(actor, 'key_rotated', id, { successor: newId, opensUntil: until });
      });
      return viewKey(tables.readKey(sql, newId) as KeyRecord);
    },
    revoke(id, actor) {
      const key = known(id);
      if (!key) return false;
      if (key.revokedAt !== null) return true;
      return storage.transactionSync(() => {
        note(actor, 'key_revoked', id, { name: key.name });
        return tables.revokeKey(sql, id, Date.now());
      });
    },
    standing(id) {
      const key = known(id);
      if (!key) return null;
      const { hash, scopes, expiresAt, revokedAt } = key;
      const now = Date.now();
      if (!isOut(key, now)) noteUse(sql, id, now);
      return { hash, scopes, expiresAt, revokedAt };
    },
  };
}

/** Writes down that a key was used now. */
export const noteUse = (sql: SqlStorage, id: string, now: number): void =>
  tables.noteUse(sql, id, now, USE_PRECISION_MS);

const viewKey = ({ hash: _, ...key }: KeyRecord): KeyView => key;
