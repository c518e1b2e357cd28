/**
 * The calls that the objects answer, as both sides see them: a class implements one of these, a caller
 * gets it from `callObject`. Everything here travels over RPC, so it is plain data. A job is watched over a
 * WebSocket instead (watching.ts).
 */
import type {
  AccountChanges,
  AccountView,
  Actor,
  AddedKey,
  AuditEntry,
  ChangedAccount,
  Confirmed,
  EndTaken,
  Idempotency,
  IndexedJob,
  JobEnd,
  JobQuery,
  KeyView,
  ListedAccount,
  NewAccount,
  NewKey,
  PageQuery,
  RunningJobs,
  Started,
  StartRequest,
  SuccessorKey,
} from '../account/account.ts';
import type { Jurisdiction } from '../account/place.ts';
import type { Standing } from '../account/standing.ts';
import type { WebhookGeneration } from '../account/webhook-secret.ts';
import type { BackupPage, BackupQuery, Restored, RestorePage } from '../billing/backup.ts';
import type { Reconciled } from '../billing/difference.ts';
import type { Posting, PostRefusal, StoredEntry } from '../billing/ledger.ts';
import type { UsagePage, UsageQuery } from '../billing/spending.ts';
import type { Statement } from '../billing/statement.ts';
import type { MeterMinute } from '../billing/stripe.ts';
import type { LocationHint } from '../fleet/regions.ts';
import type {
  Admission,
  AdmissionRequest,
  DispatcherView,
  Released,
  Slot,
  SlotAnswer,
  SlotRequest,
} from '../fleet/slots.ts';
import type { ImageFormat } from '../stage/contract.ts';
import type { Picture } from './events.ts';
import type { JobRequest, JobView, Plan } from './job.ts';
import type { LogLine } from './log-lines.ts';
import type { LetterKind } from './outbox.ts';
import type { NewShare, Share, SharedJob, SharedPicture, ShareTaken } from './share.ts';
import type { AskedWebhook } from './webhook.ts';

/** What an object's method gives to whoever calls it from outside. */
type Answer<T> = T | Promise<T>;

/** A job to be stored and started. */
export interface NewJob {
  readonly id: string;
  readonly account: string;
  /** ids of the regions it may use, in this order; a Worker of an earlier version leaves them out: the nameless one */
  readonly regions?: readonly string[];
  /** when its account entered it, milliseconds since 1970; left out: now */
  readonly enteredAt?: number;
  /** that lets it in, and counts on it; left out, or null: none did */
  readonly dispatcher?: string | null;
  readonly request: JobRequest;
  readonly plan: Plan;
  /** seconds the job may take; null: as long as it takes */
  readonly deadlineSeconds: number | null;
  readonly webhook: AskedWebhook | null;
}

/** A job with its story so far as lines of text. */
export interface JobWithLogs {
  readonly job: JobView;
  readonly logs: readonly LogLine[];
}

/** A finished picture once more, small. */
export interface Thumbnail {
  readonly format: ImageFormat;
  readonly b64_json: string;
  /** milliseconds since 1970 */
  readonly finishedAt: number;
}

/** What a job says of its money. */
export interface Reckoning {
  /** the most that it may cost, micro-dollars; null: nothing is charged, or it is no longer stored */
  readonly quoted: number | null;
  /** how it ended; null: it is no longer stored */
  readonly end: JobEnd | 'open' | null;
  /** kinds of the letters that were not taken yet */
  readonly letters: readonly LetterKind[];
}

/**
 * One job's object. `owner` is the account that asks: every other account's question finds nothing. A null owner asks
 * for whoever's job it is: someone with a signed link, or the account's own object.
 */
