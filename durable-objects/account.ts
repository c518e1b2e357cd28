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
  isOut,
  type JobEnd,
  type JobQuery,
  type KeyRecord,
  type KeyView,
  MAX_KEYS,
  MAX_LIVE_KEYS,
  type NewAccount,
  type NewKey,
  type PageQuery,
  type RunningJobs,
  refunded,
  type Started,
  type StartRequest,
  type SuccessorKey,
  withExcess,
} from '../src/account/account.ts';
import { placeOfJob } from '../src/account/job-id.ts';
import { refuseKey, type Standing } from '../src/account/standing.ts';
import type { WebhookGeneration } from '../src/account/webhook-secret.ts';
import type { BackupPage, BackupQuery, Restored, RestorePage } from '../src/billing/backup.ts';
import type { Reconciled } from '../src/billing/difference.ts';
import type { Posting } from '../src/billing/ledger.ts';
import type { UsagePage, UsageQuery } from '../src/billing/spending.ts';
import type { Statement } from '../src/billing/statement.ts';
import { type MeterMinute, minuteOf } from '../src/billing/stripe.ts';
import { jobObject } from '../src/job/job-object.ts';
import { logLine } from '../src/job/log.ts';
import type { AccountCalls, DirectoryCalls, JobCalls, Objects, Posted } from '../src/job/rpc.ts';
import { within } from '../src/stage/time-limit.ts';
import { type Chores, makeChores } from './account/chores.ts';
import * as index from './account/index-tables.ts';
import { checkJobs, JOBS_A_PAGE } from './account/job-check.ts';
import * as keys from './account/key-tables.ts';
import { readBackup, readSums, restore } from './account/ledger-backup.ts';
import { checkLedger } from './account/ledger-check.ts';
import { readStatement, setMetered, sumMetered } from './account/ledger-tables.ts';
import * as money from './account/money.ts';
import { JOBS_A_ROUND, nextRound, RECONCILE_MS, reconcile } from './account/reconcile.ts';
import { enter, isShared, recall } from './account/start.ts';
import * as tables from './account/tables.ts';
import { addWork, arrivalsOf, paceOf, readTally, setArrivals, withTally } from './account/tally-table.ts';
import { readUsage } from './account/usage-tables.ts';
import { hasTables, migrate } from './migrate.ts';

/** What a deployment gives the object: the jobs' objects, and the one that lists the accounts. */
export interface AccountEnv {
  readonly JOBS: Objects<Pick<JobCalls, 'ending' | 'reckoning' | 'cancel' | 'erase'>>;
  readonly DIRECTORY: Objects<DirectoryCalls>;
}

/** How long webhooks are also signed with the secret that was replaced. */
const OLD_SECRET_MS = 24 * 3_600_000;
/** Longest wait for a job's object. */
const JOB_MS = 10_000;
/** entries looked at in one round, a page at a time, for those whose jobs never came */
const ENTRIES_A_ROUND = 320;
const ENTRIES_A_PAGE = 30;
/** requests forgotten in one round */
const REQUESTS_A_ROUND = 1000;
/** how exactly a key's last use is kept */
const USE_PRECISION_MS = 3_600_000;

export class AccountObject extends DurableObject<AccountEnv> implements AccountCalls {
  readonly #sql: SqlStorage;
  readonly #chores: Chores;
  #hasTables = false;
  /** for when the alarm is set; null: not known */
  #alarmAt: number | null = null;
  /** open jobs that this incarnation has told they may begin: their objects are there */
  readonly #confirmed = new Set<string>();
  /** entries whose request came again, and when: their jobs are being created anew */
  readonly #comeAgain = new Map<string, number>();
  /** the objects of all jobs up to this place are known to have been there */
  #knownTo = 0;
  /** jobs that were never heard of, and could not be asked, are left alone until then */
  #notAskedBefore = 0;
  /** when this incarnation last asked the open jobs */
  #askedAt = 0;

