/**
 * One job = one image = one object: its lifecycle, from its creation to what is left of it when it is gone. How it goes
 * from room to room is in walk.ts, what it still has to tell others in outbox.ts, who watches it in watch.ts.
 *
 * What holds, whatever is killed: a job that goes on has an alarm, a cancelled one stays cancelled, and what an end has
 * to tell others is stored with the end.
 */
import { DurableObject } from 'cloudflare:workers';
import type { JobEnd } from '../src/account/account.ts';
import { viewQuotedCost } from '../src/billing/charge.ts';
import type { StageUsage } from '../src/billing/receipt.ts';
import type { Slot } from '../src/fleet/slots.ts';
import { factsOf } from '../src/job/ended-facts.ts';
import type { JobEvent, Picture } from '../src/job/events.ts';
import type { FailureReason } from '../src/job/failures.ts';
import type { JobRecord, JobView } from '../src/job/job.ts';
import { logLine } from '../src/job/log.ts';
import { logLines } from '../src/job/log-lines.ts';
import {
  DROPPED_AT_BREAK,
  DROPPED_AT_ERASURE,
  type DueLetter,
  lettersAtEnd,
  lettersAtErasure,
} from '../src/job/outbox.ts';
import { viewPlan } from '../src/job/plan.ts';
import {
  chargeAtEnd,
  endOf,
  excessWork,
  isWaitingOnly,
  LONGEST_PAUSE_MS,
  newRecord,
  pauseLeft,
  receiptOf,
  timesAfter,
} from '../src/job/record.ts';
import type { JobCalls, JobWithLogs, NewJob, Reckoning, Thumbnail } from '../src/job/rpc.ts';
import {
  MAX_SHARES,
  type NewShare,
  pictureIn,
  type Share,
  type SharedJob,
  type SharedPicture,
  type ShareTaken,
  shareOf,
  viewShared,
} from '../src/job/share.ts';
import { isLastRoom, roomName } from '../src/job/story.ts';
import { Unreadable } from '../src/job/unreadable.ts';
import { costOf, viewJob } from '../src/job/view.ts';
import type { ImageFormat } from '../src/stage/contract.ts';
import { within } from '../src/stage/time-limit.ts';
import { type Alarm, makeAlarm } from './alarm.ts';
import { isUnderWay, readAttempts } from './job/attempts.ts';
import { appendEvents, heardSteps, readEvents, readLastEvent, readOfTypes, readStory } from './job/event-tables.ts';
import { deleteLatents } from './job/latents.ts';
import { makeOutbox, type Outbox } from './job/outbox.ts';
import { addLetter, hastenLetters, lettersOf, nextLetterAt, removeLetters, waitingKinds } from './job/outbox-tables.ts';
import { type Ending, type JobEnv, LEASE_MS, messageOf } from './job/parts.ts';
import { type Heard, makeProgress } from './job/progress.ts';
import { makeRows, type Rows } from './job/rows.ts';
import { makeServers, type Servers } from './job/servers.ts';
import { addShare, deleteShare, readShares } from './job/share-table.ts';
import { makeSlots, type Slots } from './job/slots.ts';
import { breakRow, deleteContent, insertRow, readableUsage, readRow, updateRow } from './job/tables.ts';
import { makeThumbnails } from './job/thumbnails.ts';
import { makeWalk, type Walk } from './job/walk.ts';
import { close, makeWatchers } from './job/watch.ts';
import { DEFAULT_TTL_MS, readLimits, readTtl } from './limits.ts';

/** When to try again after a fault of ours, or of the configuration. */
const FAULT_PAUSE_MS = 60_000;
/** An object that began anew for its alarm has it by then. */
const WAKES_MS = 1_000;
/** How long an erasure waits for the walk it ends. */
const WALK_END_MS = 10_000;