export interface JobCalls {
  /**
   * Stores the job with its first events and starts it. Idempotent: a second call with the same id changes nothing.
   * Null where it was erased and others have yet to hear of that.
   */
  create(job: NewJob): Answer<JobView | null>;
  /** The same, answered with the story so far. */
  createWithLogs(job: NewJob): Answer<JobWithLogs | null>;
  view(owner: string | null): Answer<JobView | null>;
  viewWithLogs(owner: string | null): Answer<JobWithLogs | null>;
  /** Its finished picture, small; `none` where it has no such, or not yet, null where there is no job. */
  thumbnail(owner: string | null): Answer<Thumbnail | 'none' | null>;
  /** Opens the WebSocket of a watcher (src/job/watching.ts): a request, because sockets do not travel over RPC. */
  fetch(request: Request): Answer<Response>;
  /** Its turn has come: a dispatcher has a slot for it. False where it has no use for one (any more). */
  turn(dispatcher: string, slot: Slot): Answer<boolean>;
  /** Its place in a line is lost, or all servers there are out: it asks again now, unless it pauses. */
  askAgain(): Answer<void>;
  /** Another job of the request that this one speaks for has its picture: its webhook may hear of that. */
  pictureMade(): Answer<void>;
  /** How the job ended, also where it was erased and has yet to tell; `open` where it has not, null without one. */
  ending(): Answer<JobEnd | 'open' | null>;
  /** What it says of its money, and which of its letters wait; null where there is nothing of it. */
  reckoning(): Answer<Reckoning | null>;
  /** Ends the job unless it has ended already, and frees the stage server. */
  cancel(owner: string): Answer<JobView | null>;
  /** Removes prompt, picture, latents, events and shares. False when there was no such job. */
  erase(owner: string): Answer<boolean>;
  /** The account whose job it is; null where there is no job. */
  owner(): Answer<string | null>;
  /** Shares the finished picture. Idempotent: a share that is there already stays as it is. */
  share(owner: string, share: NewShare): Answer<ShareTaken>;
  /** The shares that open, oldest first; null where there is no such job. */
  shares(owner: string): Answer<readonly Share[] | null>;
  /** Ends a share. False where there is none such. */
  unshare(owner: string, share: string): Answer<boolean>;
  /** What a share shows; null where it does not open (any more). */
  shared(share: string): Answer<SharedJob | null>;
  /** The format of the picture that a share shows; null as above. */
  sharedFormat(share: string): Answer<ImageFormat | null>;
  /** A picture on the way to the finished one, as `SharedJob` names it; null as above, or where there is none. */
  sharedPicture(share: string, name: SharedPicture): Answer<Picture | null>;
}

/** The dispatcher of one pool of stage servers in one region. */
export interface DispatcherCalls {
  /**
   * A slot for the next stage of a job, or a place in the line: then `JobCalls.turn` follows. Idempotent: a job that
   * holds a slot gets that one again, one that waits keeps its place.
   */
  ask(request: SlotRequest): Answer<SlotAnswer>;
  /**
   * The job still runs the stage of `request` in this slot: a dispatcher that has lost its memory knows of it again.
   * False where the slot has ended.
   */
  renew(request: SlotRequest, slot: Slot): Answer<boolean>;
  /** The slot is free, and what came of it. */
  release(job: string, released: Released): Answer<void>;
  /** The job waits no longer. */
  leave(job: string): Answer<void>;
  /** Whether jobs that do not exist yet may come; their work is counted from now on, for half a minute. */
  admit(request: AdmissionRequest): Answer<Admission>;
  /** Its servers and its lines. */
  demand(): Answer<DispatcherView>;
}

/** What came of a posting. */
export type Posted = { readonly kind: 'posted'; readonly entry: StoredEntry; readonly isNew: boolean } | PostRefusal;

