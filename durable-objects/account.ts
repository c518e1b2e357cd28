/**
 * One account = one object: its keys, its limits, what it asked for twice, the index of its jobs, and the trail of who
 * changed what.
 *
 * A job is entered here first and created afterwards, so a job that runs is always counted; an entry whose job never
 * came is let go by the alarm. That a job has ended is told by the job's own object, at least once. No transaction
 * spans the two.
 */
import { DurableObject } from 'cloudflare:workers';
import {
  type AccountChanges,
  type AccountView,
  type Actor,
  type AddedKey,
  type AuditEntry,
  type ChangedAccount,
  type Confirmed,
  CREATION_MS,
  type EndTaken,
  IDEMPOTENCY_MS,
  type Idempotency,
  type IndexedJob,
  type JobEnd,
  type JobQuery,
  type KeyView,
  type NewAccount,
  type NewKey,
  type PageQuery,
  type RunningJobs,
  type Started,
  type StartRequest,
  type SuccessorKey,
} from '../src/account/account.ts';
import type { Standing } from '../src/account/standing.ts';
import type { WebhookGeneration } from '../src/account/webhook-secret.ts';
import type { BackupPage, BackupQuery, Restored, RestorePage } from '../src/billing/backup.ts';
import type { Reconciled } from '../src/billing/difference.ts';
import type { Posting } from '../src/billing/ledger.ts';
import type { UsagePage, UsageQuery } from '../src/billing/spending.ts';
import type { Statement } from '../src/billing/statement.ts';
import type { MeterMinute } from '../src/billing/stripe.ts';
import type { AccountCalls, Posted } from '../src/job/rpc.ts';
import { type Books, makeBooks } from './account/books.ts';
import { type Chores, makeChores } from './account/chores.ts';
import { type Entries, makeEntries } from './account/entries.ts';
import * as index from './account/index-tables.ts';
import { insertKey } from './account/key-tables.ts';
import { type Keys, makeKeys } from './account/keys.ts';
import { balanceIn } from './account/money.ts';
import { makeOrders, type Orders } from './account/orders.ts';
import type { AccountEnv, AccountParts } from './account/parts.ts';
import { isShared } from './account/start.ts';
import * as tables from './account/tables.ts';
import { paceOf, readTally } from './account/tally-table.ts';
import { makeUnheard, type Unheard } from './account/unheard.ts';
import { hasTables, migrate } from './migrate.ts';

/** How long webhooks are also signed with the secret that was replaced. */
const OLD_SECRET_MS = 24 * 3_600_000;
/** requests forgotten in one round */
const REQUESTS_A_ROUND = 1000;

export class AccountObject extends DurableObject<AccountEnv> implements AccountCalls {
  readonly #sql: SqlStorage;
  readonly #orders: Orders;
  readonly #keys: Keys;
  readonly #entries: Entries;
  readonly #unheard: Unheard;
  readonly #books: Books;
  readonly #chores: Chores;
  #hasTables = false;
  /** for when the alarm is set; null: not known */
  #alarmAt: number | null = null;

