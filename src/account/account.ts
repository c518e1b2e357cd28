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
  /** `hashKey` of it */
  readonly hash: string;
  readonly createdAt: number;
  readonly revokedAt: number | null;
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
export type NewKey = Pick<KeyRecord, 'id' | 'name' | 'hash' | 'tflopsPerMinute'>;

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

/** Why a key does not open: nothing is told apart from outside. */
export type KeyRefusal = 'unknown' | 'revoked';

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
