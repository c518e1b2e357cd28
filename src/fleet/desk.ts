/**
 * The desk of a dispatcher: who holds a slot of which stage server, who waits for one, and how well each server does.
 * It keeps its state in memory and decides; whoever owns it calls the jobs and stores what is to be stored. The clock is
 * passed in.
 */
import { type Breaker, makeBreaker, type SavedBreaker } from './breaker.ts';
import { type Choosable, choose } from './choose.ts';
import { type Fit, fitOf, type Needs } from './fit.ts';
import { makeLine, type OfGroup, type Place } from './line.ts';
import type { KnownServer } from './models.ts';
import { addWork, type Pace, paceAt } from './pace.ts';
import type {
  Admission,
  AdmissionRequest,
  DispatcherView,
  Released,
  ServerView,
  Slot,
  SlotAnswer,
  SlotOutcome,
  SlotRequest,
  StageShape,
} from './slots.ts';
import { type UnderWay, workBefore } from './wait.ts';

/** A slot nobody has renewed for so long is free again. */
export const LEASE_MS = 30_000;
/** Most jobs in the line. */
const MAX_PLACES = 20_000;
/** When to come back where the line is full. */
const FULL_MS = 30_000;
/** How long the work of an admitted job is counted before it comes itself. */
const ADMITTED_MS = 30_000;
/** Longest that a server is left alone because it said so. */
const MAX_PAUSE_MS = 30_000;
/** Places looked at for one free slot: those that rather wait for another server are left out. */
const MAX_LOOKS = 64;
/** What of the stages a server was given counts with each further one. */
const GIVEN_KEPT = 0.98;

/** A stage server of the desk, as the configuration has it and as it says of itself. */
export interface DeskServer extends KnownServer {
  readonly backend: KnownServer['backend'] & { readonly weight: number; readonly slots: number };
}

interface Held {
  readonly job: string;
  readonly account: string;
  readonly group: string;
  readonly lease: number;
  readonly tflops: number;
  readonly restTflops: number;
  readonly since: number;
  renewedAt: number;
  readonly settle: ReturnType<Breaker['begin']>;
  readonly slot: Slot;
}

interface Server {
  readonly breaker: Breaker;
  readonly held: Map<string, Held>;
  pace: Pace | null;
  given: number;
  /** it said that it takes nothing until then */
  fullUntil: number;
  /** since when the time counts that its next outcome took */
  busySince: number;
  /** what it was at fault for last */
  fault: string | null;
}

type Waiting = Place & { readonly request: SlotRequest };

/** A server that can take a stage, with what it may be sent. */
type Fitting = DeskServer & { readonly fit: Fit };

/** The servers that fit each group; it remembers. */
type Fits = (group: string) => readonly Fitting[];

/** A job whose turn has come. */
export interface Turn {
  readonly job: string;
  readonly slot: Slot;
}

/** What outlives the desk: how well the servers do, and who waits. */
export interface SavedDesk {
  readonly servers: readonly (readonly [id: string, breaker: SavedBreaker, pace: Pace | null, fault: string | null])[];
  readonly line: readonly SlotRequest[];
}

export interface Desk {
  /** Puts the job where it belongs. A job that holds a slot gets that one again. */
  ask(request: SlotRequest, servers: readonly DeskServer[], now: number): Promise<SlotAnswer>;
  /** The job is alive. False where the slot is not its own any more. */
  renew(job: string, lease: number, now: number): boolean;
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
  save(): SavedDesk;
}

const groupOf = ({ needs, engine }: StageShape): string =>
  JSON.stringify([needs.model, needs.digest, needs.features, engine]);
const shapeOf = (group: string): { readonly needs: Needs; readonly engine: string | null } => {
  const [model, digest, features, engine] = JSON.parse(group) as [string, string, string[], string | null];
  return { needs: { model, digest, features }, engine };
};

