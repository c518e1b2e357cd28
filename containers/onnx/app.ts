/**
 * The stage server's routes. What a stage is and does is in stages.ts and run-stage.ts; here are only HTTP's sides of
 * it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { OutgoingHttpHeaders } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono, type Context as HonoContext } from 'hono';
import {
  CONTRACT_VERSION,
  MAX_MESSAGE_BYTES,
  type ModelList,
  SIZE_HEADER,
  STEP_HEADER,
  type StageProblem,
} from '../../src/stage/contract.ts';
import { type BodyLimits, createBodies } from './body.ts';
import { type Log, logToStderr } from './log.ts';
import { createMetrics } from './metrics.ts';
import type { Model } from './model.ts';
import packageJson from './package.json' with { type: 'json' };
import { createStages, type RunningStage, type StageLimits, type Stages } from './stages.ts';
import { THUMBNAIL_FORMAT } from './thumbnail.ts';
import { parseStage, SUPPORTED } from './validate.ts';

export interface StageServerOptions extends StageLimits {
  /** how long a running stage may go on after `close` */
  readonly drainMs: number;
  readonly bodies: BodyLimits;
  readonly log: Log;
}

export const DEFAULT_OPTIONS: StageServerOptions = {
  queue: 16,
  keepMs: 10 * 60_000,
  keepBytes: 256 * 1024 * 1024,
  orphanMs: 30_000,
  aliveMs: 10_000,
  texts: 64,
  drainMs: 30_000,
  bodies: { bytes: MAX_MESSAGE_BYTES, bytesTogether: 8 * MAX_MESSAGE_BYTES, idleMs: 30_000, totalMs: 300_000 },
  log: logToStderr,
};

/** Node's own request and answer come with each request: bodies are read from the one and written to the other. */
export interface Env {
  Bindings: HttpBindings;
}
type Context = HonoContext<Env>;

export interface StageApp {
  readonly app: Hono<Env>;
  /** settles when the models are loaded; rejects when they could not be */
  readonly ready: Promise<void>;
  /** Refuses what is new, lets the running stage finish, closes the models. Calling it again waits for the same end. */
  close(): Promise<void>;
}

/** `media type` of a sequence of safetensors messages; no registered one exists. */
export const SEQUENCE_TYPE = 'application/vnd.safetensors-sequence';
const STAGE_ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;
const STARTING_RETRY_SECONDS = 2;
const BODIES_RETRY_SECONDS = 1;
const MAX_RETRY_SECONDS = 30;

/**
 * A stage server for these models; it answers as `starting` until their promise settles. Throws RangeError when the
 * token is empty; `ready` rejects with one when two models share a name, or a model states negative prompts,
 * classifier-free guidance or a cache of blocks, none of which `Model.velocity` has a way to hear of.
 */
