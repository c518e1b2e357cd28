/**
 * One job = one image = one object: its lifecycle, from its creation to what is left of it when it is gone. How it goes
 * from room to room is in walk.ts, what it still has to tell others in outbox.ts, who watches it in watch.ts.
 *
 * What holds, whatever is killed: a job that goes on has an alarm, a cancelled one stays cancelled, and what an end has
 * to tell others is stored with the end.
 */
import { DurableObject } from 'cloudflare:workers';
import type { JobEnd } from '../src/account/account.ts';
import type { Slot } from '../src/fleet/slots.ts';
import type { Picture } from '../src/job/events.ts';
import type { JobRecord, JobView } from '../src/job/job.ts';
import { logLine } from '../src/job/log.ts';
import { isWaitingOnly, LONGEST_PAUSE_MS, pauseLeft } from '../src/job/record.ts';
import type { JobCalls, JobWithLogs, NewJob, Reckoning, Thumbnail } from '../src/job/rpc.ts';
import type { NewShare, Share, SharedJob, SharedPicture, ShareTaken } from '../src/job/share.ts';
import { isLastRoom } from '../src/job/story.ts';
import type { ImageFormat } from '../src/stage/contract.ts';
import { type Alarm, makeAlarm } from './alarm.ts';
import { isUnderWay, readAttempts } from './job/attempts.ts';
import { storeNew } from './job/creation.ts';
import { type Ends, makeEnds } from './job/ends.ts';
import { type Erasure, makeErasure } from './job/erasure.ts';
import { appendEvents, readEvents } from './job/event-tables.ts';
import { type LiveWebhook, makeLiveWebhook } from './job/live-webhook.ts';
import { makeOutbox, type Outbox } from './job/outbox.ts';
import { nextLetterAt, waitingKinds } from './job/outbox-tables.ts';
import { type JobEnv, LEASE_MS, messageOf } from './job/parts.ts';
import { type Heard, makeProgress } from './job/progress.ts';
import { makeRows, type Rows } from './job/rows.ts';
import { makeServers, type Servers } from './job/servers.ts';
import { makeShares, type Shares } from './job/shares.ts';
import { makeSlots, type Slots } from './job/slots.ts';
import { tellFirst } from './job/tell-first.ts';
import { makeWebhookTeller } from './job/tell-webhook.ts';
import { makeThumbnails } from './job/thumbnails.ts';
import { makeViews, type Views } from './job/views.ts';
import { makeWalk, type Walk } from './job/walk.ts';
import { close, makeWatchers } from './job/watch.ts';
import { readLimits } from './limits.ts';

/** When to try again after a fault of ours, or of the configuration. */
const FAULT_PAUSE_MS = 60_000;
/** An object that began anew for its alarm has it by then. */
const WAKES_MS = 1_000;

export class JobObject extends DurableObject<JobEnv> implements JobCalls {
  readonly #alarm: Alarm;
  readonly #rows: Rows;
  /** What is stored, as tests see it: a caller over RPC sees methods alone. */
  readonly rows: Rows;
  readonly #watchers = makeWatchers(this.ctx, {
    state: (owner) => this.#views.stateFor(owner),
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
  readonly #ends: Ends;
  readonly #views: Views;
  readonly #erasure: Erasure;
  readonly #shares: Shares;
  readonly #live: LiveWebhook;
  readonly #outbox: Outbox;
  readonly #walk: Walk;
  #walking: Promise<'over' | 'waits'> | null = null;
  /** the alarm has come, or the job was called, since this incarnation began */
  #hasWoken = false;

