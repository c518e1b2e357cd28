/** The same numerics measured in Node and in local workerd. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { decode } from 'fast-png';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { median } from './median.ts';
import { benchNumerics, type Measurement, type NumericsInputs } from './numerics.ts';

const golden = new URL('../../test/golden/', import.meta.url);

function inputs(): NumericsInputs {
  const { cases } = JSON.parse(readFileSync(new URL('nt_matching.json', golden), 'utf8')) as Pick<
    NumericsInputs,
    'cases'
  >;
  return { cases, face: Uint8Array.from(decode(readFileSync(new URL('face.png', golden))).data) };
}

/** Median milliseconds side by side, one row a measurement. */
export async function benchPlaces(): Promise<
  readonly { readonly name: string; readonly node: number; readonly workerd: number }[]
> {
  const { cases, face } = inputs();
  const node = benchNumerics({ cases, face });
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL('./workerd.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
  });
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      compatibilityDate: '2026-11-01',
      modules: [{ type: 'ESModule', path: 'index.js', contents: bundle.outputFiles[0]?.text ?? '' }],
    }),
  );
  try {
    const form = new FormData();
    form.set('cases', JSON.stringify(cases));
    form.set('face', new Blob([face as Uint8Array<ArrayBuffer>]));
    const response = await fetch(await miniflare.ready, { method: 'POST', body: form });
    const workerd = (await response.json()) as Measurement[];
    return node.map(({ name, times }, i) => ({ name, node: median(times), workerd: median(workerd[i]!.times) }));
  } finally {
    await miniflare.dispose();
  }
}
