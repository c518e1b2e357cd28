/**
 * A stand-in stage server as a process of its own: the product's server with a model in closed form, which counts what
 * comes to it. Options are JSON in the first argument. It is told to change, and tells what it counted, by messages of
 * its parent; it ends with its parent, and drains on SIGTERM.
 */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { createStageServer } from '../../containers/onnx/app.ts';
import { listen } from '../../containers/onnx/listen.ts';
import { CONTRACT_VERSION, type StageProblem } from '../../src/stage/contract.ts';
import { decodeMessage } from '../../src/stage/safetensors.ts';
import type { Counted, CountedStage, StandInOptions, ToChild } from './stand-in.ts';
import { standInModel } from './stand-in-model.ts';

const DRAIN_MS = 10_000;
const FLUSH_MS = 500;

const options = JSON.parse(process.argv[2] as string) as Required<StandInOptions>;
const pace = { stepMs: options.stepMs, isStalled: false };
const stages = new Map<string, CountedStage>();
const sums = { requests: 0, bytes: 0, busy: 0, refused: 0, deletes: 0, healthAsked: 0, modelsAsked: 0 };

const stageOf = (id: string): CountedStage => {
  const known = stages.get(id);
  if (known) return known;
  const made = { id, requests: 0, busy: 0, deletes: 0, readers: 0, outcomes: [], orphans: 0, firstAt: 0, endedAt: 0 };
  stages.set(id, made);
  return made;
};

const server = createStageServer({
  models: [standInModel({ digest: options.digest, engine: options.engine, pace })],
  token: options.token,
  options: {
    queue: options.queue,
    orphanMs: options.orphanMs,
    drainMs: DRAIN_MS,
    log: (entry) => {
      if (entry.event !== 'stage') return;
      const stage = stageOf(String(entry.id));
      stage.endedAt = Date.now();
      stage.outcomes.push(String(entry.outcome));
      if (entry.outcome === 'done' && stage.readers === 0) stage.orphans += 1;
    },
  },
});

async function take(request: Request, env: HttpBindings): Promise<Response> {
  const { pathname } = new URL(request.url);
  const id = pathname.startsWith('/v1/stages/') ? pathname.slice('/v1/stages/'.length) : null;
  if (pathname === '/healthz') sums.healthAsked += 1;
  if (pathname === '/v1/models') {
    sums.modelsAsked += 1;
    return asVersion(await server.app.fetch(request, env));
  }
  // a look at a stage is no request for one, and no server of an older contract is asked for it
  if (id === null || request.method === 'GET') return server.app.fetch(request, env);
  const stage = stageOf(id);
  if (request.method === 'DELETE') {
    sums.deletes += 1;
    stage.deletes += 1;
    return server.app.fetch(request, env);
  }
  sums.requests += 1;
  sums.bytes += Number(request.headers.get('content-length') ?? 0);
  stage.requests += 1;
  stage.firstAt ||= Date.now();
  const response = await takeStage(request, env);
  const { outgoing } = env;
  if (response.status === 200) {
    if (outgoing.closed) return response;
    stage.readers += 1;
    // its reader has gone, or has all of it
    outgoing.once('close', () => {
      stage.readers -= 1;
    });
  } else if (response.status === 503) {
    sums.busy += 1;
    stage.busy += 1;
  } else {
    sums.refused += 1;
  }
  return response;
}

/** Features that came after the version it speaks. */
const laterFeatures = (): readonly string[] => [
  ...(options.contract < 3 ? ['cache.taylor_blocks'] : []),
  ...(options.contract < 4 ? ['late_preview'] : []),
  ...(options.contract < 5 ? ['enlarge'] : []),
  ...(options.contract < 6 ? ['thumbnail'] : []),
];

/** A stage as a server of this version takes it: one of an older contract refuses what came later. */
async function takeStage(request: Request, env: HttpBindings): Promise<Response> {
  if (options.contract === CONTRACT_VERSION) return server.app.fetch(request, env);
  const body = await buffer(env.incoming);
  const { metadata } = decodeMessage(body);
  const cache = JSON.parse(metadata.cache ?? 'null') as { kind: string } | null;
  const later = [
    ...laterFeatures().filter((feature) => feature in metadata),
    ...(options.contract === 2 && cache?.kind === 'taylor_blocks' ? ['cache.kind'] : []),
  ];
  const [field] = later;
  if (field !== undefined) {
    const message = `metadata ${field}: unknown to version ${options.contract}`;
    return Response.json({ code: 'bad_metadata', message, field } satisfies StageProblem, { status: 400 });
  }
  // the app reads a request from its connection, and this one has been read
  const incoming = Object.assign(Readable.from([body]), { headers: env.incoming.headers }) as IncomingMessage;
  return server.app.fetch(request, { ...env, incoming });
}

/** What the server says of itself, as one of an older contract would: fields and features that came later are gone. */
async function asVersion(response: Response): Promise<Response> {
  if (options.contract === CONTRACT_VERSION || !response.ok) return response;
  const { contract, models } = (await response.json()) as {
    contract: { features: string[] };
    models: Record<string, unknown>[];
  };
  const later = laterFeatures();
  const features = contract.features.filter((feature) => !later.includes(feature));
  if (options.contract !== 2) return Response.json({ contract: { version: options.contract, features }, models });
  return Response.json({
    contract: { version: 2, features },
    models: models.map(({ family: _, size_rule: __, upsampling: ___, caches: ____, ...facts }) => facts),
  });
}

const counting = new Hono<{ Bindings: HttpBindings }>().all('*', (c) => take(c.req.raw, c.env));
const listening = await listen(counting, { host: '127.0.0.1', port: options.port });
await server.ready;

process.on('message', (message: ToChild) => {
  if ('pace' in message) Object.assign(pace, message.pace);
  else process.send?.({ asked: message.ask, counted: { ...sums, stages: [...stages.values()] } satisfies Counted });
});
process.on('disconnect', () => process.exit(0));
process.on('SIGTERM', async () => {
  await server.close();
  await listening.close(FLUSH_MS);
  process.exit(0);
});
process.send?.({ ready: listening.url });
