/**
 * The slot a job holds at a stage server, or waits for: asked for at the dispatchers of its regions, in their order,
 * renewed while a stage runs, and given back with what came of it.
 */
import type { Released, Slot, SlotAnswer, SlotOutcome, SlotRequest } from '../src/fleet/slots.ts';
import { isSlot, slotAnswer } from '../src/fleet/told.ts';
import { logLine } from '../src/job/log.ts';
import type { DispatcherCalls, Objects, Remote } from '../src/job/rpc.ts';
import { within } from '../src/stage/time-limit.ts';
import type { Servers } from './servers.ts';

/** Longest wait for a dispatcher: then the job goes on without. */
const ASK_MS = 3_000;

/** A slot that the job holds. */
export interface HeldSlot extends Slot {
  /** that gave it; null: it was taken without one */
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
  /**
   * Asks for a slot, unless it is held or being asked for. Never rejects: where no dispatcher answers, a server is
   * chosen without.
   */
  ask(wanted: Wanted): Promise<Asked>;
  /** A dispatcher gives the job a slot. False where it has one already. */
  turn(dispatcher: string, slot: Slot): boolean;
  /**
   * The stage is over: its slot is given back, and where another follows, asked for in the same breath. Returns the
   * answer to that; null where nothing is asked for.
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

export interface SlotsEnv {
  readonly DISPATCHERS: Objects<DispatcherCalls>;
}

export function makeSlots(env: () => SlotsEnv, servers: Servers, job: string): Slots {
  let held: HeldSlot | null = null;
  let asking: Promise<Asked> | null = null;
  let isOver = false;
  let hasAsked = false;
  /** dispatchers in whose lines the job stands */
  let lines = new Set<string>();

  const call = async <T>(name: string, ask: (stub: Remote<DispatcherCalls>) => Promise<T>): Promise<T> =>
    within(ASK_MS, 'the dispatcher', ask(env().DISPATCHERS.getByName(name)));

  const notReached = (name: string) => (error: unknown) => {
    logLine('dispatcher_not_reached', { job_id: job, dispatcher: name, error: String(error) });
  };

  /** Leaves every line but this one. */
  async function leaveBut(name: string | null): Promise<void> {
    const left = [...lines].filter((other) => other !== name);
    lines = new Set(name !== null && lines.has(name) ? [name] : []);
    await Promise.all(left.map((other) => call(other, (stub) => stub.leave(job)).catch(notReached(other))));
  }

  async function giveBack({ dispatcher, lease }: HeldSlot, outcome: SlotOutcome): Promise<void> {
    if (dispatcher === null) return;
    await call(dispatcher, (stub) => stub.release(job, { lease, outcome })).catch(notReached(dispatcher));
  }

  /** A slot that was given while nobody looked: kept where there is a use for it. */
  function take(slot: HeldSlot): void {
    if (!held && !isOver) held = slot;
    else if (held?.lease !== slot.lease) void giveBack(slot, { kind: 'dropped' });
  }

  /**
   * An answer that nobody waits for any more: its slot is free, unless it is held by now. Whoever is asking now gets
   * that one again.
   */
  function takeLate(name: string, late: SlotAnswer): void {
    if (late.kind === 'line') {
      lines.add(name);
      if (isOver) void leaveBut(null);
    } else if (late.kind === 'slot' && !asking && held?.lease !== late.slot.lease)
      void giveBack({ ...late.slot, dispatcher: name }, { kind: 'dropped' });
  }

  async function askAll(
    { request: asked, account, regions }: Wanted,
    before: HeldSlot | null,
    outcome: SlotOutcome,
  ): Promise<Asked> {
    const request = { ...asked, account: await servers.tagOf(account) };
    const configured = servers.dispatchers(regions, request.needs.model, request.tried);
    // where the job is it stays as long as that works
    const home = before?.dispatcher ?? null;
    const names = new Set(home !== null && configured.includes(home) ? [home, ...configured] : configured);
    const released = (name: string): Released | null =>
      before && name === home ? { lease: before.lease, outcome } : null;
    if (before && home !== null && !names.has(home)) void giveBack(before, outcome);
    let waits: Asked | null = null;
    let isAway = false;
    for (const name of names) {
      const question = { ...request, released: released(name) };
      const asked = Promise.resolve().then(() => env().DISPATCHERS.getByName(name).ask(question));
      const told = within(ASK_MS, 'the dispatcher', asked).then((value) => slotAnswer(value, servers.isThere));
      const answer = await told.catch((error) => {
        notReached(name)(error);
        asked.then((late) => takeLate(name, late)).catch(() => undefined);
        return null;
      });
      if (answer === null) isAway = true;
      else if (answer.kind === 'slot') {
        lines.delete(name);
        void leaveBut(null);
        take({ ...answer.slot, dispatcher: name });
        return { kind: 'slot' };
      } else if (answer.kind === 'line') {
        lines.add(name);
        waits ??= { kind: 'line', position: answer.position, etaMs: answer.etaMs };
        // the servers there are well: it is waited for one of them
        if (!answer.isDown) {
          void leaveBut(name);
          return { kind: 'line', position: answer.position, etaMs: answer.etaMs };
        }
      } else if (answer.kind === 'none')
        logLine('no_server', { job_id: job, dispatcher: name, unfit: JSON.stringify(answer.unfit) });
    }
    if (waits || !isAway) return waits ?? { kind: 'none' };
    const slot = await servers.without({ ...request, regions });
    if (!slot) return { kind: 'none' };
    take({ ...slot, dispatcher: null });
    return { kind: 'slot' };
  }

  function begin(wanted: Wanted, before: HeldSlot | null, outcome: SlotOutcome): Promise<Asked> {
    hasAsked = true;
    const asked = askAll(wanted, before, outcome).finally(() => {
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
      return asking ?? begin(wanted, null, { kind: 'dropped' });
    },
    turn(dispatcher, slot) {
      // a job that asked meanwhile has it already
      if (held) return held.dispatcher === dispatcher && held.lease === slot.lease;
      if (isOver || !isSlot(slot) || !servers.isThere(slot.backend)) return false;
      lines.delete(dispatcher);
      held = { ...slot, dispatcher };
      void leaveBut(null);
      return true;
    },
    done(outcome, next) {
      const before = held;
      held = null;
      if (next && !isOver) return begin(next, before, outcome);
      if (before) void giveBack(before, outcome);
      return null;
    },
    async renew({ request, account }) {
      if (!held || held.dispatcher === null) return;
      const { dispatcher, ...slot } = held;
      const running = { ...request, account: await servers.tagOf(account), released: null };
      await call(dispatcher, (stub) => stub.renew(running, slot)).catch(notReached(dispatcher));
    },
    async end(mayStandIn) {
      isOver = true;
      const before = held;
      held = null;
      // who has asked since it woke knows where it stands
      if (!hasAsked) for (const name of mayStandIn) lines.add(name);
      await Promise.all([before && giveBack(before, { kind: 'dropped' }), leaveBut(null)]);
    },
  };
}