/** One account's object. Where there is no account, questions find nothing and orders change nothing. */
export interface AccountCalls {
  /** Makes the account with its first key. False, and nothing changed, where it exists. */
  open(account: NewAccount): Answer<boolean>;
  view(): Answer<AccountView | null>;
  /** Changes name, limits or terms. */
  change(changes: AccountChanges, actor: Actor): Answer<ChangedAccount>;
  /** Takes no new work; running jobs end by themselves or are cancelled. False where there is no account. */
  suspend(running: RunningJobs, actor: Actor): Answer<boolean>;
  resume(actor: Actor): Answer<boolean>;
  addKey(key: NewKey, actor: Actor): Answer<AddedKey>;
  keys(): Answer<readonly KeyView[]>;
  /** A new key in the place of one that still opens; null where there is none such. */
  rotateKey(id: string, successor: SuccessorKey, actor: Actor): Answer<KeyView | null>;
  revokeKey(id: string, actor: Actor): Answer<boolean>;
  /** How a key stands, which is thereby used; null where there is none such. */
  standing(keyId: string): Answer<Standing | null>;
  /** Whether a job was started with this key; null where the account has no such job. */
  isOwnJob(keyId: string, job: string): Answer<boolean | null>;
  /** Writes down that somebody wants a job erased. */
  noteErasure(job: string, actor: Actor): Answer<void>;
  /** Writes down that somebody wants a job's picture shared, or a share of it ended. */
  noteShare(job: string, share: string, act: 'share_asked' | 'share_end_asked', actor: Actor): Answer<void>;
  /** Orders that every job there is now be erased. False where there is no account. */
  eraseContent(actor: Actor): Answer<boolean>;
  /** The audit trail, oldest first. */
  audit(query: PageQuery): Answer<readonly AuditEntry[]>;
  /** The generations of the secret that signs webhooks: the newest first, and for a day the one before it. */
  webhookGenerations(): Answer<readonly WebhookGeneration[]>;
  rotateWebhookSecret(actor: Actor): Answer<void>;
  /** Enters the jobs of one request, all or none; decides whether the key opens and the account takes work. */
  start(keyId: string, request: StartRequest): Answer<Started>;
  /** The request that came before under the same idempotency key, and is marked as having come again. */
  recall(keyId: string, idempotency: Idempotency): Answer<Extract<Started, { kind: 'again' | 'conflict' }> | null>;
  /** Whether another request has attached to the jobs started under a key. */
  isShared(idempotencyKey: string): Answer<boolean>;
  /** The jobs will not be created: their entries go; with `refund` what they took of rate and budgets comes back. */
  withdraw(ids: readonly string[], refund: boolean): Answer<void>;
  /** Whether a job may begin: asked by its object before it sends anything. */
  confirm(id: string): Answer<Confirmed>;
  /**
   * A job has ended: what it costs is charged, the rest of what was held let go. Told by its object, at least once, and
   * answered alike every time while the job is listed.
   */
  ended(id: string, end: JobEnd): Answer<EndTaken>;
  /** A meter outside has taken the charge of a job: told by its object, at least once. */
  metered(id: string): Answer<void>;
  /** What of the charges of the minute of `at` a meter outside has taken, and what not. */
  meterMinute(at: number): Answer<MeterMinute>;
  /** Milliseconds a TFLOP that the account's last jobs on a model took; null before the first. */
  pace(model: string): Answer<number | null>;
  /** A job is no longer stored. */
  erased(id: string): Answer<void>;
  /**
   * Writes money that came in, was given back or is adjusted; the same posting again writes nothing. Null where there
   * is no account.
   */
  post(posting: Posting, actor: Actor): Answer<Posted | null>;
  /** The entries of the ledger, oldest first, and where it stood before them; null where there is no account. */
  statement(query: PageQuery): Answer<Statement | null>;
  /** What was done and spent between two days, by group, and in all; null where there is no account. */
  usage(query: UsageQuery): Answer<UsagePage | null>;
  /**
   * Compares ledger, jobs and outbox: the rows with each other where `after` is 0, and a page of the jobs after that
   * place with what they say themselves. Null where there is no account.
   */
  reconcile(after: number): Answer<Reconciled | null>;
  /** A page of the ledger, to be kept elsewhere; null where there is no account. */
  backup(query: BackupQuery): Answer<BackupPage | null>;
  /**
   * Puts a page of a ledger back that was kept elsewhere. Told again it changes nothing. Null where there is no
   * account.
   */
  restore(page: RestorePage, actor: Actor): Answer<Restored | null>;
  /** Jobs of the account, newest first, each with its place. */
  jobs(query: JobQuery): Answer<readonly (IndexedJob & { readonly seq: number })[]>;
}

/** The object that lists the accounts. */
export interface DirectoryCalls {
  /** Enters an account, or what has changed of it. Idempotent. */
  enter(account: ListedAccount): Answer<void>;
  /** Accounts in the order they were entered, each with its place. */
  accounts(query: PageQuery): Answer<readonly (ListedAccount & { readonly seq: number })[]>;
}

/** The name of the one that there is. */
export const DIRECTORY_NAME = 'accounts';

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
  getByName(name: string, options?: { readonly locationHint?: LocationHint }): Remote<Calls>;
  /** the same objects where only a jurisdiction's law holds: others of the same names */
  jurisdiction?(name: Jurisdiction): Objects<Calls>;
}
