/** Global setup of the clients' tests: one stack for all of them. Pictures are not their subject. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startStack } from '../../scripts/local/stack.ts';
import { startPacedServer } from '../contract/paced-server.ts';

import { RECORDS } from './records.ts';

declare module 'vitest' {
  interface ProvidedContext {
    clientsStack: { readonly url: string; readonly adminKey: string };
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // of this run alone
  await rm(RECORDS, { recursive: true, force: true });
  const folder = await mkdtemp(join(tmpdir(), 'ralu-clients-'));
  const stage = await startPacedServer();
  const stack = await startStack({ persistTo: folder, stage, bundle: project.getProvidedContext().bundle });
  project.provide('clientsStack', { url: stack.url, adminKey: stack.adminKey });
  return async () => {
    await stack.close();
    await stage.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
}