  constructor(ctx: DurableObjectState, env: AccountEnv) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    const parts: AccountParts = {
      env: () => this.env,
      storage: ctx.storage,
      account: () => this.#account(),
      note: (actor, act, subject, detail) => this.#note(actor, act, subject, detail),
    };
    this.#orders = makeOrders(parts, () => this.#order());
    this.#keys = makeKeys(parts);
    this.#entries = makeEntries(parts);
    this.#unheard = makeUnheard(parts, this.#entries);
    this.#books = makeBooks(parts);
    this.#chores = makeChores(() => this.env, ctx.storage, {
      ended: this.#entries.ended,
      // one that came only after it was asked for stays, and is asked again
      gone: (id, wasCreated) => (wasCreated ? this.#entries.lost(id) : this.#entries.letGo([id], true)),
    });
    if (!this.#isOpened()) return;
    ctx.storage.transactionSync(() => migrate(this.#sql, tables.ACCOUNT_MIGRATIONS));
    // what an earlier incarnation left undone, or an earlier version never did
    const account = tables.readAccount(this.#sql);
    if (account && this.#chores.dueAt(account) !== null) this.#setAlarm(Date.now());
  }

  /** Makes the account with its first key. False, and nothing changed, where it exists. */
  open({ id, name, limits, terms, jurisdiction = null, key }: NewAccount): boolean {
    const now = Date.now();
    const isNew = this.ctx.storage.transactionSync(() => {
      migrate(this.#sql, tables.ACCOUNT_MIGRATIONS);
      if (tables.readAccount(this.#sql)) return false;
      tables.insertAccount(this.#sql, { id, name, limits, terms, jurisdiction, createdAt: now });
      insertKey(this.#sql, { ...key, createdAt: now });
      this.#note('admin', 'account_opened', null, { name, ...limits, ...terms, jurisdiction, key: key.id });
      return true;
    });
    if (isNew) this.#order();
    return isNew;
  }

  /** The account; null where there is none. */
  view(): AccountView | null {
    const account = this.#account();
    if (!account) return null;
    const { id, name, limits, jurisdiction, createdAt, suspendedAt } = account;
    const tally = readTally(this.#sql);
    return {
      id,
      name,
      limits,
      balance: balanceIn(tally, account.terms),
      jurisdiction,
      createdAt,
      suspendedAt,
      openJobs: tally.open,
      isErasing: account.erasesThrough !== null,
    };
  }

  change(changes: AccountChanges, actor: Actor): ChangedAccount {
    return this.#orders.change(changes, actor);
  }

  suspend(running: RunningJobs, actor: Actor): boolean {
    return this.#orders.suspend(running, actor);
  }

  resume(actor: Actor): boolean {
    return this.#orders.resume(actor);
  }

  eraseContent(actor: Actor): boolean {
    return this.#orders.eraseContent(actor);
  }

  addKey(key: NewKey, actor: Actor): AddedKey {
    return this.#keys.add(key, actor);
  }

  keys(): readonly KeyView[] {
    return this.#keys.views();
  }

  rotateKey(id: string, successor: SuccessorKey, actor: Actor): KeyView | null {
    return this.#keys.rotate(id, successor, actor);
  }

  revokeKey(id: string, actor: Actor): boolean {
    return this.#keys.revoke(id, actor);
  }

  standing(keyId: string): Standing | null {
    return this.#keys.standing(keyId);
  }

  /** Whether a job was started with this key; null where the account has no such job. */
  isOwnJob(keyId: string, job: string): boolean | null {
    const starter = this.#account() && index.readKeyOfJob(this.#sql, job);
    return starter === null ? null : starter === keyId;
  }

  /** Writes down that somebody wants a job erased, where there is such a job. */
  noteErasure(job: string, actor: Actor): void {
    if (this.#account() && index.hasJob(this.#sql, job)) this.#note(actor, 'job_erasure_asked', job, {});
  }

  /** Writes down that somebody wants a job's picture shared, or a share of it ended, where there is such a job. */
  noteShare(job: string, share: string, act: 'share_asked' | 'share_end_asked', actor: Actor): void {
    if (this.#account() && index.hasJob(this.#sql, job)) this.#note(actor, act, job, { share });
  }

  /** The audit trail, oldest first. */
  audit(query: PageQuery): readonly AuditEntry[] {
    return this.#account() ? tables.readAudit(this.#sql, query) : [];
  }

  /**
   * The generations of the secret that webhooks are signed with now: the newest first, and for a day the one before it.
   */
  webhookGenerations(): readonly WebhookGeneration[] {
    if (!this.#account()) return [{ generation: 0, isUnderived: false }];
    const { newest, before, rotatedAt } = tables.readWebhookSecret(this.#sql);
    return rotatedAt !== null && Date.now() - rotatedAt < OLD_SECRET_MS ? [newest, before] : [newest];
  }

  /** Makes another secret for webhooks; the one so far signs beside it for a day. */
  rotateWebhookSecret(actor: Actor): void {
    if (!this.#account()) return;
    this.ctx.storage.transactionSync(() => {
      tables.rotateWebhookSecret(this.#sql, Date.now());
      this.#note(actor, 'webhook_secret_replaced', null, {});
    });
  }

  start(keyId: string, request: StartRequest): Started {
    const started = this.#entries.start(keyId, request);
    if (started.kind !== 'key_out' && started.kind !== 'key_lacks') this.#expect(Date.now());
    return started;
  }

  recall(keyId: string, idempotency: Idempotency): Extract<Started, { kind: 'again' | 'conflict' }> | null {
    return this.#entries.recall(keyId, idempotency);
  }

  /** Whether another request has attached to the jobs started under a key: then nobody's leaving may stop them. */
  isShared(idempotencyKey: string): boolean {
    return this.#account() !== null && isShared(this.#sql, idempotencyKey);
  }

  withdraw(ids: readonly string[], refund: boolean): Promise<void> {
    return this.#entries.withdraw(ids, refund);
  }

  confirm(id: string): Confirmed {
    return this.#entries.confirm(id);
  }

  ended(id: string, end: JobEnd): EndTaken {
    return this.#entries.ended(id, end);
  }

  erased(id: string): void {
    this.#entries.erased(id);
  }

  metered(id: string): void {
    this.#books.metered(id);
  }

  meterMinute(at: number): MeterMinute {
    return this.#books.meterMinute(at);
  }

  post(posting: Posting, actor: Actor): Posted | null {
    return this.#books.post(posting, actor);
  }

  statement(query: PageQuery): Statement | null {
    return this.#books.statement(query);
  }

  usage(query: UsageQuery): UsagePage | null {
    return this.#books.usage(query);
  }

  reconcile(after: number): Promise<Reconciled | null> {
    return this.#books.reconcile(after);
  }

  backup(query: BackupQuery): BackupPage | null {
    return this.#books.backup(query);
  }

  restore(page: RestorePage, actor: Actor): Restored | null {
    return this.#books.restore(page, actor);
  }

  /** Milliseconds a TFLOP that the account's last jobs on a model took; null before the first. */
  pace(model: string): number | null {
    return this.#account() && paceOf(readTally(this.#sql), model);
  }

  /** Jobs of the account, newest first; `before` is the place after which to go on. */
  jobs(query: JobQuery): readonly (IndexedJob & { readonly seq: number })[] {
    return this.#account() ? index.listJobs(this.#sql, query) : [];
  }

  /**
   * Lets go entries whose job never came and idempotency keys that have expired, asks open jobs that are not heard of,
   * and does what else is left to do.
   */
  override async alarm(): Promise<void> {
    this.#alarmAt = null;
    if (!this.#account()) return;
    index.deleteIdempotencyBefore(this.#sql, Date.now() - IDEMPOTENCY_MS, REQUESTS_A_ROUND);
    await this.#unheard.ask();
    await this.#chores.round();
    this.#arm(Date.now());
  }

  /** There is something new to do, for the alarm at once. */
  #order(): void {
    this.#chores.hasten();
    this.#arm(Date.now());
  }

  /** Jobs may have been entered now: the alarm is to look for them, and comes sooner where it would come later. */
  #expect(now: number): void {
    if (this.#alarmAt === null) this.#arm(now);
    else if (this.#alarmAt > now + CREATION_MS + 1) this.#setAlarm(now + CREATION_MS + 1);
  }

  /** Sets the alarm for whatever is due first. */
  #arm(now: number): void {
    const account = this.#account();
    const idempotency = index.oldestIdempotency(this.#sql);
    const chores = account && this.#chores.dueAt(account);
    const due = [
      ...(account ? this.#unheard.dueAt(account.createdAt, now) : []),
      ...(idempotency === null ? [] : [idempotency + IDEMPOTENCY_MS + 1]),
      ...(chores === null ? [] : [chores]),
    ];
    if (due.length > 0) this.#setAlarm(Math.max(now + 1, Math.min(...due)));
  }

  #setAlarm(at: number): void {
    this.#alarmAt = at;
    void this.ctx.storage.setAlarm(at);
  }

  #note(actor: Actor, act: AuditEntry['act'], subject: string | null, detail: AuditEntry['detail']): void {
    tables.appendAudit(this.#sql, { at: Date.now(), actor, act, subject, detail });
  }

  #account(): tables.AccountRecord | null {
    return this.#isOpened() ? tables.readAccount(this.#sql) : null;
  }

  /** Whether there is an account: once there is, there will be. */
  #isOpened(): boolean {
    this.#hasTables ||= hasTables(this.#sql);
    return this.#hasTables;
  }
}
