/** What an account is: its limits, its keys, and the index of its jobs. Types, and the pure decisions over them. */
import {
  type BudgetState,
  flopsPerMinute,
  imageOverLimit,
  type RequestWork,
  spendWork,
  takeWork,
  type WorkLimits,
} from './budget.ts';
import type { Jurisdiction } from './place.ts';
import { giveBack, type Rate, type RateState, takeRequests } from './rate.ts';
import type { Scope } from './scopes.ts';
import type { KeyRefusal } from './standing.ts';

export interface AccountLimits extends WorkLimits, SpendLimits {
  /** images that a key may ask for in a minute */
  readonly imagesPerMinute: number;
  /** jobs of the account that may be under way at once */
  readonly concurrentJobs: number;
}

/** Money that may be spent in a day and a month (UTC), micro-dollars; null: as much as there is. */
export interface SpendLimits {
  readonly microUsdPerDay: number | null;
  readonly microUsdPerMonth: number | null;
  /** by each of the caller's own customers */
  readonly microUsdPerUserDay: number | null;
  readonly microUsdPerUserMonth: number | null;
}

export const DEFAULT_LIMITS: AccountLimits = {
  imagesPerMinute: 60,
  concurrentJobs: 20,
  tflopsPerMinute: null,
  tflopsPerImage: null,
  stepsPerImage: 200,
  microUsdPerDay: null,
  microUsdPerMonth: null,
  microUsdPerUserDay: null,
  microUsdPerUserMonth: null,
};

const rateOf = ({ imagesPerMinute }: AccountLimits): Rate => ({ limit: imagesPerMinute, windowMs: 60_000 });

/** A key as it is kept. Times are milliseconds since 1970. */
export interface KeyRecord {
  readonly id: string;
  readonly name: string;
  /** a keyed hash of the whole key (key.ts) */
  readonly hash: string;
  /** whether its text carries a MAC; those of the first form do not */
  readonly isSigned: boolean;
  readonly scopes: readonly Scope[];
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  /** to the minute; null: never */
  readonly lastUsedAt: number | null;
  /** work that may begin with it in a minute; null: what the account has */
  readonly tflopsPerMinute: number | null;
  /** micro-dollars that may be spent with it; null: what the account may */
  readonly microUsdPerDay: number | null;
  readonly microUsdPerMonth: number | null;
}

/** A key as its account's holders see it. */
export type KeyView = Omit<KeyRecord, 'hash'>;

/** A key to be kept: its hash, never itself. */
export type NewKey = Pick<
  KeyRecord,
  'id' | 'name' | 'hash' | 'scopes' | 'expiresAt' | 'tflopsPerMinute' | 'microUsdPerDay' | 'microUsdPerMonth'
>;

/** Keys of an account that open at the same time. */
export const MAX_LIVE_KEYS = 100;
/** Keys of an account that are kept, those that open no more included: the oldest of these go first. */
export const MAX_KEYS = 200;

/** Whether a key opens nothing any more. */
export const isOut = ({ revokedAt, expiresAt }: Pick<KeyRecord, 'revokedAt' | 'expiresAt'>, now: number): boolean =>
  revokedAt !== null || (expiresAt !== null && now >= expiresAt);

export type AddedKey = 'added' | 'no_account' | 'too_many_keys';

/** A key to take the place of another, which opens for `overlapMs` more. */
export type SuccessorKey = Pick<KeyRecord, 'id' | 'hash'> & { readonly overlapMs: number };

/**
 * Who did it: `admin` is the deployment's, `key:` and an id a key of the account, `system` the account itself, `stripe`
 * a payment there.
 */
export type Actor = 'admin' | 'system' | 'stripe' | `key:${string}`;

/** What is written down for good. */
export type Act =
  | 'account_opened'
  | 'account_changed'
  | 'account_suspended'
  | 'account_resumed'
  | 'key_made'
  | 'key_rotated'
  | 'key_revoked'
  | 'webhook_secret_replaced'
  | 'job_erasure_asked'
  | 'share_asked'
  | 'share_end_asked'
  | 'content_erasure_asked'
  | 'content_erased'
  | 'money_posted'
  | 'ledger_restored';

/** One line of the audit trail: who did what to what, when. Nothing secret, and nothing of any job's content. */
export interface AuditEntry {
  readonly seq: number;
  readonly at: number;
  readonly actor: Actor;
  readonly act: Act;
  /** id of the key or job it was done to; null: to the account */
  readonly subject: string | null;
  readonly detail: Readonly<Record<string, string | number | readonly string[] | null>>;
}