export function createStageServer({
  models,
  token,
  options = {},
}: {
  readonly models: readonly Model[] | Promise<readonly Model[]>;
  readonly token: string;
  readonly options?: Partial<StageServerOptions>;
}): StageApp {
  if (token === '') throw new RangeError('the token is empty');
  const settings: StageServerOptions = { ...DEFAULT_OPTIONS, ...options };
  const metrics = createMetrics();
  const bodies = createBodies(settings.bodies);
  let served: {
    readonly models: readonly Model[];
    readonly byName: ReadonlyMap<string, Model>;
    readonly stages: Stages;
  } | null = null;
  let closing: Promise<void> | null = null;

  const ready = (async () => {
    const loaded = await models;
    served = {
      models: loaded,
      byName: nameModels(loaded),
      stages: createStages(loaded, { limits: settings, metrics, log: settings.log }),
    };
  })();
  ready.catch(() => {}); // told to whoever awaits it

  const counts = () => served?.stages.counts() ?? { waiting: 0, running: 0, etaMs: 0 };
  const status = () => {
    if (closing) return 'draining';
    if (!served) return 'starting';
    return counts().running > 0 ? 'busy' : 'ready';
  };

  const app = new Hono<Env>();
  app.notFound((c) =>
    problem(c, 404, { code: 'not_found', message: `nothing at ${c.req.method} ${c.req.path.slice(0, 100)}` }),
  );
  app.onError((error, c) => {
    settings.log({ event: 'internal_error', method: c.req.method, error: `${error.name}: ${error.message}` });
    return problem(c, 500, { code: 'internal', message: 'the stage server failed' });
  });

  const digestOf = (text: string) => createHash('sha256').update(text).digest();
  const [bearer, own] = [digestOf(`Bearer ${token}`), digestOf(token)];
  // digests have one length, so the comparison takes the same time whatever was sent
  const isSent = (header: string | undefined, expected: Buffer) =>
    header !== undefined && timingSafeEqual(digestOf(header), expected);
  const hasToken = (c: Context): boolean => {
    const isBearer = isSent(c.req.header('authorization'), bearer);
    // gateways take `Authorization` for themselves
    const isOwn = isSent(c.req.header('x-stage-token'), own);
    return isBearer || isOwn;
  };

  app.get('/healthz', (c) => {
    const now = status();
    const { waiting, etaMs } = counts();
    // how much others have to do is for who may give it work
    const line = hasToken(c) ? { queue: waiting, eta_ms: etaMs } : {};
    const code = now === 'ready' || now === 'busy' ? 200 : 503;
    return c.json({ status: now, ...line, version: packageJson.version }, code);
  });

  app.use(async (c, next) => {
    if (hasToken(c)) return next();
    c.header('www-authenticate', 'Bearer');
    return problem(c, 401, { code: 'unauthorized', message: 'expected a bearer token that this server knows' });
  });

  app.get('/metrics', (c) =>
    c.text(metrics.render(counts()), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );

  app.get('/v1/models', (c) =>
    served
      ? c.json(listOf(served.models))
      : unavailable(c, 'starting', 'the models are being loaded', STARTING_RETRY_SECONDS),
  );

  app.put('/v1/stages/:id', async (c) => {
    const id = c.req.param('id');
    if (!STAGE_ID.test(id))
      return problem(c, 400, {
        code: 'bad_id',
        message: 'expected 1 to 200 letters, digits, dots, dashes and underscores, the first no dot',
        field: 'id',
      });
    const read = await bodies.read(c.env.incoming);
    if (!read.ok) {
      const { status, problem: refused } = read;
      settings.log({ event: 'refused', id, status, code: refused.code });
      if (status === 408) c.header('connection', 'close');
      return status === 503
        ? unavailable(c, refused.code, refused.message, BODIES_RETRY_SECONDS)
        : problem(c, status, refused);
    }
    const { bytes, digest } = read;
    if (!served) return unavailable(c, 'starting', 'the models are being loaded', STARTING_RETRY_SECONDS);

    // from here on nothing waits, so two equal requests cannot both start
    const { stages, byName } = served;
    const known = stages.find(id);
    if (known && known.digest !== digest)
      return problem(c, 409, { code: 'stage_conflict', message: 'this id was used with another body', field: 'id' });
    if (known) return answer(c, stages, known);
    if (closing) return unavailable(c, 'draining', 'the server shuts down', MAX_RETRY_SECONDS);
    const parsed = parseStage(bytes, byName);
    if (!parsed.ok) {
      settings.log({
        event: 'refused',
        id,
        status: parsed.status,
        code: parsed.problem.code,
        field: parsed.problem.field,
      });
      return problem(c, parsed.status, parsed.problem);
    }
    const started = stages.start(id, digest, parsed.value);
    if (!started.ok)
      return unavailable(
        c,
        'queue_full',
        `${settings.queue} stages wait already`,
        Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(started.retryAfterMs / 1000))),
      );
    return answer(c, stages, started.stage);
  });

  app.get('/v1/stages/:id/thumbnail', async (c) => {
    const stage = served?.stages.find(c.req.param('id'));
    if (!served || !stage) return problem(c, 404, { code: 'unknown_stage', message: 'no such stage', field: 'id' });
    const thumbnail = await served.stages.thumbnail(stage);
    if (!thumbnail) return c.body(null, 204);
    const { bytes, width, height, step } = thumbnail;
    return c.body(bytes as Uint8Array<ArrayBuffer>, 200, {
      'content-type': `image/${THUMBNAIL_FORMAT}`,
      'cache-control': 'no-store',
      [STEP_HEADER]: String(step),
      [SIZE_HEADER]: `${width}x${height}`,
    });
  });

  app.delete('/v1/stages/:id', (c) =>
    served?.stages.cancel(c.req.param('id'))
      ? c.body(null, 204)
      : problem(c, 404, { code: 'unknown_stage', message: 'no such stage', field: 'id' }),
  );

  return {
    app,
    ready,
    close() {
      closing ??= (async () => {
        const loaded = await Promise.resolve(models).catch(() => []);
        await served?.stages.drain(settings.drainMs);
        await Promise.all(loaded.map((model) => model.close()));
      })();
      return closing;
    },
  };
}

const listOf = (models: readonly Model[]): ModelList => ({
  contract: { version: CONTRACT_VERSION, features: [...SUPPORTED] },
  models: models.map(({ facts, engine, isDeterministic }) => ({
    ...facts,
    engine_class: engine,
    deterministic: isDeterministic,
  })),
});

function nameModels(models: readonly Model[]): Map<string, Model> {
  const byName = new Map<string, Model>();
  for (const model of models) {
    const { id, negative_prompt, guidance, caches } = model.facts;
    if (negative_prompt) throw new RangeError(`${id}: a model that takes negative prompts cannot be served here`);
    if (guidance?.kind === 'cfg')
      throw new RangeError(`${id}: a model with classifier-free guidance cannot be served here`);
    if (caches.includes('taylor_blocks'))
      throw new RangeError(`${id}: a model with a cache of blocks cannot be served here`);
    for (const name of [model.facts.id, ...model.facts.aliases]) {
      if (byName.has(name)) throw new RangeError(`two models are called ${name}`);
      byName.set(name, model);
    }
  }
  return byName;
}

function problem(
  c: Context,
  status: 400 | 401 | 404 | 408 | 409 | 413 | 422 | 500 | 503,
  body: StageProblem,
): Response {
  return c.json(body, status);
}

function unavailable(c: Context, code: string, message: string, retrySeconds: number): Response {
  c.header('retry-after', String(retrySeconds));
  return problem(c, 503, { code, message });
}

const ANSWER_HEADERS: OutgoingHttpHeaders = {
  'content-type': SEQUENCE_TYPE,
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
};

/** The answer of a stage, written straight to the connection as it comes. */
function answer(c: Context, stages: Stages, stage: RunningStage): Response {
  const { outgoing } = c.env;
  outgoing.writeHead(200, ANSWER_HEADERS).flushHeaders();
  stages.follow(stage, outgoing);
  return RESPONSE_ALREADY_SENT;
}
