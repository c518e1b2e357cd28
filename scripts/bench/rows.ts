/**
 * What one image costs on Cloudflare: rows, requests and seconds of every object, from the first request to the expiry
 * of the job, counted in real workerd.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JobView } from '../../src/job/job.ts';
import { bundleWorker, type WorkerBundle } from '../local/bundle.ts';
import { type Stack, startStack } from '../local/stack.ts';
import { type Counted, costOf, type Dollars, dollarsOf, type ImageCost, mergeCounted, type Tally } from './tally.ts';

/** A request whose images are counted. */
export interface RowCase {
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export const ROW_CASES: readonly RowCase[] = [
  { name: '7x at 256², previews', body: { preset: '7x' } },
  { name: 'plain, 50 steps', body: { preset: 'plain' } },
];

/** One class of objects: what an image comes to, and by which statements, most rows written first. */
export interface ObjectRows {
  readonly name: string;
  readonly cost: ImageCost;
  readonly statements: readonly {
    readonly text: string;
    readonly times: number;
    readonly read: number;
    readonly written: number;
  }[];
  /** requests to the object, by method */
  readonly calls: readonly { readonly method: string; readonly times: number }[];
}

/** What an image of a case comes to. */
export interface CaseRows {
  readonly name: string;
  readonly objects: readonly ObjectRows[];
  readonly workerRequests: number;
  readonly dollars: Dollars;
}

/** 1.8 s: long enough to fetch the picture, short enough to wait for */
const TTL_HOURS = '0.0005';
/** Longest wait for the expiry of all jobs of a case. */
const EXPIRY_MS = 60_000;
const PAUSE_MS = 250;

const COUNTER = fileURLToPath(new URL('./count-workerd.ts', import.meta.url));

/** The main module with each class of objects, and the Worker, in a wrapping that counts. */
function counting(main: string, classes: Readonly<Record<string, string>>): string {
  const names = [...new Set(Object.values(classes))];
  const bindings = Object.fromEntries(Object.entries(classes).map(([binding, name]) => [name, binding]));
  return [
    `import worker, * as product from ${JSON.stringify(main)};`,
    `import { countedClass, countedWorker } from ${JSON.stringify(COUNTER)};`,
    `const classes = { bindings: ${JSON.stringify(bindings)} };`,
    ...names.map((name) => `export const ${name} = countedClass('${name}', product.${name}, classes);`),
    'export default countedWorker(worker, classes);',
  ].join('\n');
}

/** The Worker in the wrapping that counts: `GET /rows` says what it counted since it was last asked. */
export const bundleCounted = (): Promise<WorkerBundle> => bundleWorker(counting);

/** One picture as most callers get it: start, follow, fetch. */
async function makeImage(stack: Stack, body: RowCase['body']): Promise<void> {
  const headers = { authorization: `Bearer ${stack.key}`, 'content-type': 'application/json' };
  const created = await fetch(new URL('/v1/jobs', stack.url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
  const { id } = (await created.json()) as JobView;
  const events = await (await fetch(new URL(`/v1/jobs/${id}/events`, stack.url), { headers })).text();
  if (!events.includes('event: done')) throw new Error(`job ${id} did not finish: ${events.slice(-300)}`);
  const image = await fetch(new URL(`/v1/jobs/${id}/image`, stack.url), { headers });
  if (!image.ok) throw new Error(`no image of job ${id}: ${await image.text()}`);
  await image.arrayBuffer();
}

const take = async (stack: Stack): Promise<Counted> =>
  (await (await fetch(new URL('/rows', stack.url))).json()) as Counted;

/** Everything that was counted until `jobs` jobs had expired. */
async function untilExpired(stack: Stack, jobs: number): Promise<Counted> {
  const isErased = ({ tallies }: Counted): boolean =>
    (tallies.JobObject?.statements['deleteAll()']?.times ?? 0) >= jobs;
  let counted = await take(stack);
  const until = Date.now() + EXPIRY_MS;
  while (!isErased(counted)) {
    if (Date.now() > until) throw new Error(`the jobs have not expired within ${EXPIRY_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    counted = mergeCounted(counted, await take(stack));
  }
  return counted;
}

const objectRows = (name: string, tally: Tally, images: number): ObjectRows => ({
  name,
  cost: costOf(tally, images),
  statements: Object.entries(tally.statements)
    .map(([text, { times, read, written }]) => ({
      text,
      times: times / images,
      read: read / images,
      written: written / images,
    }))
    .sort((a, b) => b.written - a.written || b.read - a.read),
  calls: Object.entries(tally.calls).map(([method, times]) => ({ method, times: times / images })),
});

/** What an image of each case comes to: means of `images`, one after the other, after one that is not counted. */
export async function benchRows(cases: readonly RowCase[], images: number): Promise<readonly CaseRows[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-rows-'));
  const bundle = await bundleCounted();
  const stack = await startStack({ persistTo: folder, bundle, vars: { JOB_TTL_HOURS: TTL_HOURS } });
  try {
    const results: CaseRows[] = [];
    for (const { name, body } of cases) {
      const request = { prompt: 'a red apple on a white background', width: 256, height: 256, seed: 1, ...body };
      await makeImage(stack, request);
      await untilExpired(stack, 1);
      for (let image = 0; image < images; image++) await makeImage(stack, { ...request, seed: 2 + image });
      const { requests, tallies } = await untilExpired(stack, images);
      const objects = Object.entries(tallies).map(([object, tally]) => objectRows(object, tally, images));
      const workerRequests = requests / images;
      const dollars = dollarsOf(
        objects.map(({ cost }) => cost),
        workerRequests,
      );
      results.push({ name, objects, workerRequests, dollars });
    }
    return results;
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}
