/** `GET /v1/models`: OpenAI's list, each entry with the model's own facts beside. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { fitOf } from '../fleet/fit.ts';
import { openFleet } from '../fleet/fleet.ts';
import { modelsOf } from '../fleet/models.ts';
import type { Plan } from '../job/job.ts';
import { logLine } from '../job/log.ts';
import { needsOf } from '../job/plan.ts';
import { PLAIN, type PresetFacts, presetsFor } from '../job/presets.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { modelFacts, type Queue, temporalCache } from '../stage/contract.ts';
import { requireKey } from './auth.ts';
import type { AppEnv, Env } from './env.ts';
import { speakOpenAI } from './openai/speak.ts';
import { Problem } from './problem.ts';

/** The models that can be asked for now. Throws a 503 when no stage server can be reached and none is remembered. */
export async function availableModels(env: Env): Promise<readonly ModelFacts[]> {
  const servers = await openFleet(env, caches.default, Date.now).servers();
  const models = modelsOf(servers);
  if (models.length === 0) {
    logLine('no_server', { unfit: JSON.stringify(servers.map(({ backend: { id }, fault }) => ({ id, fault }))) });
    throw new Problem({
      status: 503,
      code: 'no_backend',
      detail: 'No stage server can be reached; try again shortly.',
      headers: { 'retry-after': '5' },
    });
  }
  const [first, ...others] = models as [ModelFacts, ...ModelFacts[]];
  const names = env.MODEL_ALIASES.split(',').filter((name) => name !== '');
  return [{ ...first, aliases: [...first.aliases, ...names] }, ...others];
}

const presetView = z
  .object({
    name: z.string(),
    N: z.array(z.int()),
    e: z.array(z.number()),
    r: z.array(z.number()),
    cache: temporalCache.nullable(),
  })
  .openapi('Preset', { description: 'a schedule by name: steps, ends and shares of its stages, and their cache' });

/** The queue at the stage server that a plan's first stage would go to; null where there is none or it does not say. */
export async function queueAt(env: Env, plan: Plan): Promise<Queue | null> {
  const fleet = openFleet(env, caches.default, Date.now);
  const [best] = (await fleet.servers()).filter((server) => fitOf(server, needsOf(plan), null).fit);
  return (best && fleet.server(best.backend.id)?.queue()) ?? null;
}

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
    const models = await availableModels(c.env);
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
