/**
 * Memory of the isolate that runs jobs of FLUX's size, 1024² and 4096 tokens of 64, as workerd's inspector tells it:
 * what jobs hold while they run, wait and have ended. Worker and objects share the isolate, as they may on Cloudflare.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { createStageServer } from '../../containers/onnx/app.ts';
import { listen } from '../../containers/onnx/listen.ts';
import type { Model } from '../../containers/onnx/model.ts';
import type { JobView } from '../../src/job/job.ts';
import { bundleWorker, type WorkerBundle } from '../local/bundle.ts';
import { closedFormModel } from '../local/closed-form-model.ts';
import { keptPort } from '../local/ports.ts';
import { openAccount } from '../local/secrets.ts';
import { type Inspector, openInspector } from './inspector.ts';

const KEY = 'bench-key-with-32-bytes-or-more-of-it';
const SAMPLE_MS = 5;
/** How many jobs run at once, and how many have ended or wait when their share is measured. */
const CROWD = 20;
const MANY = 40;
/** Bits of each colour that are noise: a picture of 1024² is then a PNG of about 2.3 MB. */
const NOISE_BITS = 6;

/** MiB above idle. */
export interface MemoryFigures {
  /** after one job that is not counted: code and what the isolate remembers of servers */
  readonly idle: number;
  /** one job: the most it held, sampled with its garbage collected, and the most used without */
  readonly one: { readonly held: number; readonly used: number };
  /** twenty at once, with so many slots */
  readonly crowds: readonly { readonly slots: number; readonly held: number; readonly used: number }[];
  /** of forty each, one job's share: those that have ended, and those that wait for a slot */
  readonly ended: number;
  readonly waiting: number;
  /** bytes of a picture */
  readonly pictureBytes: number;
}

/** A deployment under the inspector, with a stage server whose steps can be held. */
interface Bench {
  readonly inspector: Inspector;
  /** starts a job and returns its id */
  start(seed: number): Promise<string>;
  /** follows a job to its end */
  follow(id: string): Promise<void>;
  status(id: string): Promise<JobView>;
  pictureBytes(id: string): Promise<number>;
  /** no step ends until it is called again with false */
  hold(isHeld: boolean): void;
  close(): Promise<void>;
}

/** The closed form at FLUX's size, with pictures as hard to compress as real ones. */
function fluxSized(before: () => Promise<void>): Model {
  const { model } = closedFormModel({
    facts: { id: 'flux-size', channels: 16, sizes: [{ width: 1024, height: 1024 }], max_tokens: 4096 },
    before: (call) => (call === 'velocity' ? before() : undefined),
  });
  return {
    ...model,
    async decode(...args) {
      const rgb = await model.decode(...args);
      let state = 1;
      for (let i = 0; i < rgb.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        rgb[i] = (rgb[i]! & (256 - 2 ** NOISE_BITS)) | (state >>> (32 - NOISE_BITS));
      }
      return rgb;
    },
  };
}

