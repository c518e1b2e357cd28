/** What befalls a deployment while a crowd goes on: each blow heals by itself, or at the end. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '../soak/random.ts';
import type { Deployment, FleetEntry } from './deployment.ts';
import type { TestProxy } from './proxy.ts';
import type { StandIn } from './stand-in.ts';

/** A server, what stands before it, and its entry in BACKENDS. */
export interface Place {
  readonly server: StandIn;
  readonly proxy: TestProxy;
  readonly entry: FleetEntry;
}

const BLOWS = ['kill', 'drain', 'stall', 'hole', 'refuse', 'latency', 'cut', 'kill_worker', 'configure'] as const;
export type Blow = (typeof BLOWS)[number];

/** Longest that one blow lasts. */
const LONGEST_MS = 8_000;
const PAUSE_MS = { least: 1_000, most: 14_000 } as const;

/** Blows that the Worker does not outlive. */
const OF_WORKER: readonly Blow[] = ['kill_worker', 'configure'];

export interface Struck {
  readonly deployment: Deployment;
  readonly places: readonly Place[];
  readonly random: Random;
  /** the Worker is about to be killed */
  readonly beforeKill: () => Promise<unknown>;
}

/**
 * Blows by chance until `until` (milliseconds of `performance.now`), those of the Worker until `workerUntil`; then
 * every server is well again. One server at a time has at most one blow. Resolves to how many there were of each.
 */
export async function strike(
  { deployment, places, random, beforeKill }: Struck,
  { until, workerUntil }: { readonly until: number; readonly workerUntil: number },
): Promise<Readonly<Record<Blow, number>>> {
  const counts = Object.fromEntries(BLOWS.map((blow) => [blow, 0])) as Record<Blow, number>;
  const struck = new Map<Place, Promise<void>>();

  async function strikeServer(blow: Blow, { server, proxy }: Place): Promise<void> {
    const ms = random.between(300, LONGEST_MS);
    switch (blow) {
      case 'kill':
      case 'drain':
        await (blow === 'kill' ? server.kill() : server.drain());
        await pause(ms);
        return server.restart();
      case 'stall':
        server.set({ isStalled: true });
        await pause(ms);
        return server.set({ isStalled: false });
      case 'hole':
      case 'refuse':
        await proxy.set({ kind: blow });
        break;
      case 'latency':
        await proxy.set({ kind: 'pass', latencyMs: random.between(20, 200) });
        break;
      case 'cut':
        await proxy.set({ kind: 'cut', afterBytes: random.between(0, 4_000) });
        break;
    }
    await pause(ms);
    await proxy.set({ kind: 'pass' });
  }

  async function restartWorker(): Promise<void> {
    await beforeKill();
    await deployment.kill();
    await pause(random.between(0, 2_000));
    await deployment.start();
  }

  let isWhole = true;
  /** The whole fleet again, where a blow has left another. */
  async function heal(): Promise<void> {
    if (isWhole) return;
    isWhole = true;
    deployment.configure({ fleet: places.map(({ entry }) => entry) });
    await restartWorker();
  }

  while (performance.now() < until) {
    await pause(random.between(PAUSE_MS.least, PAUSE_MS.most));
    const blow = random.pick(BLOWS);
    const doesWorkerLive = performance.now() >= workerUntil;
    if (doesWorkerLive) await heal();
    if (OF_WORKER.includes(blow)) {
      if (doesWorkerLive) continue;
      if (blow === 'configure') deployment.configure({ fleet: anotherFleet(places, random) });
      isWhole &&= blow !== 'configure';
      await restartWorker();
    } else {
      const place = random.pick(places);
      if (struck.has(place)) continue;
      struck.set(
        place,
        strikeServer(blow, place).finally(() => struck.delete(place)),
      );
    }
    counts[blow] += 1;
  }
  await Promise.all(struck.values());
  await heal();
  return counts;
}

/** The servers in another order, with other weights; one may be drained or gone, never all. */
function anotherFleet(places: readonly Place[], random: Random): FleetEntry[] {
  const left = places.map(({ entry }) => entry);
  const shuffled: FleetEntry[] = [];
  while (left.length > 0) shuffled.push(...left.splice(random.below(left.length), 1));
  const kept = shuffled.length > 1 && random.chance(0.3) ? shuffled.slice(1) : shuffled;
  return kept.map((entry, i) => ({
    ...entry,
    fields: { ...entry.fields, weight: i > 0 && random.chance(0.3) ? 0 : random.between(1, 3) },
  }));
}
