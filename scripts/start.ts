/** `npm start`: Worker and stage server on this machine until Ctrl-C, their state kept in `.ralu/`. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './local/bundle.ts';
import { nextFreePort } from './local/ports.ts';
import { startStack } from './local/stack.ts';
import type { Engine } from './local/stage.ts';

const HELP = `npm start -- [options]

Runs the Worker, its page and a stage server with the embedded model on this machine until Ctrl-C. Jobs, images and the demo account's key are kept in .ralu/, apart for each port.

  --port <number>   of the Worker; the next free one where it is taken (8787)
  --engine <name>   native or wasm: ONNX Runtime of the stage server (native)
  --help
`;

const FOLDER = join(ROOT, '.ralu');
const DEFAULT_PORT = 8787;

interface StartOptions {
  readonly port: number;
  readonly engine: Engine;
}

/** The options, or the sentence to end with. */
function parseOptions(args: string[]): StartOptions | { readonly text: string; readonly exitCode: number } {
  const flags = {
    port: { type: 'string', default: String(DEFAULT_PORT) },
    engine: { type: 'string', default: 'native' },
    help: { type: 'boolean', short: 'h' },
  } as const;
  const wrong = (sentence: string): { text: string; exitCode: number } => ({
    text: `start: ${sentence}\nSee npm start -- --help\n`,
    exitCode: 2,
  });
  try {
    const { values } = parseArgs({ args, options: flags });
    if (values.help) return { text: HELP, exitCode: 0 };
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      return wrong(`--port must be a whole number from 1 to 65535, got "${values.port}"`);
    if (values.engine !== 'native' && values.engine !== 'wasm')
      return wrong(`--engine must be native or wasm, got "${values.engine}"`);
    return { port, engine: values.engine };
  } catch (error) {
    return wrong((error as Error).message.split('. ')[0] ?? 'the arguments could not be read');
  }
}

const options = parseOptions(process.argv.slice(2));
if ('text' in options) {
  (options.exitCode === 0 ? process.stdout : process.stderr).write(options.text);
  process.exit(options.exitCode);
}

const port = await nextFreePort(options.port);
if (port !== options.port) console.log(`port ${options.port} is taken; using ${port}`);
// two runtimes on one folder would both wake its jobs: every port has its own
const opening = startStack({
  persistTo: join(FOLDER, String(port)),
  engine: options.engine,
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
admin    ${adminKey}   (opens accounts)

  export RALU_URL=${url} RALU_API_KEY=${key}
  curl -s ${url}/v1/jobs -H 'authorization: Bearer ${key}' -H 'content-type: application/json' -d '{"prompt": "a red apple", "seed": 7}'
  curl -N ${url}/v1/jobs/<id>/events -H 'authorization: Bearer ${key}'
  npm run generate -- "a red apple" --url $RALU_URL

Ctrl-C stops both.`);
} catch (error) {
  console.error(`start: ${(error as Error).message}`);
  process.exitCode = 1;
}
