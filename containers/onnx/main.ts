/**
 * The stage server as a process. Listens at once as `starting`, prints `{"event":"ready","url":…}` on stdout when the
 * models are loaded, logs on stderr. SIGTERM or SIGINT: refuses what is new, finishes the running stage, exits 0; a
 * second one exits at once. Exit 2: a wrong flag or no token.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createStageServer, DEFAULT_OPTIONS } from './app.ts';
import { listen } from './listen.ts';
import { loadModel } from './load-model.ts';
import { logToStderr as log } from './log.ts';

const HELP = `npm run stage -- [options]

Serves the models of a folder by the stage contract until SIGTERM. Requests need the token that an environment variable holds.

  --port <number>       0 takes a free one (8788)
  --host <address>      (127.0.0.1)
  --token-env <name>    the variable that holds the token (STAGE_TOKEN)
  --models <folder>     (models)
  --engine <name>       native, wasm, or auto: native, or wasm where native cannot load (auto)
  --threads <number>    of the engine (as many as there are cores)
  --queue <number>      requests that may wait; one more is refused (${DEFAULT_OPTIONS.queue})
  --device <name>       cpu or cuda (cpu)
  --help

Each flag but token-env can be set by an environment variable too: STAGE_PORT and so on.
`;

/**
 * How long readers may take to fetch the last bytes once nothing computes any more, and how long past its limit the
 * drain is waited for.
 */
const FLUSH_MS = 5_000;

function fail(message: string, code: number): never {
  log({ event: 'failed', message });
  process.exit(code);
}

function readFlags() {
  const { env } = process;
  try {
    return parseArgs({
      options: {
        port: { type: 'string', default: env.STAGE_PORT ?? '8788' },
        host: { type: 'string', default: env.STAGE_HOST ?? '127.0.0.1' },
        'token-env': { type: 'string', default: 'STAGE_TOKEN' },
        models: { type: 'string', default: env.STAGE_MODELS ?? 'models' },
        engine: { type: 'string', default: env.STAGE_ENGINE ?? 'auto' },
        threads: { type: 'string', default: env.STAGE_THREADS ?? String(availableParallelism()) },
        device: { type: 'string', default: env.STAGE_DEVICE ?? 'cpu' },
        queue: { type: 'string', default: env.STAGE_QUEUE ?? String(DEFAULT_OPTIONS.queue) },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error), 2);
  }
}

const flags = readFlags();
if (flags.help) {
  process.stdout.write(HELP);
  process.exit();
}

function integer(name: 'port' | 'threads' | 'queue', min: number, max: number): number {
  const value = flags[name] === '' ? Number.NaN : Number(flags[name]);
  return Number.isInteger(value) && value >= min && value <= max
    ? value
    : fail(`--${name} is ${flags[name]}, expected a whole number from ${min} to ${max}`, 2);
}

function oneOf<const T extends string>(name: 'engine' | 'device', choices: readonly T[]): T {
  return (
    choices.find((choice) => choice === flags[name]) ??
    fail(`--${name} is ${flags[name]}, expected one of ${choices.join(', ')}`, 2)
  );
}

const port = integer('port', 0, 65_535);
const threads = integer('threads', 1, 1024);
const queue = integer('queue', 0, 10_000);
const engine = oneOf('engine', ['auto', 'native', 'wasm']);
const device = oneOf('device', ['cpu', 'cuda']);
const token =
  process.env[flags['token-env']] || fail(`the environment variable ${flags['token-env']} holds no token`, 2);

const models = loadModel({
  dir: flags.models,
  engine: engine === 'auto' ? undefined : engine,
  threads,
  device,
  log: (message) => log({ event: 'engine', message }),
}).then((model) => [model]);
const server = createStageServer({ models, token, options: { queue } });
const listening = await listen(server.app, { host: flags.host, port }).catch((error: Error) => fail(error.message, 1));

let isStopping = false;
async function stop(signal: NodeJS.Signals): Promise<void> {
  if (isStopping) process.exit(1);
  isStopping = true;
  log({ event: 'draining', signal });
  // a model that never answers must not keep the process
  setTimeout(() => fail('the running stage did not stop', 1), DEFAULT_OPTIONS.drainMs + 2 * FLUSH_MS).unref();
  await server.close();
  await listening.close(FLUSH_MS);
  process.exit(0);
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

await server.ready.catch((error: unknown) =>
  fail(`the models could not be loaded: ${error instanceof Error ? error.message : error}`, 1),
);
const [model] = await models;
log({ event: 'loaded', model: model?.facts.id, engine: model?.engine });
if (!isStopping) process.stdout.write(`${JSON.stringify({ event: 'ready', url: listening.url })}\n`);
