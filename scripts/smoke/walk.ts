/** The steps of a walk through a deployment, in order. Each resolves to a sentence, or throws what is wrong. */
import { randomUUID } from 'node:crypto';
import sharp from 'sharp';
import type { Receipt } from '../../src/billing/receipt.ts';
import type { JobView } from '../../src/job/job.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { type FollowedEvent, follow, getJob, Refused, request } from '../generate/client.ts';
import { reachStage } from '../local/external-stage.ts';
import { adviceForFailure, adviceForRefusal } from './advice.ts';
import { brokenInEvents, brokenInReceipt } from './laws.ts';
import type { SmokeOptions } from './options.ts';

/** Something is wrong: one sentence, and what to do. */
export class Wrong extends Error {
  override name = 'Wrong';
  readonly advice: string;
  constructor(sentence: string, advice: string) {
    super(sentence);
    this.advice = advice;
  }
}

export interface Step {
  readonly name: string;
  readonly seconds: number;
  /** whether the steps behind it make no sense without it */
  readonly isNeeded: boolean;
  run(signal: AbortSignal): Promise<string>;
}

/** A stage server that is asked about by itself has had its time to start. */
const STAGE_STARTING_MS = 30_000;
const SHORT_SECONDS = 30;
/** Spread of the pixels below which a picture shows nothing, of 255. */
const BLANK = 1;
const BUG =
  'The deployment does not keep its promise. Is it of this version of the repository? If so, it is a fault of the software.';
const LEAST_EXAMPLE = 'a red apple';

/** What the steps hand to those behind them. */
interface Walk {
  readonly options: SmokeOptions;
  readonly key: string;
  body: Readonly<Record<string, unknown>>;
  done: { readonly job: JobView; readonly receipt: Receipt; readonly image: NonNullable<JobView['image']> } | null;
  /** jobs that were started and not erased */
  readonly left: Set<string>;
}

/** The steps of a walk, and what erases the jobs that they have left behind. */
export function planWalk(options: SmokeOptions): { readonly steps: readonly Step[]; cleanUp(): Promise<void> } {
  const walk: Walk = { options, key: randomUUID(), body: {}, done: null, left: new Set() };
  const { stage } = options;
  const short = { seconds: SHORT_SECONDS, isNeeded: false };
  const steps: Step[] = [
    { ...short, name: 'health', isNeeded: true, run: (signal) => checkHealth(walk, signal) },
    { ...short, name: 'models', isNeeded: true, run: (signal) => checkModels(walk, signal) },
    { name: 'job', seconds: options.seconds, isNeeded: true, run: (signal) => checkJob(walk, signal) },
    { ...short, name: 'picture', run: (signal) => checkPicture(walk, signal) },
    { ...short, name: 'receipt', run: () => checkReceipt(walk) },
    { ...short, name: 'replay', run: (signal) => checkReplay(walk, signal) },
    { ...short, name: 'cancel', run: (signal) => checkCancel(walk, signal) },
    { ...short, name: 'erase', run: (signal) => checkErase(walk, signal) },
  ];
  if (stage) {
    const run = async (signal: AbortSignal): Promise<string> => {
      const patience = { startingMs: STAGE_STARTING_MS, listeningMs: 0 };
      const list = await reachStage(stage, { ...patience, say: () => undefined, signal });
      const models = list.models.map(
        ({ id, engine_class }) => `${id} on ${engine_class ?? 'an engine it does not name'}`,
      );
      return `the stage server at ${stage.url} is ready: ${models.join(', ')}`;
    };
    steps.unshift({ name: 'stage', seconds: SHORT_SECONDS + STAGE_STARTING_MS / 1000, isNeeded: false, run });
  }
  return {
    steps,
    async cleanUp() {
      const signal = AbortSignal.timeout(SHORT_SECONDS * 1000);
      for (const id of walk.left) await erase(walk, id, signal).catch(() => undefined);
    },
  };
}

/** The sentence and the advice for whatever a step threw. */
export function explain(error: unknown): { readonly sentence: string; readonly advice: string } {
  if (error instanceof Wrong) return { sentence: error.message, advice: error.advice };
  if (error instanceof Refused)
    return { sentence: `${error.code}: ${error.message}`, advice: adviceForRefusal(error.status, error.code) };
  const { name, message } = error as Error;
  const advice: Readonly<Record<string, string>> = {
    Unreachable: 'Is the address right, and the Worker deployed there? npx wrangler deployments list.',
    StageUnusable: 'Start the stage server, or correct --stage and its token.',
  };
  return { sentence: message, advice: advice[name] ?? BUG };
}

