/**
 * What one image costs on Cloudflare: rows, requests and seconds of every object, from the first request to the expiry
 * of the job, counted in real workerd.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createStageServer } from '../../containers/onnx/app.ts';
import { listen } from '../../containers/onnx/listen.ts';
import type { JobView } from '../../src/job/job.ts';
import { bundleWorker, type WorkerBundle } from '../local/bundle.ts';
import { closedFormModel } from '../local/closed-form-model.ts';
import { type Stack, type StackOptions, startStack } from '../local/stack.ts';
import {
  byClass,
  type Counted,
  costOf,
  type Dollars,
  dollarsOf,
  type ImageCost,
  mergeCounted,
  type Tally,
} from './tally.ts';

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
  /** from the first stage to the end: while it held slots */
  readonly seconds: number;
  readonly dollars: Dollars;
}

/** 3.6 s: long enough to fetch the picture on a busy machine, short enough to wait for */
const TTL_HOURS = '0.001';
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

const headersOf = (stack: Stack) => ({ authorization: `Bearer ${stack.key}`, 'content-type': 'application/json' });

async function begin(stack: Stack, body: RowCase['body']): Promise<string> {
  const post = { method: 'POST', headers: headersOf(stack), body: JSON.stringify(body) };
  const created = await fetch(new URL('/v1/jobs', stack.url), post);
  if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
  return ((await created.json()) as JobView).id;
}

/** Follows a job to its end; resolves to the seconds since its first stage. `onStage`: that has begun. */
async function follow(stack: Stack, id: string, onStage: () => void = () => undefined): Promise<number> {
  let began = 0;
  let text = '';
  const response = await fetch(new URL(`/v1/jobs/${id}/events`, stack.url), { headers: headersOf(stack) });
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(part);
    if (began === 0 && text.includes('event: stage\n')) {
      began = performance.now();
      onStage();
    }
  }
  if (!text.includes('event: done\n')) throw new Error(`job ${id} did not finish: ${text.slice(-300)}`);
  return (performance.now() - began) / 1000;
}

async function fetchImage(stack: Stack, id: string): Promise<void> {
  const image = await fetch(new URL(`/v1/jobs/${id}/image`, stack.url), { headers: headersOf(stack) });
  if (!image.ok) throw new Error(`no image of job ${id}: ${await image.text()}`);
  await image.arrayBuffer();
}

/** One picture as most callers get it: start, follow, fetch. Resolves to the seconds since its first stage. */
async function makeImage(stack: Stack, body: RowCase['body']): Promise<number> {
  const id = await begin(stack, body);
  const seconds = await follow(stack, id);
  await fetchImage(stack, id);
  return seconds;
}

const take = async (stack: Stack): Promise<Counted> =>
  (await (await fetch(new URL('/rows', stack.url))).json()) as Counted;

/** Everything that was counted until `jobs` jobs had expired. */
async function untilExpired(stack: Stack, jobs: number): Promise<Counted> {
  const isErased = (all: Counted): boolean => (byClass(all).JobObject?.statements['deleteAll()']?.times ?? 0) >= jobs;
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

function caseRows(name: string, objects: readonly ObjectRows[], workerRequests: number, seconds: number): CaseRows {
  const dollars = dollarsOf(
    objects.map(({ cost }) => cost),
    workerRequests,
    seconds,
  );
  return { name, objects, workerRequests, seconds, dollars };
}

const SIZED = { prompt: 'a red apple on a white background', width: 256, height: 256, seed: 1 };

/** `work` with a stack of its own, whose jobs soon expire. */
async function withStack<T>(
  bundle: WorkerBundle,
  options: Pick<StackOptions, 'stage' | 'vars'>,
  work: (stack: Stack) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-rows-'));
  const vars = { JOB_TTL_HOURS: TTL_HOURS, ...options.vars };
  const stack = await startStack({ ...options, vars, bundle, persistTo: folder });
  try {
    return await work(stack);
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** How long a step of the job takes for whose slot another waits. */
const SLOW_STEP_MS = 2000;

/**
 * What a job comes to that waits `ms` for the only slot: its own object, and half of what account and dispatcher did
 * for it and for the one that has the slot.
 */
async function benchWaiting(bundle: WorkerBundle, ms: number): Promise<CaseRows> {
  let isSlow = true;
  const { model } = closedFormModel({
    before: (call) =>
      call === 'velocity' && isSlow ? new Promise((resolve) => setTimeout(resolve, SLOW_STEP_MS)) : undefined,
  });
  const token = 'stage-token-of-the-bench';
  const server = createStageServer({ models: [model], token, options: { log: () => undefined } });
  const stage = await listen(server.app, { host: '127.0.0.1', port: 0 });
  const BACKENDS = JSON.stringify([{ id: 'local', url: stage.url, slots: 1 }]);
  try {
    return await withStack(bundle, { stage: { url: stage.url, token }, vars: { BACKENDS } }, async (stack) => {
      const request = { prompt: SIZED.prompt, preset: 'plain' };
      // opening the account is not counted
      await take(stack);
      const first = await begin(stack, request);
      let followed: Promise<number> = Promise.resolve(0);
      await new Promise<void>((resolve, reject) => {
        followed = follow(stack, first, resolve);
        followed.catch(reject);
      });
      const id = await begin(stack, { ...request, preset: '7x' });
      const ended = Promise.all([followed, follow(stack, id)]);
      const free = setTimeout(() => {
        isSlow = false;
      }, ms);
      const [, seconds] = await ended.finally(() => clearTimeout(free));
      await fetchImage(stack, id);
      const counted = await untilExpired(stack, 2);
      const { JobObject, ...others } = byClass(counted, (name) => name !== first);
      const objects = [
        ...(JobObject ? [objectRows('JobObject', JobObject, 1)] : []),
        ...Object.entries(others).map(([object, tally]) => objectRows(object, tally, 2)),
      ];
      return caseRows(`waits ${Math.round(ms / 1000)} s for a slot, 7x, small`, objects, counted.requests / 2, seconds);
    });
  } finally {
    await stage.close(0);
    await server.close();
  }
}

/**
 * What an image of each case comes to: means of `images`, one after the other, after one that is not counted; and of
 * one that waits `waitMs` for a slot.
 */
export async function benchRows(
  cases: readonly RowCase[],
  images: number,
  waitMs: number,
): Promise<readonly CaseRows[]> {
  const bundle = await bundleCounted();
  const measured = await withStack(bundle, {}, async (stack) => {
    const results: CaseRows[] = [];
    for (const { name, body } of cases) {
      const request = { ...SIZED, ...body };
      await makeImage(stack, request);
      await untilExpired(stack, 1);
      const seconds: number[] = [];
      for (let image = 0; image < images; image++)
        seconds.push(await makeImage(stack, { ...request, seed: 2 + image }));
      const counted = await untilExpired(stack, images);
      const objects = Object.entries(byClass(counted)).map(([object, tally]) => objectRows(object, tally, images));
      const mean = seconds.reduce((sum, of) => sum + of, 0) / images;
      results.push(caseRows(name, objects, counted.requests / images, mean));
    }
    return results;
  });
  return waitMs > 0 ? [...measured, await benchWaiting(bundle, waitMs)] : measured;
}
