/**
 * The money of one account: held when a job is entered, charged or let go when it ends, paid in and given back. Each
 * function runs inside a transaction of the account's object, and does the same thing once however often it is told.
 * Nothing here awaits.
 */
import type {
  AccountLimits,
  Balance,
  JobEnd,
  JobPrice,
  JobStatus,
  KeyRecord,
  OutOfMoney,
  Settled,
  Terms,
} from '../../src/account/account.ts';
import {
  availableOf,
  balanceOf,
  entryOf,
  hold,
  isExact,
  isSame,
  type Posting,
  resolve,
  type StoredEntry,
} from '../../src/billing/ledger.ts';
import { type DayAndMonth, dayOf, monthOf, onDay, type Spent, withSpent } from '../../src/billing/spending.ts';
import { logLine } from '../../src/job/log.ts';
import type { Posted } from '../../src/job/rpc.ts';
import type { NewHold } from './index-tables.ts';
import { limitedKeys, rootOf } from './key-tables.ts';
import * as tables from './ledger-tables.ts';
import type { Tally } from './tally-table.ts';
import * as usage from './usage-tables.ts';

type OverLimit = Extract<OutOfMoney, { kind: 'over_spend_limit' }>;

/** Where an account stands. */
export function balanceIn({ columns }: Tally, terms: Terms): Balance {
  return {
    ...terms,
    balance: balanceOf(columns.balance),
    held: columns.balance.debitsPending,
    available: availableOf(columns.balance, terms.creditLimit),
  };
}

/** Whether nothing is owed or left, held, or on its way to a meter outside. */
export function isSettled(sql: SqlStorage, { columns }: Tally): boolean {
  return balanceOf(columns.balance) === 0 && columns.balance.debitsPending === 0 && !tables.hasUnmetered(sql);
}

/** Who pays for the jobs of a request, and what each may cost. */
export interface Payer {
  readonly terms: Terms;
  readonly limits: AccountLimits;
  readonly key: Pick<KeyRecord, 'id' | 'microUsdPerDay' | 'microUsdPerMonth'>;
  readonly user: string | null;
  readonly price: JobPrice;
}

const isLimited = ({ microUsdPerDay, microUsdPerMonth }: Payer['key']): boolean =>
  microUsdPerDay !== null || microUsdPerMonth !== null;

/** What was spent up to a time: as it was added up, or counted anew from usage where it was not. */
function spentIn(sql: SqlStorage, tally: Tally, now: number): Spent {
  const day = dayOf(now);
  tally.spent = tally.spent ? onDay(tally.spent, day) : countSpent(sql, day);
  return tally.spent;
}

/** What usage says was spent and is held in a day and its month. */
function countSpent(sql: SqlStorage, day: string): Spent {
  const ofDay = usage.spentByKeys(sql, day);
  const ofMonth = usage.spentByKeys(sql, monthOf(day));
  const sumOf = (spent: ReadonlyMap<string, number>): number => [...spent.values()].reduce((sum, of) => sum + of, 0);
  const keys: Record<string, DayAndMonth> = {};
  for (const { id, root } of limitedKeys(sql)) {
    const [inDay, inMonth] = keys[root] ?? [0, 0];
    keys[root] = [inDay + (ofDay.get(id) ?? 0), inMonth + (ofMonth.get(id) ?? 0)];
  }
  return { day, account: [sumOf(ofDay), sumOf(ofMonth)], keys };
}

/** Why `count` jobs cannot be paid; null where they can. */
export function refuseToHold(
  sql: SqlStorage,
  tally: Tally,
  { terms, limits, key, user, price }: Payer,
  count: number,
  now: number,
): OutOfMoney | null {
  const needed = price.quoted * count;
  const available = availableOf(tally.columns.balance, terms.creditLimit);
  if (available !== null && needed > available)
    return { kind: 'out_of_credit', needed, available: Math.max(0, available) };
  const spent = spentIn(sql, tally, now);
  const ofKey = (isLimited(key) && spent.keys[rootOf(sql, key.id) ?? key.id]) || ([0, 0] as const);
  const limited: [OverLimit['whose'], OverLimit['period'], number | null, () => number][] = [
    ['account', 'day', limits.microUsdPerDay, () => spent.account[0]],
    ['account', 'month', limits.microUsdPerMonth, () => spent.account[1]],
    ['key', 'day', key.microUsdPerDay, () => ofKey[0]],
    ['key', 'month', key.microUsdPerMonth, () => ofKey[1]],
  ];
  if (user !== null) {
    const day = dayOf(now);
    const name = usage.countedUser(sql, day, user);
    limited.push(
      ['user', 'day', limits.microUsdPerUserDay, () => usage.spentByUser(sql, name, day)],
      ['user', 'month', limits.microUsdPerUserMonth, () => usage.spentByUser(sql, name, monthOf(day))],
    );
  }
  for (const [whose, period, limit, read] of limited) {
    if (limit === null) continue;
    const before = read();
    if (before + needed > limit) return { kind: 'over_spend_limit', whose, period, needed, spent: before, limit };
  }
  return null;
}

