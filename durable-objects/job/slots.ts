/**
 * The slot a job holds at a stage server, or waits for: asked for at the dispatchers of its regions, renewed while a
 * stage runs, and given back with what came of it. A job waits where its turn comes soonest, by what the first few
 * dispatchers say that have servers which are well. No question overtakes what its dispatcher was told before.
 */
import type { Released, Slot, SlotAnswer, SlotOutcome, SlotRequest } from '../../src/fleet/slots.ts';
import { isSlot, slotAnswer } from '../../src/fleet/told.ts';
import { logLine } from '../../src/job/log.ts';
import type { DispatcherCalls, Objects, Remote } from '../../src/job/rpc.ts';
import { within } from '../../src/stage/time-limit.ts';
import type { Servers } from './servers.ts';

/** Longest wait for a dispatcher: then the job goes on without. */
const ASK_MS = 3_000;
/** Lines that are looked at for the shortest one; nobody looks further who waits for less than this. */
const MOST_LINES = 3;
const SHORT_MS = 5_000;

/** A slot that the job holds. */
export interface HeldSlot extends Slot {
  /** that gave it; null: it was taken without one, or is another's by now */
  readonly dispatcher: string | null;
}

/** A stage that wants a slot, and the regions where that may be. */
export interface Wanted {
  readonly request: Omit<SlotRequest, 'released' | 'account'>;
  readonly account: string;
  readonly regions: readonly string[];
}

/** What came of a question: a slot, a place in a line, or neither for now. */
export type Asked =
  | { readonly kind: 'slot' }
  | { readonly kind: 'line'; readonly position: number; readonly etaMs: number | null }
  | { readonly kind: 'none' };

export interface Slots {
  /** the slot the job holds; null: none */
  readonly held: HeldSlot | null;
  /** The dispatcher that has let the job in: its first stage is asked for there first. */
  admittedBy(dispatcher: string): void;
  /**
   * Asks for a slot, unless it is held or being asked for. Never rejects: where no dispatcher answers, a server is
   * chosen without.
   */
  ask(wanted: Wanted): Promise<Asked>;
  /** A dispatcher gives the job a slot. False where it has one already. */
  turn(dispatcher: string, slot: Slot): boolean;
  /**
   * The stage is over: its slot is given back, and where another follows, asked for in the same breath. Returns the
   * answer to that; null where nothing is asked for. What is asked for at once all the same takes the slot along.
   */
  done(outcome: SlotOutcome, next: Wanted | null): Promise<Asked> | null;
  /** The job is alive, in the stage that the slot is for. Never rejects. */
  renew(running: Wanted): Promise<void>;
  /**
   * The job needs no slot any more, and no place in a line: of those it stands in, and of those it `mayStandIn` since
   * before the object slept. Never rejects: a slot not given back ends with its lease.
   */
  end(mayStandIn: readonly string[]): Promise<void>;
}

/** A slot whose stage is over, and what came of that. */
interface Over {
  readonly slot: HeldSlot;
  readonly outcome: SlotOutcome;
}

export interface SlotsEnv {
  readonly DISPATCHERS: Objects<DispatcherCalls>;
}