/** A desk, new or as it was saved. */
export function makeDesk(saved: SavedDesk | null, begin: number): Desk {
  const states = new Map<string, Server>();
  const line = makeLine<Waiting>();
  const admitted = new Map<string, { readonly account: string; readonly group: string; tflops: number; at: number }>();
  let leases = begin * 1000;

  for (const [id, breaker, pace, fault] of saved?.servers ?? [])
    states.set(id, { ...newServer(makeBreaker(breaker)), pace, fault });
  for (const request of saved?.line ?? []) line.put(placeOf(request), () => true);

  const stateOf = (id: string): Server => {
    const known = states.get(id);
    if (known) return known;
    const made = newServer(makeBreaker());
    states.set(id, made);
    return made;
  };

  const heldBy = (job: string): { readonly server: Server; readonly held: Held } | null => {
    for (const server of states.values()) {
      const held = server.held.get(job);
      if (held) return { server, held };
    }
    return null;
  };

  /** Whether a stage may be sent there now, but for what is in hand. */
  const isUp = (state: Server, now: number): boolean => state.breaker.mayTake(now);
  const isFree = (server: DeskServer, state: Server, now: number): boolean =>
    isUp(state, now) && state.fullUntil <= now && state.held.size < server.backend.slots;

  function fitsOf(servers: readonly DeskServer[]): Fits {
    const known = new Map<string, readonly Fitting[]>();
    return (group) => {
      const before = known.get(group);
      if (before) return before;
      const { needs, engine } = shapeOf(group);
      const fits = servers.flatMap((server) => {
        const { fit } = fitOf(server, needs, engine);
        return fit ? [{ ...server, fit }] : [];
      });
      known.set(group, fits);
      return fits;
    };
  }

  /** Which groups are served by a server that serves `group`, too. */
  function competing(group: string, fits: Fits): OfGroup {
    const own = new Set(fits(group).map(({ backend }) => backend.id));
    return (other) => other === group || fits(other).some(({ backend }) => own.has(backend.id));
  }

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

  /** The server a waiting job gets now; null: it rather waits, or has to. */
  function serverFor({ request, group }: Waiting, fits: Fits, now: number): Fitting | null {
    const up = fits(group).filter(({ backend }) => isUp(stateOf(backend.id), now));
    const [best] = choose(
      up.map((server) => choosable(server, now)),
      request,
    );
    return (best?.isFree && up.find(({ backend }) => backend.id === best.id)) || null;
  }

  function give({ job, account, group, tflops, restTflops }: Waiting, server: Fitting, now: number): Turn {
    const state = stateOf(server.backend.id);
    const slot: Slot = { ...server.fit, lease: ++leases, backend: server.backend.id };
    if (state.held.size === 0) state.busySince = now;
    const settle = state.breaker.begin();
    const times = { since: now, renewedAt: now };
    state.held.set(job, { job, account, group, lease: slot.lease, tflops, restTflops, ...times, settle, slot });
    for (const other of states.values()) other.given *= GIVEN_KEPT;
    state.given += 1;
    line.charge(account, group, tflops);
    return { job, slot };
  }

  async function settle(server: Server, held: Held, outcome: SlotOutcome, now: number): Promise<void> {
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
      server.fullUntil = now + Math.min(MAX_PAUSE_MS, outcome.retryMs);
      line.charge(held.account, held.group, -held.tflops);
    }
    // what told nothing of the server's pace leaves the time to the next outcome that does
    if (outcome.kind === 'done' || outcome.kind === 'wrong') server.busySince = now;
    await held.settle(outcome.kind === 'done' ? 'well' : outcome.kind === 'wrong' ? 'wrong' : 'neither');
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
    const passed = new Set<string>();
    const fits = fitsOf(servers);
    const hasFree = (group: string): boolean =>
      fits(group).some((server) => isFree(server, stateOf(server.backend.id), now));
    for (;;) {
      const served = new Map<string, boolean>();
      const isServed = (group: string): boolean => {
        const known = served.get(group) ?? hasFree(group);
        served.set(group, known);
        return known;
      };
      let next: { readonly place: Waiting; readonly server: Fitting } | null = null;
      for (const place of line.inOrder(isServed)) {
        if (passed.has(place.job)) continue;
        const server = serverFor(place, fits, now);
        if (server) {
          next = { place, server };
          break;
        }
        passed.add(place.job);
        if (passed.size >= MAX_LOOKS) break;
      }
      if (!next) return given;
      line.remove(next.place.job);
      given.push(give(next.place, next.server, now));
    }
  }

  /** Milliseconds until a job of this account that comes now would begin; null where no pace is known. */
  function waitFor(account: string, group: string, fits: Fits, now: number, itself = 0): number | null {
    const all = fits(group).filter(({ backend }) => backend.weight > 0);
    const up = all.filter(({ backend }) => isUp(stateOf(backend.id), now));
    const states = (up.length > 0 ? up : all).map(({ backend }) => stateOf(backend.id));
    const known = states.flatMap(({ pace }) => (pace && pace.tflops > 0 ? [pace.ms / pace.tflops] : []));
    if (known.length === 0) return null;
    const usual = Math.min(...known);
    const paceOf = ({ pace }: Server): number => paceAt(pace, now) ?? usual;
    const rate = states.reduce((sum, state) => sum + 1 / paceOf(state), 0);
    if (rate === 0) return null;
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
        etaMs: waitFor(request.account, group, fits, now, request.restTflops),
        isDown: !takers.some(({ backend }) => isUp(stateOf(backend.id), now)),
      };
    },
    renew(job, lease, now) {
      const found = heldBy(job);
      if (found?.held.lease !== lease) return false;
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
      const takers = fits(group).filter(({ backend }) => backend.weight > 0);
      if (takers.length === 0) return { kind: 'none' };
      const waitMs = waitFor(account, group, fits, now);
      if (jobs.length > 0 && waitMs !== null && waitMs > mostMs) {
        // the wait gets shorter with the time, and by whole stages
        const stageMs = Math.max(0, ...takers.map(({ backend }) => longestStage(stateOf(backend.id), now)));
        return { kind: 'full', waitMs, retryMs: Math.max(1000, Math.ceil(waitMs - mostMs + stageMs)) };
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
    view: (servers, now) => ({
      servers: servers.map((server) => viewServer(server, stateOf(server.backend.id), now)),
      lines: viewLines([...line.all()], now),
    }),
    save: () => ({
      servers: [...states].map(([id, { breaker, pace, fault }]) => [id, breaker.save(), pace, fault] as const),
      line: [...line.all()].map(({ request }) => ({ ...request, released: null })),
    }),
  };
}

