/**
 * The open jobs that an account hears nothing of, asked: those entered a minute ago that may never have come, and any
 * other after a while, in case its letter is lost.
 */
import { CREATION_MS } from '../../src/account/account.ts';
import { logLine } from '../../src/job/log.ts';
import type { Entries } from './entries.ts';
import * as index from './index-tables.ts';
import type { AccountParts } from './parts.ts';
import { JOBS_A_ROUND, nextRound, RECONCILE_MS, reconcile } from './reconcile.ts';
import { withTally } from './tally-table.ts';

/** entries looked at in one round, a page at a time, for those whose jobs never came */
const ENTRIES_A_ROUND = 320;
const ENTRIES_A_PAGE = 30;

export interface Unheard {
  /** Asks those that are due now. */
  ask(): Promise<void>;
  /** When one will be due (milliseconds since 1970), of an account opened at `openedAt`: some times, or none. */
  dueAt(openedAt: number, now: number): readonly number[];
}

export function makeUnheard({ env, storage }: AccountParts, entries: Entries): Unheard {
  const { sql } = storage;
  /** the objects of all jobs up to this place are known to have been there */
  let knownTo = 0;
  /** jobs that were never heard of, and could not be asked, are left alone until then */
  let notAskedBefore = 0;
  /** when this incarnation last asked the open jobs */
  let askedAt = 0;

  /** Asks the jobs entered a minute ago that were never heard of, and lets those go that are not there. */
  async function letGoUncreated(now: number): Promise<void> {
    notAskedBefore = now + CREATION_MS;
    let place = knownTo;
    let areKnown = true;
    for (let looked = 0; looked < ENTRIES_A_ROUND; looked += ENTRIES_A_PAGE) {
      const page = index.openAfter(sql, place, ENTRIES_A_PAGE);
      const due = page.filter(({ createdAt }) => createdAt < now - CREATION_MS);
      const isKnown = await Promise.all(due.map((job) => entries.isKnown(job)));
      const unknown: number = areKnown ? isKnown.indexOf(false) : 0;
      const known: index.OpenJob | undefined = unknown < 0 ? due.at(-1) : due[unknown - 1];
      if (areKnown && known) knownTo = known.seq;
      areKnown &&= unknown < 0;
      place = due.at(-1)?.seq ?? place;
      if (due.length < ENTRIES_A_PAGE) return;
    }
  }

  /** The tally has as many open jobs as there are: a wrong count would refuse work for ever. */
  function countOpen(): void {
    withTally(sql, (tally) => {
      const open = index.countOpen(sql);
      if (tally.open !== open) logLine('alert', { what: 'open_jobs_miscounted', counted: tally.open, open });
      tally.open = open;
    });
  }

  async function askOpen(now: number): Promise<void> {
    if (now >= askedAt && now - askedAt < RECONCILE_MS) return;
    askedAt = now;
    countOpen();
    const silent = index.drawOpen(sql, { now, silentMs: RECONCILE_MS, most: JOBS_A_ROUND });
    await reconcile(env().JOBS, silent, {
      ended: entries.ended,
      // its object is not there and never told its end: whatever it did, nobody can say what it cost
      gone: entries.lost,
    });
  }

  return {
    async ask() {
      await letGoUncreated(Date.now());
      // by the clock as it is by now: what was entered meanwhile is not from the future
      await askOpen(Date.now());
    },
    dueAt(openedAt, now) {
      const [unknown] = index.openAfter(sql, knownTo, 1);
      return [
        ...(unknown ? [Math.max(unknown.createdAt + CREATION_MS + 1, notAskedBefore)] : []),
        ...(index.openAfter(sql, 0, 1).length > 0 ? [nextRound(openedAt, now)] : []),
      ];
    },
  };
}
