/** The books of an account: what came in and was spent, compared, kept elsewhere and put back. */
import type { Actor, PageQuery } from '../../src/account/account.ts';
import type { BackupPage, BackupQuery, Restored, RestorePage } from '../../src/billing/backup.ts';
import type { Reconciled } from '../../src/billing/difference.ts';
import type { Posting } from '../../src/billing/ledger.ts';
import type { UsagePage, UsageQuery } from '../../src/billing/spending.ts';
import type { Statement } from '../../src/billing/statement.ts';
import { type MeterMinute, minuteOf } from '../../src/billing/stripe.ts';
import type { Posted } from '../../src/job/rpc.ts';
import * as index from './index-tables.ts';
import { checkJobs, JOBS_A_PAGE } from './job-check.ts';
import { readBackup, readSums, restore } from './ledger-backup.ts';
import { checkLedger } from './ledger-check.ts';
import { readStatement, setMetered, sumMetered } from './ledger-tables.ts';
import * as money from './money.ts';
import type { AccountParts } from './parts.ts';
import { readTally, withTally } from './tally-table.ts';
import { readUsage } from './usage-tables.ts';

/** Null where there is no account. */
export interface Books {
  /** A meter outside has taken the charge of a job. Told again it changes nothing. */
  metered(id: string): void;
  /** What of the charges of the minute of `at` a meter has taken, and what not. */
  meterMinute(at: number): MeterMinute;
  /** Writes money that came in, was given back or is adjusted. */
  post(posting: Posting, actor: Actor): Posted | null;
  /** The entries of the ledger, oldest first, and where it stood before them. */
  statement(query: PageQuery): Statement | null;
  /** What was done and spent between two days, by group, and in all. */
  usage(query: UsageQuery): UsagePage | null;
  /** Compares ledger, jobs and outbox: the rows where `after` is 0, and a page of the jobs after that place. */
  reconcile(after: number): Promise<Reconciled | null>;
  /** A page of the ledger, to be kept elsewhere. */
  backup(query: BackupQuery): BackupPage | null;
  /** Puts a page of a ledger back that was kept elsewhere, where nothing else is going on in the account. */
  restore(page: RestorePage, actor: Actor): Restored | null;
}

export function makeBooks({ env, storage, account, note }: AccountParts): Books {
  const { sql } = storage;
  return {
    metered(id) {
      if (account()) setMetered(sql, id);
    },
    meterMinute: (at) => (account() ? sumMetered(sql, minuteOf(at)) : { taken: 0, waiting: 0 }),
    post(posting, actor) {
      const terms = account()?.terms;
      if (!terms) return null;
      return storage.transactionSync(() => {
        const posted = withTally(sql, (tally) => money.post(sql, tally, terms, posting, Date.now()));
        if (posted.kind === 'posted' && posted.isNew) {
          const { id, kind, amount, job, reason } = posting;
          note(actor, 'money_posted', job, { id, kind, microUsd: amount, reason });
        }
        return posted;
      });
    },
    statement: (query) => account() && readStatement(sql, query),
    usage: (query) => account() && readUsage(sql, query),
    async reconcile(after) {
      if (!account()) return null;
      const rows = after === 0 ? checkLedger(sql) : { differences: [], more: [] };
      const jobs = index.chargesAfter(sql, { after, limit: JOBS_A_PAGE });
      const told = await checkJobs(env().JOBS, jobs);
      // what a job told meanwhile is settled by now
      const differences = [...rows.differences, ...told.filter(({ subject }) => isAsItWas(sql, jobs, subject))];
      const next = jobs.length < JOBS_A_PAGE ? null : (jobs.at(-1)?.seq ?? null);
      return { differences, more: rows.more, jobs: jobs.length, next };
    },
    backup: (query) => account() && readBackup(sql, query),
    restore(page, actor) {
      const restored = account();
      if (!restored) return null;
      if (restored.suspendedAt === null) return { kind: 'not_suspended' };
      const { open } = readTally(sql);
      if (open > 0) return { kind: 'has_open_jobs', open };
      const isAgain = readSums(sql).seq > page.sums.seq;
      const done = restore(storage, page, Date.now());
      if (page.part === 'end' && done.kind === 'restored' && !isAgain) {
        const { seq, charges, usage } = page.sums;
        note(actor, 'ledger_restored', null, { entries: seq, charges, usage, released: done.written });
      }
      return done;
    },
  };
}

/** Whether the index has a job as `before` had it. */
function isAsItWas(sql: SqlStorage, before: readonly index.IndexedCharge[], id: string): boolean {
  const then = before.find((job) => job.id === id);
  const now = then && index.chargesAfter(sql, { after: then.seq - 1, limit: 1 })[0];
  return then?.id === now?.id && then?.status === now?.status && then?.captured === now?.captured;
}