  constructor(ctx: DurableObjectState, env: AccountEnv) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#chores = makeChores(() => this.env, ctx.storage, {
      ended: (id, end) => this.ended(id, end),
      // one that came only after it was asked for stays, and is asked again
      gone: (id, wasCreated) => (wasCreated ? this.#lost(id) : this.#letGo([id], true)),
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
      keys.insertKey(this.#sql, { ...key, createdAt: now });
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
      balance: money.balanceIn(tally, account.terms),
      jurisdiction,
      createdAt,
      suspendedAt,
      openJobs: tally.open,
      isErasing: account.erasesThrough !== null,
    };
  }

  /** Changes name, limits or terms; they hold from the next request on. */
  change({ name, limits, terms }: AccountChanges, actor: Actor): ChangedAccount {
    const account = this.#account();
    if (!account) return 'no_account';
    const changed = {
      ...account,
      name: name ?? account.name,
      limits: { ...account.limits, ...limits },
      terms: { ...account.terms, ...terms },
    };
    const isOtherMode = changed.terms.mode !== account.terms.mode;
    if (isOtherMode && !money.isSettled(this.#sql, readTally(this.#sql))) return 'not_settled';
    this.ctx.storage.transactionSync(() => {
      tables.changeAccount(this.#sql, changed);
      this.#note(actor, 'account_changed', null, { name: changed.name, ...changed.limits, ...changed.terms });
    });
    this.#order();
    return 'changed';
  }

  /**
   * Takes no new work from now on. Jobs under way go on to their end, or are cancelled by the alarm, which goes on with
   * that until none is left. False where there is no account.
   */
  suspend(running: RunningJobs, actor: Actor): boolean {
    const account = this.#account();
    if (!account) return false;
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      tables.changeAccount(this.#sql, {
        ...account,
        suspendedAt: account.suspendedAt ?? now,
        cancelsJobs: running === 'cancel',
      });
      this.#note(actor, 'account_suspended', null, { running });
    });
    this.#order();
    return true;
  }