/** Which part of a list that goes from old to new: after place `after`, at most `limit`. */
export interface PageQuery {
  readonly after: number;
  readonly limit: number;
}

/** What an admin may change of an account; what is absent stays. */
export interface AccountChanges {
  readonly name?: string;
  readonly limits?: Partial<AccountLimits>;
  readonly terms?: Partial<Terms>;
}

/**
 * What came of a change. Nobody pays ahead and afterwards: another mode is taken up where nothing is owed, left, held
 * or on its way to a meter.
 */
export type ChangedAccount = 'changed' | 'no_account' | 'not_settled';

/** What becomes of running jobs when their account is suspended. */
export type RunningJobs = 'finish' | 'cancel';

/** An account in the list of all. */
export interface ListedAccount {
  readonly id: string;
  readonly name: string;
  readonly createdAt: number;
  readonly suspendedAt: number | null;
}

/** How an account pays: ahead, or afterwards through a meter outside, up to a limit. */
export interface Terms {
  readonly mode: 'prepaid' | 'postpaid';
  /** what a postpaid account may owe, micro-dollars; null: no limit. 0 where it pays ahead */
  readonly creditLimit: number | null;
  /** a postpaid account's customer at Stripe; null: no meter is told */
  readonly stripeCustomer: string | null;
}

export const PREPAID: Terms = { mode: 'prepaid', creditLimit: 0, stripeCustomer: null };
/** of accounts opened before there were prices: what they do is counted, and nobody is stopped */
export const UNLIMITED: Terms = { mode: 'postpaid', creditLimit: null, stripeCustomer: null };

/** Where an account stands: micro-dollars. */
export interface Balance extends Terms {
  /** what was paid in and not used; below 0: owed */
  readonly balance: number;
  /** of that, held for jobs under way */
  readonly held: number;
  /** what further jobs may cost; null: no limit */
  readonly available: number | null;
}

/** An account to be opened, with its first key. */
export interface NewAccount {
  readonly id: string;
  readonly name: string;
  readonly limits: AccountLimits;
  readonly terms: Terms;
  /** where its jobs and their pictures have to stay, from now on; null, or left out: anywhere */
  readonly jurisdiction?: Jurisdiction | null;
  readonly key: NewKey;
}

/** An account as its holders see it. */
export interface AccountView {
  readonly id: string;
  readonly name: string;
  /** milliseconds since 1970 */
  readonly createdAt: number;
  readonly limits: AccountLimits;
  readonly balance: Balance;
  readonly jurisdiction: Jurisdiction | null;
  readonly openJobs: number;
  /** since when it takes no new work; null: it does */
  readonly suspendedAt: number | null;
  /** its jobs are being erased, as was asked */
  readonly isErasing: boolean;
}

/** What a done job took: its work, and the time its stages had. */
export interface JobWork {
  readonly model: string;
  readonly tflops: number;
  readonly ms: number;
}

/** How a job ended, as its account is told. */
export interface JobEnd {
  readonly status: Exclude<JobStatus, 'open'>;
  /** of a done job */
  readonly work: JobWork | null;
  /** what it costs, micro-dollars, and the work that is paid, MFLOPs; null where it had no price */
  readonly charge: { readonly micro: number; readonly mflop: number } | null;
  /** work of a failed job beyond what it was let in for, and that of one plain picture, MFLOPs; null: none */
  readonly excess: { readonly mflop: number; readonly plainMflop: number } | null;
}

/** What became of the money of a job that has ended. */
export interface Settled {
  /** micro-dollars */
  readonly captured: number;
  /** when, milliseconds since 1970 */
  readonly at: number;
  readonly keyId: string;
  /** the caller's own customer; null where none was named */
  readonly user: string | null;
  /** whom a meter outside has still to bill for it; null where it has, or the account pays ahead */
  readonly meteredCustomer: string | null;
}

/**
 * What an account answers to the end of a job: null where nothing was held for it, `unlisted` where it lists no such
 * job any more. It let that one go before it came, or has heard of its end and erasure: others have nothing to hear.
 */
export type EndTaken = Settled | null | 'unlisted';

/** Whether a job may begin: `gone` is one that its account has let go, or never had. */
export type Confirmed = 'held' | 'gone';

/** Which jobs of an account are asked for. */
export interface JobQuery {
  /** place after which to go on, newest first; null: from the newest */
  readonly before: number | null;
  readonly limit: number;
  readonly status: JobStatus | null;
  readonly requestId: string | null;
  /** only those that this key has started; absent: any key */
  readonly keyId?: string;
}

