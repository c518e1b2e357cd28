/**
 * Global setup of the worker tests: the stage servers they talk to. Each test file has one of its own, because a server
 * runs one stage at a time and a file may hold it for long.
 */
import { readdirSync } from 'node:fs';
import type { TestProject } from 'vitest/node';
import { startPacedServer } from '../contract/paced-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    stageUrls: readonly string[];
  }
}

export const STAGE_TOKEN = 'stage-token';
/** one for each test file */
const SERVERS = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts')).length;

export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const servers = await Promise.all(Array.from({ length: SERVERS }, () => startPacedServer({ token: STAGE_TOKEN })));
  provide(
    'stageUrls',
    servers.map(({ url }) => url),
  );
  return async () => {
    await Promise.all(servers.map(({ stop }) => stop()));
  };
}
