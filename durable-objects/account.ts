/**
 * One account = one object: its keys, its limits, what it asked for twice, and the index of its jobs.
 *
 * A job is entered here first and created afterwards, so a job that runs is always counted; an entry whose job never
 * came is let go by the alarm. That a job has ended is told by the job's own object, at least once. No transaction
 * spans the two.
 */
import { DurableObject } from 'cloudflare:workers';
import {
  type AccountView,
  type Arrivals,
  admit,
  IDEMPOTENCY_MS,
  type Idempotency,
  type IndexedJob,
  isRepetition,
  type JobQuery,
  type JobStatus,
  type JobWork,
  type KeyRecord,
  type KeyRefusal,
  type KeyView,
  type NewAccount,
  type NewKey,
  rateState,
  refunded,
  type Started,
  type StartRequest,
} from '../src/account/account.ts';
import { logLine } from '../src/job/log.ts';
import type { AccountCalls, JobCalls, Objects } from '../src/job/rpc.ts';
import { within } from '../src/stage/time-limit.ts';
import * as tables from './account-tables.ts';
import { hasTables, migrate } from './migrate.ts';
import { JOBS_A_ROUND, nextRound, RECONCILE_MS, reconcile } from './reconcile.ts';

/** What a deployment gives the object: the jobs' objects, to ask whether one exists. */
export interface AccountEnv {
  readonly JOBS: Objects<Pick<JobCalls, 'view'>>;
}

/** How long webhooks are also signed with the secret that was replaced. */
const OLD_SECRET_MS = 24 * 3_600_000;
/** Longest wait for a job's object. */
const JOB_MS = 10_000;
/** a job is created within seconds of its entry, or its Worker is gone */
const CREATION_MS = 60_000;

/** As `attached`: no repetition is let in any more. SQLite keeps it as a number like any other. */
const UNTOLD = Number.POSITIVE_INFINITY;

const arrivalsOf = (account: tables.AccountRecord, key: KeyRecord): Arrivals => ({
  key: key.arrival,
  keyWork: key.workArrival,
  accountWork: account.workArrival,
});

export class AccountObject extends DurableObject<AccountEnv> implements AccountCalls {
  readonly #sql: SqlStorage;
  /** when this incarnation last asked the open jobs */
  #askedAt = 0;

