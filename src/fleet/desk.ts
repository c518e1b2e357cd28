/**
 * The desk of a dispatcher: who holds a slot of which stage server, who waits for one, how well each server does.
 * It keeps its state in memory and decides; whoever owns it calls the jobs and stores what is to be stored. The clock
 * is passed in.
 */
import { makeBreaker, type SavedBreaker } from './breaker.ts';
import { type Choosable, choose } from './choose.ts';
import { type DeskPlace, type DeskServer, type DeskState, type Held, newServer } from './desk-state.ts';
import { viewLines, viewServer } from './desk-view.ts';
import { fitOf } from './fit.ts';
import { competing, type Fits, type Fitting, fitsOf, groupOf, placeOf, shapeOf } from './groups.ts';
import { makeLine, type OfGroup } from './line.ts';
import { mayServe } from './models.ts';
import { addWork, type Pace, paceAt } from './pace.ts';
import { makeRefused } from './refused.ts';
import type {
  Admission,
  AdmissionRequest,
  DispatcherView,
  Released,
  Slot,
  SlotAnswer,
  SlotOutcome,
  SlotRequest,
} from './slots.ts';
import { longestStage, underWayAt, workBefore } from './wait.ts';

/** A slot that a desk before this one gave is known again where it is at most this old. */
const OLDEST_MS = 24 * 3_600_000;
/** A slot nobody has renewed for so long is free again. */
export const LEASE_MS = 30_000;
/** Most jobs in the line. */
const MAX_PLACES = 20_000;
/** When to come back where the line is full. */
const FULL_MS = 30_000;
/** How long the work of an admitted job is counted before it comes itself. */
const ADMITTED_MS = 30_000;
/** Shortest, the first time, and longest that a server is left alone because it said so. */
const LEAST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 30_000;
/** Places looked at for one free slot: those that rather wait for another server are passed over. */
const MAX_LOOKS = 512;
/** What of the stages a server was given counts with each further one. */
const GIVEN_KEPT = 0.98;

/** A job whose turn has come. */
export interface Turn {
  readonly job: string;
  readonly slot: Slot;
}

export type SavedServers = readonly (readonly [
  id: string,
  breaker: SavedBreaker,
  pace: Pace | null,
  fault: string | null,
])[];

/** What outlives the desk: how well the servers do, and who waits. */
export interface SavedDesk {
  readonly servers: SavedServers;
  readonly line: readonly SlotRequest[];
}

export interface Desk {
  /** Puts the job where it belongs. A job that holds a slot gets that one again. */
  ask(request: SlotRequest, servers: readonly DeskServer[], now: number): Promise<SlotAnswer>;
  /**
   * The job of a request is alive in its slot; one that a desk before this gave it is its own again. False where the
   * slot has ended.
   */
  renew(request: SlotRequest, slot: Slot, now: number): boolean;
  /** The slot is free; what came of it counts when the promise resolves. */
  release(job: string, released: Released, now: number): Promise<void>;
  /** The job waits no longer, and holds no slot. */
  leave(job: string): void;
  admit(request: AdmissionRequest, servers: readonly DeskServer[], now: number): Admission;
  /** Gives out what slots are free, to those whose turn it is. Each is to be called. */
  turns(servers: readonly DeskServer[], now: number): readonly Turn[];
  /** When something is due although nobody asks: a lease ends, a server may be probed. Null: never. */
  dueAt(servers: readonly DeskServer[], now: number): number | null;
  view(servers: readonly DeskServer[], now: number): DispatcherView;
  /** The work that waits for each model, TFLOPs. Where a model is not in it nothing does. */
  waiting(): ReadonlyMap<string, number>;
  /** The servers that are out or being probed, each with what it was at fault for. */
  outs(): ReadonlyMap<string, string>;
  save(): SavedDesk;
  /** The part of it that is not the line. */
  saveServers(): SavedServers;
}