  /** Takes work again. False where there is no account. */
  resume(actor: Actor): boolean {
    const account = this.#account();
    if (!account) return false;
    this.ctx.storage.transactionSync(() => {
      tables.changeAccount(this.#sql, { ...account, suspendedAt: null, cancelsJobs: false });
      this.#note(actor, 'account_resumed', null, {});
    });
    this.#order();
    return true;
  }

  /** Adds a key. Those that open nothing any more make room for it; those that do never. */
  addKey(key: NewKey, actor: Actor): AddedKey {
    if (!this.#account()) return 'no_account';
    const now = Date.now();
    if (keys.countLiveKeys(this.#sql, now) >= MAX_LIVE_KEYS) return 'too_many_keys';
    this.ctx.storage.transactionSync(() => {
      this.#insertKey(key, now);
      const { id, hash: _hash, ...made } = key;
      this.#note(actor, 'key_made', id, made);
    });
    return 'added';
  }

  #insertKey(key: NewKey, now: number): void {
    keys.deleteOutKeys(this.#sql, MAX_KEYS - 1, now);
    keys.insertKey(this.#sql, { ...key, createdAt: now });
  }

  keys(): readonly KeyView[] {
    return this.#account() ? keys.readKeys(this.#sql).map(viewKey) : [];
  }

  /**
   * A new key in the place of one that still opens: name, scopes, budgets and expiry are those of the old one, which
   * opens for `overlapMs` more. Null where there is no such key.
   */
  rotateKey(id: string, { id: newId, hash, overlapMs }: SuccessorKey, actor: Actor): KeyView | null {
    const now = Date.now();
    const old = this.#account() && keys.readKey(this.#sql, id);
    if (!old || isOut(old, now)) return null;
    const { name, scopes, expiresAt, tflopsPerMinute, microUsdPerDay, microUsdPerMonth } = old;
    const until = Math.min(now + overlapMs, expiresAt ?? Number.POSITIVE_INFINITY);
    this.ctx.storage.transactionSync(() => {
      const kept = { name, scopes, expiresAt, tflopsPerMinute, microUsdPerDay, microUsdPerMonth };
      this.#insertKey({ id: newId, hash, ...kept }, now);
      keys.inheritLineage(this.#sql, id, newId);
      // what one key has used of its budgets, the other has used too
      withTally(this.#sql, (tally) => {
        const arrivals = tally.arrivals[id];
        if (arrivals) tally.arrivals[newId] = arrivals;
      });
      keys.setExpiry(this.#sql, id, until);
      this.#note(actor, 'key_rotated', id, { successor: newId, opensUntil: until });
    });
    return viewKey(keys.readKey(this.#sql, newId) as KeyRecord);
  }

  /** The key opens nothing any more. False where there is no such key. */
  revokeKey(id: string, actor: Actor): boolean {
    const key = this.#account() && keys.readKey(this.#sql, id);
    if (!key) return false;
    if (key.revokedAt !== null) return true;
    return this.ctx.storage.transactionSync(() => {
      this.#note(actor, 'key_revoked', id, { name: key.name });
      return keys.revokeKey(this.#sql, id, Date.now());
    });
  }

  /** How a key stands; null where there is none such. Whoever asks lets its holder in, so it was used. */
  standing(keyId: string): Standing | null {
    const account = this.#account();
    const key = account && keys.readKey(this.#sql, keyId);
    if (!account || !key) return null;
    const { hash, scopes, expiresAt, revokedAt } = key;
    const now = Date.now();
    if (!isOut(key, now)) keys.noteUse(this.#sql, keyId, now, USE_PRECISION_MS);
    return { hash, scopes, expiresAt, revokedAt };
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

  /**
   * Orders that every job there is now be erased, and what is remembered of their requests. The alarm goes on with that
   * until it is done. False where there is no account.
   */
  eraseContent(actor: Actor): boolean {
    if (!this.#account()) return false;
    this.ctx.storage.transactionSync(() => {
      tables.setErasesThrough(this.#sql, readTally(this.#sql).place);
      this.#note(actor, 'content_erasure_asked', null, {});
    });
    this.#order();
    return true;
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

  /**
   * Enters the jobs of one request, all or none, unless limits or an earlier request of the same idempotency key say
   * otherwise. Whether the key still opens, and whether the account takes work, is decided here.
   */
  start(keyId: string, request: StartRequest): Started {
    const now = Date.now();
    const account = this.#account();
    const key = account && keys.readKey(this.#sql, keyId);
    const { keyHashes } = request;
    const refused = refuseKey(key, { hashes: keyHashes ?? (key ? [key.hash] : []) }, now);
    if (!account || !key || refused !== null) return { kind: 'key_out', refusal: refused ?? 'unknown' };
    if (request.jobIds.some((id) => placeOfJob(id).jurisdiction !== account.jurisdiction))
      throw new Error('jobs of another jurisdiction than their account');
    if (!key.scopes.includes('generate')) return { kind: 'key_lacks', scope: 'generate' };
    keys.noteUse(this.#sql, keyId, now, USE_PRECISION_MS);
    const started = this.ctx.storage.transactionSync(() =>
      withTally(this.#sql, (tally) => enter(this.#sql, tally, { account, key }, request, now)),
    );
    if (started.kind === 'again')
      for (const id of started.jobIds) if (index.readUncreated(this.#sql, id) !== null) this.#comeAgain.set(id, now);
    this.#expect(now);
    return started;
  }

  /**
   * The request that came before under the same key, and is marked as having come again; null where there is none, or
   * none that counts.
   */
  recall(keyId: string, idempotency: Idempotency): Extract<Started, { kind: 'again' | 'conflict' }> | null {
    const account = this.#account();
    const key = account && keys.readKey(this.#sql, keyId);
    const now = Date.now();
    // a key that is out changes nothing, not even what is remembered of a request
    if (!account || !key || refuseKey(key, { hashes: [key.hash] }, now) !== null) return null;
    return this.ctx.storage.transactionSync(() =>
      recall(this.#sql, readTally(this.#sql), { account, key }, idempotency, now),
    );
  }

  /** Whether another request has attached to the jobs started under a key: then nobody's leaving may stop them. */
  isShared(idempotencyKey: string): boolean {
    return this.#account() !== null && isShared(this.#sql, idempotencyKey);
  }

  /**
   * Jobs that will not be created: their entries go, and with `refund` what they took from the key's rate comes back.
   * One whose object is there, or cannot be asked, stays. Told again it changes nothing.
   */
  async withdraw(ids: readonly string[], refund: boolean): Promise<void> {
    if (!this.#account()) return;
    const asked = ids.filter((id) => !this.#confirmed.has(id) && index.readUncreated(this.#sql, id) !== null);
    const absent = await Promise.all(asked.map((id) => this.#isAbsent(id)));
    this.#letGo(
      asked.filter((_, i) => absent[i]),
      refund,
    );
  }

  /** Whether the object of a job is not there. False where it cannot be asked: the alarm asks again. */
  async #isAbsent(id: string): Promise<boolean> {
    try {
      return (await within(JOB_MS, 'the job', jobObject(this.env.JOBS, id).ending())) === null;
    } catch (error) {
      logLine('job_not_reached', { job_id: id, error: String(error) });
      return false;
    }
  }

  /** Lets entries go whose jobs are not there, unless one has come meanwhile. */
  #letGo(ids: readonly string[], refund: boolean): void {
    const account = this.#account();
    const gone = ids.filter((id) => !this.#confirmed.has(id));
    if (!account || gone.length === 0) return;
    const now = Date.now();
    this.ctx.storage.transactionSync(() =>
      withTally(this.#sql, (tally) => {
        for (const id of gone) {
          const job = index.readUncreated(this.#sql, id);
          if (!job) continue;
          money.letGo(this.#sql, tally, id, now);
          index.unlistJob(this.#sql, id);
          tally.open--;
          if (refund && keys.readKey(this.#sql, job.keyId))
            setArrivals(tally, job.keyId, refunded(account.limits, arrivalsOf(tally, job.keyId), job.costs), now);
        }
      }),
    );
  }

  /**
   * Whether a job may begin. One that was let go before its object came never may, whenever it asks. It is there since
   * before it asked, so an incarnation that has forgotten this finds it by asking.
   */
  confirm(id: string): Confirmed {
    if (!this.#account() || index.readStatus(this.#sql, id) !== 'open') return 'gone';
    this.#confirmed.add(id);
    return 'held';
  }

  /**
   * A job has ended: it is charged, and what its failure cost beyond its work is taken from the budgets. Told by its
   * object, at least once; told again it changes nothing and answers alike.
   */
  ended(id: string, { status, work, charge, excess }: JobEnd): EndTaken {
    const account = this.#account();
    if (!account) return null;
    const now = Date.now();
    const taken = this.ctx.storage.transactionSync(() =>
      withTally(this.#sql, (tally): EndTaken => {
        const before = index.readStatus(this.#sql, id);
        const keyId = index.readKeyOfJob(this.#sql, id);
        const isListed = keyId !== null || money.isHeld(this.#sql, id);
        if (before === 'open') {
          tally.open--;
          if (work) addWork(tally, work);
          const key = keyId === null ? null : keys.readKey(this.#sql, keyId);
          if (key && excess) {
            const spent = withExcess(account.limits, arrivalsOf(tally, key.id), { key, excess }, now);
            setArrivals(tally, key.id, spent, now);
          }
        }
        const end = { status: before === 'open' ? status : null, charge };
        const settled = money.settle(this.#sql, tally, id, end, now);
        return isListed ? settled : 'unlisted';
      }),
    );
    this.#confirmed.delete(id);
    return taken;
  }

  /** A meter outside has taken the charge of a job. Told again it changes nothing. */
  metered(id: string): void {
    if (this.#account()) setMetered(this.#sql, id);
  }

  /** What of the charges of the minute of `at` a meter has taken, and what not. */
  meterMinute(at: number): MeterMinute {
    return this.#account() ? sumMetered(this.#sql, minuteOf(at)) : { taken: 0, waiting: 0 };
  }

  /** Writes money that came in, was given back or is adjusted. Null where there is no account. */
  post(posting: Posting, actor: Actor): Posted | null {
    const account = this.#account();
    if (!account) return null;
    return this.ctx.storage.transactionSync(() => {
      const posted = withTally(this.#sql, (tally) => money.post(this.#sql, tally, account.terms, posting, Date.now()));
      if (posted.kind === 'posted' && posted.isNew) {
        const { id, kind, amount, job, reason } = posting;
        this.#note(actor, 'money_posted', job, { id, kind, microUsd: amount, reason });
      }
      return posted;
    });
  }

  /** The entries of the ledger, oldest first, and where it stood before them. */
  statement(query: PageQuery): Statement | null {
    return this.#account() && readStatement(this.#sql, query);
  }

  /** What was done and spent between two days, by group, and in all. */
  usage(query: UsageQuery): UsagePage | null {
    return this.#account() && readUsage(this.#sql, query);
  }

  /** Compares ledger, jobs and outbox: the rows where `after` is 0, and a page of the jobs after that place. */
  async reconcile(after: number): Promise<Reconciled | null> {
    if (!this.#account()) return null;
    const rows = after === 0 ? checkLedger(this.#sql) : { differences: [], more: [] };
    const jobs = index.chargesAfter(this.#sql, { after, limit: JOBS_A_PAGE });
    const told = await checkJobs(this.env.JOBS, jobs);
    // what a job told meanwhile is settled by now
    const differences = [...rows.differences, ...told.filter(({ subject }) => isAsItWas(this.#sql, jobs, subject))];
    const next = jobs.length < JOBS_A_PAGE ? null : (jobs.at(-1)?.seq ?? null);
    return { differences, more: rows.more, jobs: jobs.length, next };
  }

  /** A page of the ledger, to be kept elsewhere. */
  backup(query: BackupQuery): BackupPage | null {
    return this.#account() && readBackup(this.#sql, query);
  }

  /** Puts a page of a ledger back that was kept elsewhere, where nothing else is going on in the account. */
  restore(page: RestorePage, actor: Actor): Restored | null {
    const account = this.#account();
    if (!account) return null;
    if (account.suspendedAt === null) return { kind: 'not_suspended' };
    const { open } = readTally(this.#sql);
    if (open > 0) return { kind: 'has_open_jobs', open };
    const isAgain = readSums(this.#sql).seq > page.sums.seq;
    const restored = restore(this.ctx.storage, page, Date.now());
    if (page.part === 'end' && restored.kind === 'restored' && !isAgain) {
      const { seq, charges, usage } = page.sums;
      this.#note(actor, 'ledger_restored', null, { entries: seq, charges, usage, released: restored.written });
    }
    return restored;
  }

  /** Milliseconds a TFLOP that the account's last jobs on a model took; null before the first. */
  pace(model: string): number | null {
    return this.#account() && paceOf(readTally(this.#sql), model);
  }

  /** The object of a job that was there is not there any more: its entry goes, and what is still held for it. */
  #lost(id: string): void {
    this.ctx.storage.transactionSync(() => {
      withTally(this.#sql, (tally) => {
        if (index.readStatus(this.#sql, id) === 'open') money.letGo(this.#sql, tally, id, Date.now());
      });
      this.erased(id);
    });
  }

  /** A job is no longer stored: nor is what is remembered of its request. */
  erased(id: string): void {
    if (!this.#account()) return;
    this.ctx.storage.transactionSync(() => {
      index.deleteIdempotencyOf(this.#sql, id);
      if (index.readStatus(this.#sql, id) === 'open')
        withTally(this.#sql, (tally) => {
          tally.open--;
        });
      index.unlistJob(this.#sql, id);
    });
    this.#confirmed.delete(id);
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
    const now = Date.now();
    this.#alarmAt = null;
    if (!this.#account()) return;
    index.deleteIdempotencyBefore(this.#sql, now - IDEMPOTENCY_MS, REQUESTS_A_ROUND);
    await this.#letGoUncreated(now);
    // by the clock as it is by now: what was entered meanwhile is not from the future
    await this.#askOpen(Date.now());
    await this.#chores.round();
    this.#arm(Date.now());
  }

  async #askOpen(now: number): Promise<void> {
    if (now >= this.#askedAt && now - this.#askedAt < RECONCILE_MS) return;
    this.#askedAt = now;
    this.#countOpen();
    const silent = index.drawOpen(this.#sql, { now, silentMs: RECONCILE_MS, most: JOBS_A_ROUND });
    await reconcile(this.env.JOBS, silent, {
      ended: (id, end) => this.ended(id, end),
      // its object is not there and never told its end: whatever it did, nobody can say what it cost
      gone: (id) => this.#lost(id),
    });
  }

  /** The tally has as many open jobs as there are: a wrong count would refuse work for ever. */
  #countOpen(): void {
    withTally(this.#sql, (tally) => {
      const open = index.countOpen(this.#sql);
      if (tally.open !== open) logLine('alert', { what: 'open_jobs_miscounted', counted: tally.open, open });
      tally.open = open;
    });
  }

  /** Asks the jobs entered a minute ago that were never heard of, and lets those go that are not there. */
  async #letGoUncreated(now: number): Promise<void> {
    this.#notAskedBefore = now + CREATION_MS;
    let place = this.#knownTo;
    let areKnown = true;
    for (let looked = 0; looked < ENTRIES_A_ROUND; looked += ENTRIES_A_PAGE) {
      const page = index.openAfter(this.#sql, place, ENTRIES_A_PAGE);
      const due = page.filter(({ createdAt }) => createdAt < now - CREATION_MS);
      const isKnown = await Promise.all(due.map((job) => this.#isKnown(job)));
      const unknown: number = areKnown ? isKnown.indexOf(false) : 0;
      const known: index.OpenJob | undefined = unknown < 0 ? due.at(-1) : due[unknown - 1];
      if (areKnown && known) this.#knownTo = known.seq;
      areKnown &&= unknown < 0;
      place = due.at(-1)?.seq ?? place;
      if (due.length < ENTRIES_A_PAGE) return;
    }
  }

  /** Whether it is known of an open job that its object was there, or that it is not: then the job is let go. */
  async #isKnown({ id, isCreated }: index.OpenJob): Promise<boolean> {
    const since = Date.now() - (this.#comeAgain.get(id) ?? 0);
    const isAwaited = since >= 0 && since < CREATION_MS;
    if (!isAwaited) this.#comeAgain.delete(id);
    if (isCreated || this.#confirmed.has(id)) return true;
    // let go now, it would be created by the request that came again, and never begin
    if (isAwaited) return false;
    try {
      const end = await within(JOB_MS, 'the job', jobObject(this.env.JOBS, id).ending());
      if (end) index.markCreated(this.#sql, id);
      else {
        // its Worker is gone, and did not withdraw it
        this.#letGo([id], true);
        logLine('job_never_came', { job_id: id });
      }
      return true;
    } catch (error) {
      // asked again by the next alarm; the others are not kept waiting
      logLine('job_not_reached', { job_id: id, error: String(error) });
      return false;
    }
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
    const [unknown] = index.openAfter(this.#sql, this.#knownTo, 1);
    const idempotency = index.oldestIdempotency(this.#sql);
    const chores = account && this.#chores.dueAt(account);
    const due = [
      ...(unknown ? [Math.max(unknown.createdAt + CREATION_MS + 1, this.#notAskedBefore)] : []),
      ...(idempotency === null ? [] : [idempotency + IDEMPOTENCY_MS + 1]),
      ...(chores === null ? [] : [chores]),
      ...(account && index.openAfter(this.#sql, 0, 1).length > 0 ? [nextRound(account.createdAt, now)] : []),
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

/** Whether the index has a job as `before` had it. */
function isAsItWas(sql: SqlStorage, before: readonly index.IndexedCharge[], id: string): boolean {
  const then = before.find((job) => job.id === id);
  const now = then && index.chargesAfter(sql, { after: then.seq - 1, limit: 1 })[0];
  return then?.id === now?.id && then?.status === now?.status && then?.captured === now?.captured;
}

const viewKey = ({ hash: _, ...key }: KeyRecord): KeyView => key;
