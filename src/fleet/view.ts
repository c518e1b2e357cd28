/** The fleet as operators see it, put together from what each dispatcher says. Pure. */
import type { Backend } from './backends.ts';
import { dispatcherName } from './fleet.ts';
import { mayServe } from './models.ts';
import type { Region } from './regions.ts';
import type { DispatcherView, LineView, ServerView } from './slots.ts';

/** A server in the whole fleet. `unused`: of every model that it may serve, jobs are planned for another build. */
export interface FleetServerView extends Omit<ServerView, 'state'> {
  readonly state: ServerView['state'] | 'unused';
}

/** What one dispatcher leads. */
export interface PoolView {
  readonly region: string;
  readonly pool: string;
  /** why its dispatcher did not answer; null: it did, and only then are the lines known */
  readonly fault: string | null;
  /** since when its counters count, milliseconds since 1970; null: it did not answer */
  readonly since: number | null;
  readonly servers: readonly FleetServerView[];
  readonly lines: readonly LineView[];
}

export interface FleetView {
  readonly regions: readonly Region[];
  readonly pools: readonly PoolView[];
}

/** What a dispatcher said, or why it did not. */
export type Answer = DispatcherView | { readonly fault: string };

/** Digits of a digest that are shown in a sentence. */
const SHOWN = 12;

/**
 * The fleet, pools in the order of the configuration. Where several servers have builds of their own of a model, jobs
 * are planned for the first one's; a server that has nothing else is named with both digests.
 */
export function viewFleet(
  backends: readonly Backend[],
  regions: readonly Region[],
  answers: ReadonlyMap<string, Answer>,
): FleetView {
  const pools = [...Map.groupBy(backends, dispatcherName)].map(([name, members]): PoolView => {
    const [{ region, pool }] = members as [Backend, ...Backend[]];
    const answer = answers.get(name) ?? { fault: 'it was not asked' };
    if ('fault' in answer) {
      const { fault } = answer;
      return { region, pool, fault, since: null, servers: members.map(unheard), lines: [] };
    }
    const { since, servers, lines } = answer;
    return { region, pool, fault: null, since, servers, lines };
  });
  const planned = plannedBuilds(backends, new Map(pools.flatMap(({ servers }) => servers.map((one) => [one.id, one]))));
  const named = (server: FleetServerView): FleetServerView => {
    const backend = backends.find(({ id }) => id === server.id);
    return backend ? nameBuild(server, backend, planned) : server;
  };
  return { regions, pools: pools.map((pool) => ({ ...pool, servers: pool.servers.map(named) })) };
}

/** A server of which only the configuration is known. */
const unheard = ({ id, weight, slots, cold_start_seconds }: Backend): FleetServerView => ({
  id,
  state: 'unknown',
  reason: 'its dispatcher did not answer',
  weight,
  slots,
  held: 0,
  ms_per_tflop: null,
  outstanding_tflops: 0,
  probe_at: null,
  models: [],
  said_at: null,
  said_fault: null,
  cold_start_seconds,
  stages: { done: 0, busy: 0, wrong: 0, dropped: 0 },
  openings: 0,
});

/** The build that jobs are planned for, by model, and whose it is. */
function plannedBuilds(backends: readonly Backend[], servers: ReadonlyMap<string, FleetServerView>) {
  const planned = new Map<string, { readonly digest: string; readonly of: string }>();
  for (const backend of backends)
    for (const { id, digest } of servers.get(backend.id)?.models ?? [])
      if (mayServe(backend, id) && !planned.has(id)) planned.set(id, { digest, of: backend.id });
  return planned;
}

function nameBuild(
  server: FleetServerView,
  backend: Backend,
  planned: ReadonlyMap<string, { readonly digest: string; readonly of: string }>,
): FleetServerView {
  const may = server.models.filter(({ id }) => mayServe(backend, id));
  const others = may.filter(({ id, digest }) => planned.get(id)?.digest !== digest);
  if (others.length === 0 || others.length < may.length) return server;
  const sentences = others.map(({ id, digest }) => {
    const expected = planned.get(id);
    return `${id} has the digest ${digest.slice(0, SHOWN)}…, expected is ${expected?.digest.slice(0, SHOWN)}… of ${expected?.of}`;
  });
  const isElse = server.state === 'ready' || server.state === 'full';
  const reason = [...(server.reason === null || isElse ? [] : [server.reason]), ...sentences].join('; ');
  return { ...server, state: isElse ? 'unused' : server.state, reason };
}
