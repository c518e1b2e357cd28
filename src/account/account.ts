/** What an account is: its limits, its keys, and the index of its jobs. Types, and the pure decisions over them. */
import {
  type BudgetState,
  flopsPerMinute,
  imageOverLimit,
  type RequestWork,
  takeWork,
  type WorkLimits,
} from './budget.ts';
import { giveBack, type Rate, type RateState, takeRequests } from './rate.ts';
import type { Scope } from './scopes.ts';

export interface AccountLimits extends WorkLimits {
  /** images that a key may ask for in a minute */
  readonly imagesPerMinute: number;
  /** jobs of the account that may be under way at once */
  readonly concurrentJobs: number;
}

export const DEFAULT_LIMITS: AccountLimits = {
  imagesPerMinute: 60,
  concurrentJobs: 20,
  tflopsPerMinute: null,
  tflopsPerImage: null,
  stepsPerImage: 200,
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
  /** of `takeRequests`: microseconds */
  readonly arrival: number;
  /** work that may begin with it in a minute; null: what the account has */
  readonly tflopsPerMinute: number | null;
  /** of `takeWork`: microseconds */
  readonly workArrival: number;
}

/** A key as its account's holders see it. */
export type KeyView = Omit<KeyRecord, 'hash' | 'arrival' | 'workArrival'>;

/** A key to be kept: its hash, never itself. */
export type NewKey = Pick<KeyRecord, 'id' | 'name' | 'hash' | 'scopes' | 'expiresAt' | 'tflopsPerMinute'>;

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

/** Who did it: `admin` is the deployment's, `key:` and an id a key of the account, `system` the account itself. */
export type Actor = 'admin' | 'system' | `key:${string}`;

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
  | 'content_erasure_asked'
  | 'content_erased';

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
}

/** What becomes of running jobs when their account is suspended. */
export type RunningJobs = 'finish' | 'cancel';

/** An account in the list of all. */
export interface ListedAccount {
  readonly id: string;
  readonly name: string;
  readonly createdAt: number;
  readonly suspendedAt: number | null;
}

/** An account to be opened, with its first key. */
export interface NewAccount {
  readonly id: string;
  readonly name: string;
  readonly limits: AccountLimits;
  readonly key: NewKey;
}

/** An account as its holders see it. */
export interface AccountView {
  readonly id: string;
  readonly name: string;
  /** milliseconds since 1970 */
  readonly createdAt: number;
  readonly limits: AccountLimits;
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

/** Which jobs of an account are asked for. */
export interface JobQuery {
  /** place after which to go on, newest first; null: from the newest */
  readonly before: number | null;
  readonly limit: number;
  readonly status: JobStatus | null;
  readonly requestId: string | null;
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
  readonly requestId: string;
  /** one id an image, in order */
  readonly jobIds: readonly string[];
  readonly work: RequestWork;
  readonly idempotency: Idempotency | null;
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

/** The longest that a request is remembered. */
export const IDEMPOTENCY_MS = 24 * 3_600_000;

export type Started =
  /** the jobs are in the index and count; they are to be created now */
  | { readonly kind: 'new'; readonly jobIds: readonly string[]; readonly requestId: string; readonly rate: RateState }
  /** the idempotency key came before with the same request: its jobs, to be created where they were not */
  | { readonly kind: 'again'; readonly jobIds: readonly string[]; readonly requestId: string; readonly rate: RateState }
  | { readonly kind: 'conflict' }
  /** the key opens nothing any more; who let it in may have heard that up to 30 s ago */
  | { readonly kind: 'key_out'; readonly refusal: 'revoked' | 'expired' }
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
  | { readonly kind: 'too_many_jobs'; readonly open: number; readonly limit: number; readonly rate: RateState };

/** Arrivals once one job that was admitted is given back. */
export const refunded = (limits: AccountLimits, arrivals: Arrivals, costs: Costs): Arrivals => ({
  key: giveBack(rateOf(limits), arrivals.key, 1),
  keyWork: arrivals.keyWork - costs.key,
  accountWork: arrivals.accountWork - costs.account,
});

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
