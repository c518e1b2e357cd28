/** The Worker as one module, and its bindings: what `wrangler deploy` would upload, made here without an account. */
import { fileURLToPath } from 'node:url';
import { placeExplorer } from './place-explorer.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Plain data, so that a test can keep it in a file and start twenty stacks from it. */
export interface WorkerBundle {
  readonly script: string;
  /** Miniflare's options for the bindings that wrangler.toml names */
  readonly options: Readonly<Record<string, unknown>> & { readonly bindings: Readonly<Record<string, unknown>> };
}

/**
 * The Worker of wrangler.toml, bundled, with the options Miniflare runs it under. Bundler and wrangler load only here:
 * they take a second that a restart does not have to pay. `wrap` makes the text of a module that stands in the place of
 * the main one, from its path and the classes of objects by their bindings.
 */
export async function bundleWorker(
  wrap?: (main: string, classes: Readonly<Record<string, string>>) => string,
): Promise<WorkerBundle> {
  process.env.WRANGLER_SEND_METRICS = 'false';
  const [{ build, stop }, { unstable_getMiniflareWorkerOptions }] = await Promise.all([
    import('esbuild'),
    import('wrangler'),
    placeExplorer(),
  ]);
  const { workerOptions, main } = unstable_getMiniflareWorkerOptions(`${ROOT}wrangler.toml`);
  if (main === undefined) throw new RangeError('wrangler.toml names no main module');
  const classes = Object.entries((workerOptions.durableObjects ?? {}) as Record<string, { className: string }>).map(
    ([binding, { className }]) => [binding, className] as const,
  );
  const result = await build({
    ...(wrap
      ? { stdin: { contents: wrap(main, Object.fromEntries(classes)), resolveDir: ROOT, loader: 'ts' as const } }
      : { entryPoints: [main] }),
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'],
    logLevel: 'silent',
  });
  await stop();
  const script = result.outputFiles[0]?.text ?? '';
  return { script, options: { ...workerOptions, bindings: (workerOptions.bindings ?? {}) as Record<string, unknown> } };
}