export type JobStatus = 'open' | 'done' | 'failed' | 'cancelled';

/** A job as the account knows it. */
export interface IndexedJob {
  readonly id: string;
  readonly requestId: string;
  readonly keyId: string;
  readonly createdAt: number;
  readonly status: JobStatus;
}

export interface StartRequest {
  /** what may be kept of the key that came: it is the one that is kept; null, or left out: its holder was let in */
  readonly keyHashes?: readonly string[] | null;
  readonly requestId: string;
  /** one id an image, in order */
  readonly jobIds: readonly string[];
  readonly work: RequestWork;
  /** of each job; null where nothing is charged */
  readonly price: JobPrice | null;
  /** the caller's own customer */
  readonly user: string | null;
  readonly idempotency: Idempotency | null;
}

/** The most that a job costs, by which tariff. */
export interface JobPrice {
  readonly model: string;
  readonly tariff: string;
  /** micro-dollars */
  readonly quoted: number;
}

/** What makes two requests one. */
export interface Idempotency {
  /** the caller's `Idempotency-Key`, or one made for it that no header can hold */
  readonly key: string;
  /** of what was asked */
  readonly digest: string;
  /**
   * null: the caller says that it is the same request. A number: only guessed, from a client that counts its own
   * repetitions; 0 is a first try
   */
  readonly repetition: number | null;
}

/** How long after a request a client may send it again by itself: OpenAI's waits ten minutes for an answer. */
const REPETITION_MS = 15 * 60_000;

/** A request that came before under a key. */
export interface RememberedRequest {
  readonly digest: string;
  readonly requestId: string;
  readonly jobIds: readonly string[];
  /** when it came, or was last repeated: milliseconds */
  readonly createdAt: number;
  /**
   * the highest repetition that has attached; 0: none. `Infinity`: several such first tries were under way at once, so
   * nobody can tell whose a repetition is
   */
  readonly attached: number;
}

/**
 * Whether a request under this key now is `earlier` come again. `statuses` are its jobs', null for one that is gone:
 * then the key is free. A guess attaches once a repetition, and to no work that came to nothing.
 */
export function isRepetition(
  { repetition }: Idempotency,
  earlier: RememberedRequest,
  statuses: readonly (JobStatus | null)[],
  now: number,
): boolean {
  if (statuses.includes(null)) return false;
  if (repetition === null) return now - earlier.createdAt < IDEMPOTENCY_MS;
  return (
    repetition > earlier.attached &&
    now - earlier.createdAt < REPETITION_MS &&
    statuses.every((status) => status === 'open' || status === 'done')
  );
}

/** A job is created within seconds of its entry, or its Worker is gone. */
export const CREATION_MS = 60_000;
/** The longest that a request is remembered. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;

export type Started =
  /** the jobs are in the index and count; they are to be created now */
  | {
      readonly kind: 'new';
      readonly jobIds: readonly string[];
      readonly requestId: string;
      /** when they were entered, milliseconds since 1970 by the account's clock: the order of their line */
      readonly enteredAt: number;
      readonly rate: RateState;
    }
  /** the idempotency key came before with the same request: its jobs, to be created where they were not */
  | {
      readonly kind: 'again';
      readonly jobIds: readonly string[];
      readonly requestId: string;
      /** held for each of them then, micro-dollars: none costs more, whatever a picture costs by now; null: no price */
      readonly held: readonly (number | null)[];
      readonly rate: RateState;
    }
  | { readonly kind: 'conflict' }
  /** the key opens nothing any more; who let it in may have heard that up to 30 s ago */
  | { readonly kind: 'key_out'; readonly refusal: KeyRefusal }
  /** the key may not start jobs */
  | { readonly kind: 'key_lacks'; readonly scope: Scope }
  /** the account takes no new work */
  | { readonly kind: 'suspended' }
  | { readonly kind: 'rate_limited'; readonly retryMs: number; readonly rate: RateState }
  /** an image of the request is larger than one may be */
  | {
      readonly kind: 'image_too_large';
      readonly what: 'steps' | 'TFLOPs';
      readonly asked: number;
      readonly limit: number;
    }
  /** of the account, or of the key */
  | {
      readonly kind: 'out_of_budget';
      readonly whose: 'account' | 'key';
      readonly retryMs: number;
      readonly budget: BudgetState;
    }
  | { readonly kind: 'too_many_jobs'; readonly open: number; readonly limit: number; readonly rate: RateState }
  | OutOfMoney;

