/** What a caller can ask for now, and of whom: models that stage servers have said they serve. */
import type { Context } from 'hono';
import type { Jurisdiction } from '../account/place.ts';
import { type Fleet, type FleetServer, openFleet } from '../fleet/fleet.ts';
import { modelsOf } from '../fleet/models.ts';
import { serversIn } from '../fleet/place.ts';
import { parseRegions, type Region } from '../fleet/regions.ts';
import { logLine } from '../job/log.ts';
import type { ModelFacts } from '../stage/contract.ts';
import type { AppEnv } from './env.ts';
import { Problem } from './problem.ts';

/** The fleet as this isolate knows it; what nobody waits for goes on behind the answer. */
const fleetOf = (c: Context<AppEnv>): Fleet =>
  openFleet(c.env, {
    cache: caches.default,
    clock: Date.now,
    memory: c.var.gate.fleet,
    later: (work) => c.executionCtx.waitUntil(work),
  });

/** What a caller can ask for now, and of whom. */
export interface Offer {
  /** never empty */
  readonly models: readonly ModelFacts[];
  /** those where jobs of the caller's account may run */
  readonly servers: readonly FleetServer[];
  readonly regions: readonly Region[];
}

/** Deployments call their first model by these names too: tools often have them built in. */
function withAliases([first, ...others]: readonly ModelFacts[], aliases: string): readonly ModelFacts[] {
  const names = aliases.split(',').filter((name) => name !== '');
  return first ? [{ ...first, aliases: [...first.aliases, ...names] }, ...others] : [];
}

/**
 * What the caller can ask for now. A server that has not said anything yet is waited for until `isThere` says that
 * what is wanted is among the models. Throws a 503 Problem where no stage server can be reached and none is remembered,
 * or none stands where the account's jobs have to stay.
 */
export async function offerFor(
  c: Context<AppEnv>,
  isThere: (models: readonly ModelFacts[]) => boolean = (models) => models.length > 0,
): Promise<Offer> {
  const { jurisdiction } = c.var.caller;
  const regions = parseRegions(c.env.REGIONS);
  const allowed = (all: readonly FleetServer[]): readonly FleetServer[] => serversIn(all, regions, jurisdiction);
  const modelsAt = (all: readonly FleetServer[]) => withAliases(modelsOf(allowed(all)), c.env.MODEL_ALIASES);
  const all = await fleetOf(c).servers((known) => isThere(modelsAt(known)));
  const [servers, models] = [allowed(all), modelsAt(all)];
  if (models.length > 0) return { models, servers, regions };
  logLine('no_server', {
    jurisdiction: jurisdiction ?? '',
    unfit: JSON.stringify(all.map(({ backend: { id, region }, fault }) => ({ id, region, fault }))),
  });
  if (servers.length === 0 && jurisdiction !== null) throw noRegion(jurisdiction);
  throw new Problem({
    status: 503,
    code: 'no_backend',
    detail: 'No stage server can be reached; try again shortly.',
    headers: { 'retry-after': '5' },
  });
}

/** Nothing of the account's jobs may leave the jurisdiction, so they are not begun elsewhere. */
const noRegion = (jurisdiction: Jurisdiction): Problem =>
  new Problem({
    status: 503,
    code: 'no_region',
    detail: `The jobs of this account stay in the jurisdiction "${jurisdiction}", and this deployment has no stage server there.`,
    headers: { 'x-should-retry': 'false' },
  });
