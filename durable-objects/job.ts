/**
 * One job = one image = one object: its time and its storage. The rooms it walks are in src/job/story.ts.
 *
 * What holds, whatever is killed: a stage request goes out only after its attempt and a lease alarm are stored; what
 * comes back is stored with the next room, its events and its usage in one transaction, and only if room and attempt
 * are still those of the request. So a cancelled job stays cancelled, a late answer changes nothing, and a job cut off
 * anywhere goes on from its last stored room.
 */
import { DurableObject, tracing } from 'cloudflare:workers';
import { webhookBody } from '../src/doors/webhook-body.ts';
import type { JobEvent, StoredEvent } from '../src/job/events.ts';
import type { FailureReason, Fault } from '../src/job/failures.ts';
import { imageKey } from '../src/job/image-key.ts';
import type { Job, JobRecord, JobView, Room } from '../src/job/job.ts';
import { streamToken, withLinks } from '../src/job/links.ts';
import { logLine } from '../src/job/log.ts';
import { type LogLine, logLines } from '../src/job/log-lines.ts';
import { viewPlan } from '../src/job/plan.ts';
import { afterFault, newRecord, outcomeOf, timesAfter } from '../src/job/record.ts';
import type { AccountCalls, JobCalls, JobWithLogs, NewJob, Objects, Remote } from '../src/job/rpc.ts';
import { isLastRoom, roomName, type StageRequest, type Step, type Tools, walkRoom } from '../src/job/story.ts';
import { totalTflops, viewJob } from '../src/job/view.ts';
import { afterTry, type Webhook, webhookSecret } from '../src/job/webhook.ts';
import { openStageServer, parseBackends } from '../src/stage/backends.ts';
import type { StageProgress, StageServer } from '../src/stage/client.ts';
import { callWebhook } from './call-webhook.ts';
import { changedWithin, makeSignal, streamEvents } from './event-stream.ts';
import { type Limits, type LimitVariables, readLimits } from './limits.ts';
import { migrate } from './migrate.ts';
import {
  appendEvent,
  insertRow,
  JOB_MIGRATIONS,
  readEvents,
  readJob,
  readLastEvent,
  readRow,
  readStory,
  updateRow,
  writeJob,
} from './tables.ts';

/** What a deployment gives the object. */
export interface JobEnv extends LimitVariables {
  readonly IMAGES: R2Bucket;
  readonly ACCOUNTS: Objects<AccountCalls>;
  readonly BACKENDS: string;
  /** secret: what keys, links and webhooks are signed with */
  readonly SIGNING_SECRET: string;
  /** DNS over HTTPS, asked where a webhook's name leads; empty on one's own machine: webhooks may go anywhere then */
  readonly WEBHOOK_RESOLVER: string;
}

/**
 * How long a stored attempt is left alone after its last sign of life. Renewed with every message; shorter only wakes a
 * crashed job sooner.
 */
const LEASE_MS = 10_000;
/**
 * Progress is stored and told this often: a small model steps every few milliseconds, and telling each would cost more
 * than making it.
 */
const TELL_MS = 100;
const HEARTBEAT_MS = 10_000;
const EVENTS_AT_ONCE = 64;

/**
 * How long one alarm goes on from room to room. With one stage request more it stays under the platform's 15 minutes.
 */
const ALARM_MS = 4 * 60_000;

/** When to try again to remove a job whose image the bucket would not delete. */
const REMOVE_RETRY_MS = 3_600_000;
/** When to try again to tell an account. */
const TELL_ACCOUNT_RETRY_MS = 5000;

/** When an ended job wants to be looked at again: to tell its account, then its caller, then to be removed. */
function dueAfterEnd({ toldAt, webhook, expiresAt }: JobRecord): number {
  if (toldAt === null) return Date.now();
  return Math.min(
    webhook?.state === 'waiting' ? Math.max(Date.now(), webhook.dueAt) : Number.POSITIVE_INFINITY,
    expiresAt as number,
  );
}

