/**
 * What an autoscaler is told of a pool: how much work waits there, as one CloudEvents 1.0 event. Pure.
 * Source: https://cloudevents.io
 */
import type { DispatcherView } from './slots.ts';

/** Work that waits, TFLOPs by model; a model of which none waits is not in it. */
export type WaitingWork = ReadonlyMap<string, number>;

/** What was told last, and when, milliseconds since 1970. */
export interface Told {
  readonly at: number;
  readonly work: readonly (readonly [model: string, tflops: number])[];
}

/** Nothing is told sooner than so long after the last time. */
const PAUSE_MS = 10_000;
/** A change by less than this share of what was told is none. */
const SHARE = 0.25;

/**
 * When the work that waits is to be told: work begins to wait, or ends, or has changed by more than a quarter since it
 * was told. Null: nothing is new. A clock that has stepped back delays nothing.
 */
export function whenToTell(told: Told | null, waiting: WaitingWork, now: number): number | null {
  const before = new Map(told?.work);
  const models = new Set([...before.keys(), ...waiting.keys()]);
  const isNew = [...models].some((model) => {
    const [was, is] = [before.get(model), waiting.get(model)];
    return was === undefined || is === undefined || Math.abs(is - was) > was * SHARE;
  });
  if (!isNew) return null;
  return told === null || told.at > now ? now : Math.max(now, told.at + PAUSE_MS);
}

/** The event in CloudEvents' structured mode. */
export interface DemandEvent {
  readonly specversion: '1.0';
  readonly id: string;
  readonly type: 'ralu.fleet.demand';
  /** the service's address, or `ralu` */
  readonly source: string;
  /** the dispatcher: `region/pool` */
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: {
    readonly region: string;
    readonly pool: string;
    /** servers that take stages, those that have all their slots held too */
    readonly servers_up: number;
    /** slots of these, and those of them that are held */
    readonly slots: number;
    readonly slots_held: number;
    /** what waits; empty: nothing does */
    readonly models: readonly {
      readonly model: string;
      readonly waiting_jobs: number;
      readonly waiting_tflops: number;
      readonly oldest_ms: number;
      readonly expected_wait_ms: number | null;
    }[];
  };
}

/** The event of what a dispatcher sees `now`. */
export function demandEvent(
  { servers, lines }: DispatcherView,
  { dispatcher, id, publicUrl, now }: { dispatcher: string; id: string; publicUrl: string; now: number },
): DemandEvent {
  const slash = dispatcher.lastIndexOf('/');
  const up = servers.filter(({ state }) => state === 'ready' || state === 'full');
  return {
    specversion: '1.0',
    id,
    type: 'ralu.fleet.demand',
    source: publicUrl || 'ralu',
    subject: dispatcher,
    time: new Date(now).toISOString(),
    datacontenttype: 'application/json',
    data: {
      region: dispatcher.slice(0, slash),
      pool: dispatcher.slice(slash + 1),
      servers_up: up.length,
      slots: up.reduce((sum, { slots }) => sum + slots, 0),
      slots_held: up.reduce((sum, { held }) => sum + held, 0),
      models: lines.map(({ model, waiting, waiting_tflops, oldest_ms, expected_wait_ms }) => ({
        model,
        waiting_jobs: waiting,
        waiting_tflops,
        oldest_ms,
        expected_wait_ms,
      })),
    },
  };
}