export class JobObject extends DurableObject<JobEnv> implements JobCalls {
  readonly #alarm: Alarm;
  readonly #rows: Rows;
  /** What is stored, as tests see it: a caller over RPC sees methods alone. */
  readonly rows: Rows;
  readonly #watchers = makeWatchers(this.ctx, {
    state: (owner) => this.#stateFor(owner),
    read: (after, limit) => readEvents(this.#rows, after, limit),
    view: () => this.view(null),
    latest: () => ({ progress: this.#progress.latest(), thumbnail: this.#thumbnails.newest() }),
  });
  readonly #progress = makeProgress({
    store: (heard) => this.#storeProgress(heard),
    tell: (heard) => this.#watchers.tell(heard),
  });
  readonly #thumbnails = makeThumbnails({
    areWanted: () => this.#watchers.wantThumbnails(),
    show: (thumbnail) => this.#watchers.show(thumbnail),
  });
  readonly #servers: Servers;
  readonly #slots: Slots;
  readonly #outbox: Outbox;
  readonly #walk: Walk;
  #walking: Promise<'over' | 'waits'> | null = null;
  /** the alarm has come, or the job was called, since this incarnation began */
  #hasWoken = false;

  constructor(ctx: DurableObjectState, env: JobEnv) {
    super(ctx, env);
    this.#alarm = makeAlarm(ctx.storage);
    this.#rows = makeRows(ctx.storage, () => this.#alarm.forget());
    this.rows = this.#rows;
    this.#servers = makeServers(() => this.env, this.#rows, ctx.id.name ?? '');
    this.#slots = makeSlots(() => this.env, this.#servers, ctx.id.name ?? '');
    this.#outbox = makeOutbox({
      env: () => this.env,
      rows: this.#rows,
      alarm: this.#alarm,
      job: ctx.id.name ?? '',
      view: () => this.viewWithLogs(null),
      server: (id) => this.#servers.byId(id),
      everyServer: () => this.#servers.all(),
      isOpen: () => this.#isOpen(),
      erasure: () => this.#erasure(Date.now()),
      expire: () => this.#scrub('expired'),
    });
    this.#walk = makeWalk({
      env: () => this.env,
      rows: this.#rows,
      alarm: this.#alarm,
      servers: this.#servers,
      slots: this.#slots,
      progress: this.#progress,
      thumbnails: this.#thumbnails,
      limits: () => readLimits(this.env),
      row: () => this.#row(),
      append: (...events) => this.#append(...events),
      notify: () => this.#watchers.notify(),
      background: (work) => ctx.waitUntil(work),
      tellServers: () => ctx.waitUntil(this.#outbox.deliverInside()),
      finish: (row, end) => this.#finish(row, end),
      afterEnd: () => this.#afterEnd(),
      fail: (row, reason, message, known) => this.#fail(row, reason, message, known),
    });
    ctx.blockConcurrencyWhile(async () => {
      if (!this.#rows.isThere()) return;
      // a new incarnation means that whoever held the lease is gone: nothing to wait for
      const now = Date.now();
      const row = this.#row();
      const due = row && !isLastRoom(row.room) ? now + pauseLeft(row, now) : nextLetterAt(this.#rows, now);
      const at = await this.#alarm.read();
      if (due !== null && !(row && this.#sleepsOn(row, at))) this.#alarm.by(due);
    });
  }

  /**
   * Whether a job that waits is woken as it should be, although its object began anew: by the alarm that is set, or by
   * the one that comes now. Setting one is a row, and however often somebody looks at a job that waits, it costs none.
   */
  #sleepsOn(row: JobRecord, alarmAt: number | null): boolean {
    if (!isWaitingOnly(row) || isUnderWay(readAttempts(this.#rows).at(-1), row.room)) return false;
    if (alarmAt !== null) return alarmAt - Date.now() <= LONGEST_PAUSE_MS;
    // while it comes nothing is set; where nothing comes either, it is set after all
    setTimeout(() => {
      if (!this.#hasWoken && this.#isOpen()) this.#alarm.by(Date.now());
    }, WAKES_MS);
    return true;
  }

  async create({
    id,
    account,
    regions = [''],
    enteredAt,
    dispatcher = null,
    request,
    plan,
    deadlineSeconds,
    webhook,
  }: NewJob): Promise<JobView | null> {
    const now = Date.now();
    const isNew = this.#rows.transact(() => {
      const row = this.#row();
      if (row) {
        // the request came again in part: it has other jobs now
        if (row.account === account && row.request.batch && request.batch)
          updateRow(this.#rows, { request: { ...row.request, batch: request.batch } });
        return false;
      }
      // an erased job does not come again: what its first life cost is still to be told
      if (nextLetterAt(this.#rows, now) !== null) return false;
      const deadlineAt = deadlineSeconds === null ? null : now + deadlineSeconds * 1000;
      const told = webhook && ({ ...webhook, tries: 0, state: 'waiting' } as const);
      const { model, seed, width, height } = request;
      const cost = plan.price && viewQuotedCost(plan.price);
      const events: JobEvent[] = [
        { type: 'queued', data: { job_id: id, stage: null, position: null, eta_ms: null } },
        { type: 'plan', data: { ...viewPlan(plan, request), model, seed, width, height, cost } },
      ];
      const record = newRecord({ id, account, regions, enteredAt, request, plan, deadlineAt, webhook: told }, now);
      insertRow(this.#rows, record, events);
      return true;
    });
    // of an erased job that comes again its account knows nothing yet
    if (isNew) this.#walk.forget();
    if (isNew && dispatcher !== null) this.#slots.admittedBy(dispatcher);
    if (isNew) this.#go();
    if (isNew) logLine('job_created', { job_id: id, model: request.model, preset: request.schedule.preset });
    return this.view(null);
  }

  async createWithLogs(job: NewJob): Promise<JobWithLogs | null> {
    return (await this.create(job)) && this.viewWithLogs(null);
  }

  view(owner: string | null): JobView | null {
    const row = this.#rowOf(owner);
    return row && this.#view(row);
  }

  viewWithLogs(owner: string | null): JobWithLogs | null {
    const row = this.#rowOf(owner);
    return row && { job: this.#view(row), logs: logLines(readStory(this.#rows)) };
  }

  thumbnail(owner: string | null): Thumbnail | 'none' | null {
    const row = this.#rowOf(owner);
    if (!row) return null;
    const { image, finishedAt } = row;
    return image?.thumbnail && finishedAt !== null ? { ...image.thumbnail, finishedAt } : 'none';
  }

  /** A WebSocket of somebody who watches: src/job/watching.ts. */
  override fetch(request: Request): Response {
    const opened = this.#watchers.open(request);
    this.#thumbnails.look();
    return opened;
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#watchers.take(socket, message);
  }

  /** Whoever watched is gone, or has seen everything. */
  override webSocketClose(socket: WebSocket): void {
    close(socket, 1000, '');
  }

  override webSocketError(socket: WebSocket): void {
    close(socket, 1011, '');
  }

  ending(): JobEnd | 'open' | null {
    const row = this.#row();
    const [untold] = lettersOf(this.#rows, 'ended');
    if (untold) return endIn(untold.payload);
    return row && (endOf(row, null) ?? 'open');
  }

  reckoning(): Reckoning | null {
    if (!this.#rows.isThere()) return null;
    const row = this.#row();
    return { quoted: row?.plan.price?.quoted ?? null, end: this.ending(), letters: waitingKinds(this.#rows) };
  }

  async cancel(owner: string): Promise<JobView | null> {
    const row = this.#rowOf(owner);
    if (!row) return null;
    if (!isLastRoom(row.room)) {
      this.#progress.flush();
      const data = { job_id: row.id, room: roomName(row.room) };
      this.#rows.transact(() =>
        this.#finish(row, {
          room: { name: 'cancelled' },
          event: ({ cost }) => ({ type: 'cancelled', data: { ...data, cost } }),
        }),
      );
      this.#afterEnd();
    }
    return this.#view(this.#row() as JobRecord);
  }

  /**
   * Removes prompt, picture, latents and events at once. What the account and the stage servers have to hear stays in
   * the outbox until they have; then nothing is left. Throws when the bucket does not delete the picture: asking again
   * tries again.
   */
  async erase(owner: string): Promise<boolean> {
    const row = this.#rowOf(owner);
    if (!row && !this.#isErasing(owner)) return false;
    if (row && !isLastRoom(row.room)) {
      await this.cancel(owner);
      // who watches sees the end before its event goes
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    if (row) this.#scrub('erased');
    else hastenLetters(this.#rows, 'picture', Date.now());
    this.#outbox.dropCalls();
    // a picture on its way to the bucket must not arrive behind the erasure
    await within(WALK_END_MS, 'the end of the walk', Promise.resolve(this.#walking)).catch(() => undefined);
    await this.#outbox.deliverInside();
    // the delivery that was joined may have been at its end
    if (this.#isErasing(owner)) await this.#outbox.deliverInside();
    if (this.#isErasing(owner)) throw new Error('the bucket has not deleted the picture');
    return true;
  }

  share(owner: string, { id, ms }: NewShare): ShareTaken {
    const row = this.#rowOf(owner);
    if (!row) return { kind: 'no_job' };
    if (!row.image || row.expiresAt === null) return { kind: 'no_image', status: this.#view(row).status };
    const now = Date.now();
    const shares = readShares(this.#rows.sql, now);
    const known = shares.find((share) => share.id === id);
    if (known) return { kind: 'shared', share: known };
    if (shares.length >= MAX_SHARES) return { kind: 'too_many' };
    const share = shareOf({ id, ms }, row.expiresAt, now);
    this.#rows.transact(() => addShare(this.#rows.sql, share));
    return { kind: 'shared', share };
  }

  shares(owner: string): readonly Share[] | null {
    return this.#rowOf(owner) && readShares(this.#rows.sql, Date.now());
  }

  unshare(owner: string, id: string): boolean {
    if (!this.shares(owner)?.some((share) => share.id === id)) return false;
    this.#rows.transact(() => deleteShare(this.#rows.sql, id));
    return true;
  }

  shared(id: string): SharedJob | null {
    const row = this.#rowOfShare(id);
    return row && viewShared(row, readOfTypes(this.#rows, ['preview', 'selection']));
  }

  sharedFormat(id: string): ImageFormat | null {
    return this.#rowOfShare(id)?.image?.format ?? null;
  }

  sharedPicture(id: string, name: SharedPicture): Picture | null {
    if (!this.#rowOfShare(id)) return null;
    return pictureIn(readOfTypes(this.#rows, [typeof name === 'number' ? 'preview' : 'selection']), name);
  }

  turn(dispatcher: string, slot: Slot): boolean {
    const row = this.#row();
    if (!row || isLastRoom(row.room) || !this.#slots.turn(dispatcher, slot)) return false;
    this.#go();
    return true;
  }

  askAgain(): void {
    if (this.#isOpen()) this.ctx.waitUntil(this.#walkAndTell());
  }

  /** The alarm of a lease, of a wait that is over, or of a letter. */
  override async alarm(): Promise<void> {
    this.#alarm.came();
    this.#hasWoken = true;
    await this.#walkAndTell();
  }

  /** The job goes on now, with an alarm behind it in case this incarnation does not live. */
  #go(): void {
    this.#hasWoken = true;
    this.#alarm.by(Date.now() + LEASE_MS);
    this.ctx.waitUntil(this.#walkAndTell());
  }

  /**
   * Walks rooms until the job ends or waits, then delivers what its end has to tell. A second call joins the first. A
   * fault of ours or of the configuration leaves an alarm behind, so that no job is stranded.
   */
  async #walkAndTell(): Promise<void> {
    try {
      // apart from what is delivered: an erasure waits for the walk alone
      this.#walking ??= this.#walk.on().finally(() => {
        this.#walking = null;
      });
      // while the job waits, stage servers are told to stop what was given up
      if ((await this.#walking) === 'over') await this.#outbox.deliver();
      else await this.#outbox.deliverInside();
    } catch (error) {
      logLine('alarm_threw', { job_id: this.ctx.id.name ?? '', error: messageOf(error) });
      this.#alarm.set(Date.now() + FAULT_PAUSE_MS);
    }
  }

  /** Dispatchers in whose lines a job may stand since before it slept. */
  #linesOf(row: JobRecord | null): readonly string[] {
    return row ? this.#servers.dispatchers(row.regions, row.plan.model.id, []) : [];
  }

  /** Stores a step, and tells the watchers. The lease stays as it is: one that is over wakes a crashed job at once. */
  #storeProgress({ event, at }: Heard): void {
    const row = this.#row();
    if (!row || isLastRoom(row.room)) return;
    appendEvents(this.#rows, [event], at);
    this.#watchers.notify();
  }

  #fail(
    row: JobRecord,
    reason: FailureReason,
    message: string,
    known: { readonly attempts?: number; readonly usage?: readonly StageUsage[] } = {},
  ): void {
    this.#progress.flush();
    const current = this.#row();
    if (!current || isLastRoom(current.room)) return;
    const stage = row.room.name === 'stage' ? row.room.stage : null;
    const failure = { reason, message, stage, attempts: known.attempts ?? current.tries };
    this.#rows.transact(() =>
      this.#finish(current, {
        room: { name: 'failed' },
        outcome: { failure },
        ...(known.usage && { usage: known.usage }),
        event: ({ cost }) => ({ type: 'failed', data: { job_id: row.id, ...failure, cost } }),
      }),
    );
    this.#afterEnd();
  }

  /**
   * The last room, in the caller's transaction: latents go, the row says how the job ended with a receipt of the work
   * that was reported, and everything that others have to hear is in the outbox.
   */
  #finish(row: JobRecord, end: Ending): void {
    const { room, outcome, event, usage = readableUsage(this.#rows) } = end;
    const now = Date.now();
    const heard = heardSteps(this.#rows);
    const steps = row.room.name === 'stage' ? (heard.counted.get(row.room.stage) ?? 0) : 0;
    const how = { room, reason: outcome?.failure?.reason ?? null };
    const charge = chargeAtEnd(row, how, usage, steps);
    const receipt = receiptOf(row, { usage, charge, end: how }, now);
    const expiresAt = now + this.#ttlMs();
    deleteLatents(this.#rows.sql);
    updateRow(this.#rows, {
      ...outcome,
      receipt,
      room,
      roomSince: now,
      roomTimes: timesAfter(row, now),
      finishedAt: now,
      expiresAt,
    });
    const ended = { ...row, room, receipt };
    this.#append(event({ receipt, cost: costOf(ended) }));
    const told = endOf(ended, room.name === 'failed' ? excessWork(row, heard.everyRun) : null) as JobEnd;
    const facts = factsOf(row, { end: told, reason: how.reason, receipt, finishedAt: now, usage, steps });
    for (const { letter, dueAt } of lettersAtEnd(row, { end: told, facts, expiresAt, now }, readAttempts(this.#rows)))
      addLetter(this.#rows, letter, dueAt);
    this.#alarm.by(now + LEASE_MS);
    logLine('job_ended', {
      job_id: row.id,
      room: room.name,
      ms: now - row.createdAt,
      reason: outcome?.failure?.reason,
    });
  }

  /** What comes of an end once it is stored: the request in flight stops, who watches hears, the outbox goes out. */
  #afterEnd(): void {
    this.#walk.abort();
    this.#watchers.notify();
    this.ctx.waitUntil(this.#slots.end(this.#linesOf(this.#row())));
    this.ctx.waitUntil(this.#outbox.deliver());
  }

  /** Whether there is a job that has not ended. */
  #isOpen(): boolean {
    const row = this.#row();
    return row !== null && !isLastRoom(row.room);
  }

  /** Removes all content in one transaction, and stores what others have to hear. */
  #scrub(why: 'erased' | 'expired'): void {
    const row = this.#row();
    if (!row) return;
    const now = Date.now();
    this.#rows.transact(() => {
      const letters = this.#erasure(now);
      removeLetters(this.#rows, DROPPED_AT_ERASURE);
      for (const { letter, dueAt } of letters) addLetter(this.#rows, letter, dueAt);
      deleteContent(this.#rows);
      this.#alarm.by(now);
    });
    this.#watchers.notify();
    logLine('job_erased', { job_id: row.id, why });
  }

  /** What is to be told when the job is erased. */
  #erasure(now: number): readonly DueLetter[] {
    const row = this.#row();
    return row ? lettersAtErasure(row, readAttempts(this.#rows), now) : [];
  }

  /** Whether the bucket has not deleted the picture of an erased job of `owner`. */
  #isErasing(owner: string): boolean {
    if (this.#row()) return false;
    return lettersOf(this.#rows, 'picture').some(
      (letter) => letter.payload.account === owner && (letter.tries > 0 || letter.dueAt <= Date.now()),
    );
  }

  /** How long an ended job is kept. A wrong limit keeps nobody from ending a job. */
  #ttlMs(): number {
    try {
      return readTtl(this.env);
    } catch (error) {
      logLine('bad_configuration', { job_id: this.ctx.id.name ?? '', error: messageOf(error) });
      return DEFAULT_TTL_MS;
    }
  }

  /** Whether the job is there for `owner`, and whether it has ended; null: it is not there. */
  #stateFor(owner: string | null): 'running' | 'ended' | null {
    const row = this.#rowOf(owner);
    return row && (isLastRoom(row.room) ? 'ended' : 'running');
  }

  /** What its owner sees. One whose request or plan is not what it should be is ended first. */
  #view(row: JobRecord): JobView {
    try {
      return viewJob(row, this.#progress.latest()?.event ?? readLastEvent(this.#rows));
    } catch {
      return viewJob(this.#break(['request', 'plan']) as JobRecord, readLastEvent(this.#rows));
    }
  }

  /** The stored job. One that cannot be read is ended first, by the name of what cannot be read. */
  #row(): JobRecord | null {
    try {
      return readRow(this.#rows);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return this.#break(error.parts);
    }
  }

  /** Ends a job that cannot be read, whatever it was about: it stands there as failed, and others hear of its end. */
  #break(columns: readonly string[]): JobRecord | null {
    const now = Date.now();
    const times = { now, expiresAt: now + this.#ttlMs() };
    const broken = this.#rows.transact(() => {
      const record = breakRow(this.#rows, columns, times);
      if (!record?.failure) return record;
      this.#append({ type: 'failed', data: { job_id: record.id, ...record.failure, cost: costOf(record) } });
      removeLetters(this.#rows, DROPPED_AT_BREAK);
      const end = { status: 'failed', work: null, charge: null, excess: null } as const;
      const { reason } = record.failure;
      // one that had ended before is not told of twice
      const facts =
        record.finishedAt === now
          ? factsOf(record, { end, reason, receipt: null, finishedAt: now, usage: [], steps: 0 })
          : null;
      const isUntold = lettersOf(this.#rows, 'ended').length > 0;
      const told = { end, facts, expiresAt: times.expiresAt, now };
      for (const { letter, dueAt } of lettersAtEnd(record, told, readAttempts(this.#rows)))
        if (letter.kind !== 'ended' || !isUntold) addLetter(this.#rows, letter, dueAt);
      this.#alarm.by(now);
      return record;
    });
    logLine('alert', { job_id: this.ctx.id.name ?? '', what: 'unreadable', part: broken?.failure?.message ?? '' });
    this.ctx.waitUntil(this.#slots.end(this.#linesOf(broken)));
    this.#walk.abort();
    this.#watchers.notify();
    return broken;
  }

  #rowOf(owner: string | null): JobRecord | null {
    const row = this.#row();
    return row && (owner === null || row.account === owner) ? row : null;
  }

  /** The job, where this share of it opens. */
  #rowOfShare(id: string): JobRecord | null {
    const row = this.#row();
    return row && readShares(this.#rows.sql, Date.now()).some((share) => share.id === id) ? row : null;
  }

  #append(...events: readonly JobEvent[]): void {
    appendEvents(this.#rows, events, Date.now());
  }
}

/** The end that a letter tells; one of an earlier version has no charge. */
const endIn = ({ status, work, charge = null, excess = null }: JobEnd): JobEnd => ({ status, work, charge, excess });
