/** One history: operations by chance on an account whose platform fails by chance, and the laws after each. */
import { DEFAULT_LIMITS } from '../../src/account/account.ts';
import type { DispatcherView } from '../../src/fleet/slots.ts';
import type { FitMemo } from '../../src/job/plan.ts';
import { chargesOf, checkJob, checkLedger, checkTold, readStoredJob, Violation } from './laws.ts';
import type { Product } from './objects.ts';
import { begin, drawOperation, requestAtRest, type Scene, TARIFFS } from './operations.ts';
import type { Random } from './random.ts';
import { checkFree, checkServed, checkSlots } from './slot-laws.ts';
import { makeWorld, type World } from './world.ts';

export interface History {
  readonly seed: number;
  /** what was done, one line each */
  readonly operations: readonly string[];
  readonly kills: number;
  readonly checks: number;
  /** jobs that were done */
  readonly done: number;
  /** the law that did not hold, and after how many operations; null: all held */
  readonly violation: { readonly message: string; readonly after: number } | null;
}

/** Longest time until every job has ended once nothing fails any more. */
const REST_MS = 3 * 3_600_000;
const MAX_OPERATIONS = 20;

/** The history of a seed, or its first `most` operations and what follows. Law: the same seed, the same history. */
export async function runHistory(
  seed: number,
  product: Product,
  memo: FitMemo,
  most = Number.POSITIVE_INFINITY,
): Promise<History> {
  const world = makeWorld(seed, product);
  const { random, time } = world;
  const operations: string[] = [];
  const number = Math.min(most, random.between(5, MAX_OPERATIONS));
  const scene: Scene = { world, product, memo, tariff: TARIFFS[0] ?? null, requests: 0, postings: 0, named: [] };
  const isBroken = (): boolean => world.violation !== null;
  try {
    begin(scene, DEFAULT_LIMITS);
    await time.run(time.now() + 100);
    world.faults.begin();
    for (let i = 0; i < number && !isBroken(); i++) {
      const said = await drawOperation(random)(scene, random);
      operations.push(`${new Date(time.now()).toISOString()} ${said ?? 'nothing'}`);
      await time.run(time.now() + pauseBetween(random), isBroken);
      look(world, () => checkLedger(world.account.db, world.quoted));
      lookAtDesks(world, checkSlots);
    }
    if (!isBroken()) await rest(scene);
  } finally {
    world.close();
  }
  const { violation, checks, faults, done } = world;
  return {
    seed,
    operations,
    kills: faults.kills,
    checks,
    done,
    violation: violation && { message: violation.message, after: operations.length },
  };
}

/** Time from one operation to the next: mostly within the same job, sometimes until all have ended. */
function pauseBetween(random: Random): number {
  const draw = random.next();
  if (draw < 0.6) return random.between(0, 1_500);
  if (draw < 0.85) return random.between(1_500, 30_000);
  if (draw < 0.95) return random.between(60_000, 400_000);
  return random.between(600_000, 4 * 3_600_000);
}

function look(world: World, work: () => void): void {
  if (world.violation) return;
  world.checks++;
  try {
    work();
  } catch (error) {
    world.violation = error instanceof Violation ? error : new Violation('a law can be read', String(error));
  }
}

/** Looks at what every dispatcher says, as soon as it has said it. */
function lookAtDesks(world: World, law: (view: DispatcherView, killedAt: number | null, now: number) => void): void {
  const { platform } = world;
  const message = { space: 'DISPATCHERS', method: 'demand', args: [], answer: null } as const;
  for (const host of platform.hosts('DISPATCHERS'))
    platform.repeat({ ...message, name: host.name }).then(
      (view) => look(world, () => law(view as DispatcherView, host.killedAt(), world.time.now())),
      // it was killed meanwhile
      () => undefined,
    );
}

/** Nothing fails any more: everything comes to rest, and then the laws of rest hold. */
async function rest(scene: Scene): Promise<void> {
  const { world } = scene;
  const { time, account, platform } = world;
  world.heal();
  const healedAt = time.now();
  const countOpen = (): number =>
    Number((account.db.prepare("SELECT COUNT(*) AS n FROM job WHERE status = 'open'").get() as { n: number }).n);
  const until = time.now() + REST_MS;
  // a job that is late still comes, and is told that it is gone
  await time.run(time.now() + 10 * 60_000, () => world.violation !== null);
  lookAtDesks(world, checkSlots);
  await time.run(until, () => world.violation !== null || countOpen() === 0);
  world.calm();
  const calmAt = time.now();
  requestAtRest(scene);
  await time.run(time.now() + 5_000, () => world.violation !== null);
  lookAtDesks(world, checkSlots);
  await time.run(until, () => world.violation !== null || countOpen() === 0);
  // a lease that nobody renews is over after half a minute
  await time.run(time.now() + 60_000, () => world.violation !== null);
  lookAtDesks(world, checkFree);
  // an event that was not taken waits for an hour at most
  await time.run(time.now() + 75 * 60_000, () => world.violation !== null);
  look(world, () => checkLedger(account.db, world.quoted));
  look(world, () => {
    if (countOpen() > 0) throw new Violation('at rest no job is open', String(countOpen()));
    const charges = new Map(chargesOf(account.db).map((row) => [row.job, row]));
    const unresolved = [...charges.values()].filter(({ captured }) => captured === null);
    if (unresolved.length > 0) throw new Violation('at rest nothing is held', JSON.stringify(unresolved));
    for (const id of world.computed) checkTold(id, charges.get(id), world.events.get(id));
    for (const host of platform.hosts('JOBS')) {
      const stored = readStoredJob(host.db);
      const charge = charges.get(host.name);
      if (!world.computed.has(host.name) && (charge?.captured ?? 0) > 0 && stored?.room !== 'done')
        throw new Violation('what no server was asked for costs nothing', host.name);
      if (stored) checkServed(host.name, stored, { healedAt, calmAt });
      if (stored)
        checkJob(host.name, stored, charge, {
          told: world.stage.textTokens(host.name),
          steps: (stage) => world.stage.computed(host.name, stage).steps,
        });
    }
  });
}

/** The fewest first operations of a history that show its violation. */
export async function shortestPrefix(
  seed: number,
  product: Product,
  memo: FitMemo,
  { operations }: History,
): Promise<History | null> {
  for (let most = 0; most <= operations.length; most++) {
    const history = await runHistory(seed, product, memo, most);
    if (history.violation) return history;
  }
  return null;
}
