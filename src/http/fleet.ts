/** The fleet for operators: as JSON with reasons, and as metrics for Prometheus. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { parseBackends } from '../fleet/backends.ts';
import { dispatcherName } from '../fleet/fleet.ts';
import { metricsText } from '../fleet/metrics.ts';
import { parseRegions } from '../fleet/regions.ts';
import { dispatcherView } from '../fleet/told.ts';
import { type Answer, type FleetServerView, type FleetView, viewFleet } from '../fleet/view.ts';
import { askDispatchers } from '../job/ask-dispatchers.ts';
import { byAdmin, json, secondsOrNull } from './accounts/wire.ts';
import { requireMetrics } from './auth.ts';
import type { AppEnv, Env } from './env.ts';

/** Longest wait for a dispatcher: one that is silent is named, and the others are shown. */
const DISPATCHER_MS = 2_000;

const unixSeconds = z.int().nullable();
const serverView = z
  .object({
    id: z.string(),
    state: z.enum(['ready', 'full', 'probing', 'out', 'draining', 'unknown', 'unused']),
    reason: z
      .string()
      .nullable()
      .openapi({ description: 'why it is not ready, or what its last stage came to; null: nothing is wrong' }),
    weight: z.number(),
    slots: z.int(),
    slots_held: z.int(),
    ms_per_tflop: z.number().nullable().openapi({ description: 'null: not measured of late' }),
    outstanding_tflops: z.number(),
    probe_at: unixSeconds.openapi({ description: 'when one that is out gets a stage again' }),
    models: z.array(z.object({ id: z.string(), digest: z.string() })),
    said_at: unixSeconds.openapi({ description: 'when it last said which models it has' }),
    said_fault: z.string().nullable().openapi({ description: 'why it could not be asked the last time' }),
    cold_start_seconds: z.number().nullable(),
    stages: z.object({ done: z.int(), busy: z.int(), wrong: z.int(), dropped: z.int() }),
    openings: z.int().openapi({ description: 'how often it was put out' }),
  })
  .openapi('FleetServer');
const fleetView = z
  .object({
    object: z.literal('fleet'),
    regions: z.array(
      z.object({
        id: z.string(),
        latitude: z.number(),
        longitude: z.number(),
        hint: z.string().nullable(),
        jurisdiction: z.string().nullable(),
      }),
    ),
    pools: z.array(
      z.object({
        region: z.string(),
        pool: z.string(),
        fault: z.string().nullable().openapi({ description: 'why its dispatcher did not answer' }),
        counting_since: unixSeconds.openapi({ description: 'since when stages and openings are counted' }),
        servers: z.array(serverView),
        lines: z.array(
          z.object({
            model: z.string(),
            waiting_jobs: z.int(),
            waiting_tflops: z.number(),
            accounts: z.int(),
            oldest_seconds: z.number(),
            expected_wait_seconds: z.number().nullable(),
          }),
        ),
      }),
    ),
  })
  .openapi('Fleet');

const showFleet = createRoute({
  method: 'get',
  path: '/v1/fleet',
  summary: 'Stage servers with their states and reasons, and what waits for them (admin)',
  middleware: byAdmin,
  responses: { 200: json(fleetView, 'The fleet') },
});
const showMetrics = createRoute({
  method: 'get',
  path: '/v1/fleet/metrics',
  summary: 'The same as metrics for Prometheus (METRICS_TOKEN or the admin key)',
  middleware: [requireMetrics],
  responses: {
    200: { description: 'Text format 0.0.4', content: { 'text/plain': { schema: z.string() } } },
  },
});

export function routeFleet(app: OpenAPIHono<AppEnv>): void {
  app.openapi(showFleet, async (c) => {
    const { regions, pools } = await readFleet(c.env);
    const shown = pools.map(({ region, pool, fault, since, servers, lines }) => ({
      region,
      pool,
      fault,
      counting_since: secondsOrNull(since),
      servers: servers.map(showServer),
      lines: lines.map(({ model, waiting, waiting_tflops, accounts, oldest_ms, expected_wait_ms }) => ({
        model,
        waiting_jobs: waiting,
        waiting_tflops,
        accounts,
        oldest_seconds: oldest_ms / 1000,
        expected_wait_seconds: expected_wait_ms === null ? null : expected_wait_ms / 1000,
      })),
    }));
    return c.json({ object: 'fleet' as const, regions: [...regions], pools: shown }, 200);
  });
  app.openapi(showMetrics, async (c) =>
    c.text(metricsText(await readFleet(c.env)), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
}

/** Asks every dispatcher side by side. Throws where the configuration is wrong. */
async function readFleet(env: Env): Promise<FleetView> {
  const backends = parseBackends(env.BACKENDS);
  const regions = parseRegions(env.REGIONS);
  const names = [...new Set(backends.map(dispatcherName))];
  const answers = await askDispatchers(env, names, { regions, limitMs: DISPATCHER_MS }, (one) =>
    one.demand().then(dispatcherView),
  );
  const said = [...answers].map(([name, answer]): readonly [string, Answer] => [
    name,
    answer instanceof Error ? { fault: `its dispatcher did not answer: ${answer.message}` } : answer,
  ]);
  return viewFleet(backends, regions, new Map(said));
}

function showServer({ held, probe_at, said_at, ms_per_tflop, models, ...server }: FleetServerView) {
  return {
    ...server,
    slots_held: held,
    // a server that has only wasted time has no pace
    ms_per_tflop: ms_per_tflop !== null && Number.isFinite(ms_per_tflop) ? ms_per_tflop : null,
    models: models.map(({ id, digest }) => ({ id, digest })),
    probe_at: secondsOrNull(probe_at),
    said_at: secondsOrNull(said_at),
  };
}
