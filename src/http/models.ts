/**
 * `GET /v1/models`: OpenAI's list, each entry with the model's own facts beside; aliases are entries too. The list is a
 * page of Replicate's as well, because its clients ask for it at the same address.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { viewModel as viewReplicateModel } from '../doors/replicate-model.ts';
import { resolveModel } from '../fleet/models.ts';
import { PLAIN, type PresetFacts, presetsFor } from '../job/presets.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { modelFacts, temporalCache } from '../stage/contract.ts';
import type { AppEnv } from './env.ts';
import { noModel } from './no-model.ts';
import { offerFor } from './offer.ts';
import { AZURE, type Door, OPENAI } from './openai/speak.ts';
import { publicBase } from './public-address.ts';
import { inputSchemas } from './replicate/input-schemas.ts';
import { modelPage } from './replicate/views.ts';

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

const modelList = z.object({ object: z.literal('list'), data: z.array(modelEntry) });

const listRoute = <P extends string, S extends z.ZodType>(path: P, { speaks }: Door, schema: S) =>
  createRoute({
    method: 'get',
    path,
    summary: 'Models that can be asked for, then the other names that they go by',
    middleware: speaks,
    responses: { 200: { description: 'The models', content: { 'application/json': { schema } } } },
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

/** The models, then each other name that one of them goes by. */
function viewModels(models: readonly ModelFacts[]): z.infer<typeof modelList> {
  const named = models.flatMap((facts) => facts.aliases.map((alias) => ({ facts, alias })));
  // a name that two models go by means one of them
  const aliases = named.filter(({ facts, alias }) => alias !== facts.id && resolveModel(models, alias) === facts);
  const data = [
    ...models.map((facts) => viewModel(facts)),
    ...aliases.map(({ facts, alias }) => viewModel(facts, alias)),
  ];
  return { object: 'list', data };
}

/** Whose the models are in Replicate's list; an address under any other owner leads to the same. */
const OWNER = 'ralu';

export function routeModels(app: OpenAPIHono<AppEnv>): void {
  const schemas = inputSchemas();
  const one = async (c: Context<AppEnv>, id: string): Promise<ModelEntry> => {
    const { models } = await offerFor(c, (known) => resolveModel(known, id) !== null);
    return findModel(models, id);
  };

  app.openapi(listRoute('/v1/models', OPENAI, modelList.extend(modelPage.shape)), async (c) => {
    const { models } = await offerFor(c);
    const origin = publicBase(c.env, c.req.url);
    const results = models.map((facts) => viewReplicateModel(facts, schemas(), { owner: OWNER, origin }));
    return c.json({ ...viewModels(models), previous: null, next: null, results }, 200);
  });
  app.openapi(listRoute('/openai/v1/models', AZURE, modelList), async (c) =>
    c.json(viewModels((await offerFor(c)).models), 200),
  );
  app.openapi(oneRoute('/v1/models', OPENAI), async (c) => c.json(await one(c, c.req.valid('param').id), 200));
  app.openapi(oneRoute('/openai/v1/models', AZURE), async (c) => c.json(await one(c, c.req.valid('param').id), 200));
}