const post = (
  walk: Walk,
  body: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
  key?: string,
): Promise<Response> =>
  request(walk.options.service, '/v1/jobs', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }) },
    body: JSON.stringify(body),
    signal,
  });

async function start(walk: Walk, body: Readonly<Record<string, unknown>>, signal: AbortSignal, key?: string) {
  const job = (await (await post(walk, body, signal, key)).json()) as JobView;
  walk.left.add(job.id);
  return job;
}

async function erase(walk: Walk, id: string, signal: AbortSignal): Promise<void> {
  await request(walk.options.service, `/v1/jobs/${id}`, { method: 'DELETE', signal });
  walk.left.delete(id);
}

const theJob = ({ done }: Walk): NonNullable<Walk['done']> => {
  if (done) return done;
  throw new Wrong('there is no finished job to look at', 'Repair what failed before.');
};

async function checkHealth({ options: { service } }: Walk, signal: AbortSignal): Promise<string> {
  const response = await request(service, '/healthz', { signal });
  const body = (await response.json().catch(() => null)) as { status?: unknown } | null;
  if (body?.status !== 'ok')
    throw new Wrong(
      `${service.url}/healthz answered ${response.status}, and not {"status": "ok"}`,
      'Is this the address of the Worker, and does nothing stand before it that answers in its place?',
    );
  return `the Worker answers at ${service.url}`;
}

type Listed = ModelFacts & {
  readonly presets: readonly { readonly name: string }[];
  readonly alias_of?: string | null;
};

async function checkModels(walk: Walk, signal: AbortSignal): Promise<string> {
  const { service, model, prompt } = walk.options;
  const { data } = (await (await request(service, '/v1/models', { signal })).json()) as { data: readonly Listed[] };
  const names = data.filter(({ alias_of }) => !alias_of).map(({ id }) => id);
  const found = model === null ? data[0] : data.find(({ id, aliases }) => id === model || aliases.includes(model));
  if (!found)
    throw new Wrong(`there is no model ${model}; there are ${names.join(', ')}`, 'Name one of them with --model.');
  walk.body = {
    model: found.id,
    prompt: prompt ?? found.examples?.[0] ?? LEAST_EXAMPLE,
    seed: 1,
  };
  const presets = found.presets.map(({ name }) => name).join(', ');
  return `${names.length === 1 ? '1 model' : `${names.length} models`}: ${names.join(', ')}; ${found.id} has the presets ${presets}`;
}

async function checkJob(walk: Walk, signal: AbortSignal): Promise<string> {
  const { service } = walk.options;
  const job = await start(walk, walk.body, signal, walk.key);
  const events: FollowedEvent[] = [];
  try {
    for await (const event of follow(service, job.id, { signal })) events.push(event);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Wrong(
      `the job ${job.id} was not done in time; the last that was heard is ${describe(events.at(-1))}`,
      `Is a server starting, or busy? Give it longer with --seconds; ${adviceForFailure('no_capacity')}`,
    );
  }
  const last = events.at(-1);
  if (last?.type === 'failed')
    throw new Wrong(
      `the job ${job.id} failed: ${last.data.message} (${last.data.reason}, attempts: ${last.data.attempts})`,
      adviceForFailure(last.data.reason),
    );
  if (last?.type === 'done') walk.done = { job, receipt: last.data.receipt, image: last.data.image };
  const faults = brokenInEvents(events, job.plan);
  if (faults.length > 0) throw new Wrong(faults.join('; '), BUG);
  const retries = events.filter(({ type }) => type === 'retry').length;
  const work = job.plan.stages.map(({ tokens, steps }) => `${steps}×${tokens}`).join(' → ');
  return `${events.length} events in order, ${work} (steps × tokens)${retries > 0 ? `, after ${retries} failed attempts` : ''}`;
}

const describe = (event: FollowedEvent | undefined): string => {
  switch (event?.type) {
    case undefined:
      return 'nothing';
    case 'queued':
      return event.data.stage === null ? 'that it exists' : `that stage ${event.data.stage} waits for a stage server`;
    case 'retry':
      return `a failed attempt at stage ${event.data.stage} (${event.data.reason})`;
    case 'stage':
      return `a request of stage ${event.data.stage}, attempt ${event.data.attempt}`;
    case 'step':
      return `step ${event.data.step} of ${event.data.steps} of stage ${event.data.stage}`;
    default:
      return event?.type ?? '';
  }
};

