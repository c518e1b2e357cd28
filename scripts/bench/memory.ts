/**
 * Memory of the isolate that runs jobs of FLUX's size, 1024² and 4096 tokens of 64, as workerd's inspector tells it:
 * what jobs hold while they run, wait and have ended.
 */
import type { Model } from '../../containers/onnx/model.ts';
import { bundleWorker, type WorkerBundle } from '../local/bundle.ts';
import { closedFormModel } from '../local/closed-form-model.ts';
import { type Inspected, startInspected } from './inspected.ts';
import { median } from './median.ts';
import { table } from './table.ts';

const SAMPLE_MS = 5;
/** Jobs at once in a crowd. */
const CROWD = 20;
/** Jobs alone; the median of their peaks counts. */
const RUNS = 5;
/** Jobs whose share is measured when they wait or have ended. */
const MANY = 40;
/** Jobs that are not counted: code is compiled, and what the isolate remembers of servers is there. */
const WARM_UP = 8;
/** An object that is asked now and then stays in memory: the platform forgets one after ten seconds. */
const KEEP_MS = 3000;
const LOOK_MS = 20;
/** Bits of each colour that are noise: a picture of 1024² is then about as hard to compress as a photograph. */
const NOISE_BITS = 5;
const MIB = 2 ** 20;

/** The most that was held, garbage collected before each sample, and the most that was used; MiB above before. */
interface Peak {
  readonly held: number;
  readonly used: number;
}

export interface MemoryFigures {
  /** MiB of the warm isolate without jobs */
  readonly idle: number;
  /** what a job holds while each of its stages runs, MiB; from the first stage on */
  readonly stages: readonly number[];
  readonly one: Peak;
  readonly crowds: readonly (Peak & { readonly slots: number })[];
  /** MiB of one job that has ended, and of one that waits for a slot */
  readonly ended: number;
  readonly waiting: number;
  /** bytes of a job's picture */
  readonly pictureBytes: number;
}

/** Steps wait here while the gate is closed. */
interface Gate {
  readonly pass: () => Promise<void>;
  close(): void;
  open(): void;
}

function makeGate(): Gate {
  let held: PromiseWithResolvers<void> | null = null;
  return {
    pass: async () => held?.promise,
    close() {
      held ??= Promise.withResolvers<void>();
    },
    open() {
      held?.resolve();
      held = null;
    },
  };
}

/** The closed form at FLUX's size. No step of it ends while the gate is closed. */
function fluxSized(gate: Gate): Model {
  const { model } = closedFormModel({
    facts: { id: 'flux-size', channels: 16, sizes: [{ width: 1024, height: 1024 }], max_tokens: 4096 },
    before: (call) => (call === 'velocity' ? gate.pass() : undefined),
  });
  const noise = new Uint8Array(1024 * 1024 * 3);
  for (let i = 0, state = 1; i < noise.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    noise[i] = state >>> (32 - NOISE_BITS);
  }
  return {
    ...model,
    async decode(...args) {
      const rgb = await model.decode(...args);
      return rgb.map((value, i) => (value & (256 - 2 ** NOISE_BITS)) | noise[i]!);
    },
  };
}

/** A deployment, its gate, and a count of seeds: no two jobs are alike. */
interface Bench extends Omit<Inspected, 'start'> {
  readonly gate: Gate;
  start(): Promise<string>;
  /** so many jobs at once, to their end */
  run(count: number): Promise<void>;
}

async function withBench<T>(bundle: WorkerBundle, slots: number, work: (bench: Bench) => Promise<T>): Promise<T> {
  const gate = makeGate();
  const inspected = await startInspected({ bundle, model: fluxSized(gate), slots });
  let seed = 0;
  const start = (): Promise<string> => inspected.start(seed++);
  const bench: Bench = {
    ...inspected,
    start,
    gate,
    run: async (count) => {
      await Promise.all(Array.from({ length: count }, async () => inspected.follow(await start())));
    },
  };
  try {
    for (let job = 0; job < WARM_UP; job++) await bench.run(1);
    return await work(bench);
  } finally {
    gate.open();
    await inspected.close();
  }
}

