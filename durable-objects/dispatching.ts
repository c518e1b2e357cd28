/** A job and its dispatchers: asking for slots in the regions it may use, in their order, and giving them back. */
import type { Released, Slot, SlotOutcome, SlotRequest } from '../src/fleet/slots.ts';
import { logLine } from '../src/job/log.ts';
import type { DispatcherCalls, Objects } from '../src/job/rpc.ts';
import { within } from '../src/stage/time-limit.ts';
import type { Servers } from './servers.ts';

/** Longest wait for a dispatcher: then the job goes on without. */
const ASK_MS = 3_000;

/** A slot that the job holds. */
export interface HeldSlot extends Slot {
  /** that gave it; null: it was taken without one */
  readonly dispatcher: string | null;
}

/** A slot that is to be given back with the next question. */
export interface GivenBack {
  readonly slot: HeldSlot;
  readonly outcome: SlotOutcome;
}

/** What came of a question: a slot, a place in a line, or neither for now. */
export type Asked =
  | { readonly kind: 'slot'; readonly slot: HeldSlot }
  | { readonly kind: 'line'; readonly position: number; readonly etaMs: number | null }
  | { readonly kind: 'none' };

export interface Dispatching {
  /** Asks for a slot. Never rejects: where no dispatcher answers, a server is chosen without. */
  ask(request: Omit<SlotRequest, 'released'>, regions: readonly string[], back: GivenBack | null): Promise<Asked>;
  /** The job is alive. */
  renew(slot: HeldSlot): Promise<void>;
  /** The slot is free. Never rejects: a slot that is not given back ends with its lease. */
  release(back: GivenBack): Promise<void>;
  /** The job waits for nothing any more. Never rejects. */
  leave(): Promise<void>;
}

export interface DispatchingEnv {
  readonly DISPATCHERS: Objects<DispatcherCalls>;
}

export function makeDispatching(env: () => DispatchingEnv, servers: Servers, job: string): Dispatching {
  /** dispatchers in whose lines the job stands */
  let lines = new Set<string>();
  const call = <T>(name: string, ask: (stub: ReturnType<DispatchingEnv['DISPATCHERS']['getByName']>) => Promise<T>) =>
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

  async function release({ slot, outcome }: GivenBack): Promise<void> {
    const { dispatcher, lease } = slot;
    if (dispatcher === null) return;
    await call(dispatcher, (stub) => stub.release(job, { lease, outcome })).catch(notReached(dispatcher));
  }

  return {
    async ask(request, regions, back) {
      const configured = servers.dispatchers(regions, request.needs.model);
      // where the job is it stays as long as that works
      const home = back?.slot.dispatcher ?? null;
      const names = home !== null && configured.includes(home) ? [home, ...configured] : configured;
      const released = (name: string): Released | null =>
        back && name === home ? { lease: back.slot.lease, outcome: back.outcome } : null;
      if (back && !names.includes(home ?? '')) void release(back);
      let waits: Extract<Asked, { kind: 'line' }> | null = null;
      let isAway = false;
      for (const name of new Set(names)) {
        const answer = await call(name, (stub) => stub.ask({ ...request, released: released(name) })).catch((error) => {
          notReached(name)(error);
          return null;
        });
        if (answer === null) isAway = true;
        else if (answer.kind === 'slot') {
          lines.delete(name);
          void leaveBut(null);
          return { kind: 'slot', slot: { ...answer.slot, dispatcher: name } };
        } else if (answer.kind === 'line') {
          lines.add(name);
          const { position, etaMs } = answer;
          waits ??= { kind: 'line', position, etaMs };
          if (!answer.isDown) {
            void leaveBut(name);
            return { kind: 'line', position, etaMs };
          }
        } else if (answer.kind === 'none')
          logLine('no_server', { job_id: job, dispatcher: name, unfit: JSON.stringify(answer.unfit) });
      }
      if (waits) return waits;
      if (!isAway) return { kind: 'none' };
      const slot = await servers.without({ ...request, regions });
      return slot ? { kind: 'slot', slot: { ...slot, dispatcher: null } } : { kind: 'none' };
    },
    async renew({ dispatcher, lease }) {
      if (dispatcher !== null) await call(dispatcher, (stub) => stub.renew(job, lease)).catch(notReached(dispatcher));
    },
    release,
    leave: () => leaveBut(null),
  };
}