async function checkPicture(walk: Walk, signal: AbortSignal): Promise<string> {
  const { job, image } = theJob(walk);
  const response = await request(walk.options.service, `/v1/jobs/${job.id}/image`, { signal });
  const bytes = Buffer.from(await response.arrayBuffer());
  const type = response.headers.get('content-type');
  const faults: string[] = [];
  if (type !== `image/${image.format}`) faults.push(`the picture comes as ${type}, not as image/${image.format}`);
  if (bytes.length !== image.bytes) faults.push(`the picture has ${bytes.length} bytes, ${image.bytes} were told`);
  const decoded = sharp(bytes);
  const { width, height, format } = await decoded.metadata().catch(() => {
    throw new Wrong('the picture cannot be decoded', BUG);
  });
  if (format !== image.format) faults.push(`the picture is ${format}, not ${image.format}`);
  if (width !== image.width || height !== image.height)
    faults.push(`the picture has ${width}x${height} pixels, not ${image.width}x${image.height}`);
  if (faults.length > 0) throw new Wrong(faults.join('; '), BUG);
  const { channels } = await decoded.stats();
  const spread = Math.max(...channels.map(({ stdev }) => stdev));
  if (spread < BLANK)
    throw new Wrong(
      'the picture is of one colour',
      'The model draws nothing: are its weights whole, and does another number format or no compilation help?',
    );
  return `${width}x${height} ${format}, ${bytes.length} bytes`;
}

async function checkReceipt(walk: Walk): Promise<string> {
  const { job, receipt } = theJob(walk);
  const faults = brokenInReceipt(receipt, job.plan);
  if (faults.length > 0) throw new Wrong(faults.join('; '), BUG);
  const denoise = receipt.stages.reduce((sum, { compute_ms }) => sum + compute_ms, 0) / 1000;
  const { tflops, wall_ms, engine } = receipt;
  return `it adds up: denoising ${denoise.toFixed(2)} s for ${tflops.denoise.toPrecision(3)} TFLOPs, ${tflops.ratio?.toFixed(2)}x less than plain, on ${engine}; all of it ${(wall_ms.total / 1000).toFixed(2)} s`;
}

async function checkReplay(walk: Walk, signal: AbortSignal): Promise<string> {
  const { job } = theJob(walk);
  const again = await post(walk, walk.body, signal, walk.key);
  const { id } = (await again.json()) as JobView;
  if (id !== job.id) walk.left.add(id);
  if (id !== job.id || again.headers.get('idempotent-replayed') !== 'true')
    throw new Wrong(`the same request with the same Idempotency-Key started ${id}, not ${job.id}`, BUG);
  const other = await post(walk, { ...walk.body, seed: 2 }, signal, walk.key).then(
    () => 'an answer of 202',
    (error: unknown) => (error instanceof Refused ? error.code : Promise.reject(error)),
  );
  if (other !== 'idempotency_mismatch')
    throw new Wrong(`another body with the same Idempotency-Key got ${other}, not idempotency_mismatch`, BUG);
  return 'the same key gives the same job, and another body is refused';
}

async function checkCancel(walk: Walk, signal: AbortSignal): Promise<string> {
  const { service } = walk.options;
  const job = await start(walk, { ...walk.body, preset: 'plain', seed: 2 }, signal);
  let last: FollowedEvent | undefined;
  let isCancelled = false;
  for await (const event of follow(service, job.id, { signal })) {
    last = event;
    // in the middle of a stage, where the server has to stop something
    if (event.type !== 'step' || isCancelled) continue;
    isCancelled = true;
    await request(service, `/v1/jobs/${job.id}/cancel`, { method: 'POST', signal });
  }
  if (last?.type === 'failed')
    throw new Wrong(`the job failed: ${last.data.message}`, adviceForFailure(last.data.reason));
  const { status } = await getJob(service, job.id);
  if (status === 'done' && last?.type === 'done') return 'the job was done before it could be cancelled';
  if (status !== 'cancelled' || last?.type !== 'cancelled')
    throw new Wrong(`a cancelled job has status ${status}, and its last event is ${last?.type}`, BUG);
  return `a job was stopped in the middle of ${last.data.room}`;
}

async function checkErase(walk: Walk, signal: AbortSignal): Promise<string> {
  const ids = [...walk.left];
  for (const id of ids) {
    await erase(walk, id, signal);
    for (const path of [`/v1/jobs/${id}`, `/v1/jobs/${id}/image`]) {
      const status = await request(walk.options.service, path, { signal }).then(
        (response) => response.status,
        (error: unknown) => (error instanceof Refused ? error.status : Promise.reject(error)),
      );
      if (status !== 404) throw new Wrong(`${path} answers ${status} after it was erased, not 404`, BUG);
    }
  }
  return `${ids.length} jobs are gone`;
}
