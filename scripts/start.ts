/** `npm start`: Worker and stage server on this machine until Ctrl-C, their state kept in `.ralu/`. */
import { join } from 'node:path';
import { request, type Service } from './generate/client.ts';
import { ROOT } from './local/bundle.ts';
import { oneOf, readFlags, runCommand, wholeNumber } from './local/command-line.ts';
import { type ExternalStage, parseStage, reachStage, STAGE_FLAGS, StageUnusable } from './local/external-stage.ts';
import { nextFreePort } from './local/ports.ts';
import { startStack } from './local/stack.ts';
import type { Engine } from './local/stage.ts';

const HELP = `npm start -- [options]

Runs the Worker, its page and a stage server with the embedded model on this machine until Ctrl-C. The demo account has 10 USD of credit, once. Jobs, images and its key are kept in .ralu/, apart for each port.

  --port <number>         of the Worker; the next free one where it is taken (8787)
  --engine <name>         native or wasm: ONNX Runtime of the stage server (native)
  --stage <address>       use the stage server there instead of starting one, such as http://127.0.0.1:8788
  --stage-token <token>   its token (environment: STAGE_TOKEN)
  --help
`;

const FOLDER = join(ROOT, '.ralu');
const DEFAULT_PORT = 8787;
/** Longest wait for what is told at the start. */
const ANSWER_MS = 10_000;

interface StartOptions {
  readonly port: number;
  readonly engine: Engine;
  /** a stage server that runs already; null: one is started */
  readonly stage: ExternalStage | null;
}

/** What `args` ask for; null when they ask for help. Throws UsageError. */
function parseOptions(args: readonly string[]): StartOptions | null {
  const { values } = readFlags(args, {
    options: {
      port: { type: 'string', default: String(DEFAULT_PORT) },
      engine: { type: 'string' },
      ...STAGE_FLAGS,
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  return {
    port: wholeNumber('--port', values.port, { min: 1, max: 65_535 }),
    engine: oneOf('--engine', values.engine ?? 'native', ['native', 'wasm']),
    stage: parseStage(values, process.env),
  };
}

/** What the account of a key has left, as a person reads it. */
async function balanceOf(service: Service): Promise<string> {
  const response = await request(service, '/v1/account', { signal: AbortSignal.timeout(ANSWER_MS) });
  const { billing } = (await response.json()) as { billing: { balance_usd: string; available_usd: string | null } };
  return `${billing.balance_usd} USD${billing.available_usd === null ? ', and no limit' : ''}`;
}

/** Starts the stack and says where it is; it runs until a signal. */
async function start({ port: wanted, engine, stage }: StartOptions): Promise<number> {
  try {
    if (stage) await reachStage(stage, { say: (sentence) => console.error(sentence) });
  } catch (error) {
    if (!(error instanceof StageUnusable)) throw error;
    console.error(`start: ${error.message}`);
    return 1;
  }
  const port = await nextFreePort(wanted);
  if (port !== wanted) console.log(`port ${wanted} is taken; using ${port}`);
  // two runtimes on one folder would both wake its jobs: every port has its own
  const opening = startStack({
    persistTo: join(FOLDER, String(port)),
    engine,
    ...(stage && { stage }),
    port,
    onLog: (line, from) => console.error(`[${from}] ${line}`),
  });

  // npm passes a terminal's Ctrl-C on, so it may come twice; closing twice is closing once
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      void opening.then(({ close }) => close()).then(() => process.exit(0));
    });
  }

  try {
    const { url, key, adminKey } = await opening;
    console.log(`
page     ${url}/#key=${key}
Worker   ${url}
key      ${key}   (demo account)
balance  ${await balanceOf({ url, key })}
admin    ${adminKey}   (opens accounts)

  export RALU_URL=${url} RALU_API_KEY=${key}
  curl -s ${url}/v1/jobs -H 'authorization: Bearer ${key}' -H 'content-type: application/json' -d '{"prompt": "a red apple", "seed": 7}'
  curl -N ${url}/v1/jobs/<id>/events -H 'authorization: Bearer ${key}'
  npm run generate -- "a red apple" --url $RALU_URL

Ctrl-C stops ${stage ? 'the Worker; the stage server goes on' : 'both'}.`);
    return 0;
  } catch (error) {
    console.error(`start: ${(error as Error).message}`);
    return 1;
  }
}

await runCommand({ command: 'npm start', help: HELP, parse: parseOptions, run: start });
