/** Global setup of the worker tests: the real stage server with the real model, as a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export default async function setup(): Promise<() => Promise<void>> {
  const port = process.env.TEST_STAGE_PORT as string;
  const child = spawn(process.execPath, ['container/main.ts', '--port', port, '--host', '127.0.0.1', '--token-env', 'STAGE_TOKEN', '--models', 'models'], {
    env: { ...process.env, STAGE_TOKEN: 'stage-token' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<void>((resolve) => lines.on('line', (line) => line.includes('"ready"') && resolve()));
  await Promise.race([ready, once(child, 'exit').then(([code]) => Promise.reject(new Error(`the stage server ended with ${code}`)))]);
  return async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
}