/** The most that `sample` gave while `work` was done, above what it gave before. */
async function peakOf(sample: () => Promise<number>, before: number, work: Promise<unknown>): Promise<number> {
  let peak = 0;
  let isRunning = true;
  const sampling = (async () => {
    while (isRunning) {
      peak = Math.max(peak, await sample());
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
  })();
  await work.finally(() => {
    isRunning = false;
  });
  await sampling;
  return peak - before;
}

/** Twice so many jobs at once: what they hold, then what they use. */
async function peaks({ inspector, run }: Bench, count: number): Promise<Peak> {
  const held = await peakOf(inspector.held, await inspector.held(), run(count));
  return { held, used: await peakOf(inspector.used, await inspector.held(), run(count)) };
}

/** What one job holds while its stages run, each held in turn. */
async function heldInStages({ inspector, gate, start, status, follow }: Bench): Promise<readonly number[]> {
  const before = await inspector.held();
  const held: number[] = [];
  gate.close();
  const id = await start();
  for (let stage = 1; stage <= 3; stage++) {
    while ((await status(id)).room !== `stage${stage}`) await look();
    // its request has gone out by then, and the stage before is stored
    for (let turn = 0; turn < 5; turn++) await look();
    held.push((await inspector.held()) - before);
    while ((await status(id)).room === `stage${stage}`) {
      gate.open();
      gate.close();
      await look();
    }
  }
  gate.open();
  await follow(id);
  return held;
}

const look = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, LOOK_MS));

/** The share of one of many jobs that have ended, their objects all in memory still. */
async function ended({ inspector, start, follow, status }: Bench): Promise<number> {
  const before = await inspector.held();
  const ids: string[] = [];
  const keeping = setInterval(() => {
    for (const id of ids) void status(id).catch(() => undefined);
  }, KEEP_MS);
  for (let job = 0; job < MANY; job++) {
    const id = await start();
    await follow(id);
    ids.push(id);
  }
  clearInterval(keeping);
  for (const id of ids) await status(id);
  return ((await inspector.held()) - before) / MANY;
}

/** The share of one of many jobs that stand in line behind one whose stage does not end. */
async function waiting({ inspector, gate, start, status }: Bench): Promise<number> {
  gate.close();
  const first = await start();
  while ((await status(first)).status !== 'running') await look();
  const before = await inspector.held();
  const ids: string[] = [];
  for (let job = 0; job < MANY; job++) ids.push(await start());
  for (const id of ids) if ((await status(id)).status !== 'queued') throw new Error('a job does not wait');
  return ((await inspector.held()) - before) / MANY;
}

/** Measures what jobs hold. */
export async function measureMemory(): Promise<MemoryFigures> {
  const bundle = await bundleWorker();
  const alone = await withBench(bundle, 2, async (bench) => {
    const idle = await bench.inspector.held();
    const stages = await heldInStages(bench);
    const runs: Peak[] = [];
    for (let run = 0; run < RUNS; run++) runs.push(await peaks(bench, 1));
    const one = { held: median(runs.map(({ held }) => held)), used: median(runs.map(({ used }) => used)) };
    const crowd = { slots: 2, ...(await peaks(bench, CROWD)) };
    const share = await ended(bench);
    const id = await bench.start();
    await bench.follow(id);
    return { idle, stages, one, crowd, ended: share, pictureBytes: await bench.pictureBytes(id) };
  });
  const { crowd, ...figures } = alone;
  const wide = await withBench(bundle, CROWD, async (bench) => ({ slots: CROWD, ...(await peaks(bench, CROWD)) }));
  return { ...figures, crowds: [crowd, wide], waiting: await withBench(bundle, 1, waiting) };
}

const mib = (value: number): string => value.toFixed(1);
const kib = (value: number): string => `${((value * MIB) / 1024).toFixed(0)} KiB`;

/** What jobs hold, in sentences and a table. */
export async function benchMemory(): Promise<string> {
  const { idle, stages, one, crowds, ended, waiting, pictureBytes } = await measureMemory();
  return [
    `JavaScript heap and buffers of the isolate that runs Worker and objects, as workerd’s inspector tells them; stage server with a closed-form model, pictures of ${(pictureBytes / 1e6).toFixed(1)} MB, each job followed by its events. Idle and warm it uses ${mib(idle)} MiB. Held is what is left when the garbage is collected before each sample (what was made since the collection counts), used is sampled every ${SAMPLE_MS} ms, garbage included. MiB above before; of one alone the median of ${RUNS} jobs:`,
    '',
    table(
      ['at once', 'slots', 'held, at most', 'used, at most'],
      [
        ['1', '2', mib(one.held), mib(one.used)],
        ...crowds.map(({ slots, held, used }) => [String(CROWD), String(slots), mib(held), mib(used)]),
      ],
    ),
    '',
    `While stage 1, 2 and 3 run, one job holds ${stages.map(kib).join(', ')}. One of ${MANY} jobs that wait for a slot holds ${kib(waiting)}, one of ${MANY} that have ended ${kib(ended)}, as long as its object is in memory.`,
  ].join('\n');
}