  constructor(ctx: DurableObjectState, env: JobEnv) {
    super(ctx, env);
    const job = ctx.id.name ?? '';
    this.#alarm = makeAlarm(ctx.storage);
    this.#rows = makeRows(ctx.storage, () => this.#alarm.forget());
    this.rows = this.#rows;
    this.#servers = makeServers(() => this.env, this.#rows, job);
    this.#slots = makeSlots(() => this.env, this.#servers, job);
    const notify = () => this.#watchers.notify();
    this.#ends = makeEnds({
      env: () => this.env,
      rows: this.#rows,
      alarm: this.#alarm,
      job,
      flush: () => this.#progress.flush(),
      stop: (row) => this.#stop(row),
      deliver: () => ctx.waitUntil(this.#outbox.deliver()),
    });
    this.#views = makeViews(this.#rows, this.#ends, this.#progress);
    this.#erasure = makeErasure({
      rows: this.#rows,
      alarm: this.#alarm,
      outbox: () => this.#outbox,
      row: this.#ends.row,
      cancel: this.#ends.cancel,
      notify,
      walking: () => this.#walking,
    });
    this.#shares = makeShares(this.#rows, this.#views);
    const background = (work: Promise<unknown>) => ctx.waitUntil(work);
    const webhook = makeWebhookTeller({
      env: () => this.env,
      rows: this.#rows,
      view: () => this.viewWithLogs(null),
    });
    this.#live = makeLiveWebhook({
      job,
      webhook: () => this.#ends.row()?.webhook ?? null,
      teller: webhook,
      background,
    });
    this.#outbox = makeOutbox({
      env: () => this.env,
      rows: this.#rows,
      alarm: this.#alarm,
      job,
      webhook,
      live: this.#live,
      server: (id) => this.#servers.byId(id),
      everyServer: () => this.#servers.all(),
      isOpen: this.#ends.isOpen,
      erasure: () => this.#erasure.letters(Date.now()),
      expire: this.#erasure.expire,
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
      row: this.#ends.row,
      append: (...events) => {
        this.#ends.append(...events);
        this.#rows.onCommit(() => this.#live.note(events));
      },
      notify,
      background,
      tellServers: () => ctx.waitUntil(this.#outbox.deliverInside()),
      finish: this.#ends.finish,
      afterEnd: this.#ends.afterEnd,
      fail: this.#ends.fail,
    });
    ctx.blockConcurrencyWhile(async () => {
      if (!this.#rows.isThere()) return;
      // a new incarnation means that whoever held the lease is gone: nothing to wait for
      const now = Date.now();
      const row = this.#ends.row();
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
      if (!this.#hasWoken && this.#ends.isOpen()) this.#alarm.by(Date.now());
    }, WAKES_MS);
    return true;
  }

  async create(job: NewJob): Promise<JobView | null> {
    const { id, dispatcher = null, request } = job;
    if (storeNew(this.#rows, this.#ends.row, job)) {
      // of an erased job that comes again its account knows nothing yet
      this.#walk.forget();
      if (dispatcher !== null) this.#slots.admittedBy(dispatcher);
      this.#go();
      logLine('job_created', { job_id: id, model: request.model, preset: request.schedule.preset });
    }
    return this.view(null);
  }

  async createWithLogs(job: NewJob): Promise<JobWithLogs | null> {
    return (await this.create(job)) && this.viewWithLogs(null);
  }

  view(owner: string | null): JobView | null {
    return this.#views.view(owner);
  }

  viewWithLogs(owner: string | null): JobWithLogs | null {
    return this.#views.viewWithLogs(owner);
  }

  thumbnail(owner: string | null): Thumbnail | 'none' | null {
    return this.#views.thumbnail(owner);
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
    return this.#ends.told();
  }

  reckoning(): Reckoning | null {
    if (!this.#rows.isThere()) return null;
    const row = this.#ends.row();
    return { quoted: row?.plan.price?.quoted ?? null, end: this.ending(), letters: waitingKinds(this.#rows) };
  }

  async cancel(owner: string): Promise<JobView | null> {
    const row = this.#views.rowOf(owner);
    if (!row) return null;
    this.#ends.cancel(row);
    return this.#views.of(this.#ends.row() as JobRecord);
  }

  erase(owner: string): Promise<boolean> {
    return this.#erasure.erase(owner);
  }

  owner(): string | null {
    return this.#ends.row()?.account ?? null;
  }

  share(owner: string, share: NewShare): ShareTaken {
    return this.#shares.share(owner, share);
  }

  shares(owner: string): readonly Share[] | null {
    return this.#shares.shares(owner);
  }

  unshare(owner: string, id: string): boolean {
    return this.#shares.unshare(owner, id);
  }

  shared(id: string): SharedJob | null {
    return this.#shares.shared(id);
  }

  sharedFormat(id: string): ImageFormat | null {
    return this.#shares.sharedFormat(id);
  }

  sharedPicture(id: string, name: SharedPicture): Picture | null {
    return this.#shares.sharedPicture(id, name);
  }

  turn(dispatcher: string, slot: Slot): boolean {
    const row = this.#ends.row();
    if (!row || isLastRoom(row.room) || !this.#slots.turn(dispatcher, slot)) return false;
    this.#go();
    return true;
  }

  pictureMade(): void {
    this.#live.pictureMade();
  }

  askAgain(): void {
    if (this.#ends.isOpen()) this.ctx.waitUntil(this.#walkAndTell());
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
    const row = this.#ends.row();
    if (!row || isLastRoom(row.room)) return;
    appendEvents(this.#rows, [event], at);
    this.#watchers.notify();
  }

  /** Of a job that has ended, nothing goes on: the request in flight stops, who watches hears, the slot is free. */
  #stop(row: JobRecord | null): void {
    this.#walk.abort();
    this.#watchers.notify();
    // who watches hears of it first
    const told = new Promise((resolve) => setTimeout(resolve, 0));
    this.ctx.waitUntil(told.then(() => Promise.all([this.#slots.end(this.#linesOf(row)), tellFirst(this.env, row)])));
  }
}
