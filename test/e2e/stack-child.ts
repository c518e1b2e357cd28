/**
 * The local stack as a process of its own, for the rig to kill: options from the JSON file named in the argument, one
 * ready line on standard output.
 */
import { readFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { type StackOptions, startStack } from '../../scripts/local/stack.ts';

export interface ChildOptions extends StackOptions {
  /** milliseconds a step: the stage server is a paced one in this process, on `stagePort` */
  readonly stepMs?: number;
}

const { stepMs, ...options } = JSON.parse(await readFile(process.argv[2] as string, 'utf8')) as ChildOptions;
/** Loaded only where it is asked for: a restart should take no longer than it must. */
async function startPaced(ms: number): Promise<NonNullable<StackOptions['stage']>> {
  const { startPacedServer } = await import('../contract/paced-server.ts');
  const { stagePort: port = 0, stageToken: token = '' } = options;
  return startPacedServer({ stepMs: ms, port, token });
}

const { url, key, adminKey, startup } = await startStack({
  ...options,
  ...(stepMs !== undefined && { stage: await startPaced(stepMs) }),
  onLog: (line, from) => console.error(`[${from}] ${line}`),
});
console.log(JSON.stringify({ event: 'ready', url, key, adminKey, startup }));
// the next start reads what this one compiled; killed, it would not be kept
flushCompileCache();
