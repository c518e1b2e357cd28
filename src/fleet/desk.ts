/**
 * The desk of a dispatcher: who holds a slot of which stage server, who waits for one, how well each server does.
 * It keeps its state in memory and decides; whoever owns it calls the jobs and stores what is to be stored. The clock
 * is passed in.
 */
import { makeAdrift } from './adrift.ts';
import { makeBreaker } from './breaker.ts';
import { type Choosable, choose } from './choose.ts';
import type { Desk, SavedDesk, SavedServers, Turn } from './desk-calls.ts';
import { type DeskPlace, type DeskServer, type DeskState, type Held, newServer } from './desk-state.ts';
import { viewLines, viewServer } from './desk-view.ts';
import { type Coming, makeEstimate } from './estimate.ts';
import { fitOf } from './fit.ts';
import { competing, type Fits, type Fitting, fitsOf, groupOf, kindsOf, makeKinds, placeOf, shapeOf } from './groups.ts';
import { makeHeldBack } from './held-back.ts';
import { makeHopeful } from './hopeful.ts';
import { makeLine } from './line.ts';
import { makeLooks } from './looks.ts';
import { mayServe } from './models.ts';
import { noteOutcome } from './outcome.ts';
import { paceAt } from './pace.ts';
import { makeRefused } from './refused.ts';
import type { Released, Slot, SlotOutcome, SlotRequest } from './slots.ts';

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
/** How soon after a probe that failed the next one may go out where no other server could take the stage. */
const ALONE_MS = 3_000;
/** What of the stages a server was given counts with each further one. */
const GIVEN_KEPT = 0.98;