export async function startBench(bundle: WorkerBundle, slots: number): Promise<Bench> {
  let gate = Promise.resolve();
  let open = (): void => undefined;
  const model = fluxSized(() => gate);
  const options = { queue: MANY, log: () => undefined };
  const server = createStageServer({ models: [model], token: KEY, options });
  const stage = await listen(server.app, { host: '127.0.0.1', port: 0 });
  const folder = await mkdtemp(join(tmpdir(), 'ralu-memory-'));
  const inspectorPort = await keptPort();
  const vars = {
    BACKENDS: JSON.stringify([{ id: 'local', url: stage.url, slots }]),
    SIGNING_SECRET: KEY,
    ADMIN_KEY: KEY,
    BACKEND_TOKEN_LOCAL: KEY,
    QUEUE_SECONDS: '3600',
    STAGE_SILENCE_SECONDS: '600',
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      inspectorPort,
      handleStructuredLogs: ({ message }) => process.env.RALU_LOG && console.error(message),
      resourcePersistencePath: folder,
      workers: [
        {
          ...bundle.options,
          name: 'ralu',
          modules: [{ type: 'ESModule', path: 'index.js', contents: bundle.script }],
          bindings: { ...bundle.options.bindings, ...vars },
        },
      ],
    }),
  );
  const url = await miniflare.ready;
  const headers = {
    authorization: `Bearer ${await openAccount(url.origin, KEY, 'bench')}`,
    'content-type': 'application/json',
  };
  const wake = async () => void (await (await fetch(new URL('/healthz', url))).arrayBuffer());
  await wake();
  const inspector = await openInspector(inspectorPort, wake);
  return {
    inspector,
    async start(seed) {
      const body = JSON.stringify({ prompt: 'a red apple', seed });
      const created = await fetch(new URL('/v1/jobs', url), { method: 'POST', headers, body });
      if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
      return ((await created.json()) as JobView).id;
    },
    async follow(id) {
      const events = await (await fetch(new URL(`/v1/jobs/${id}/events`, url), { headers })).text();
      if (!events.includes('event: done')) throw new Error(`the job did not finish: ${events.slice(-300)}`);
    },
    status: async (id) => (await (await fetch(new URL(`/v1/jobs/${id}`, url), { headers })).json()) as JobView,
    pictureBytes: async (id) =>
      (await (await fetch(new URL(`/v1/jobs/${id}/image`, url), { headers })).arrayBuffer()).byteLength,
    hold(isHeld) {
      open();
      ({ promise: gate, resolve: open } = Promise.withResolvers<void>());
      if (!isHeld) open();
    },
    async close() {
      open();
      inspector.close();
      await miniflare.dispose();
      await stage.close(0);
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The most that `sample` gave while `work` was done. */
export async function peakOf(sample: () => Promise<number>, work: () => Promise<unknown>): Promise<number> {
  let peak = 0;
  let isRunning = true;
  const sampling = (async () => {
    while (isRunning) {
      peak = Math.max(peak, await sample());
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
  })();
  await work().finally(() => {
    isRunning = false;
  });
  await sampling;
  return peak;
}

/** Jobs from `seed` on, all at once, each followed to its end. */
export const runJobs = (bench: Bench, count: number, seed: number): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, async (_, i) => bench.follow(await bench.start(seed + i))));

/** `work` with a deployment of its own that has so many slots, warm, and what it uses then. */
export async function withBench<T>(
  bundle: WorkerBundle,
  slots: number,
  work: (bench: Bench, idle: number) => Promise<T>,
): Promise<T> {
  const bench = await startBench(bundle, slots);
  try {
    await runJobs(bench, 1, 0);
    return await work(bench, await bench.inspector.held());
  } finally {
    await bench.close();
  }
}

export async function crowd(bundle: WorkerBundle, slots: number): Promise<MemoryFigures['crowds'][number]> {
  return withBench(bundle, slots, async (bench, idle) => {
    const held = await peakOf(bench.inspector.held, () => runJobs(bench, CROWD, 1));
    const between = await bench.inspector.held();
    const used = await peakOf(bench.inspector.used, () => runJobs(bench, CROWD, 1 + CROWD));
    return { slots, held: held - idle, used: used - between };
  });
}

/** Forty jobs that stand in line behind one whose stage does not end. */
export async function waiting(bundle: WorkerBundle): Promise<number> {
  return withBench(bundle, 1, async (bench) => {
    bench.hold(true);
    const first = await bench.start(1);
    while ((await bench.status(first)).status !== 'running') await new Promise((resolve) => setTimeout(resolve, 20));
    const before = await bench.inspector.held();
    for (let i = 0; i < MANY; i++) await bench.start(2 + i);
    return ((await bench.inspector.held()) - before) / MANY;
  });
}

/** Measures what jobs hold. */
export async function measureMemory(): Promise<MemoryFigures> {
  const bundle = await bundleWorker();
  const alone = await withBench(bundle, 2, async (bench, idle) => {
    const held = await peakOf(bench.inspector.held, () => runJobs(bench, 1, 1));
    const between = await bench.inspector.held();
    const used = await peakOf(bench.inspector.used, () => runJobs(bench, 1, 2));
    // one after the other: how many objects are in memory must not depend on how fast the machine is
    const before = await bench.inspector.held();
    for (let i = 0; i < MANY; i++) await runJobs(bench, 1, 3 + i);
    const ended = ((await bench.inspector.held()) - before) / MANY;
    const last = await bench.start(2);
    await bench.follow(last);
    const pictureBytes = await bench.pictureBytes(last);
    return { idle, one: { held: held - idle, used: used - between }, ended, pictureBytes };
  });
  const crowds = [await crowd(bundle, CROWD), await crowd(bundle, 2)];
  return { ...alone, crowds, waiting: await waiting(bundle) };
}

/** Measures what jobs hold, in one sentence. */
export async function benchMemory(): Promise<string> {
  return JSON.stringify(await measureMemory());
}
