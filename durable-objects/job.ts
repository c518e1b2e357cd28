/**
 * One job = one image = one object: its lifecycle and the compare-and-set that guards it. The rooms it walks are in
 * src/job/story.ts, what it still has to tell others in outbox.ts, who watches it in watch.ts.
 *
 * What holds, whatever is killed: a stage request goes out only after its attempt and a lease alarm are stored; what
 * comes back is stored with the next room, its events and its usage in one transaction, and only if room and attempt
 * are still those of the request. So a cancelled job stays cancelled, a late answer changes nothing, and a job cut off
 * anywhere goes on from its last stored room. What an end has to tell others is stored with the end.
 */
import { DurableObject, tracing } from 'cloudflare:workers';
import type { JobEnd } from '../src/account/account.ts';
import { viewQuotedCost } from '../src/billing/charge.ts';
import type { Receipt, StageUsage } from '../src/billing/receipt.ts';
import type { FleetEnv } from '../src/fleet/fleet.ts';
import type { Slot, SlotOutcome } from '../src/fleet/slots.ts';
import { factsOf } from '../src/job/ended-facts.ts';
import type { JobEvent } from '../src/job/events.ts';
import {
  describeFailure,
  type FailureReason,
  type Fault,
  isReported,
  isWaiting,
  mayStillRun,
  slotOutcomeOf,
} from '../src/job/failures.ts';
import type { Job, JobRecord, JobView } from '../src/job/job.ts';
import { logLine } from '../src/job/log.ts';
import { logLines } from '../src/job/log-lines.ts';
import {
  DROPPED_AT_BREAK,
  DROPPED_AT_ERASURE,
  type DueLetter,
  forget,
  lettersAtEnd,
  lettersAtErasure,
} from '../src/job/outbox.ts';
import { needsOf, viewPlan } from '../src/job/plan.ts';
import {
  afterFault,
  chargeAtEnd,
  type End,
  endOf,
  excessWork,
  imageOf,
  isOutOfPatience,
  newRecord,
  pauseLeft,
  receiptOf,
  timeLeft,
  timesAfter,
  whileWaiting,
} from '../src/job/record.ts';
import type { JobCalls, JobWithLogs, NewJob, Reckoning } from '../src/job/rpc.ts';
import {
  boundEngine,
  isLastRoom,
  type Ran,
  roomName,
  type StageRequest,
  type Step,
  type Tools,
  walkRoom,
} from '../src/job/story.ts';
import { Unreadable, unreadableFailure } from '../src/job/unreadable.ts';
import { costOf, viewJob } from '../src/job/view.ts';
import { within } from '../src/stage/time-limit.ts';
import { type Alarm, makeAlarm } from './alarm.ts';
import {
  beginAttempt,
  faultAttempt,
  forgetWorker,
  giveUpElsewhere,
  isCutOff,
  metSoFar,
  nameWorker,
  readAttempts,
  settleAttempt,
} from './attempts.ts';
import { appendEvents, heardSteps, readEvents, readLastEvent, readStory } from './event-tables.ts';
import { deleteLatents } from './job-latents.ts';
import { makeRows, type Rows } from './job-rows.ts';
import {
  breakRow,
  deleteContent,
  insertRow,
  readableUsage,
  readJob,
  readRow,
  updateRow,
  writeJob,
} from './job-tables.ts';
import { DEFAULT_TTL_MS, type Limits, type LimitVariables, readLimits, readTtl } from './limits.ts';
import { makeOutbox, type Outbox, type OutboxEnv } from './outbox.ts';
import {
  addLetter,
  hastenLetters,
  lettersOf,
  nextLetterAt,
  removeForget,
  removeLetters,
  waitingKinds,
} from './outbox-tables.ts';
import { dropPicture, putPicture } from './pictures.ts';
import { type Heard, makeProgress } from './progress.ts';
import { makeServers, type Servers } from './servers.ts';
import { makeSlots, type Slots, type SlotsEnv, type Wanted } from './slots.ts';
import { close, makeWatchers } from './watch.ts';

