/**
 * Processor time of a job: of all of workerd, as the system counts it, and of the JavaScript in the isolate of Worker
 * and objects, as V8's profiler samples it. The numerics are told apart in the same profile.
 */
import { bundleWorker } from '../local/bundle.ts';
import { closedFormModel } from '../local/closed-form-model.ts';
import { type Inspected, startInspected } from './inspected.ts';
import { type Profile, sumProfile } from './profile.ts';

/** Jobs, one after the other, each with one watcher; before each measurement a fifth as many that are not counted. */
const JOBS = 100;
const SIDE = 256;
const SAMPLE_US = 200;
/** What one sample counts for at most. */
const LONGEST_US = 5 * SAMPLE_US;

/** The numerics of a job whose schedule is known already, and of one whose is not. */
const NUMERICS: ReadonlySet<string> = new Set([
  'firstTokens',
  'nextTokens',
  'rankPicture',
  'selectAtBoundaries',
  'selectByLatents',
  'fitSchedule',
]);

/** Milliseconds a job. */
export interface CpuFigures {
  /** of all processes' threads, the system's time included; without the profiler */
  readonly workerd: number;
  /** JavaScript and what it calls */
  readonly script: number;
  /** of that, the numerics and the garbage */
  readonly numerics: number;
  readonly garbage: number;
}

async function runJobs({ start, follow }: Inspected, seed: number, count: number): Promise<void> {
  for (let job = 0; job < count; job++) await follow(await start(seed + job));
}

/** Measures jobs of 256² with previews. */
export async function measureCpu(): Promise<CpuFigures> {
  const { model } = closedFormModel({
    facts: { id: 'small', sizes: [{ width: SIDE, height: SIDE }], max_tokens: (SIDE / 16) ** 2 },
  });
  const deployment = await startInspected({ bundle: await bundleWorker(), model, slots: 2 });
  const { inspector, cpuMs } = deployment;
  try {
    await runJobs(deployment, 0, JOBS / 5);
    const before = cpuMs();
    await runJobs(deployment, JOBS, JOBS);
    const workerd = (cpuMs() - before) / JOBS;
    await inspector.ask('Profiler.enable');
    await inspector.ask('Profiler.setSamplingInterval', { interval: SAMPLE_US });
    await inspector.ask('Profiler.start');
    await runJobs(deployment, 2 * JOBS, JOBS);
    const { profile } = await inspector.ask('Profiler.stop');
    const { busy, garbage, within } = sumProfile(profile as Profile, NUMERICS, LONGEST_US);
    return { workerd, script: busy / JOBS, numerics: within / JOBS, garbage: garbage / JOBS };
  } finally {
    await deployment.close();
  }
}

const ms = (value: number): string => value.toFixed(1);

/** Processor time of a job, in sentences. */
export async function benchCpu(): Promise<string> {
  const { workerd, script, numerics, garbage } = await measureCpu();
  return `A 7x job of ${SIDE}² with previews and one watcher takes ${ms(workerd)} ms of CPU of workerd, everything in it: Worker, objects, SQLite, the local bucket and cache, their connections; mean of ${JOBS} jobs one after the other, stage server with a closed-form model. Its JavaScript takes ${ms(script)} ms by V8’s profiler, sampled every ${SAMPLE_US} µs: ${ms(numerics)} ms of numerics (noise, boundaries, edges, ranking; the schedule is remembered), ${ms(garbage)} ms of garbage collection, and ${ms(script - numerics - garbage)} ms of everything else.`;
}
