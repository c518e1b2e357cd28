/**
 * What is ordered of an account: other limits or terms, to take no work, to take it again, to erase what its jobs made.
 * An order is stored before anything follows from it; what needs others is a chore. Nothing here awaits.
 */
import type { AccountChanges, Actor, ChangedAccount, RunningJobs } from '../../src/account/account.ts';
import { isSettled } from './money.ts';
import type { AccountParts } from './parts.ts';
import * as tables from './tables.ts';
import { readTally } from './tally-table.ts';

export interface Orders {
  /** Changes name, limits or terms; they hold from the next request on. */
  change(changes: AccountChanges, actor: Actor): ChangedAccount;
  /**
   * Takes no new work from now on. Jobs under way go on to their end, or are cancelled by the alarm, which goes on with
   * that until none is left. False where there is no account.
   */
  suspend(running: RunningJobs, actor: Actor): boolean;
  /** Takes work again. False where there is no account. */
  resume(actor: Actor): boolean;
  /**
   * Orders that every job there is now be erased, and what is remembered of their requests. The alarm goes on with that
   * until it is done. False where there is no account.
   */
  eraseContent(actor: Actor): boolean;
}

/** `followed` is called where there is something new for the alarm to do. */
export function makeOrders({ storage, account, note }: AccountParts, followed: () => void): Orders {
  const { sql } = storage;
  return {
    change({ name, limits, terms }, actor) {
      const before = account();
      if (!before) return 'no_account';
      const changed = {
        ...before,
        name: name ?? before.name,
        limits: { ...before.limits, ...limits },
        terms: { ...before.terms, ...terms },
      };
      const isOtherMode = changed.terms.mode !== before.terms.mode;
      if (isOtherMode && !isSettled(sql, readTally(sql))) return 'not_settled';
      storage.transactionSync(() => {
        tables.changeAccount(sql, changed);
        note(actor, 'account_changed', null, { name: changed.name, ...changed.limits, ...changed.terms });
      });
      followed();
      return 'changed';
    },
    suspend(running, actor) {
      const before = account();
      if (!before) return false;
      const suspendedAt = before.suspendedAt ?? Date.now();
      storage.transactionSync(() => {
        tables.changeAccount(sql, { ...before, suspendedAt, cancelsJobs: running === 'cancel' });
        note(actor, 'account_suspended', null, { running });
      });
      followed();
      return true;
    },
    resume(actor) {
      const before = account();
      if (!before) return false;
      storage.transactionSync(() => {
        tables.changeAccount(sql, { ...before, suspendedAt: null, cancelsJobs: false });
        note(actor, 'account_resumed', null, {});
      });
      followed();
      return true;
    },
    eraseContent(actor) {
      if (!account()) return false;
      storage.transactionSync(() => {
        tables.setErasesThrough(sql, readTally(sql).place);
        note(actor, 'content_erasure_asked', null, {});
      });
      followed();
      return true;
    },
  };
}