  constructor(ctx: DurableObjectState, env: AccountEnv) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    if (hasTables(this.#sql)) migrate(this.#sql, tables.ACCOUNT_MIGRATIONS);
  }

  /** Makes the account with its first key. False, and nothing changed, where it exists. */
  open({ id, name, limits, key }: NewAccount): boolean {
    const now = Date.now();
    return this.ctx.storage.transactionSync(() => {
      migrate(this.#sql, tables.ACCOUNT_MIGRATIONS);
      if (tables.readAccount(this.#sql)) return false;
      tables.insertAccount(this.#sql, { id, name, limits, createdAt: now });
      tables.insertKey(this.#sql, { ...key, createdAt: now });
      return true;
    });
  }

  /** The account; null where there is none. */
  view(): AccountView | null {
    const account = this.#account();
    if (!account) return null;
    const { workArrival: _, ...view } = account;
    return { ...view, openJobs: tables.countOpen(this.#sql) };
  }

  /** Adds a key. False where there is no account. */
  addKey(key: NewKey): boolean {
    if (!this.#account()) return false;
    tables.insertKey(this.#sql, { ...key, createdAt: Date.now() });
    return true;
  }

  keys(): readonly KeyView[] {
    return this.#account()
      ? tables.readKeys(this.#sql).map(({ hash: _, arrival: __, workArrival: ___, ...key }) => key)
      : [];
  }

  /** From the next request on the key opens nothing. False where there is no such key. */
  revokeKey(id: string): boolean {
    return this.#account() !== null && tables.revokeKey(this.#sql, id, Date.now());
  }

  /**
   * The generations of the secret that webhooks are signed with now: the newest first, and for a day the one before it.
   */
  webhookGenerations(): readonly number[] {
    if (!this.#account()) return [0];
    const { generation, rotatedAt } = tables.readWebhookSecret(this.#sql);
    return rotatedAt !== null && Date.now() - rotatedAt < OLD_SECRET_MS ? [generation, generation - 1] : [generation];
  }

  /** Makes another secret for webhooks; the one so far signs beside it for a day. */
  rotateWebhookSecret(): void {
    if (this.#account()) tables.rotateWebhookSecret(this.#sql, Date.now());
  }

  /** Whether the key with this hash opens the account; null where it does. */
  refuse(keyId: string, hash: string): KeyRefusal | null {
    const key = this.#account() && tables.readKey(this.#sql, keyId);
    // a keyed hash: whoever does not hold the signing secret cannot steer it, so the time this takes tells nothing
    if (key?.hash !== hash) return 'unknown';
    return key.revokedAt === null ? null : 'revoked';
  }

  /**
   * Enters the jobs of one request, all or none, unless limits or an earlier request of the same idempotency key say
   * otherwise. The key must have been let in by `refuse`.
   */
  start(keyId: string, { requestId, jobIds, work, idempotency }: StartRequest): Started {
    const now = Date.now();
    const account = this.#account();
    const key = account && tables.readKey(this.#sql, keyId);
    if (!account || !key) throw new Error('start without an account');
    return this.ctx.storage.transactionSync((): Started => {
      const again = idempotency && this.#recall(account, key, idempotency, now);
      if (again) return again;
      // the same call, come again after a broken stub
      if (jobIds.some((id) => tables.hasJob(this.#sql, id)))
        return { kind: 'new', jobIds, requestId, rate: rateState(account.limits, key.arrival, now) };
      const admitted = admit(
        {
          limits: account.limits,
          keyTflopsPerMinute: key.tflopsPerMinute,
          arrivals: arrivalsOf(account, key),
          open: tables.countOpen(this.#sql),
          count: jobIds.length,
          work,
        },
        now,
      );
      if (admitted.refusal) return admitted.refusal;
      tables.setArrivals(this.#sql, keyId, admitted.arrivals);
      for (const id of jobIds) tables.insertJob(this.#sql, { id, requestId, keyId, createdAt: now }, admitted.costs);
      if (idempotency) {
        const { attached } = tables.readIdempotency(this.#sql, idempotency.key) ?? { attached: 0 };
        // one that can be told from no other stays so; any other begins anew
        tables.writeIdempotency(this.#sql, idempotency.key, {
          digest: idempotency.digest,
          requestId,
          jobIds,
          createdAt: now,
          attached: attached === UNTOLD ? UNTOLD : 0,
        });
      }
      this.#arm(now);
      return { kind: 'new', jobIds, requestId, rate: admitted.rate };
    });
  }

  /**
   * The request that came before under the same key, and is marked as having come again; null where there is none, or
   * none that counts.
   */
  recall(keyId: string, idempotency: Idempotency): Extract<Started, { kind: 'again' | 'conflict' }> | null {
    const account = this.#account();
    const key = account && tables.readKey(this.#sql, keyId);
    if (!account || !key) return null;
    return this.ctx.storage.transactionSync(() => this.#recall(account, key, idempotency, Date.now()));
  }

  #recall(
    account: tables.AccountRecord,
    key: KeyRecord,
    idempotency: Idempotency,
    now: number,
  ): Extract<Started, { kind: 'again' | 'conflict' }> | null {
    const earlier = tables.readIdempotency(this.#sql, idempotency.key);
    if (!earlier) return null;
    const statuses = earlier.jobIds.map((id) => tables.readStatus(this.#sql, id));
    const { repetition } = idempotency;
    if (repetition === 0) {
      // a first try beside another that is under way: from now on nobody can tell whose a repetition is
      if (statuses.includes('open'))
        tables.writeIdempotency(this.#sql, idempotency.key, { ...earlier, attached: UNTOLD });
      else tables.deleteIdempotency(this.#sql, idempotency.key);
      return null;
    }
    if (!isRepetition(idempotency, earlier, statuses, now)) return null;
    // what an earlier version remembered by another digest counts by its key alone
    if (earlier.digest !== '' && earlier.digest !== idempotency.digest) return { kind: 'conflict' };
    tables.writeIdempotency(this.#sql, idempotency.key, {
      ...earlier,
      attached: repetition ?? Math.max(1, earlier.attached),
      createdAt: repetition === null ? earlier.createdAt : now,
    });
    return {
      kind: 'again',
      jobIds: earlier.jobIds,
      requestId: earlier.requestId,
      rate: rateState(account.limits, key.arrival, now),
    };
  }

  /** Whether another request has attached to the jobs started under a key: then nobody's leaving may stop them. */
  isShared(idempotencyKey: string): boolean {
    const attached = (this.#account() && tables.readIdempotency(this.#sql, idempotencyKey)?.attached) ?? 0;
    return attached > 0 && attached !== UNTOLD;
  }

  /**
   * Jobs that will not be created: their entries go, and with `refund` what they took from the key's rate comes back.
   * Told again it changes nothing.
   */
  withdraw(ids: readonly string[], refund: boolean): void {
    this.ctx.storage.transactionSync(() => {
      for (const id of ids) {
        // read anew for each: a refund changes both
        const account = this.#account();
        const job = account && tables.withdrawJob(this.#sql, id);
        const key = job && tables.readKey(this.#sql, job.keyId);
        if (refund && account && key)
          tables.setArrivals(this.#sql, key.id, refunded(account.limits, arrivalsOf(account, key), job.costs));
      }
    });
  }

  /** A job has ended, a done one with its work and time. Told by its object, at least once. */
  ended(id: string, status: Exclude<JobStatus, 'open'>, work: JobWork | null): void {
    if (!this.#account()) return;
    this.ctx.storage.transactionSync(() => {
      if (tables.setStatus(this.#sql, id, status) && work) tables.addWork(this.#sql, work);
    });
  }

  /** Milliseconds a TFLOP that the account's last jobs on a model took; null before the first. */
  pace(model: string): number | null {
    return this.#account() && tables.readPace(this.#sql, model);
  }

  /** A job is no longer stored: nor is what is remembered of its request. */
  erased(id: string): void {
    if (!this.#account()) return;
    this.ctx.storage.transactionSync(() => {
      tables.deleteIdempotencyOf(this.#sql, id);
      tables.deleteJob(this.#sql, id);
    });
  }

  /** Jobs of the account, newest first; `before` is the place after which to go on. */
  jobs(query: JobQuery): readonly (IndexedJob & { readonly seq: number })[] {
    return this.#account() ? tables.listJobs(this.#sql, query) : [];
  }

  /** Lets go entries whose job never came and idempotency keys that have expired; asks open jobs that are not heard of. */
  override async alarm(): Promise<void> {
    const now = Date.now();
    if (!this.#account()) return;
    tables.deleteIdempotencyBefore(this.#sql, now - IDEMPOTENCY_MS);
    for (const id of tables.readUncreated(this.#sql, now - CREATION_MS)) {
      try {
        const job = await within(JOB_MS, 'the job', this.env.JOBS.getByName(id).view(null));
        if (job) tables.markCreated(this.#sql, [id]);
        else {
          tables.deleteJob(this.#sql, id);
          logLine('job_never_came', { job_id: id });
        }
      } catch (error) {
        // it is asked again with those that are open; the others are not kept waiting
        tables.markCreated(this.#sql, [id]);
        logLine('job_not_reached', { job_id: id, error: String(error) });
      }
    }
    if (now < this.#askedAt || now - this.#askedAt >= RECONCILE_MS) {
      this.#askedAt = now;
      const silent = tables.drawOpen(this.#sql, { now, silentMs: RECONCILE_MS, most: JOBS_A_ROUND });
      await reconcile(this.env.JOBS, silent, {
        ended: (id, status) => this.ended(id, status, null),
        gone: (id) => this.erased(id),
      });
    }
    this.#arm(now);
  }

  /** Sets the alarm for whatever is due first; an earlier one stays. */
  #arm(now: number): void {
    const account = this.#account();
    const uncreated = tables.oldestUncreated(this.#sql);
    const idempotency = tables.oldestIdempotency(this.#sql);
    const due = [
      ...(uncreated === null ? [] : [uncreated + CREATION_MS + 1]),
      ...(idempotency === null ? [] : [idempotency + IDEMPOTENCY_MS + 1]),
      ...(account && tables.countOpen(this.#sql) > 0 ? [nextRound(account.createdAt, now)] : []),
    ];
    if (due.length > 0) void this.ctx.storage.setAlarm(Math.max(now + 1, Math.min(...due)));
  }

  #account(): tables.AccountRecord | null {
    return hasTables(this.#sql) ? tables.readAccount(this.#sql) : null;
  }
}
