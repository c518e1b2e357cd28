/**
 * The dispatcher of one pool of stage servers in one region, `region/pool`: its servers' slots, breakers and paces, and
 * the line of jobs that wait for one. It holds no latents and no prompts. What it decides is in src/fleet/desk.ts.
 *
 * Its state is in memory. Slots are leases that the jobs renew, and a waiting job asks again by an alarm of its own, so
 * nothing is lost with it but order and what it knew of its servers; both are written now and then, and read back. One
 * that begins anew where many waited keeps the slots free that were held, until their holders have renewed them.
 */
import { DurableObject } from 'cloudflare:workers';
import { demandEvent } from '../src/fleet/demand.ts';
import { makeDesk } from '../src/fleet/desk.ts';
import type { Desk, SavedDesk, SavedServers, Turn } from '../src/fleet/desk-calls.ts';
import type { DeskServer } from '../src/fleet/desk-state.ts';
import { dispatcherName, type Fleet, type FleetEnv, openFleet } from '../src/fleet/fleet.ts';
import { type LineNow, type LineRows, makeLineRows } from '../src/fleet/line-rows.ts';
import type {
  Admission,
  AdmissionRequest,
  DispatcherView,
  Released,
  Slot,
  SlotAnswer,
  SlotRequest,
} from '../src/fleet/slots.ts';
import { jobObject } from '../src/job/job-object.ts';
import { logLine } from '../src/job/log.ts';
import type { DispatcherCalls, JobCalls, Objects } from '../src/job/rpc.ts';
import { within } from '../src/stage/time-limit.ts';
import { type Alarm, makeAlarm } from './alarm.ts';
import { type DemandEnv, makeTeller, type Teller } from './dispatcher/tell-demand.ts';
import { heard } from './isolate.ts';

/** What a deployment gives the object. */
export interface DispatcherEnv extends FleetEnv, DemandEnv {
  readonly JOBS: Objects<JobCalls>;
}

/** Longest wait for a job that is called. */
const CALL_MS = 5_000;
/** When a line that was read back is looked at: by then, who holds a slot has renewed it. */
const FIRST_LOOK_MS = 12_000;
/** Most places that are written: the oldest. Of those behind only the jobs are, which are called to ask again. */
const MAX_SAVED = 2_000;
/** Jobs called at once to ask again. */
const CALLS = 16;
/** How often servers are asked that may have what waits, and do not say so: whoever waits hears of it by then. */
const HOPE_MS = 20_000;
/** The rows' keys. */
const DESK = 'desk';
const BEHIND = 'behind';

export class DispatcherObject extends DurableObject<DispatcherEnv> implements DispatcherCalls {
  readonly #desk: Desk;
  readonly #alarm: Alarm;
  readonly #lineRows: LineRows;
  #savedBreakers: string;
  readonly #teller: Teller;
  /** servers that are out, as the log knows */
  #outs: ReadonlySet<string>;
  /** when a lease ends that somebody waits for */
  #leaseTimer: ReturnType<typeof setTimeout> | null = null;
  /** while somebody waits for what a server may have */
  #hopeTimer: ReturnType<typeof setTimeout> | null = null;
  #isBehindWritten: boolean;

  constructor(ctx: DurableObjectState, env: DispatcherEnv) {
    super(ctx, env);
    const saved = ctx.storage.kv.get<SavedDesk & { readonly at?: number }>(DESK) ?? null;
    const wasLine = (saved?.line.length ?? 0) > 0;
    this.#lineRows = makeLineRows({ isLine: wasLine, writtenAt: saved?.at ?? null });
    this.#savedBreakers = breakersIn(saved?.servers ?? []);
    this.#desk = makeDesk(saved, Date.now());
    this.#outs = new Set(this.#desk.outs().keys());
    this.#alarm = makeAlarm(ctx.storage);
    ctx.blockConcurrencyWhile(async () => {
      await this.#alarm.read();
      // of those in the line some may have gone meanwhile, and nobody else may ask
      if (wasLine) this.#alarm.by(Date.now() + FIRST_LOOK_MS);
    });
    const behind = wasLine ? (ctx.storage.kv.get<readonly string[]>(BEHIND) ?? []) : [];
    this.#isBehindWritten = behind.length > 0;
    if (behind.length > 0) ctx.waitUntil(this.#callToAsk(behind));
    this.#teller = makeTeller(
      () => this.env,
      ctx.storage.kv,
      (work) => ctx.waitUntil(work),
    );
  }

