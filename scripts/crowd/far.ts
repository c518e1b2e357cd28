/**
 * A deployment whose objects are far apart, and whose dispatchers may be away: the product's own modules, with one in
 * front of the main one that lets every call between them take its time.
 */
import { fileURLToPath } from 'node:url';
import { bundleWorker, type WorkerBundle } from '../local/bundle.ts';
import { FAR_PATH, type FarRules } from './far-rules.ts';

const FAR = fileURLToPath(new URL('./far-workerd.ts', import.meta.url));

/**
 * The Worker with objects that are far apart. Who stands where: the Worker in the region nearest to its caller, a
 * dispatcher in its own, a job where the hint said that was given first; the regions are those of REGIONS.
 */
export const bundleFar = (): Promise<WorkerBundle> =>
  bundleWorker((main, classes) =>
    [
      `import worker, * as product from ${JSON.stringify(main)};`,
      `import { farClass, farWorker } from ${JSON.stringify(FAR)};`,
      ...[...new Set(Object.values(classes))].map(
        (name) => `export const ${name} = farClass(product.${name}, '${name}');`,
      ),
      'export default farWorker(worker);',
    ].join('\n'),
  );

/** Tells a running deployment how things stand from now on. */
export async function setFar({ url }: { readonly url: string }, rules: FarRules): Promise<void> {
  const response = await fetch(new URL(FAR_PATH, url), { method: 'PUT', body: JSON.stringify(rules) });
  if (!response.ok) throw new Error(`${FAR_PATH}: ${response.status} ${await response.text()}`);
}