/** Holds the most that each of these jobs may cost: what their rows say of it. */
export function holdFor(
  sql: SqlStorage,
  tally: Tally,
  { terms, key, user, price }: Payer,
  jobs: readonly string[],
  now: number,
): NewHold {
  const { model, tariff, quoted } = price;
  const day = dayOf(now);
  const name = user === null ? null : usage.countedUser(sql, day, user);
  if (name !== null) usage.countUser(sql, day, name);
  for (const job of jobs) tables.appendEntry(sql, tally, hold(job, quoted, now));
  const held = quoted * jobs.length;
  // read before usage says more
  const spent = spentIn(sql, tally, now);
  usage.addUsage(sql, { day, keyId: key.id, user: name, model, jobs: 0, mflop: 0, captured: 0, held });
  const root = isLimited(key) ? (rootOf(sql, key.id) ?? key.id) : null;
  tally.spent = withSpent(spent, { day, key: root, micro: held });
  return { user: name, model, tariff, held: quoted, customer: terms.stripeCustomer };
}

/** What was held for each of these jobs; null for one that has no price. */
export const heldFor = (sql: SqlStorage, jobs: readonly string[]): readonly (number | null)[] =>
  jobs.map((job) => tables.readCharge(sql, job)?.held ?? null);

/** Whether something is held for a job now. */
export const isHeld = (sql: SqlStorage, job: string): boolean => tables.readCharge(sql, job)?.captured === null;

/** Resolves a hold: what it does to entries and usage, and what the job's row is to say of it. */
function resolveHold(
  sql: SqlStorage,
  tally: Tally,
  { job, at, keyId, user, model, held, customer }: tables.ChargeRow,
  { captured, mflop, jobs }: { readonly captured: number; readonly mflop: number; readonly jobs: number },
  now: number,
): tables.Resolved {
  tables.appendEntry(sql, tally, resolve(job, captured, now), held);
  const day = dayOf(at);
  // read before usage says less
  const spent = spentIn(sql, tally, now);
  usage.addUsage(sql, { day, keyId, user, model, jobs, mflop, captured, held: -held });
  const root = rootOf(sql, keyId) ?? keyId;
  tally.spent = withSpent(spent, { day, key: root in spent.keys ? root : null, micro: captured - held });
  return { captured, mflop, endedAt: now, meter: customer !== null && captured > 0 ? 'waiting' : null };
}

/**
 * Charges a job that has ended, or lets its hold go where it costs nothing; usage counts on the day it was held.
 * `status`: of a job that was open until now, null: of any other. `settled` is null where nothing was ever held for it.
 * Told again it changes nothing and answers alike.
 */
export function settle(
  sql: SqlStorage,
  tally: Tally,
  job: string,
  { status, charge }: { readonly status: JobStatus | null; readonly charge: JobEnd['charge'] },
  now: number,
): Settled | null {
  const row = tables.readCharge(sql, job);
  let resolved: tables.Resolved | null = null;
  if (row?.captured === null) {
    if (charge && charge.micro > row.held) logLine('alert', { job_id: job, what: 'charged_above_hold' });
    const captured = Math.min(row.held, charge?.micro ?? 0);
    resolved = resolveHold(sql, tally, row, { captured, mflop: captured > 0 ? (charge?.mflop ?? 0) : 0, jobs: 1 }, now);
  } else if (row && charge && Math.min(row.held, charge.micro) > row.captured) {
    // it was let go before it was known what it cost
    logLine('alert', { job_id: job, what: 'charge_came_late', micro: charge.micro });
  }
  tables.endJob(sql, job, { status, resolved });
  if (!row) return null;
  const { captured, endedAt, meter } = resolved ?? row;
  return {
    captured: captured as number,
    at: endedAt as number,
    keyId: row.keyId,
    user: row.user,
    meteredCustomer: meter === 'waiting' ? row.customer : null,
  };
}

/** Lets the hold of a job go that never came. */
export function letGo(sql: SqlStorage, tally: Tally, job: string, now: number): void {
  const row = tables.readCharge(sql, job);
  if (row?.captured !== null) return;
  const resolved = resolveHold(sql, tally, row, { captured: 0, mflop: 0, jobs: 0 }, now);
  tables.endJob(sql, job, { status: null, resolved });
}

/** Whether an entry of a job has this id. */
function isOfJob(sql: SqlStorage, id: string): boolean {
  const [, kind, job] = /^(hold|end):(.*)$/s.exec(id) ?? [];
  const row = job === undefined ? null : tables.readCharge(sql, job);
  return row !== null && (kind === 'hold' || row.captured !== null);
}

/** Writes money that came in, was given back or is adjusted. The same id again writes nothing. */
export function post(sql: SqlStorage, tally: Tally, terms: Terms, posting: Posting, now: number): Posted {
  const entry = entryOf(posting, now);
  const before = tables.readPosting(sql, posting.id);
  if (before) return isSame(entry, before) ? { kind: 'posted', entry: before, isNew: false } : { kind: 'conflict' };
  if (isOfJob(sql, posting.id)) return { kind: 'conflict' };
  if (entry.debit === 'balance') {
    const available = availableOf(tally.columns.balance, terms.creditLimit);
    if (available !== null && entry.amount > available)
      return { kind: 'not_enough', available: Math.max(0, available) };
  }
  if (posting.kind === 'refund') {
    const charge = posting.job === null ? null : tables.readCharge(sql, posting.job);
    const refundable = (charge?.captured ?? 0) - (charge?.refunded ?? 0);
    if (entry.amount > refundable) return { kind: 'not_charged', refundable };
  }
  const { debited, credited } = tables.columnsWith(tally, entry, 0);
  if (!isExact(debited) || !isExact(credited)) return { kind: 'too_large' };
  tables.appendEntry(sql, tally, entry);
  if (posting.kind === 'refund') tables.addRefund(sql, posting.job as string, entry.amount);
  return { kind: 'posted', entry: tables.readPosting(sql, posting.id) as StoredEntry, isNew: true };
}
