/**
 * The calls that the two kinds of objects answer, as both sides see them: a class implements one of these, a caller
 * gets it from `callObject`. Everything here travels over RPC, so it is plain data or a byte stream. Types only.
 */
import type {
  AccountView,
  Idempotency,
  IndexedJob,
  JobQuery,
  JobStatus,
  JobWork,
  KeyRefusal,
  KeyView,
  NewAccount,
  NewKey,
  Started,
  StartRequest,
} from '../account/account.ts';
import type { StoredEvent } from './events.ts';
import type { JobRequest, JobView, Plan } from './job.ts';
import type { LogLine } from './log-lines.ts';
import type { Webhook } from './webhook.ts';

/** What an object's method gives to whoever calls it from outside. */
type Answer<T> = T | Promise<T>;

/** A job to be stored and started. */
export interface NewJob {
  readonly id: string;
  readonly account: string;
  readonly request: JobRequest;
  readonly plan: Plan;
  /** seconds the job may take; null: as long as it takes */
  readonly deadlineSeconds: number | null;
  readonly webhook: Pick<Webhook, 'url' | 'door' | 'origin'> | null;
}

/** A job with its story so far as lines of text. */
export interface JobWithLogs {
  readonly job: JobView;
  readonly logs: readonly LogLine[];
}

/**
 * One job's object. `owner` is the account that asks: every other account's question finds nothing. A null owner asks
 * for whoever's job it is: someone with a signed link, or the account's own object.
 */
export interface JobCalls {
  /** Stores the job with its first events and starts it. Idempotent: a second call with the same id changes nothing. */
  create(job: NewJob): Answer<JobView>;
  view(owner: string | null): Answer<JobView | null>;
  viewWithLogs(owner: string | null): Answer<JobWithLogs | null>;
  /**
   * The events after `after` as server-sent-event bytes, followed until the job ends; null when there is no job, `over`
   * when none can come any more, `ahead` when there has been no such event.
   */
  events(owner: string | null, after: number): Answer<ReadableStream<Uint8Array> | 'over' | 'ahead' | null>;
  /** The stored events after `after`, at most 64; where there are none, those that come within `waitMs`. */
  eventsAfter(owner: string | null, after: number, waitMs: number): Answer<readonly StoredEvent[] | null>;
  /** The job once it has ended, or as it stands after `ms`. */
  wait(owner: string, ms: number): Answer<JobView | null>;
  /** Ends the job unless it has ended already, and frees the stage server. */
  cancel(owner: string): Answer<JobView | null>;
  /** Removes prompt, picture, latents and events. False when there was no such job. */
  erase(owner: string): Answer<boolean>;
}

/** One account's object. Where there is no account, questions find nothing and orders change nothing. */
export interface AccountCalls {
  /** Makes the account with its first key. False, and nothing changed, where it exists. */
  open(account: NewAccount): Answer<boolean>;
  view(): Answer<AccountView | null>;
  addKey(key: NewKey): Answer<boolean>;
  keys(): Answer<readonly KeyView[]>;
  revokeKey(id: string): Answer<boolean>;
  /** The generations of the secret that signs webhooks: the newest first, and for a day the one before it. */
  webhookGenerations(): Answer<readonly number[]>;
  rotateWebhookSecret(): Answer<void>;
  /** Why the key with this hash does not open the account; null where it does. */
  refuse(keyId: string, hash: string): Answer<KeyRefusal | null>;
  /** Enters the jobs of one request, all or none. The key must have been let in by `refuse`. */
  start(keyId: string, request: StartRequest): Answer<Started>;
  /** The request that came before under the same idempotency key, and is marked as having come again. */
  recall(keyId: string, idempotency: Idempotency): Answer<Extract<Started, { kind: 'again' | 'conflict' }> | null>;
  /** Whether another request has attached to the jobs started under a key. */
  isShared(idempotencyKey: string): Answer<boolean>;
  /** The jobs will not be created: their entries go; with `refund` what they took of rate and budgets comes back. */
  withdraw(ids: readonly string[], refund: boolean): Answer<void>;
  /** A job has ended, a done one with its work and time. Told by its object, at least once. */
  ended(id: string, status: Exclude<JobStatus, 'open'>, work: JobWork | null): Answer<void>;
  /** Milliseconds a TFLOP that the account's last jobs on a model took; null before the first. */
  pace(model: string): Answer<number | null>;
  /** A job is no longer stored. */
  erased(id: string): Answer<void>;
  /** Jobs of the account, newest first, each with its place. */
  jobs(query: JobQuery): Answer<readonly (IndexedJob & { readonly seq: number })[]>;
}

/** The calls as they look from the other side of a stub: every answer takes a while. */
export type Remote<Calls> = {
  readonly [Name in keyof Calls]: Calls[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

/**
 * A binding whose objects answer `Calls`. The platform's own type of a binding turns read-only data into `never`, so
 * bindings are declared with this one instead.
 */
export interface Objects<Calls> {
  getByName(name: string): Remote<Calls>;
}