export class JobObject extends DurableObject<JobEnv> implements JobCalls {
  readonly #sql: SqlStorage;
  readonly #limits: Limits;
  readonly #signal = makeSignal();
  /** ends the stage request in flight; null when there is none in this incarnation */
  #inFlight: AbortController | null = null;
  #walking: Promise<void> | null = null;
  /** ends the webhook's call in flight, which nobody waits for when the job is erased */
  #webhookCall: AbortController | null = null;
  /** progress not stored yet, and the timer that will */
  readonly #unflushed: { readonly event: JobEvent; readonly at: number }[] = [];
  #flushTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(ctx: DurableObjectState, env: JobEnv) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#limits = readLimits(env);
    ctx.blockConcurrencyWhile(async () => {
      const row = this.#row();
      if (!row) return;
      migrate(this.#sql, JOB_MIGRATIONS);
      // a new incarnation means that whoever held the lease is gone: nothing to wait for
      const alarm = await ctx.storage.getAlarm();
      const due = isLastRoom(row.room) ? dueAfterEnd(row) : Math.max(Date.now(), row.notBefore);
      if (alarm === null || alarm > due) await ctx.storage.setAlarm(due);
    });
  }

  /**
   * Stores the job with its first events and starts it. Idempotent: a second call with the same id changes nothing.
   * Resolves to the job.
   */
  async create({ id, account, request, plan, deadlineSeconds, webhook }: NewJob): Promise<JobView> {
    const now = Date.now();
    const isNew = this.ctx.storage.transactionSync(() => {
      migrate(this.#sql, JOB_MIGRATIONS);
      if (this.#row()) return false;
      const deadlineAt = deadlineSeconds === null ? null : now + deadlineSeconds * 1000;
      insertRow(
        this.#sql,
        newRecord(
          {
            id,
            account,
            request,
            plan,
            deadlineAt,
            webhook: webhook && { ...webhook, tries: 0, dueAt: 0, state: 'waiting' },
          },
          now,
        ),
      );
      this.#append({ type: 'queued', data: { job_id: id, stage: null, position: null, eta_ms: null } });
      const { model, seed, width, height } = request;
      this.#append({ type: 'plan', data: { ...viewPlan(plan, request), model, seed, width, height } });
      void this.ctx.storage.setAlarm(now);
      return true;
    });
    if (isNew) logLine('job_created', { job_id: id, model: request.model, preset: request.schedule.preset });
    return this.#view(this.#row() as JobRecord);
  }

  /**
   * The job as callers see it; null when `owner` has none of this id. An owner of null asks for whoever's it is:
   * someone with a signed link, or the account itself.
   */
  view(owner: string | null): JobView | null {
    const row = this.#rowOf(owner);
    return row && this.#view(row);
  }

  /** The job with its story so far as lines of text; null when `owner` has none of this id. */
  viewWithLogs(owner: string | null): JobWithLogs | null {
    const row = this.#rowOf(owner);
    return row && { job: this.#view(row), logs: this.#logs() };
  }

  /**
   * The events after `after` as server-sent-event bytes, followed until the job ends; null when there is no job, `over`
   * when none can come any more, `ahead` when there has been no such event.
   */
  events(owner: string | null, after: number): ReadableStream<Uint8Array> | 'over' | 'ahead' | null {
    const row = this.#rowOf(owner);
    if (!row) return null;
    if (after > 0 && readEvents(this.#sql, after - 1, 1).length === 0) return 'ahead';
    if (isLastRoom(row.room) && readEvents(this.#sql, after, 1).length === 0) return 'over';
    return streamEvents({
      after,
      read: (seq, limit) => (this.#row() ? readEvents(this.#sql, seq, limit) : null),
      isOver: () => isLastRoom((this.#row() as JobRecord).room),
      signal: this.#signal,
      heartbeatMs: HEARTBEAT_MS,
    });
  }

  /**
   * The events after `after` that are stored, at most 64; where there are none, those that come within `waitMs`. Null
   * when there is no job.
   */
  async eventsAfter(owner: string | null, after: number, waitMs: number): Promise<readonly StoredEvent[] | null> {
    // asked for before reading, as in the stream
    const changed = this.#signal.changed();
    const row = this.#rowOf(owner);
    if (!row) return null;
    const stored = readEvents(this.#sql, after, EVENTS_AT_ONCE);
    if (stored.length > 0 || isLastRoom(row.room)) return stored;
    await changedWithin(changed, waitMs);
    return this.#rowOf(owner) && readEvents(this.#sql, after, EVENTS_AT_ONCE);
  }

  /** The job once it has ended, or as it stands after `ms`. Null when there is none. */
  async wait(owner: string, ms: number): Promise<JobView | null> {
    const until = Date.now() + ms;
    for (;;) {
      const changed = this.#signal.changed();
      const row = this.#rowOf(owner);
      const rest = until - Date.now();
      if (!row || isLastRoom(row.room) || rest <= 0) return row && this.#view(row);
      await changedWithin(changed, rest);
    }
  }

  /** Ends the job unless it has ended already, and frees the stage server. Null when there is none. */
  async cancel(owner: string): Promise<JobView | null> {
    const row = this.#rowOf(owner);
    if (!row) return null;
    if (!isLastRoom(row.room)) {
      this.#flushProgress();
      const data = { job_id: row.id, room: roomName(row.room) };
      this.ctx.storage.transactionSync(() => this.#finish(row, { name: 'cancelled' }, {}, { type: 'cancelled', data }));
      this.#stopStage(row);
    }
    return this.#view(this.#row() as JobRecord);
  }

  /** Removes the job: image, latents, events, everything. False when there was none. */
  async erase(owner: string): Promise<boolean> {
    // an unfinished job ends first, so that nothing on its way can be stored behind the erasure; its walk is over
    // before anything goes
    if ((await this.cancel(owner)) === null) return false;
    this.#webhookCall?.abort();
    await this.#walking?.catch(() => {});
    await this.#remove();
    return true;
  }

  /**
   * Walks rooms until the job ends, waits, or has ended; then keeps it until it expires. A second alarm joins the walk
   * that is under way.
   */
  override alarm(): Promise<void> {
    this.#walking ??= this.#walkOn().finally(() => {
      this.#walking = null;
    });
    return this.#walking;
  }

  /** Throws only what the platform's storage throws; every failure of a stage ends in a row. */
  async #walkOn(): Promise<void> {
    const until = Date.now() + ALARM_MS;
    for (;;) {
      const row = this.#row();
      if (!row) return;
      const now = Date.now();
      if (isLastRoom(row.room)) {
        if (row.expiresAt !== null && now >= row.expiresAt) await this.#remove();
        else if (row.toldAt === null) await this.#tellAccount(row);
        else if (row.webhook?.state === 'waiting' && row.webhook.dueAt <= now)
          await this.#callWebhook(row, row.webhook);
        else await this.ctx.storage.setAlarm(dueAfterEnd(row));
        return;
      }
      if (row.deadlineAt !== null && now >= row.deadlineAt) {
        this.#fail(row, 'deadline_exceeded', 'The job was not done by its deadline.');
        continue;
      }
      if (row.notBefore > now || now > until) {
        await this.ctx.storage.setAlarm(
          Math.min(Math.max(now, row.notBefore), row.deadlineAt ?? Number.POSITIVE_INFINITY),
        );
        return;
      }
      await this.#walk(row);
    }
  }

  /** Tells the account that the job has ended, at least once: until it has heard, the alarm comes again. */
  async #tellAccount(row: JobRecord): Promise<void> {
    try {
      const ms = row.receipt?.stages.reduce((sum, { wall_ms }) => sum + wall_ms, 0);
      const work = ms === undefined ? null : { model: row.plan.model.id, tflops: totalTflops(row.plan), ms };
      await this.#accountOf(row).ended(row.id, row.room.name as 'done' | 'failed' | 'cancelled', work);
    } catch (error) {
      logLine('account_not_told', { job_id: row.id, error: error instanceof Error ? error.message : String(error) });
      await this.ctx.storage.setAlarm(Date.now() + TELL_ACCOUNT_RETRY_MS);
      return;
    }
    if (this.#row() === null) return;
    updateRow(this.#sql, { toldAt: Date.now() });
    await this.ctx.storage.setAlarm(dueAfterEnd(this.#row() as JobRecord));
  }

  /**
   * One try to tell the caller's own server that the job has ended; what came of it is stored, and the next try with
   * it.
   */
  async #callWebhook(row: JobRecord, webhook: Webhook): Promise<void> {
    const now = Date.now();
    const { origin, door, url } = webhook;
    const job = await withLinks(this.env.SIGNING_SECRET, this.#view(row), now);
    const body = JSON.stringify(
      webhookBody(door, job, this.#logs(), {
        origin,
        streamToken: await streamToken(this.env.SIGNING_SECRET, row.id, now),
        now,
      }),
    );
    const call = new AbortController();
    this.#webhookCall = call;
    const secrets = async () => {
      const generations = await this.#accountOf(row).webhookGenerations();
      return Promise.all(
        generations.map((generation) => webhookSecret(this.env.SIGNING_SECRET, row.account, generation)),
      );
    };
    const status = await callWebhook({
      url,
      id: row.id,
      body,
      secrets,
      resolver: this.env.WEBHOOK_RESOLVER,
      signal: call.signal,
    });
    this.#webhookCall = null;
    if (!this.#row()) return;
    const after = afterTry(webhook, status, Date.now());
    logLine('webhook_called', { job_id: row.id, try: after.tries, status, state: after.state });
    updateRow(this.#sql, { webhook: after });
    await this.ctx.storage.setAlarm(dueAfterEnd(this.#row() as JobRecord));
  }

  #accountOf({ account }: JobRecord): Remote<AccountCalls> {
    return this.env.ACCOUNTS.getByName(account);
  }

  /**
   * The image from the bucket, the entry in its account, then everything here. Where one of them fails it is asked
   * again later: the alarm goes only with the tables.
   */
  async #remove(): Promise<void> {
    const row = this.#row();
    if (!row) return;
    updateRow(this.#sql, { expiresAt: Date.now() });
    await this.ctx.storage.setAlarm(Date.now() + REMOVE_RETRY_MS);
    await this.env.IMAGES.delete(imageKey(row.id, row.request.format));
    await this.#accountOf(row).erased(row.id);
    await this.ctx.storage.deleteAll();
    this.#signal.notify();
    logLine('job_erased', { job_id: row.id });
  }

  /** One room: what it reads is `row`; what it changed is stored if the job still stands where it stood. */
  async #walk(row: JobRecord): Promise<void> {
    const name = roomName(row.room);
    if (row.room.name === 'stage' && row.tries >= this.#limits.attempts) {
      return this.#fail(
        row,
        'interrupted',
        `The stage was cut off ${row.tries} times, the last time without any answer.`,
      );
    }
    const before = readJob(this.#sql, row);
    const tools: Tools = { runStage: (request) => this.#runStage(row, request), clock: () => performance.now() };
    let step: Step;
    try {
      step = await tracing.enterSpan(name, () => walkRoom(before, tools));
    } catch (error) {
      if (error instanceof Superseded) return;
      // a fault of ours: the same job would meet it again, so it ends with a name instead of turning for ever
      logLine('room_threw', {
        job_id: row.id,
        room: name,
        error: error instanceof Error ? error.message : String(error),
      });
      return this.#fail(row, 'internal_error', 'The job met an internal error.');
    }
    if (step.ok) await this.#advance(row, before, step);
    else this.#retryOrFail(row, step.failure);
  }

  /**
   * Sends a stage request: the attempt and its lease are stored before a byte goes out. Throws Superseded when the job
   * has moved meanwhile.
   */
  #runStage: (row: JobRecord, request: StageRequest) => ReturnType<Tools['runStage']> = async (
    row,
    { id, stage, tokens, options, body, rgbSize },
  ) => {
    // a job stays with the server it has: one cut off may still be running there, and the next stage finds the prompt
    // encoded
    const backend = row.backend ?? (row.plan.backends[0] as string);
    this.ctx.storage.transactionSync(() => {
      const now = this.#row();
      if (!now || now.attempt !== row.attempt || roomName(now.room) !== roomName(row.room)) throw new Superseded();
      updateRow(this.#sql, { attempt: row.attempt + 1, tries: row.tries + 1, backend, stageId: id });
      this.#append({
        type: 'stage',
        data: {
          stage: stage.stage,
          stages: row.plan.stages.length,
          tokens: stage.tokens,
          steps: stage.steps,
          attempt: row.tries + 1,
        },
      });
      void this.ctx.storage.setAlarm(Date.now() + LEASE_MS);
    });
    this.#signal.notify();
    const begin = Date.now();
    const server = this.#stage(backend);
    const controller = new AbortController();
    this.#inFlight = controller;
    const { deadlineAt } = row;
    const deadline =
      deadlineAt === null
        ? null
        : setTimeout(
            () => this.#fail(row, 'deadline_exceeded', 'The job was not done by its deadline.'),
            Math.max(0, deadlineAt - begin),
          );
    try {
      const outcome = server
        ? await server.run({
            id,
            body,
            options,
            numTokens: stage.tokens,
            numValues: tokens.latents.length / stage.tokens,
            steps: stage.steps,
            rgbSize,
            signal: controller.signal,
            timeoutMs: this.#limits.timeoutMs,
            silenceMs: this.#limits.silenceMs,
            onProgress: (event) => {
              if (!controller.signal.aborted) this.#progress(row.id, stage.stage, event);
            },
          })
        : ({
            ok: false,
            failure: { reason: 'unreachable', detail: `backend ${backend} is no longer configured` },
          } as const);
      return { ...outcome, wallMs: Date.now() - begin, attempts: row.tries + 1 };
    } finally {
      clearTimeout(deadline);
      this.#flushProgress();
      if (this.#inFlight === controller) this.#inFlight = null;
    }
  };

  /** A sign of life from the stage server: an event for the watchers, told with those that come shortly after it. */
  #progress(jobId: string, stage: number, event: StageProgress): void {
    const told: JobEvent =
      event.event === 'step'
        ? { type: 'step', data: { stage, step: event.step, steps: event.steps, sigma: event.sigma, ms: event.ms } }
        : { type: 'queued', data: { job_id: jobId, stage, position: event.position, eta_ms: event.eta_ms } };
    this.#unflushed.push({ event: told, at: Date.now() });
    this.#flushTimer ??= setTimeout(() => this.#flushProgress(), TELL_MS);
  }

  /**
   * Stores what was not told yet, with the lease renewed, and wakes the watchers. Comes before any other event is
   * stored, so that the order holds.
   */
  #flushProgress(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    const untold = this.#unflushed.splice(0);
    const row = this.#row();
    if (untold.length === 0 || !row || isLastRoom(row.room)) return;
    this.ctx.storage.transactionSync(() => {
      for (const { event, at } of untold) appendEvent(this.#sql, event, at);
      void this.ctx.storage.setAlarm(Date.now() + LEASE_MS);
    });
    this.#signal.notify();
  }

  /**
   * Stores what a room made, and the room after it. The image goes to R2 first: a row never points at an image that is
   * not there.
   */
  async #advance(row: JobRecord, before: Job, { job, events, image }: Extract<Step, { ok: true }>): Promise<void> {
    const { request } = row;
    if (image) {
      try {
        await this.env.IMAGES.put(imageKey(row.id, request.format), image, {
          httpMetadata: { contentType: `image/${request.format}` },
        });
      } catch (error) {
        this.#retryOrFail(row, {
          reason: 'storage_failed',
          detail: error instanceof Error ? error.message : String(error),
        });
        return;
      }
    }
    const isStored = this.ctx.storage.transactionSync(() => {
      const now = Date.now();
      if (!this.#standsAt(row)) return false;
      writeJob(this.#sql, before, job);
      for (const event of events) this.#append(event);
      if (job.room.name !== 'done') {
        updateRow(this.#sql, {
          room: job.room,
          roomSince: now,
          roomTimes: timesAfter(row, now),
          tries: 0,
          notBefore: 0,
          busySince: null,
          stageId: null,
        });
        return true;
      }
      const outcome = outcomeOf(row, job, image?.length ?? 0, now);
      this.#finish(row, job.room, outcome, { type: 'done', data: { job_id: row.id, ...outcome } }, now);
      return true;
    });
    // cancelled or erased while the image was on its way: it must not stay behind
    if (!isStored && image) await this.env.IMAGES.delete(imageKey(row.id, request.format));
    this.#signal.notify();
  }

  /** A stage without result: the job waits, tries again, or ends. */
  #retryOrFail(row: JobRecord, fault: Fault): void {
    if (!this.#standsAt(row) || row.room.name !== 'stage') return;
    logLine('stage_failed', { job_id: row.id, stage: row.room.stage, attempt: row.tries + 1, ...fault });
    const verdict = afterFault(row, row.room.stage, fault, this.#limits, Date.now());
    if (verdict.kind === 'end') {
      this.#fail(row, verdict.reason, verdict.message);
      return;
    }
    this.ctx.storage.transactionSync(() => {
      if (verdict.event) this.#append(verdict.event);
      updateRow(this.#sql, verdict.changes);
    });
    this.#signal.notify();
  }

  #fail(row: JobRecord, reason: FailureReason, message: string): void {
    this.#flushProgress();
    const current = this.#row();
    if (!current || isLastRoom(current.room)) return;
    const failure = {
      reason,
      message,
      stage: row.room.name === 'stage' ? row.room.stage : null,
      attempts: current.tries,
    };
    this.ctx.storage.transactionSync(() =>
      this.#finish(row, { name: 'failed' }, { failure }, { type: 'failed', data: { job_id: row.id, ...failure } }),
    );
    this.#stopStage(current);
  }

  /** The last room, in the caller's transaction: latents go and the row says how it ended. */
  #finish(
    row: JobRecord,
    room: Room,
    outcome: Partial<Pick<JobRecord, 'image' | 'receipt' | 'failure'>>,
    event: JobEvent,
    now = Date.now(),
  ): void {
    const expiresAt = now + this.#limits.ttlMs;
    this.#sql.exec('DELETE FROM blob');
    updateRow(this.#sql, {
      ...outcome,
      room,
      roomSince: now,
      roomTimes: timesAfter(row, now),
      finishedAt: now,
      expiresAt,
    });
    this.#append(event);
    // the account is told first, then the alarm waits for the expiry
    void this.ctx.storage.setAlarm(now);
    this.#signal.notify();
    logLine('job_ended', { job_id: row.id, room: room.name, ms: now - row.createdAt, reason: outcome.failure?.reason });
  }

  /** Ends the request in flight here and, whatever incarnation sent it, the stage at its server. */
  #stopStage({ backend, stageId }: JobRecord): void {
    this.#inFlight?.abort();
    this.#inFlight = null;
    if (backend !== null && stageId !== null)
      this.ctx.waitUntil(this.#stage(backend)?.cancel(stageId) ?? Promise.resolve());
  }

  #stage(id: string): StageServer | null {
    const backend = parseBackends(this.env.BACKENDS).find((candidate) => candidate.id === id);
    return backend ? openStageServer(backend, this.env as unknown as Record<string, unknown>) : null;
  }

  /** Whether the job still stands where `row` was read, or at the stage request begun from there. */
  #standsAt(row: JobRecord): boolean {
    const now = this.#row();
    return (
      now !== null &&
      roomName(now.room) === roomName(row.room) &&
      now.attempt === row.attempt + (row.room.name === 'stage' ? 1 : 0)
    );
  }

  #view(row: JobRecord): JobView {
    return viewJob(row, readLastEvent(this.#sql));
  }

  #logs(): readonly LogLine[] {
    return logLines(readStory(this.#sql));
  }

  #row(): JobRecord | null {
    return readRow(this.#sql);
  }

  #rowOf(owner: string | null): JobRecord | null {
    const row = this.#row();
    return row && (owner === null || row.account === owner) ? row : null;
  }

  #append(event: JobEvent): void {
    appendEvent(this.#sql, event, Date.now());
  }
}

/** Thrown inside a room whose job was cancelled, erased or advanced while it prepared its request. */
class Superseded extends Error {
  override name = 'Superseded';
}