/** What a deployment gives the object. */
export interface JobEnv extends LimitVariables, FleetEnv, SlotsEnv, OutboxEnv {}

/**
 * When a job that goes on is woken again, in case nobody lives who walks it. Who is then walked already, is waited for:
 * the platform repeats an alarm whose handler was cut off.
 */
const LEASE_MS = 10_000;
/** How often a slot is renewed while its stage runs. */
const RENEW_MS = 10_000;
const TERA = 1e12;
/**
 * How long one alarm goes on from room to room, and a stage stands in its server's own line. With the longest time that
 * it computes both stay under the platform's 15 minutes.
 */
const ALARM_MS = 2 * 60_000;
const MAX_LINE_MS = 2 * 60_000;
/** When to try again after a fault of ours, or of the configuration. */
const FAULT_PAUSE_MS = 60_000;
/** Longest wait for the account, and the pauses between two questions. */
const ACCOUNT_MS = 10_000;
const CONFIRM_PAUSE_MS = 500;
const LONGEST_CONFIRM_PAUSE_MS = 10_000;
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
    latest: () => this.#progress.latest(),
  });
  readonly #progress = makeProgress({
    store: (heard) => this.#storeProgress(heard),
    tell: (heard) => this.#watchers.tell(heard),
  });
  readonly #servers: Servers;
  readonly #slots: Slots;
  readonly #outbox: Outbox;
  /** ends the stage request in flight; null when there is none in this incarnation */
  #inFlight: AbortController | null = null;
  #walking: Promise<'over' | 'waits'> | null = null;
  /** its account has said that it may begin */
  #isConfirmed = false;
  /** a dispatcher gave the last slot */
  #isDispatched = false;
  /** time that the last stage took, without what it spent in its server's line */
  #computedMs = 0;

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
    ctx.blockConcurrencyWhile(async () => {
      if (!this.#rows.isThere()) return;
      // a new incarnation means that whoever held the lease is gone: nothing to wait for
      const now = Date.now();
      const row = this.#row();
      const due = row && !isLastRoom(row.room) ? now + pauseLeft(row, now) : nextLetterAt(this.#rows, now);
      await this.#alarm.read();
      if (due !== null) this.#alarm.by(due);
    });
  }

  async create({
    id,
    account,
    regions = [''],
    request,
    plan,
    deadlineSeconds,
    webhook,
  }: NewJob): Promise<JobView | null> {
    const now = Date.now();
    const isNew = this.#rows.transact(() => {
      if (this.#row()) return false;
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
      insertRow(this.#rows, newRecord({ id, account, regions, request, plan, deadlineAt, webhook: told }, now), events);
      return true;
    });
    // of an erased job that comes again its account knows nothing yet
    if (isNew) this.#isConfirmed = false;
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

  /** A WebSocket of somebody who watches: src/job/watching.ts. */
  override fetch(request: Request): Response {
    return this.#watchers.open(request);
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

  turn(dispatcher: string, slot: Slot): boolean {
    const row = this.#row();
    if (!row || isLastRoom(row.room) || !this.#slots.turn(dispatcher, slot)) return false;
    this.#go();
    return true;
  }

  /** The alarm of a lease, of a wait that is over, or of a letter. */
  override async alarm(): Promise<void> {
    this.#alarm.came();
    await this.#walkAndTell();
  }

  /** The job goes on now, with an alarm behind it in case this incarnation does not live. */
  #go(): void {
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
      this.#walking ??= this.#walkOn().finally(() => {
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

  /** Throws what storage or configuration throws; every failure of a stage ends in a row. */
  async #walkOn(): Promise<'over' | 'waits'> {
    const begin = Date.now();
    for (;;) {
      const row = this.#row();
      if (!row || isLastRoom(row.room)) return 'over';
      const now = Date.now();
      const left = timeLeft(row, now);
      if (left === 0) {
        this.#failAtDeadline(row);
        continue;
      }
      // who has a slot has waited
      const pause = this.#slots.held ? 0 : pauseLeft(row, now);
      // before the beginning: the clock has stepped back, so nobody knows how long it has been
      if (pause > 0 || now > begin + ALARM_MS || now < begin) {
        this.#alarm.by(now + Math.min(pause, left));
        return 'waits';
      }
      if (row.room.name === 'stage' && !(await this.#isReady(row, row.room.stage))) continue;
      await this.#walk(row);
    }
  }

  /**
   * Whether a stage may go out: its account has said that the job may begin, and there is a slot for it. Where not, the
   * row says until when the job waits, or how it has ended.
   */
  async #isReady(row: JobRecord, stage: number): Promise<boolean> {
    const wanted = this.#wanted(row, stage, readableUsage(this.#rows));
    const [isConfirmed, asked] = await Promise.all([this.#isConfirmed || this.#confirm(row), this.#slots.ask(wanted)]);
    const current = this.#row();
    // ended, or gone, or walked by another meanwhile
    if (!current || roomName(current.room) !== roomName(row.room)) return false;
    if (!isConfirmed) {
      this.#slots.done({ kind: 'dropped' }, null);
      return false;
    }
    if (asked.kind === 'slot' || this.#slots.held) return true;
    const line = asked.kind === 'line' ? asked : null;
    const now = Date.now();
    const waits = whileWaiting(current, stage, line, { patience: this.#limits, now });
    if (!waits) {
      this.#fail(current, 'no_capacity', describeFailure({ reason: 'no_server' }));
      return false;
    }
    // nobody could take it, whoever was free: somebody has to look
    if (!line && current.busySince === null) logLine('alert', { job_id: row.id, what: 'no_server' });
    this.#rows.transact(() => {
      updateRow(this.#rows, { ...waits.changes, confirmedAt: current.confirmedAt ?? now });
      if (waits.event) this.#append(waits.event);
    });
    this.#watchers.notify();
    return false;
  }

  /** What a stage asks of the dispatchers. */
  #wanted(row: JobRecord, stage: number, usage: readonly StageUsage[]): Wanted {
    const { plan, request } = row;
    const work = plan.stages.map(({ flops }) => flops / TERA);
    return {
      regions: row.regions,
      account: row.account,
      request: {
        job: row.id,
        needs: needsOf(plan),
        engine: boundEngine(request, usage),
        tflops: work[stage - 1] ?? 0,
        restTflops: work.slice(stage - 1).reduce((sum, one) => sum + one, 0),
        hasBegun: stage > 1,
        since: row.createdAt,
        last: readAttempts(this.#rows).at(-1)?.backend ?? null,
        movingTflops: plan.flops.text / TERA,
        tried: metSoFar(this.#rows, stage).tried,
      },
    };
  }

  /**
   * Asks the account whether the job may begin: what it may cost is held there, unless the account has let it go before
   * the job came. Until that is answered nothing is sent.
   */
  async #confirm(row: JobRecord): Promise<boolean> {
    if (row.confirmedAt !== null) return true;
    try {
      const confirmed = await within(
        ACCOUNT_MS,
        'the account',
        this.env.ACCOUNTS.getByName(row.account).confirm(row.id),
      );
      if (confirmed === 'held') this.#isConfirmed = true;
      else this.#fail(row, 'not_confirmed', 'The job came too late: its account has let it go. Nothing was charged.');
      return confirmed === 'held';
    } catch (error) {
      logLine('account_not_reached', { job_id: row.id, error: messageOf(error) });
      const now = Date.now();
      // a clock that has stepped back begins the wait anew
      const busySince = Math.min(row.busySince ?? now, now);
      const waited = now - busySince;
      if (waited >= this.#limits.queueMs)
        this.#fail(row, 'not_confirmed', 'The account did not say that the job may begin. Nothing was charged.');
      else {
        const pause = Math.min(LONGEST_CONFIRM_PAUSE_MS, Math.max(CONFIRM_PAUSE_MS, waited));
        updateRow(this.#rows, { busySince, notBefore: now + pause });
      }
      return false;
    }
  }

  /** One room: what it reads is `row`; what it changed is stored if the job still stands where it stood. */
  async #walk(row: JobRecord): Promise<void> {
    const name = roomName(row.room);
    if (isCutOff(readAttempts(this.#rows).at(-1)) && isOutOfPatience(row, this.#limits, Date.now()))
      return this.#fail(
        row,
        'interrupted',
        `The stage was cut off ${row.tries} times, the last time without any answer.`,
      );
    let before: Job;
    try {
      before = readJob(this.#rows, row);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return this.#failUnreadable(row, error.parts);
    }
    const tools: Tools = { runStage: (request) => this.#runStage(row, request), clock: () => performance.now() };
    let step: Step;
    const left = () => ({ room: name, ms: Date.now() - row.roomSince });
    let times: JobRecord['roomTimes'] = row.roomTimes;
    try {
      step = await tracing.enterSpan(name, () => walkRoom(before, tools));
      if (row.room.name === 'stage') this.#slots.done(...this.#afterStage(row, step));
      times = [...times, left()];
      if (step.ok && step.job.room.name === 'select') {
        // it takes less time than storing the picture it reads
        const since = Date.now();
        const first = step;
        const second = await tracing.enterSpan('select', () => walkRoom(first.job, tools));
        step = second.ok ? { ...second, events: [...first.events, ...second.events] } : second;
        times = [...times, { room: 'select', ms: Date.now() - since }];
      }
    } catch (error) {
      // moved on meanwhile, or erased: nothing of it is there to be read any more
      if (error instanceof Superseded || !this.#row()) return;
      // a fault of ours: the same job would meet it again, so it ends with a name instead of turning for ever
      logLine('room_threw', { job_id: row.id, room: name, error: messageOf(error) });
      return this.#fail(row, 'internal_error', 'The job met an internal error.');
    }
    if (step.ok) await this.#advance(row, before, { ...step, times });
    else this.#retryOrFail(row, step.failure);
  }

  /** Dispatchers in whose lines a job may stand since before it slept. */
  #linesOf(row: JobRecord | null): readonly string[] {
    return row ? this.#servers.dispatchers(row.regions, row.plan.model.id, []) : [];
  }

  /** Servers other than the last one where the stage of a row came to nothing. */
  #elsewhere({ room }: JobRecord): readonly string[] {
    if (room.name !== 'stage') return [];
    const last = readAttempts(this.#rows).at(-1)?.backend;
    return metSoFar(this.#rows, room.stage).tried.filter((backend) => backend !== last);
  }

  /** What a stage that is over says of its server, and the stage that follows. */
  #afterStage(row: JobRecord, step: Step): [SlotOutcome, Wanted | null] {
    if (!step.ok) return [slotOutcomeOf(step.failure, this.#elsewhere(row).length), null];
    const { room, usage } = step.job;
    const next = room.name === 'stage' ? room.stage : room.name === 'select' ? 2 : null;
    return [{ kind: 'done', ms: this.#computedMs }, next === null ? null : this.#wanted(row, next, usage)];
  }

  /**
   * Sends a stage request to the server of the slot: the attempt and its lease are stored before a byte goes out.
   * Throws Superseded when the job has moved meanwhile.
   */
  async #runStage(row: JobRecord, request: StageRequest): Promise<Ran> {
    const slot = this.#slots.held;
    const addressed = slot && (await this.#servers.address(row, request, slot));
    if (!slot || !addressed) return { ok: false, failure: { reason: 'no_server' } };
    const { backend, engineClass } = slot;
    this.#isDispatched = slot.dispatcher !== null;
    const { stageId } = addressed;
    const { stage, tokens, steps } = request.stage;
    const begin = Date.now();
    const isGivenUp = this.#rows.transact(() => {
      if (!this.#standsAt(row, row.attempt)) throw new Superseded();
      // told once, however often servers that take nothing are asked
      const isTold = row.tries === 0 && readAttempts(this.#rows).some((attempt) => attempt.stage === stage);
      const left = giveUpElsewhere(this.#rows, stage, backend);
      for (const sent of left) addLetter(this.#rows, forget(sent), begin);
      removeForget(this.#rows, backend, stageId);
      // the time in line is over once a stage goes out; one that was cut off has no result since then
      const busySince = row.tries > 0 ? (row.busySince ?? begin) : null;
      const confirmedAt = row.confirmedAt ?? begin;
      updateRow(this.#rows, { attempt: row.attempt + 1, tries: row.tries + 1, busySince, confirmedAt });
      beginAttempt(this.#rows, { backend, stageId, stage, number: row.attempt + 1 });
      const stages = row.plan.stages.length;
      if (!isTold) this.#append({ type: 'stage', data: { stage, stages, tokens, steps, attempt: row.tries + 1 } });
      this.#alarm.by(begin + LEASE_MS);
      return left.length > 0;
    });
    this.#watchers.notify();
    if (isGivenUp) this.ctx.waitUntil(this.#outbox.deliverInside());
    const controller = new AbortController();
    this.#inFlight = controller;
    const deadline = row.deadlineAt === null ? null : setTimeout(() => this.#failAtDeadline(row), timeLeft(row, begin));
    const running = this.#wanted(row, stage, readableUsage(this.#rows));
    const renewal = setInterval(() => void this.#slots.renew(running), RENEW_MS);
    let computesSince = begin;
    try {
      const outcome = await addressed.send({
        signal: controller.signal,
        timeoutMs: this.#limits.timeoutMs,
        silenceMs: this.#limits.silenceMs,
        lineMs: Math.min(MAX_LINE_MS, this.#limits.queueMs),
        onProgress: (event) => {
          if (controller.signal.aborted) return;
          if (event.event === 'queued' && event.position > 0) computesSince = Date.now();
          this.#progress.add(row.id, stage, event);
        },
        onWorker: (worker) => {
          if (!controller.signal.aborted) nameWorker(this.#rows, row.attempt + 1, worker);
        },
      });
      this.#computedMs = Date.now() - computesSince;
      return outcome.ok ? { ...outcome, wallMs: Date.now() - begin, attempts: row.tries + 1, engineClass } : outcome;
    } finally {
      clearTimeout(deadline);
      clearInterval(renewal);
      this.#progress.flush();
      if (this.#inFlight === controller) this.#inFlight = null;
    }
  }

  /** Stores a step, and tells the watchers. The lease stays as it is: one that is over wakes a crashed job at once. */
  #storeProgress({ event, at }: Heard): void {
    const row = this.#row();
    if (!row || isLastRoom(row.room)) return;
    appendEvents(this.#rows, [event], at);
    this.#watchers.notify();
  }

  /**
   * Stores what a room made, and the room after it. The image goes to R2 first: a row never points at an image that is
   * not there.
   */
  async #advance(
    row: JobRecord,
    before: Job,
    { job, events, image, times }: Extract<Step, { ok: true }> & { readonly times: JobRecord['roomTimes'] },
  ): Promise<void> {
    if (image) {
      try {
        await putPicture(this.env, row, image);
      } catch (error) {
        this.#retryOrFail(row, { reason: 'storage_failed', detail: messageOf(error) }, job.usage);
        return;
      }
    }
    const sent = row.attempt + (row.room.name === 'stage' ? 1 : 0);
    const isStored = this.#rows.transact(() => {
      if (!this.#standsAt(row, sent)) return false;
      const now = Date.now();
      writeJob(this.#rows, before, job);
      if (row.room.name === 'stage') settleAttempt(this.#rows, 'stored');
      this.#append(...events);
      if (job.room.name === 'done') {
        const finished = imageOf(row, image?.length ?? 0);
        this.#finish(row, {
          room: job.room,
          outcome: { image: finished },
          event: ({ receipt, cost }) => ({ type: 'done', data: { job_id: row.id, image: finished, receipt, cost } }),
        });
      } else {
        const unhurried = { tries: 0, notBefore: 0, busySince: null };
        updateRow(this.#rows, { room: job.room, roomSince: now, roomTimes: times, ...unhurried });
      }
      return true;
    });
    if (isStored && job.room.name === 'done') this.#afterEnd();
    // cancelled or erased while the image was on its way: it must not stay behind
    if (!isStored && image) await dropPicture(this.env, row);
    this.#watchers.notify();
  }

  /** A stage without result: the job waits, tries again, or ends. */
  #retryOrFail(row: JobRecord, fault: Fault, usage = readableUsage(this.#rows)): void {
    const isSent = fault.reason !== 'no_server';
    if (row.room.name !== 'stage' || !this.#standsAt(row, row.attempt + (isSent ? 1 : 0))) return;
    const { stage } = row.room;
    const at = readAttempts(this.#rows).at(-1)?.backend ?? '';
    if (isSent) logLine('stage_failed', { job_id: row.id, backend: at, stage, attempt: row.tries + 1, ...fault });
    const { reported, faultsThere } = metSoFar(this.#rows, stage);
    const elsewhere = this.#elsewhere(row);
    const hasOther = this.#servers.hasOther([...elsewhere, at], row.plan.model.id, row.regions);
    const met = { reported, faultsThere, elsewhere: elsewhere.length, hasOther, isDispatched: this.#isDispatched };
    const verdict = afterFault(row, stage, fault, { patience: this.#limits, met, now: Date.now() });
    // nobody is there, or the configuration is wrong: the job waits, and somebody has to look
    if (verdict.kind === 'delay' && fault.reason !== 'busy' && isWaiting(fault) && row.busySince === null)
      logLine('alert', { job_id: row.id, what: fault.reason });
    if (verdict.kind === 'end') {
      this.#fail(row, verdict.reason, verdict.message, { attempts: verdict.attempts, usage });
      return;
    }
    this.#rows.transact(() => {
      // where only the bucket failed, the server has the result and is asked again
      if (isSent && fault.reason !== 'storage_failed') {
        faultAttempt(this.#rows, { mayStillRun: mayStillRun(fault), isReported: isReported(fault) });
        if (!mayStillRun(fault)) forgetWorker(this.#rows);
      }
      if (verdict.event) this.#append(verdict.event);
      updateRow(this.#rows, verdict.changes);
    });
    this.#watchers.notify();
  }

  #failUnreadable(row: JobRecord, parts: readonly string[]): void {
    logLine('alert', { job_id: row.id, what: 'unreadable', part: parts.join(', ') });
    this.#fail(row, 'unreadable', unreadableFailure(parts, null, row.tries).message);
  }

  #failAtDeadline(row: JobRecord): void {
    this.#fail(row, 'deadline_exceeded', 'The job was not done by its deadline.');
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
  #finish(
    row: JobRecord,
    end: {
      readonly room: End['room'];
      readonly outcome?: Partial<Pick<JobRecord, 'image' | 'failure'>>;
      /** stages that were done; those stored where absent */
      readonly usage?: readonly StageUsage[];
      readonly event: (end: Pick<JobView, 'cost'> & { readonly receipt: Receipt }) => JobEvent;
    },
  ): void {
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
    this.#inFlight?.abort();
    this.#inFlight = null;
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

  /** The deployment's limits. Throws an Error that names the variable where one is wrong: then jobs wait. */
  get #limits(): Limits {
    return readLimits(this.env);
  }

  /**
   * Whether the job still stands in the room `row` stood in, and no request went out since the one numbered `attempt`.
   */
  #standsAt(row: JobRecord, attempt: number): boolean {
    const now = this.#row();
    return now !== null && roomName(now.room) === roomName(row.room) && now.attempt === attempt;
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
    this.#inFlight?.abort();
    this.#inFlight = null;
    this.#watchers.notify();
    return broken;
  }

  #rowOf(owner: string | null): JobRecord | null {
    const row = this.#row();
    return row && (owner === null || row.account === owner) ? row : null;
  }

  #append(...events: readonly JobEvent[]): void {
    appendEvents(this.#rows, events, Date.now());
  }
}

/** The end that a letter tells; one of an earlier version has no charge. */
const endIn = ({ status, work, charge = null, excess = null }: JobEnd): JobEnd => ({ status, work, charge, excess });

/** Thrown inside a room whose job was cancelled, erased or advanced while it prepared its request. */
class Superseded extends Error {
  override name = 'Superseded';
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