  async ask(request: SlotRequest): Promise<SlotAnswer> {
    this.#heed(request.released);
    const servers = await this.#servers();
    const answer = await this.#desk.ask(request, servers, Date.now());
    const own = this.#giveOut(servers, request.job);
    this.#keep(servers);
    return own ? { kind: 'slot', slot: own.slot } : answer;
  }

  renew(request: SlotRequest, slot: Slot): boolean {
    const now = Date.now();
    const isRenewed = this.#desk.renew(request, slot, now);
    // whoever is alive sees to it that the slots of those who are not go on, and that the line is written
    const line = this.#line();
    if (line.leaseEndsAt !== null && line.leaseEndsAt <= now) this.ctx.waitUntil(this.#goOn());
    else {
      this.#watchLeases(line, now);
      if (this.#lineRows.isDue(line, now)) this.#save(now);
    }
    return isRenewed;
  }

  async release(job: string, released: Released): Promise<void> {
    this.#heed(released);
    await this.#desk.release(job, released, Date.now());
    await this.#goOn();
  }

  async leave(job: string): Promise<void> {
    this.#desk.leave(job);
    await this.#goOn();
  }

  async admit(request: AdmissionRequest): Promise<Admission> {
    return this.#desk.admit(request, await this.#servers(), Date.now());
  }

  async demand(): Promise<DispatcherView> {
    // whoever looks does not wait for a server that has nothing to say
    return this.#desk.view(await this.#servers(() => true), Date.now());
  }

  override async alarm(): Promise<void> {
    this.#alarm.came();
    await this.#goOn();
  }

  /** Free slots go to those whose turn it is, and what has changed is kept. */
  async #goOn(): Promise<void> {
    const servers = await this.#servers();
    this.#giveOut(servers, null);
    this.#keep(servers);
  }

  /** Gives out free slots. The one of `asking`, who is told by the answer; every other job is called. */
  #giveOut(servers: readonly DeskServer[], asking: string | null): Turn | null {
    let own: Turn | null = null;
    for (const turn of this.#desk.turns(servers, Date.now())) {
      if (turn.job === asking) own = turn;
      else this.ctx.waitUntil(this.#call(turn));
    }
    const toCall = this.#desk.toCall();
    if (toCall.length > 0) this.ctx.waitUntil(this.#callToAsk(toCall));
    return own;
  }

  /** Tells a job that its turn has come. Where it does not take the slot, the slot goes to the next one. */
  async #call({ job, slot }: Turn): Promise<void> {
    const name = this.ctx.id.name ?? '';
    const takes = within(CALL_MS, 'the job', jobObject(this.env.JOBS, job).turn(name, slot)).catch((error) => {
      logLine('job_not_reached', { job_id: job, dispatcher: name, error: String(error) });
      return false;
    });
    if (await takes) return;
    await this.release(job, { lease: slot.lease, outcome: { kind: 'dropped' } });
  }

  /** Calls jobs that are to ask again, a few at a time. One that cannot be reached does so by its own alarm. */
  async #callToAsk(jobs: readonly string[]): Promise<void> {
    const dispatcher = this.ctx.id.name ?? '';
    const left = jobs.values();
    const callOn = async () => {
      for (const job of left)
        await within(CALL_MS, 'the job', jobObject(this.env.JOBS, job).askAgain()).catch((error) => {
          logLine('job_not_reached', { job_id: job, dispatcher, error: String(error) });
        });
    };
    await Promise.all(Array.from({ length: CALLS }, callOn));
  }

