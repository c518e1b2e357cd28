/** `GET /v1/models`: OpenAI's list, each entry with the model's own facts beside. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Jurisdiction } from '../account/place.ts';
import { type Fleet, type FleetServer, openFleet } from '../fleet/fleet.ts';
import { modelsOf } from '../fleet/models.ts';
import { serversIn } from '../fleet/place.ts';
import { parseRegions, type Region } from '../fleet/regions.ts';
import { logLine } from '../job/log.ts';
import { PLAIN, type PresetFacts, presetsFor } from '../job/presets.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { modelFacts, temporalCache } from '../stage/contract.ts';
import { requireKey } from './auth.ts';
import type { AppEnv } from './env.ts';
import { speakOpenAI } from './openai/speak.ts';
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

const presetView = z
  .object({
    name: z.string(),
    N: z.array(z.int()),
    e: z.array(z.number()),
    r: z.array(z.number()),
    cache: temporalCache.nullable(),
  })
  .openapi('Preset', { description: 'a schedule by name: steps, ends and shares of its stages, and their cache' });

const modelEntry = modelFacts.extend({
  presets: z.array(presetView).openapi({ description: 'the plain run first, the default last' }),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string(),
});

const listModels = createRoute({
  method: 'get',
  path: '/v1/models',
  summary: 'Models that can be asked for',
  middleware: [speakOpenAI, requireKey] as const,
  responses: {
    200: {
      description: 'The models',
      content: { 'application/json': { schema: z.object({ object: z.literal('list'), data: z.array(modelEntry) }) } },
    },
  },
});

/** The plain run and the presets of a model; the last is what a job without a preset gets. */
const viewPresets = (facts: PresetFacts): z.infer<typeof presetView>[] => [
  { name: PLAIN, N: [facts.steps], e: [1], r: [], cache: null },
  ...presetsFor(facts).map(({ name, steps, ends, ratios, cache }) => ({
    name,
    N: [...steps],
    e: [...ends],
    r: [...ratios],
    cache,
  })),
];

export function routeModels(app: OpenAPIHono<AppEnv>): void {
  app.openapi(listModels, async (c) => {
    const { models } = await offerFor(c);
    const data = models.map((facts) => ({
      ...facts,
      presets: viewPresets(facts),
      object: 'model' as const,
      created: 0,
      owned_by: 'ralu',
    }));
    return c.json({ object: 'list' as const, data }, 200);
  });
}
