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
  KeyRecord,
  OutOfMoney,
  Settled,
  Terms,
} from '../src/account/account.ts';
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
} from '../src/billing/ledger.ts';
import { dayOf, monthOf } from '../src/billing/spending.ts';
import { logLine } from '../src/job/log.ts';
import type { Posted } from '../src/job/rpc.ts';
import * as tables from './ledger-tables.ts';
import * as usage from './usage-tables.ts';

/** Where an account stands. */
export function readBalance(sql: SqlStorage, terms: Terms): Balance {
  const columns = tables.readColumns(sql, 'balance');
  return {
    ...terms,
    balance: balanceOf(columns),
    held: columns.debitsPending,
    available: availableOf(columns, terms.creditLimit),
  };
}

/** Whether nothing is owed or left, held, or on its way to a meter outside. */
export function isSettled(sql: SqlStorage): boolean {
  const columns = tables.readColumns(sql, 'balance');
  return balanceOf(columns) === 0 && columns.debitsPending === 0 && !tables.hasUnmetered(sql);
}

/** Who pays for the jobs of a request, and what each may cost. */
export interface Payer {
  readonly terms: Terms;
  readonly limits: AccountLimits;
  readonly key: Pick<KeyRecord, 'id' | 'microUsdPerDay' | 'microUsdPerMonth'>;
  /** the key, and those in whose place it is: what was spent with them counts for it */
  readonly lineage: readonly string[];
  readonly user: string | null;
  readonly price: JobPrice;
}

/** Why `count` jobs cannot be paid; null where they can. */
export function refuseToHold(
  sql: SqlStorage,
  { terms, limits, key, lineage, user, price }: Payer,
  count: number,
  now: number,
): OutOfMoney | null {
  const needed = price.quoted * count;
  const available = availableOf(tables.readColumns(sql, 'balance'), terms.creditLimit);
  if (available !== null && needed > available)
    return { kind: 'out_of_credit', needed, available: Math.max(0, available) };
  const day = dayOf(now);
  const name = user === null ? null : usage.countedUser(sql, day, user);
  const limited = [
    ['account', 'day', [''], limits.microUsdPerDay, limits.microUsdPerMonth],
    ['key', 'key', lineage, key.microUsdPerDay, key.microUsdPerMonth],
    ...(name === null
      ? []
      : [['user', 'user', [name], limits.microUsdPerUserDay, limits.microUsdPerUserMonth] as const]),
  ] as const;
  for (const [whose, dimension, of, perDay, perMonth] of limited) {
    const periods = [
      ['day', perDay, day],
      ['month', perMonth, monthOf(day)],
    ] as const;
    for (const [period, limit, since] of periods) {
      if (limit === null) continue;
      const spent = usage.spentSince(sql, dimension, of, since);
      if (spent + needed > limit) return { kind: 'over_spend_limit', whose, period, needed, spent, limit };
    }
  }
  return null;
}

/** Holds the most that each of these jobs may cost. */
export function holdFor(
  sql: SqlStorage,
  { terms, key, user, price }: Payer,
  jobs: readonly string[],
  now: number,
): void {
  const { model, tariff, quoted } = price;
  const customer = terms.stripeCustomer;
  const day = dayOf(now);
  const name = user === null ? null : usage.countedUser(sql, day, user);
  if (name !== null) usage.countUser(sql, day, name);
  for (const job of jobs) {
    tables.appendEntry(sql, hold(job, quoted, now));
    tables.insertCharge(sql, { job, at: now, keyId: key.id, user: name, model, tariff, held: quoted, customer });
    usage.addUsage(sql, { day, keyId: key.id, user: name, model, jobs: 0, mflop: 0, captured: 0, held: quoted });
  }
}

/** What was held for each of these jobs; null for one that has no price. */
export const heldFor = (sql: SqlStorage, jobs: readonly string[]): readonly (number | null)[] =>
  jobs.map((job) => tables.readCharge(sql, job)?.held ?? null);

/** Whether something is held for a job now. */
export const isHeld = (sql: SqlStorage, job: string): boolean => tables.readCharge(sql, job)?.captured === null;

/**
 * Charges a job that has ended, or lets its hold go where it costs nothing; usage counts on the day it was held. Null
 * where nothing was ever held for it. Told again it changes nothing and answers alike.
 */
export function settle(sql: SqlStorage, job: string, charge: JobEnd['charge'], now: number): Settled | null {
  const row = tables.readCharge(sql, job);
  if (!row) return null;
  const { keyId, user, held, model, customer } = row;
  if (row.captured === null) {
    if (charge && charge.micro > held) logLine('alert', { job_id: job, what: 'charged_above_hold' });
    const captured = Math.min(held, charge?.micro ?? 0);
    const mflop = captured > 0 ? (charge?.mflop ?? 0) : 0;
    tables.appendEntry(sql, resolve(job, captured, now), held);
    const meter = customer !== null && captured > 0 ? 'waiting' : null;
    tables.settleCharge(sql, job, { captured, mflop, endedAt: now, meter });
    usage.addUsage(sql, { day: dayOf(row.at), keyId, user, model, jobs: 1, mflop, captured, held: -held });
  } else if (charge && Math.min(held, charge.micro) > row.captured) {
    // it was let go before it was known what it cost
    logLine('alert', { job_id: job, what: 'charge_came_late', micro: charge.micro });
  }
  const settled = tables.readCharge(sql, job) as tables.ChargeRow;
  return {
    captured: settled.captured as number,
    at: settled.endedAt as number,
    keyId,
    user,
    meteredCustomer: settled.meter === 'waiting' ? customer : null,
  };
}

/** Lets the hold of a job go that never came. */
export function letGo(sql: SqlStorage, job: string, now: number): void {
  const row = tables.readCharge(sql, job);
  if (!row || row.captured !== null) return;
  const { keyId, user, model, held } = row;
  tables.appendEntry(sql, resolve(job, 0, now), held);
  tables.settleCharge(sql, job, { captured: 0, mflop: 0, endedAt: now, meter: null });
  usage.addUsage(sql, { day: dayOf(row.at), keyId, user, model, jobs: 0, mflop: 0, captured: 0, held: -held });
}

/** Writes money that came in, was given back or is adjusted. The same id again writes nothing. */
export function post(sql: SqlStorage, terms: Terms, posting: Posting, now: number): Posted {
  const entry = entryOf(posting, now);
  const before = tables.readEntry(sql, posting.id);
  if (before) return isSame(entry, before) ? { kind: 'posted', entry: before, isNew: false } : { kind: 'conflict' };
  if (entry.debit === 'balance') {
    const available = availableOf(tables.readColumns(sql, 'balance'), terms.creditLimit);
    if (available !== null && entry.amount > available)
      return { kind: 'not_enough', available: Math.max(0, available) };
  }
  if (posting.kind === 'refund') {
    const charge = posting.job === null ? null : tables.readCharge(sql, posting.job);
    const refundable = (charge?.captured ?? 0) - (charge?.refunded ?? 0);
    if (entry.amount > refundable) return { kind: 'not_charged', refundable };
  }
  const { debited, credited } = tables.columnsWith(sql, entry, 0);
  if (!isExact(debited) || !isExact(credited)) return { kind: 'too_large' };
  tables.appendEntry(sql, entry);
  if (posting.kind === 'refund') tables.addRefund(sql, posting.job as string, entry.amount);
  return { kind: 'posted', entry: tables.readEntry(sql, posting.id) as StoredEntry, isNew: true };
}