/** Why no money could be held for a request: micro-dollars. */
export type OutOfMoney =
  | { readonly kind: 'out_of_credit'; readonly needed: number; readonly available: number }
  | {
      readonly kind: 'over_spend_limit';
      readonly whose: 'account' | 'key' | 'user';
      readonly period: 'day' | 'month';
      readonly needed: number;
      readonly spent: number;
      readonly limit: number;
    };

/** Arrivals once one job that was admitted is given back. */
export const refunded = (limits: AccountLimits, arrivals: Arrivals, costs: Costs): Arrivals => ({
  key: giveBack(rateOf(limits), arrivals.key, 1),
  keyWork: arrivals.keyWork - costs.key,
  accountWork: arrivals.accountWork - costs.account,
});

/** Arrivals once work was done that nobody pays: taken in full, whatever is left. */
export function withExcess(
  limits: AccountLimits,
  arrivals: Arrivals,
  { key, excess }: { readonly key: Pick<KeyRecord, 'tflopsPerMinute'>; readonly excess: NonNullable<JobEnd['excess']> },
  now: number,
): Arrivals {
  const owed = (arrival: number, tflopsPerMinute: number | null): number =>
    spendWork(
      flopsPerMinute({ ...limits, tflopsPerMinute }, { plainFlops: excess.plainMflop * 1e6 }),
      arrival,
      now,
      excess.mflop * 1e6,
    );
  return {
    ...arrivals,
    keyWork: owed(arrivals.keyWork, key.tflopsPerMinute ?? limits.tflopsPerMinute),
    accountWork: owed(arrivals.accountWork, limits.tflopsPerMinute),
  };
}

/** How a key stands, without taking anything. */
export function rateState(limits: AccountLimits, arrival: number, now: number): RateState {
  const { limit, remaining, resetMs } = takeRequests(rateOf(limits), arrival, now, 0);
  return { limit, remaining, resetMs };
}

/** What a key and its account have left, as it is kept: microseconds. */
export interface Arrivals {
  readonly key: number;
  readonly keyWork: number;
  readonly accountWork: number;
}

/** What one job took of the budgets, microseconds: given back where it is not created. */
export interface Costs {
  readonly key: number;
  readonly account: number;
}

export type Admitted =
  | { readonly refusal: Exclude<Started, { kind: 'new' | 'again' | 'conflict' }> }
  | {
      readonly refusal: null;
      readonly arrivals: Arrivals;
      /** of each job */
      readonly costs: Costs;
      readonly rate: RateState;
    };

/**
 * Whether `count` more images may start now for a key with `open` jobs under way in its account. Everything is taken or
 * nothing.
 */
export function admit(
  {
    limits,
    keyTflopsPerMinute,
    arrivals,
    open,
    count,
    work,
  }: {
    readonly limits: AccountLimits;
    readonly keyTflopsPerMinute: number | null;
    readonly arrivals: Arrivals;
    readonly open: number;
    readonly count: number;
    readonly work: RequestWork;
  },
  now: number,
): Admitted {
  const tooLarge = imageOverLimit(limits, work, count);
  if (tooLarge) return { refusal: { kind: 'image_too_large', ...tooLarge } };
  if (open + count > limits.concurrentJobs) {
    const rate = rateState(limits, arrivals.key, now);
    return { refusal: { kind: 'too_many_jobs', open, limit: limits.concurrentJobs, rate } };
  }
  const taken = takeRequests(rateOf(limits), arrivals.key, now, count);
  const rate = { limit: taken.limit, remaining: taken.remaining, resetMs: taken.resetMs };
  if (!taken.ok) return { refusal: { kind: 'rate_limited', retryMs: taken.retryMs, rate } };

  const perMinute = flopsPerMinute(limits, work);
  const ofKey = flopsPerMinute({ ...limits, tflopsPerMinute: keyTflopsPerMinute ?? limits.tflopsPerMinute }, work);
  const account = takeWork(perMinute, arrivals.accountWork, now, work.flops);
  const key = takeWork(ofKey, arrivals.keyWork, now, work.flops);
  if (!account.ok)
    return { refusal: { kind: 'out_of_budget', whose: 'account', retryMs: account.retryMs, budget: account.state } };
  if (!key.ok) return { refusal: { kind: 'out_of_budget', whose: 'key', retryMs: key.retryMs, budget: key.state } };
  return {
    refusal: null,
    arrivals: { key: taken.arrival, keyWork: key.arrival, accountWork: account.arrival },
    costs: { key: key.cost / count, account: account.cost / count },
    rate,
  };
}