export function makeSlots(env: () => SlotsEnv, servers: Servers, job: string): Slots {
  let held: HeldSlot | null = null;
  let asking: Promise<Asked> | null = null;
  /** dispatchers that are being asked */
  const askedNow: string[] = [];
  let isOver = false;
  let hasAsked = false;
  /** dispatchers in whose lines the job stands */
  let lines = new Set<string>();
  let admitting: string | null = null;
  /** a slot that is over, as long as the next question may take it along */
  let over: Over | null = null;
  /** what dispatchers are being told: a question waits for it */
  const told = new Map<string, Promise<unknown>>();

  const call = async <T>(name: string, ask: (stub: Remote<DispatcherCalls>) => Promise<T>): Promise<T> =>
    within(ASK_MS, 'the dispatcher', ask(env().DISPATCHERS.getByName(name)));

  const notReached = (name: string) => (error: unknown) => {
    logLine('dispatcher_not_reached', { job_id: job, dispatcher: name, error: String(error) });
  };

  /** Tells a dispatcher something. Never rejects. */
  function tell(name: string, what: (stub: Remote<DispatcherCalls>) => Promise<unknown>): Promise<unknown> {
    const telling: Promise<unknown> = Promise.all([told.get(name), call(name, what).catch(notReached(name))]).then(
      () => {
        if (told.get(name) === telling) told.delete(name);
      },
    );
    told.set(name, telling);
    return telling;
  }

  /** Leaves every line but this one. */
  async function leaveBut(name: string | null): Promise<void> {
    const left = [...lines].filter((other) => other !== name);
    lines = new Set(name !== null && lines.has(name) ? [name] : []);
    await Promise.all(left.map((other) => tell(other, (stub) => stub.leave(job))));
  }

  async function giveBack({ dispatcher, lease, backend }: HeldSlot, outcome: SlotOutcome): Promise<void> {
    if (dispatcher !== null) await tell(dispatcher, (stub) => stub.release(job, { lease, outcome, backend }));
  }

  /** The slot that is over, which nothing takes along. */
  async function giveBackOver(): Promise<void> {
    const { slot, outcome } = over ?? {};
    over = null;
    if (slot && outcome) await giveBack(slot, outcome);
  }

  const isHeld = (dispatcher: string | null, lease: number): boolean =>
    held?.dispatcher === dispatcher && held.lease === lease;

  /** A slot that was given while nobody looked: kept where there is a use for it. */
  function take(slot: HeldSlot): void {
    if (!held && !isOver) held = slot;
    else if (!isHeld(slot.dispatcher, slot.lease)) void giveBack(slot, { kind: 'dropped' });
  }

  /**
   * An answer that nobody waits for any more: its slot is free, unless it is held by now, or its dispatcher is being
   * asked again, which then answers with that one.
   */
  function takeLate(name: string, late: SlotAnswer): void {
    if (late.kind === 'line') {
      lines.add(name);
      if (isOver || held) void leaveBut(null);
    } else if (late.kind === 'slot' && !askedNow.includes(name) && !isHeld(name, late.slot.lease))
      void giveBack({ ...late.slot, dispatcher: name }, { kind: 'dropped' });
  }

  /** Where a stage is asked for, in this order. */
  function namesFor({ request, regions }: Wanted, before: Over | null): readonly string[] {
    const { needs, tried, hasBegun } = request;
    const configured = servers.dispatchers(regions, needs.model, tried);
    const isFirst = !hasBegun && tried.length === 0;
    // where the job is it stays as long as that works
    const home = before?.outcome.kind === 'done' ? before.slot.dispatcher : [...lines][0];
    const first = home ?? (isFirst ? admitting : null);
    return [...new Set(first !== null && configured.includes(first) ? [first, ...configured] : configured)];
  }

  /** The answer of one dispatcher; null where it gives none in time. */
  async function askOne(name: string, question: SlotRequest): Promise<SlotAnswer | null> {
    await told.get(name);
    askedNow.push(name);
    const asked = Promise.resolve().then(() => env().DISPATCHERS.getByName(name).ask(question));
    const answered = within(ASK_MS, 'the dispatcher', asked).then((value) => slotAnswer(value, servers.isThere));
    const over = answered.finally(() => askedNow.splice(askedNow.indexOf(name), 1));
    return over.catch((error) => {
      notReached(name)(error);
      asked.then((late) => takeLate(name, late)).catch(() => undefined);
      return null;
    });
  }

  async function askAll(wanted: Wanted, before: Over | null): Promise<Asked> {
    const { regions, account } = wanted;
    const names = namesFor(wanted, before);
    const [first] = names;
    // only the first one is sure to be asked
    const released: Released | null = before && before.slot.dispatcher === first ? releasedOf(before) : null;
    if (before && !released) void giveBack(before.slot, before.outcome);
    const request = { ...wanted.request, account: await servers.tagOf(account) };
    let down: Asked | null = null;
    const up: { readonly name: string; readonly position: number; readonly etaMs: number | null }[] = [];
    let isAway = false;
    for (const name of names) {
      const answer = await askOne(name, { ...request, released: name === first ? released : null });
      if (answer?.kind === 'slot') {
        lines.delete(name);
        void leaveBut(null);
        take({ ...answer.slot, dispatcher: name });
        return { kind: 'slot' };
      }
      if (answer?.kind === 'line') lines.add(name);
      // called meanwhile, or ended
      if (held || isOver) {
        await leaveBut(null);
        return held ? { kind: 'slot' } : { kind: 'none' };
      }
      if (answer === null) isAway = true;
      else if (answer.kind === 'none')
        logLine('no_server', { job_id: job, dispatcher: name, unfit: JSON.stringify(answer.unfit) });
      else if (answer.kind === 'line') {
        const { position, etaMs, isDown } = answer;
        if (isDown) down ??= { kind: 'line', position, etaMs };
        else up.push({ name, position, etaMs });
        // what has begun goes first where it is, whatever the estimate for those who come says
        const isNear = !isDown && (request.hasBegun || (etaMs ?? SHORT_MS + 1) <= SHORT_MS);
        if (isNear || up.length === MOST_LINES) break;
      }
    }
    const best = up.toSorted((a, b) => orLongest(a.etaMs) - orLongest(b.etaMs))[0];
    if (best) {
      void leaveBut(best.name);
      return { kind: 'line', position: best.position, etaMs: best.etaMs };
    }
    if (down || !isAway) return down ?? { kind: 'none' };
    const slot = await servers.without({ ...request, regions });
    if (!slot) return { kind: 'none' };
    take({ ...slot, dispatcher: null });
    return { kind: 'slot' };
  }

  function begin(wanted: Wanted, before: Over | null): Promise<Asked> {
    hasAsked = true;
    const asked = askAll(wanted, before).finally(() => {
      if (asking === question) asking = null;
    });
    const question = asked.then(async (answer): Promise<Asked> => {
      // the job ended meanwhile
      if (isOver) await leaveBut(null);
      return held ? { kind: 'slot' } : answer;
    });
    asking = question;
    return question;
  }

  return {
    get held() {
      return held;
    },
    ask(wanted) {
      // an erased job may come again, and asks like any other
      isOver = false;
      if (held) return Promise.resolve({ kind: 'slot' });
      if (asking) return asking;
      const before = over;
      over = null;
      return begin(wanted, before);
    },
    admittedBy(dispatcher) {
      admitting = dispatcher;
    },
    turn(dispatcher, slot) {
      // a job that asked meanwhile has it already
      if (held) return isHeld(dispatcher, slot.lease);
      if (isOver || !isSlot(slot) || !servers.isThere(slot.backend)) return false;
      lines.delete(dispatcher);
      held = { ...slot, dispatcher };
      void leaveBut(null);
      return true;
    },
    done(outcome, next) {
      const slot = held;
      held = null;
      const before = slot && { slot, outcome };
      if (next && !isOver) return begin(next, before);
      if (!before) return null;
      void giveBackOver();
      over = before;
      // a stage that is tried again is asked for in this turn of the loop, or after a pause
      setTimeout(() => void giveBackOver(), 0);
      return null;
    },
    async renew({ request, account }) {
      if (!held || held.dispatcher === null) return;
      const { dispatcher, ...slot } = held;
      const running = { ...request, account: await servers.tagOf(account), released: null };
      const isOurs = await call(dispatcher, (stub) => stub.renew(running, slot)).catch(notReached(dispatcher));
      if (isOurs !== false || !isHeld(dispatcher, slot.lease)) return;
      // the stage goes on; what comes of it is told to nobody as that of this slot
      logLine('slot_lost', { job_id: job, dispatcher, backend: slot.backend });
      held = { ...slot, dispatcher: null };
    },
    async end(mayStandIn) {
      isOver = true;
      const before = held;
      held = null;
      // who has asked since it woke knows where it stands
      if (!hasAsked) for (const name of mayStandIn) lines.add(name);
      await Promise.all([before && giveBack(before, { kind: 'dropped' }), giveBackOver(), leaveBut(null)]);
    },
  };
}

const releasedOf = ({ slot: { lease, backend }, outcome }: Over): Released => ({ lease, outcome, backend });

/** A wait that nobody knows counts as the longest. */
const orLongest = (ms: number | null): number => ms ?? Number.MAX_VALUE;
