/** `GET /v1/models`: OpenAI's list, each entry with the model's own facts beside; aliases are entries too. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Jurisdiction } from '../account/place.ts';
import { type Fleet, type FleetServer, openFleet } from '../fleet/fleet.ts';
import { modelsOf, resolveModel } from '../fleet/models.ts';
import { serversIn } from '../fleet/place.ts';
import { parseRegions, type Region } from '../fleet/regions.ts';
import { logLine } from '../job/log.ts';
import { PLAIN, type PresetFacts, presetsFor } from '../job/presets.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { modelFacts, temporalCache } from '../stage/contract.ts';
import type { AppEnv } from './env.ts';
import { noModel } from './no-model.ts';
import { AZURE, type Door, OPENAI } from './openai/speak.ts';
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

const modelEntry = modelFacts
  .extend({
    presets: z.array(presetView).openapi({ description: 'the plain run first, the default last' }),
    object: z.literal('model'),
    created: z.int(),
    owned_by: z.string(),
    alias_of: z.string().nullable().openapi({ description: 'for another name of a model: its id' }),
  })
  .openapi('Model');
type ModelEntry = z.infer<typeof modelEntry>;

const listRoute = <P extends string>(path: P, { speaks }: Door) =>
  createRoute({
    method: 'get',
    path,
    summary: 'Models that can be asked for, then the other names that they go by',
    middleware: speaks,
    responses: {
      200: {
        description: 'The models',
        content: { 'application/json': { schema: z.object({ object: z.literal('list'), data: z.array(modelEntry) }) } },
      },
    },
  });
const oneRoute = <P extends string>(path: P, { speaks }: Door) =>
  createRoute({
    method: 'get',
    path: `${path}/{id}` as const,
    summary: 'A model by its id or another name',
    middleware: speaks,
    request: { params: z.object({ id: z.string() }) },
    responses: {
      200: { description: 'The model', content: { 'application/json': { schema: modelEntry } } },
      404: { description: 'There is no such model' },
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

const viewModel = (facts: ModelFacts, alias: string | null = null): ModelEntry => ({
  ...facts,
  id: alias ?? facts.id,
  presets: viewPresets(facts),
  object: 'model',
  created: 0,
  owned_by: 'ralu',
  alias_of: alias === null ? null : facts.id,
});

/** A model named once, under the name that a request for it would use. */
function findModel(models: readonly ModelFacts[], name: string): ModelEntry {
  const facts = resolveModel(models, name);
  if (facts) return viewModel(facts, facts.id === name ? null : name);
  throw noModel(name, models);
}

export function routeModels(app: OpenAPIHono<AppEnv>): void {
  for (const { path, door } of [
    { path: '/v1/models', door: OPENAI },
    { path: '/openai/v1/models', door: AZURE },
  ]) {
    app.openapi(listRoute(path, door), async (c) => {
      const { models } = await offerFor(c);
      const named = models.flatMap((facts) => facts.aliases.map((alias) => ({ facts, alias })));
      // a name that two models go by means one of them
      const aliases = named.filter(({ facts, alias }) => alias !== facts.id && resolveModel(models, alias) === facts);
      const data = [
        ...models.map((facts) => viewModel(facts)),
        ...aliases.map(({ facts, alias }) => viewModel(facts, alias)),
      ];
      return c.json({ object: 'list' as const, data }, 200);
    });
    app.openapi(oneRoute(path, door), async (c) => {
      const { id } = c.req.valid('param');
      const { models } = await offerFor(c, (known) => resolveModel(known, id) !== null);
      return c.json(findModel(models, id), 200);
    });
  }
}