/** A desk, new or as it was saved. */
export function makeDesk(saved: SavedDesk | null, begin: number): Desk {
  const states = new Map<string, DeskState>();
  const line = makeLine<DeskPlace>();
  const admitted = new Map<string, Coming>();
  const kindOf = makeKinds();
  // where many waited every server was full, and who holds its slots will say so
  const heldBack = makeHeldBack(saved && saved.line.length > 0 ? (saved.held ?? []) : [], begin);
  let leases = begin * 1000;
  let arrivals = 0;
  const refused = makeRefused();
  const looks = makeLooks();
  const adrift = makeAdrift();
  const hopeful = makeHopeful();
  const toCall: string[] = [];

  for (const [id, breaker, pace, fault] of saved?.servers ?? [])
    states.set(id, { ...newServer(makeBreaker(breaker)), pace, fault });
  for (const request of saved?.line ?? []) line.put(placeOf(request), []);

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
    isUp(state, now) &&
    state.fullUntil <= now &&
    state.held.size + heldBack.of(server.backend.id, now) < server.backend.slots;
  const { waitFor, rateOf, stepMs } = makeEstimate({ states, stateOf, isUp, line, admitted });

  /** Those that fit, and those that may: nothing is known of their models. None that is drained. */
  const mayFit = (group: string, servers: readonly DeskServer[]): readonly DeskServer[] => {
    const { needs, engine } = shapeOf(group);
    return servers.filter(
      (server) =>
        server.backend.weight > 0 &&
        (server.list ? fitOf(server, needs, engine).fit !== null : mayServe(server.backend, needs.model)),
    );
  };

  /** A server as the choice sees it; a slot that is kept free has a stage like the one that is to be sent. */
  function choosable(server: DeskServer, tflops: number, now: number): Choosable {
    const state = stateOf(server.backend.id);
    const oldest = Math.min(now, ...[...state.held.values()].map(({ since }) => Math.max(since, state.busySince)));
    return {
      id: server.backend.id,
      weight: server.backend.weight,
      pace: paceAt(state.pace, now),
      outstanding: [...state.held.values()].reduce(
        (sum, held) => sum + held.tflops,
        tflops * heldBack.of(server.backend.id, now),
      ),
      workingMs: now - oldest,
      isFree: isFree(server, state, now),
      given: state.given,
    };
  }

  /** The server a waiting stage gets now of those that fit; null: it rather waits, or has to. */
  function serverFor(request: SlotRequest, fits: readonly Fitting[], now: number): Fitting | null {
    const up = fits.filter(({ backend }) => isUp(stateOf(backend.id), now));
    const [best] = choose(
      up.map((server) => choosable(server, request.tflops, now)),
      request,
    );
    return (best?.isFree && up.find(({ backend }) => backend.id === best.id)) || null;
  }

  function hold({ job, account, tflops, restTflops }: DeskPlace, slot: Slot, kind: string, now: number): void {
    const state = stateOf(slot.backend);
    if (state.held.size === 0) state.busySince = now;
    const settle = state.breaker.begin();
    const times = { since: now, renewedAt: now };
    state.held.set(job, { job, account, kind, lease: slot.lease, tflops, restTflops, ...times, settle, slot });
  }

  function give(place: DeskPlace, server: Fitting, now: number): Turn {
    const { job, account, tflops } = place;
    const slot: Slot = { ...server.fit, lease: ++leases, backend: server.backend.id };
    const kind = kindOf(server);
    hold(place, slot, kind, now);
    const state = stateOf(slot.backend);
    for (const other of states.values()) other.given *= GIVEN_KEPT;
    state.given += 1;
    line.charge(account, kind, tflops);
    return { job, slot };
  }

  async function settle(server: DeskState, held: Held, outcome: SlotOutcome, now: number): Promise<void> {
    if (outcome.kind === 'busy') line.charge(held.account, held.kind, -held.tflops);
    await noteOutcome(server, held, outcome, now);
  }

  /** A desk before this one gave it: this one gives leases from its beginning on. */
  const isOfBefore = (lease: number): boolean => lease <= begin * 1000 && begin * 1000 - lease < OLDEST_MS * 1000;

  async function release(job: string, { lease, outcome, backend }: Released, now: number): Promise<void> {
    const found = heldBy(job);
    if (found?.held.lease === lease) await settle(found.server, found.held, outcome, now);
    else if (!found && backend !== undefined && isOfBefore(lease)) heldBack.spoken(backend);
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
    for (const [group] of line.waiting()) line.serves(group, kindsOf(fits(group), kindOf));
    // who rather waits does so until something is given back; and so does whoever is like it
    const waits = new Set<string>();
    for (;;) {
      const next = nextTurn(servers, waits, fits, now);
      if (!next) break;
      line.remove(next.place.job);
      given.push(give(next.place, next.server, now));
    }
    toCall.push(...adrift.of(line, (group) => isOut(fits(group))));
    toCall.push(...hopeful.take((group) => fits(group).some(({ backend }) => backend.weight > 0)));
    return given;
  }

  /** Whether none of those that fit is well; one that is being probed is not yet. */
  const isOut = (fits: readonly Fitting[]): boolean => {
    const takers = fits.filter(({ backend }) => backend.weight > 0);
    return takers.length > 0 && takers.every(({ backend }) => stateOf(backend.id).breaker.state !== 'closed');
  };

  /** Whose turn it is at some free server, and which; what it met that rather waits joins `waits`. */
  function nextTurn(
    servers: readonly DeskServer[],
    waits: Set<string>,
    fits: Fits,
    now: number,
  ): { readonly place: DeskPlace; readonly server: Fitting } | null {
    const free = servers.filter((server) => isFree(server, stateOf(server.backend.id), now));
    for (const kind of new Set(free.map(kindOf))) {
      /** what may want it; neither who rather waits, nor who is better sent to a free server of another kind */
      const open = new Set([...line.likenesses(kind)].filter((likeness) => !waits.has(likeness)));
      const look = looks.begin(kind);
      let found: { readonly place: DeskPlace; readonly server: Fitting } | null = null;
      for (const place of line.inOrder(kind, look.behind)) {
        if (open.size === 0) break;
        if (!open.has(place.likeness)) continue;
        const what = look.at(place);
        if (what === 'end') break;
        if (what === 'pass') continue;
        const server = serverFor(place.request, fits(place.group), now);
        if (server && kindOf(server) === kind) {
          found = { place, server };
          break;
        }
        open.delete(place.likeness);
        if (!server) waits.add(place.likeness);
      }
      look.ends(found !== null);
      if (found) return found;
    }
    return null;
  }

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
        hopeful.waits(request.job, group, now);
        return {
          kind: 'none',
          unfit: servers.map((server) => {
            const { why } = fitOf(server, request.needs, request.engine);
            return { id: server.backend.id, why: why ?? 'drained' };
          }),
        };
      }
      if (line.size >= MAX_PLACES && !line.get(request.job)) return { kind: 'full', retryMs: FULL_MS };
      hopeful.leave(request.job);
      const competes = competing(group, fits);
      if (!line.get(request.job)) {
        arrivals++;
        // whoever comes is the probe of a server that nobody can stand in for
        if (!takers.some(({ backend }) => isUp(stateOf(backend.id), now)))
          for (const { backend } of takers) stateOf(backend.id).breaker.hasten(ALONE_MS);
      }
      line.put(placeOf(request), kindsOf(fits(group), kindOf));
      const isDown = !takers.some(({ backend }) => isUp(stateOf(backend.id), now));
      if (isDown) adrift.knows(request.job, group);
      return {
        kind: 'line',
        position: line.position(request.job, competes),
        etaMs: waitFor(
          { account: request.account, group, itself: request.restTflops },
          mayFit(group, servers),
          fits,
          now,
        ),
        isDown,
      };
    },
    renew(request, slot, now) {
      const found = heldBy(request.job);
      if (!found && isOfBefore(slot.lease)) {
        line.remove(request.job);
        heldBack.spoken(slot.backend);
        hold(placeOf(request), slot, '', now);
        return true;
      }
      if (found?.held.lease !== slot.lease) return false;
      found.held.renewedAt = now;
      return true;
    },
    release,
    leave(job) {
      line.remove(job);
      hopeful.leave(job);
      admitted.delete(job);
    },
    admit({ jobs, account, needs, tflops, mostMs }, servers, now) {
      endLeases(now);
      const group = groupOf({ needs, engine: null, tflops });
      const fits = fitsOf(servers);
      const takers = mayFit(group, servers);
      if (takers.length === 0) return { kind: 'none' };
      const waitMs = waitFor({ account, group }, takers, fits, now);
      if (jobs.length > 0 && waitMs !== null && waitMs > mostMs) {
        // the wait gets shorter as time passes, by whole stages, and of each account there may be one in between
        const leastMs = Math.max(1000, Math.ceil(waitMs - mostMs + stepMs(takers, now)));
        // not all who are refused at once are to come back at once
        const ownMs = (jobs.length * tflops) / (rateOf(group, fits, now) ?? 1);
        return { kind: 'full', waitMs, retryMs: Math.ceil(refused.refuse({ account, leastMs, ownMs }, now)) };
      }
      if (line.size + admitted.size + jobs.length > MAX_PLACES)
        return { kind: 'full', waitMs: waitMs ?? FULL_MS, retryMs: FULL_MS };
      for (const job of jobs) admitted.set(job, { account, group, tflops, at: now });
      return { kind: 'come', waiting: line.size, waitMs };
    },
    turns,
    toCall: () => toCall.splice(0),
    hopes(servers, now) {
      const fits = fitsOf(servers);
      const groups = new Set([...[...line.waiting()].map(([group]) => group), ...hopeful.groups(now)]);
      const ids = [...groups].flatMap((group) => {
        const fitting = new Set(fits(group).map(({ backend }) => backend.id));
        const { model } = shapeOf(group).needs;
        const others = servers.filter(({ backend }) => backend.weight > 0 && !fitting.has(backend.id));
        return others.filter(({ backend }) => mayServe(backend, model)).map(({ backend }) => backend.id);
      });
      return [...new Set(ids)];
    },
    dueAt(servers, now) {
      if (line.size === 0) return null;
      const times = servers.flatMap(({ backend }) => {
        const { breaker, fullUntil } = stateOf(backend.id);
        return [breaker.probeAt ?? 0, fullUntil];
      });
      // what was due before has been seen: who waits nevertheless waits for something better
      const later = [...times, heldBack.until(now) ?? 0].filter((time) => time > now);
      return later.length === 0 ? null : Math.min(...later);
    },
    leaseEndsAt() {
      const ends = [...states.values()].flatMap(({ held }) =>
        [...held.values()].map(({ renewedAt }) => renewedAt + LEASE_MS),
      );
      return line.size === 0 || ends.length === 0 ? null : Math.min(...ends);
    },
    view(servers, now) {
      // where nobody waits nobody has looked since
      endLeases(now);
      const fits = fitsOf(servers);
      return {
        since: begin,
        servers: servers.map((server) => viewServer(server, stateOf(server.backend.id), now)),
        lines: viewLines(
          [...line.all()],
          (group) => waitFor({ account: '', group }, mayFit(group, servers), fits, now),
          now,
        ),
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
    get size() {
      return line.size;
    },
    get arrivals() {
      return arrivals;
    },
    get outcomes() {
      return [...states.values()].reduce((sum, { stages }) => sum + stages.done + stages.wrong, 0);
    },
    saveServers,
    save: () => ({
      servers: saveServers(),
      held: [...states].map(([id, { held }]) => [id, held.size] as const),
      line: [...line.all()].map(({ request }) => ({ ...request, released: null })),
    }),
  };
}