/** A desk, new or as it was saved. */
export function makeDesk(saved: SavedDesk | null, begin: number): Desk {
  const states = new Map<string, DeskState>();
  const line = makeLine<DeskPlace>();
  const admitted = new Map<string, { readonly account: string; readonly group: string; tflops: number; at: number }>();
  let leases = begin * 1000;
  const refused = makeRefused();

  for (const [id, breaker, pace, fault] of saved?.servers ?? [])
    states.set(id, { ...newServer(makeBreaker(breaker)), pace, fault });
  for (const request of saved?.line ?? []) line.put(placeOf(request), () => true);

  const stateOf = (id: string): DeskState => {
    const known = states.get(id);
    if (known) return known;
    const made = newServer(makeBreaker());
    states.set(id, made);
    return made;
  };

  const heldBy = (job: string): { readonly server: DeskState; readonly held: Held } | null => {
    for (const server of states.values()) {
      const held = server.held.get(job);
      if (held) return { server, held };
    }
    return null;
  };

  /** Whether a stage may be sent there now, but for what is in hand. */
  const isUp = (state: DeskState, now: number): boolean => state.breaker.mayTake(now);
  const isFree = (server: DeskServer, state: DeskState, now: number): boolean =>
    isUp(state, now) && state.fullUntil <= now && state.held.size < server.backend.slots;

  /** Those that fit, and those that may: nothing is known of their models. None that is drained. */
  const mayFit = (group: string, servers: readonly DeskServer[]): readonly DeskServer[] => {
    const { needs, engine } = shapeOf(group);
    return servers.filter(
      (server) =>
        server.backend.weight > 0 &&
        (server.list ? fitOf(server, needs, engine).fit !== null : mayServe(server.backend, needs.model)),
    );
  };

  function choosable(server: DeskServer, now: number): Choosable {
    const state = stateOf(server.backend.id);
    const oldest = Math.min(now, ...[...state.held.values()].map(({ since }) => Math.max(since, state.busySince)));
    return {
      id: server.backend.id,
      weight: server.backend.weight,
      pace: paceAt(state.pace, now),
      outstanding: [...state.held.values()].reduce((sum, { tflops }) => sum + tflops, 0),
      workingMs: now - oldest,
      isFree: isFree(server, state, now),
      given: state.given,
    };
  }

  /** The server a waiting stage gets now of those that fit; null: it rather waits, or has to. */
  function serverFor(request: SlotRequest, fits: readonly Fitting[], now: number): Fitting | null {
    const up = fits.filter(({ backend }) => isUp(stateOf(backend.id), now));
    const [best] = choose(
      up.map((server) => choosable(server, now)),
      request,
    );
    return (best?.isFree && up.find(({ backend }) => backend.id === best.id)) || null;
  }

  function hold({ job, account, group, tflops, restTflops }: DeskPlace, slot: Slot, now: number): void {
    const state = stateOf(slot.backend);
    if (state.held.size === 0) state.busySince = now;
    const settle = state.breaker.begin();
    const times = { since: now, renewedAt: now };
    state.held.set(job, { job, account, group, lease: slot.lease, tflops, restTflops, ...times, settle, slot });
  }

  function give(place: DeskPlace, server: Fitting, now: number): Turn {
    const { job, account, group, tflops } = place;
    const slot: Slot = { ...server.fit, lease: ++leases, backend: server.backend.id };
    hold(place, slot, now);
    const state = stateOf(slot.backend);
    for (const other of states.values()) other.given *= GIVEN_KEPT;
    state.given += 1;
    line.charge(account, group, tflops);
    return { job, slot };
  }

  async function settle(server: DeskState, held: Held, outcome: SlotOutcome, now: number): Promise<void> {
    server.held.delete(held.job);
    const ms = now - Math.max(held.since, server.busySince);
    if (outcome.kind === 'done') {
      // with several at once, each outcome took the time since the one before
      server.pace = addWork(server.pace, { ms: Math.min(ms, outcome.ms), tflops: held.tflops }, now);
      server.fault = null;
    }
    if (outcome.kind === 'wrong') {
      server.pace = addWork(server.pace, { ms, tflops: 0 }, now);
      server.fault = outcome.what;
    }
    if (outcome.kind === 'busy') {
      // who refuses again and again is asked less and less often, whatever it says
      const least = LEAST_PAUSE_MS * 2 ** Math.min(10, server.refusals++);
      server.fullUntil = now + Math.min(MAX_PAUSE_MS, Math.max(least, outcome.retryMs));
      line.charge(held.account, held.group, -held.tflops);
    }
    // what told nothing of the server's pace leaves the time to the next outcome that does
    if (outcome.kind === 'done' || outcome.kind === 'wrong') server.busySince = now;
    server.stages[outcome.kind]++;
    const before = server.breaker.state;
    // one job alone does not put a server out, however often it fails there
    const isCounted = outcome.kind === 'wrong' && server.faultJob !== held.job;
    if (outcome.kind === 'done') {
      server.faultJob = null;
      server.refusals = 0;
    }
    if (outcome.kind === 'wrong') server.faultJob = held.job;
    await held.settle(outcome.kind === 'done' ? 'well' : isCounted ? 'wrong' : 'neither');
    if (before !== 'open' && server.breaker.state === 'open') server.openings++;
  }

  async function release(job: string, { lease, outcome }: Released, now: number): Promise<void> {
    const found = heldBy(job);
    if (found?.held.lease === lease) await settle(found.server, found.held, outcome, now);
  }

  /** Leases that ran out: their jobs are dead, or cannot reach us. */
  function endLeases(now: number): void {
    for (const server of states.values())
      for (const held of server.held.values())
        if (now - held.renewedAt >= LEASE_MS) void settle(server, held, { kind: 'dropped' }, now);
    for (const [job, { at }] of admitted) if (now - at >= ADMITTED_MS) admitted.delete(job);
  }

  function turns(servers: readonly DeskServer[], now: number): readonly Turn[] {
    endLeases(now);
    const given: Turn[] = [];
    const fits = fitsOf(servers);
    const isAnyFree = (group: string): boolean =>
      fits(group).some((server) => isFree(server, stateOf(server.backend.id), now));
    // who rather waits does so until something is given back; and so does whoever is like it
    const waits = new Set<string>();
    for (;;) {
      const served = new Set([...line.waiting()].flatMap(([group]) => (isAnyFree(group) ? [group] : [])));
      if (served.size === 0) return given;
      const next = nextTurn((group) => served.has(group), waits, fits, now);
      if (!next) return given;
      line.remove(next.place.job);
      given.push(give(next.place, next.server, now));
    }
  }

  /** Whose turn it is of those that are served, and where; what it met that rather waits joins `waits`. */
  function nextTurn(
    isServed: OfGroup,
    waits: Set<string>,
    fits: Fits,
    now: number,
  ): { readonly place: DeskPlace; readonly server: Fitting } | null {
    let looks = 0;
    for (const place of line.inOrder(isServed)) {
      if (++looks > MAX_LOOKS) break;
      if (waits.has(place.likeness)) continue;
      const server = serverFor(place.request, fits(place.group), now);
      if (server) return { place, server };
      waits.add(place.likeness);
    }
    return null;
  }

  /**
   * Milliseconds until a job of this account that comes now would begin; null where no pace is known. Where no server
   * is up that could take it, the least time that one of them takes to come up is in it.
   */
  function waitFor(
    { account, group, itself = 0 }: { readonly account: string; readonly group: string; readonly itself?: number },
    servers: readonly DeskServer[],
    fits: Fits,
    now: number,
  ): number | null {
    const may = mayFit(group, servers);
    const isAnyUp = may.some((server) => server.list && isUp(stateOf(server.backend.id), now));
    const coldMs = isAnyUp ? 0 : leastColdStart(may);
    const workMs = workMsBefore({ account, group, itself }, fits, now);
    return workMs === null ? coldMs || null : coldMs + workMs;
  }

  /** TFLOPs a millisecond that the servers of a group do together, and the pace of each; null where none is known. */
  function rateOf(group: string, fits: Fits, now: number) {
    const all = fits(group).filter(({ backend }) => backend.weight > 0);
    const up = all.filter(({ backend }) => isUp(stateOf(backend.id), now));
    const states = (up.length > 0 ? up : all).map(({ backend }) => stateOf(backend.id));
    const known = states.flatMap(({ pace }) => (pace && pace.tflops > 0 ? [pace.ms / pace.tflops] : []));
    if (known.length === 0) return null;
    const usual = Math.min(...known);
    const paceOf = ({ pace }: DeskState): number => paceAt(pace, now) ?? usual;
    const rate = states.reduce((sum, state) => sum + 1 / paceOf(state), 0);
    return rate === 0 ? null : { rate, paceOf };
  }

  /** The same without cold starts. */
  function workMsBefore(
    { account, group, itself }: { readonly account: string; readonly group: string; readonly itself: number },
    fits: Fits,
    now: number,
  ): number | null {
    const all = fits(group).filter(({ backend }) => backend.weight > 0);
    const known = rateOf(group, fits, now);
    if (!known) return null;
    const { rate, paceOf } = known;
    const competes = competing(group, fits);
    const tflops = workBefore({
      account,
      itself,
      underWay: all.flatMap(({ backend }) => underWayAt(stateOf(backend.id), paceOf(stateOf(backend.id)), now)),
      waiting: line.waitingIn(competes),
      coming: [...admitted.values()].filter((job) => competes(job.group)),
      slots: all.reduce((sum, { backend }) => sum + backend.slots, 0),
    });
    return tflops / rate;
  }

  /** Accounts that wait, hold slots or are about to come. */
  const numAccounts = (): number =>
    new Set([
      ...[...line.waitingIn(() => true)].map(({ account }) => account),
      ...[...states.values()].flatMap(({ held }) => [...held.values()].map(({ account }) => account)),
      ...[...admitted.values()].map(({ account }) => account),
    ]).size;

  const saveServers = (): SavedServers =>
    [...states].map(([id, { breaker, pace, fault }]) => [id, breaker.save(), pace, fault] as const);

  return {
    async ask(request, servers, now) {
      if (request.released) await release(request.job, request.released, now);
      const found = heldBy(request.job);
      if (found && !request.tried.includes(found.held.slot.backend)) {
        found.held.renewedAt = now;
        return { kind: 'slot', slot: found.held.slot };
      }
      if (found) await settle(found.server, found.held, { kind: 'dropped' }, now);
      const group = groupOf(request);
      const fits = fitsOf(servers);
      const takers = fits(group).filter(({ backend }) => backend.weight > 0 || backend.id === request.last);
      admitted.delete(request.job);
      if (takers.length === 0) {
        line.remove(request.job);
        return {
          kind: 'none',
          unfit: servers.map((server) => {
            const { why } = fitOf(server, request.needs, request.engine);
            return { id: server.backend.id, why: why ?? 'drained' };
          }),
        };
      }
      if (line.size >= MAX_PLACES && !line.get(request.job)) return { kind: 'full', retryMs: FULL_MS };
      const competes = competing(group, fits);
      line.put(placeOf(request), competes);
      return {
        kind: 'line',
        position: line.position(request.job, competes),
        etaMs: waitFor({ account: request.account, group, itself: request.restTflops }, servers, fits, now),
        isDown: !takers.some(({ backend }) => isUp(stateOf(backend.id), now)),
      };
    },
    renew(request, slot, now) {
      const found = heldBy(request.job);
      // this desk gives leases from its beginning on
      const isOfBefore = !found && slot.lease <= begin * 1000 && begin * 1000 - slot.lease < OLDEST_MS * 1000;
      if (isOfBefore) {
        line.remove(request.job);
        hold(placeOf(request), slot, now);
        return true;
      }
      if (found?.held.lease !== slot.lease) return false;
      found.held.renewedAt = now;
      return true;
    },
    release,
    leave(job) {
      line.remove(job);
      admitted.delete(job);
    },
    admit({ jobs, account, needs, tflops, mostMs }, servers, now) {
      endLeases(now);
      const group = groupOf({ needs, engine: null, tflops });
      const fits = fitsOf(servers);
      const takers = mayFit(group, servers);
      if (takers.length === 0) return { kind: 'none' };
      const waitMs = waitFor({ account, group }, servers, fits, now);
      if (jobs.length > 0 && waitMs !== null && waitMs > mostMs) {
        // the wait gets shorter as time passes, by whole stages, and of each account there may be one in between
        const stageMs = Math.max(0, ...takers.map(({ backend }) => longestStage(stateOf(backend.id), now)));
        const leastMs = Math.max(1000, Math.ceil(waitMs - mostMs + stageMs * numAccounts()));
        // not all who are refused at once are to come back at once
        const ownMs = (jobs.length * tflops) / (rateOf(group, fits, now)?.rate ?? 1);
        return { kind: 'full', waitMs, retryMs: Math.ceil(refused.refuse({ account, leastMs, ownMs }, now)) };
      }
      if (line.size + admitted.size + jobs.length > MAX_PLACES)
        return { kind: 'full', waitMs: waitMs ?? FULL_MS, retryMs: FULL_MS };
      for (const job of jobs) admitted.set(job, { account, group, tflops, at: now });
      return { kind: 'come', waiting: line.size, waitMs };
    },
    turns,
    dueAt(servers, now) {
      if (line.size === 0) return null;
      const times = servers.flatMap(({ backend }) => {
        const { breaker, held, fullUntil } = stateOf(backend.id);
        return [...[...held.values()].map(({ renewedAt }) => renewedAt + LEASE_MS), breaker.probeAt ?? 0, fullUntil];
      });
      // what was due before has been seen: who waits nevertheless waits for something better
      const later = times.filter((time) => time > now);
      return later.length === 0 ? null : Math.min(...later);
    },
    view(servers, now) {
      // where nobody waits nobody has looked since
      endLeases(now);
      const fits = fitsOf(servers);
      return {
        since: begin,
        servers: servers.map((server) => viewServer(server, stateOf(server.backend.id), now)),
        lines: viewLines([...line.all()], (group) => waitFor({ account: '', group }, servers, fits, now), now),
      };
    },
    waiting() {
      const byModel = new Map<string, number>();
      for (const [group, { tflops }] of line.waiting()) {
        const { model } = shapeOf(group).needs;
        byModel.set(model, (byModel.get(model) ?? 0) + tflops);
      }
      return byModel;
    },
    outs: () =>
      new Map(
        [...states]
          .filter(([, { breaker }]) => breaker.state !== 'closed')
          .map(([id, { fault }]) => [id, fault ?? 'a stage that it was given did not come back']),
      ),
    saveServers,
    save: () => ({
      servers: saveServers(),
      line: [...line.all()].map(({ request }) => ({ ...request, released: null })),
    }),
  };
}

/** The least time that one of these takes to come up; 0 where none says. */
function leastColdStart(servers: readonly DeskServer[]): number {
  const seconds = servers.flatMap(({ backend }) => backend.cold_start_seconds ?? []);
  return seconds.length === 0 ? 0 : Math.min(...seconds) * 1000;
}