  /**
   * Looks when the next lease ends that somebody waits for: its job may be dead. Where others are alive they have
   * renewed theirs, and it looks again. No row is written for that, so nothing of it outlives this object.
   */
  #watchLeases({ leaseEndsAt }: LineNow, now: number): void {
    if (leaseEndsAt === null) {
      clearTimeout(this.#leaseTimer);
      this.#leaseTimer = null;
      return;
    }
    if (this.#leaseTimer !== null) return;
    const look = () => {
      this.#leaseTimer = null;
      const line = this.#line();
      if (line.leaseEndsAt !== null && line.leaseEndsAt <= Date.now()) this.ctx.waitUntil(this.#goOn());
      else this.#watchLeases(line, Date.now());
    };
    this.#leaseTimer = setTimeout(look, Math.max(0, leaseEndsAt - now));
  }

  /**
   * Asks servers for their lists again that may have what waits, as long as some do not say so, and gives out what that
   * changes. No row is written for it; where this object is lost meanwhile, each job looks by its own alarm.
   */
  #watchLists(servers: readonly DeskServer[], now: number): void {
    if (this.#hopeTimer !== null || this.#desk.hopes(servers, now).length === 0) return;
    const look = async () => {
      await this.#fleet().hear(this.#desk.hopes(await this.#servers(), Date.now()));
      await this.#goOn();
    };
    this.#hopeTimer = setTimeout(() => {
      this.#hopeTimer = null;
      this.ctx.waitUntil(look());
    }, HOPE_MS);
  }

  /** The servers of this region and pool, as the configuration has them now. */
  async #servers(isEnough?: () => boolean): Promise<readonly DeskServer[]> {
    const servers = await this.#fleet().servers(isEnough);
    return servers.filter(({ backend }) => dispatcherName(backend) === this.ctx.id.name);
  }

  #fleet(): Fleet {
    return openFleet(this.env, { cache: caches.default, clock: Date.now, memory: heard });
  }

  /** A server that is not what its list says is asked for its list anew. */
  #heed(released: Released | null): void {
    if (!released || released.backend === undefined) return;
    const { outcome } = released;
    if ((outcome.kind === 'done' || outcome.kind === 'wrong') && outcome.isOutdated)
      this.#fleet().doubt(released.backend);
  }

  /** Writes what is to outlive this object, and sees to it that it wakes when something is due. */
  #keep(servers: readonly DeskServer[]): void {
    const now = Date.now();
    this.#logOuts();
    const tellAt = this.#teller.look(this.#desk.waiting(), now, () =>
      demandEvent(this.#desk.view(servers, now), {
        dispatcher: this.ctx.id.name ?? '',
        id: crypto.randomUUID(),
        publicUrl: this.env.PUBLIC_URL,
        now,
      }),
    );
    const line = this.#line();
    this.#watchLeases(line, now);
    this.#watchLists(servers, now);
    const dues = [this.#desk.dueAt(servers, now), this.#lineRows.lookAt(line, now), tellAt].filter((at) => at !== null);
    if (dues.length > 0) this.#alarm.by(Math.min(...dues));
    const isChanged = breakersIn(this.#desk.saveServers()) !== this.#savedBreakers;
    if (this.#lineRows.isDue(line, now) || isChanged) this.#save(now);
  }

  #line(): LineNow {
    const { size: jobs, arrivals, outcomes } = this.#desk;
    return { jobs, arrivals, outcomes, leaseEndsAt: this.#desk.leaseEndsAt() };
  }

  #save(now: number): void {
    const state = this.#desk.save();
    this.#savedBreakers = breakersIn(state.servers);
    const line = [...state.line].sort((a, b) => a.since - b.since);
    this.#lineRows.written(this.#line(), now);
    this.ctx.storage.kv.put(DESK, { ...state, line: line.slice(0, MAX_SAVED), at: now });
    const behind = line.slice(MAX_SAVED).map(({ job }) => job);
    if (behind.length > 0) this.ctx.storage.kv.put(BEHIND, behind);
    else if (this.#isBehindWritten) this.ctx.storage.kv.delete(BEHIND);
    this.#isBehindWritten = behind.length > 0;
  }

  /** A line for each server that is out from now on, and for each that is in again. */
  #logOuts(): void {
    const dispatcher = this.ctx.id.name ?? '';
    const outs = this.#desk.outs();
    for (const [backend, reason] of outs)
      if (!this.#outs.has(backend)) logLine('server_out', { dispatcher, backend, reason });
    for (const backend of this.#outs) if (!outs.has(backend)) logLine('server_back', { dispatcher, backend });
    this.#outs = new Set(outs.keys());
  }
}

/** The breakers that are not closed, as text: what is worth a row at once. */
const breakersIn = (servers: SavedServers): string =>
  JSON.stringify(servers.filter(([, , , fault]) => fault !== null).map(([id, breaker]) => [id, breaker]));