function placeOf(request: SlotRequest): Waiting {
  const { job, account, tflops, restTflops, hasBegun, since } = request;
  return { job, account, group: groupOf(request), tflops, restTflops, hasBegun, since, request };
}

const newServer = (breaker: Breaker): Server => ({
  breaker,
  held: new Map(),
  pace: null,
  given: 0,
  fullUntil: 0,
  busySince: 0,
  fault: null,
});

/** The stages under way at a server of this pace, with the work that is left of them. */
function underWayAt({ held, busySince }: Server, pace: number, now: number): readonly UnderWay[] {
  const stages = [...held.values()];
  const oldest = Math.min(now, ...stages.map(({ since }) => Math.max(since, busySince)));
  let done = pace > 0 ? (now - oldest) / pace : 0;
  return stages.map(({ account, tflops, restTflops }) => {
    const leftTflops = Math.max(0, tflops - done);
    done -= tflops - leftTflops;
    return { account, leftTflops, laterTflops: restTflops - tflops };
  });
}

/** How long a stage takes at a server: the largest under way. */
function longestStage({ held, pace }: Server, now: number): number {
  const known = paceAt(pace, now) ?? 0;
  return Number.isFinite(known) ? known * Math.max(0, ...[...held.values()].map(({ tflops }) => tflops)) : 0;
}

function viewServer(server: DeskServer, state: Server, now: number): ServerView {
  const { backend, list, fault } = server;
  const { breaker, held, pace } = state;
  const of = (): readonly [ServerView['state'], string | null] => {
    if (!list) return ['unknown', `nothing is known of its models: ${fault ?? 'it was not asked yet'}`];
    if (breaker.state === 'half_open') return ['probing', state.fault];
    if (breaker.state === 'open') return ['out', state.fault];
    if (backend.weight === 0) return ['draining', 'its weight is 0'];
    if (state.fullUntil > now) return ['full', `it takes nothing for ${state.fullUntil - now} ms`];
    if (held.size >= backend.slots) return ['full', `all its ${backend.slots} slots are held`];
    return ['ready', null];
  };
  const [name, reason] = of();
  return {
    id: backend.id,
    state: name,
    reason,
    weight: backend.weight,
    slots: backend.slots,
    held: held.size,
    ms_per_tflop: paceAt(pace, now),
    outstanding_tflops: [...held.values()].reduce((sum, { tflops }) => sum + tflops, 0),
    probe_at: breaker.probeAt,
    models: list?.models.map(({ id }) => id) ?? [],
  };
}

function viewLines(places: readonly Waiting[], now: number): DispatcherView['lines'] {
  const byModel = Map.groupBy(places, ({ request }) => request.needs.model);
  return [...byModel].map(([model, waiting]) => ({
    model,
    waiting: waiting.length,
    waiting_tflops: waiting.reduce((sum, { tflops }) => sum + tflops, 0),
    oldest_ms: Math.max(...waiting.map(({ since }) => now - since)),
  }));
}
