/** Global setup of the projects that start stacks: the Worker is bundled once for all of them. */
import type { TestProject } from 'vitest/node';
import { bundleWorker, type WorkerBundle } from '../../scripts/local/bundle.ts';

declare module 'vitest' {
  interface ProvidedContext {
    bundle: WorkerBundle;
  }
}

export default async function setup({ vitest }: TestProject): Promise<void> {
  const root = vitest.getRootProject();
  if (root.getProvidedContext().bundle === undefined) root.provide('bundle', await bundleWorker());
}
