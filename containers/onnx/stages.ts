/**
 * The stages of one server, by id: who waits, who computes, who reads, whose result is kept.
 *
 *   start → [queued] → running → done → [late preview] → kept for a while → forgotten
 *              └──────────┴────→ cancelled, orphaned, drained or failed: forgotten at once,
 *                                so the same request runs again
 *
 * Once `done` is told the result stands. A late preview that comes to nothing after it is told as an error and kept
 * with it; only being cancelled forgets both. Until the preview is out, the stage computes.
 *
 * A stage is a growing list of encoded messages; readers hold an index into it, so a slow one costs nothing and blocks
 * nobody.
 */
import type { Writable } from 'node:stream';
import { evaluatedSteps, isEvaluated } from '../../src/numerics/taylor.ts';
import { type StageEvent, toMetadata } from '../../src/stage/contract.ts';
import { encodeMessage } from '../../src/stage/safetensors.ts';
import type { Log } from './log.ts';
import type { Metrics, Outcome } from './metrics.ts';
import type { Model } from './model.ts';
import { ModelFailure, type NewestStep, NotFiniteError, runStage, type StageMessage } from './run-stage.ts';
import { cacheText, type TextCache } from './text-cache.ts';
import { makeThumbnail, type StageThumbnail } from './thumbnail.ts';
import type { StageJob } from './validate.ts';

export interface StageLimits {
  /** stages that may wait, a model */
  readonly queue: number;
  /**
   * how long a result is kept, and an encoded prompt after its last use; how many bytes of results together, the oldest
   * go first
   */
  readonly keepMs: number;
  readonly keepBytes: number;
  /** how long a stage goes on with nobody reading */
  readonly orphanMs: number;
  /** longest silence towards a reader whose stage waits */
  readonly aliveMs: number;
  /** encoded prompts remembered, a model */
  readonly texts: number;
}

/** One stage as its readers see it. */
export interface RunningStage {
  readonly id: string;
  /** SHA-256 of the request body: the same id with another digest is a conflict */
  readonly digest: string;
  readonly job: StageJob;
  readonly messages: Uint8Array[];
  readonly stop: AbortController;
  /** who reads, each called at the next message and at the end */
  readonly readers: Set<Reader>;
  isEnded: boolean;
  /** `done` is told */
  hasResult: boolean;
  stepsDone: number;
  /** null before the first and once the stage has ended */
  newest: NewestStep | null;
  /** the last one that was asked for */
  thumbnail: { readonly step: number; readonly made: Promise<StageThumbnail> } | null;
  orphanTimer: NodeJS.Timeout | undefined;
  aliveTimer: NodeJS.Timeout | undefined;
  readonly since: number;
}

/** One answer that is being written. */
interface Reader {
  readonly more: () => void;
  /** settles when the network has all that was written, or the reader has gone */
  readonly sent: () => Promise<void>;
}

/** One model's queue: one stage computes, because an engine's threads already fill the cores. */
interface Runner {
  readonly texts: TextCache;
  readonly waiting: RunningStage[];
  running: RunningStage | null;
  /** of an evaluation, moving average; null until one was measured */
  msPerToken: number | null;
}

export interface Stages {
  find(id: string): RunningStage | undefined;
  /**
   * Puts a new stage in the queue, or says after how many milliseconds to come again. Throws RangeError when the id is
   * taken.
   */
  start(
    id: string,
    digest: string,
    job: StageJob,
  ): { readonly ok: true; readonly stage: RunningStage } | { readonly ok: false; readonly retryAfterMs: number };
  /** Writes all that the stage said so far, then what it says, and ends. A reader that goes stops nothing by itself. */
  follow(stage: RunningStage, answer: Writable): void;
  /**
   * What the stage looks like after its newest step, made for whoever asks first; null where there is nothing to see:
   * no step is done, it has ended, or its tokens make no picture. It holds up no step but for the moment of reading.
   */
  thumbnail(stage: RunningStage): Promise<StageThumbnail> | null;
  /**
   * Stops or forgets it, and the encoded prompt that it used; false when nobody knows it. The prompt of a stage whose
   * result is gone is forgotten too.
   */
  cancel(id: string): boolean;
  /** `etaMs`: estimated wait of a new stage in the longest queue. */
  counts(): { readonly waiting: number; readonly running: number; readonly etaMs: number };
  /** Ends every waiting stage, and after `ms` every running one; resolves when nothing computes any more. */
  drain(ms: number): Promise<void>;
}

const encode = ({ event, tensors }: StageMessage): Uint8Array =>
  encodeMessage({ metadata: toMetadata(event), tensors });
const failure = (code: string, message: string, retryable: boolean): StageEvent => ({
  event: 'error',
  code,
  message,
  retryable,
});

/** How long a slow reader may hold up a late preview. */
const SEND_MS = 200;

const STOPPED = {
  cancelled: failure('cancelled', 'the stage was cancelled', false),
  orphaned: failure('orphaned', 'nobody read the stage any more', true),
  drained: failure('draining', 'the server shuts down', true),
} as const;

/** An empty registry for these models. */
export function createStages(
  models: readonly Model[],
  { limits, metrics, log }: { readonly limits: StageLimits; readonly metrics: Metrics; readonly log: Log },
): Stages {
  const stages = new Map<string, RunningStage>();
  const kept = new Map<string, { readonly bytes: number; readonly timer: NodeJS.Timeout }>();
  let keptBytes = 0;
  const runners = new Map<Model, Runner>(
    models.map((model) => [model, { texts: cacheText(model, limits), waiting: [], running: null, msPerToken: null }]),
  );
  const runnerOf = (stage: Pick<RunningStage, 'job'>): Runner => {
    const runner = runners.get(stage.job.model);
    if (!runner) throw new RangeError(`model ${stage.job.model.facts.id} is not one of this registry's`);
    return runner;
  };
  let becameIdle = Promise.withResolvers<void>();

  function push(stage: RunningStage, message: StageMessage): void {
    stage.messages.push(encode(message));
    wake(stage);
  }

  function wake(stage: RunningStage): void {
    for (const reader of stage.readers) reader.more();
  }

  // ---- waiting ----

  /**
   * Milliseconds of denoising before the stage at `position` (1 = next) may begin, from evaluations measured so far; 0
   * while none was. A forecast step takes no time worth counting.
   */
  function waitMs(runner: Runner, position: number): number {
    const ahead = [...(runner.running ? [runner.running] : []), ...runner.waiting.slice(0, position - 1)];
    const tokens = ahead.reduce((sum, stage) => sum + stage.job.scale.length * evaluationsLeft(stage), 0);
    return Math.round(tokens * (runner.msPerToken ?? 0));
  }

  function tellPosition(runner: Runner, stage: RunningStage): void {
    const position = runner.waiting.indexOf(stage) + 1;
    push(stage, { event: { event: 'queued', position, eta_ms: waitMs(runner, position) }, tensors: {} });
    stage.aliveTimer?.refresh();
  }

  function leaveLine(stage: RunningStage): void {
    clearInterval(stage.aliveTimer);
    const { waiting } = runnerOf(stage);
    const at = waiting.indexOf(stage);
    if (at < 0) return;
    waiting.splice(at, 1);
    for (const behind of waiting.slice(at)) tellPosition(runnerOf(stage), behind);
  }

  // ---- computing ----

  async function work(runner: Runner): Promise<void> {
    for (let stage = runner.waiting[0]; stage; stage = runner.waiting[0]) {
      runner.running = stage;
      leaveLine(stage);
      await compute(runner, stage);
      runner.running = null;
    }
    becameIdle.resolve();
    becameIdle = Promise.withResolvers();
  }

  async function compute(runner: Runner, stage: RunningStage): Promise<void> {
    const { facts } = stage.job.model;
    const numTokens = stage.job.scale.length;
    try {
      const encodeText = (prompt: string, accountTag: string | undefined) =>
        runner.texts.encode(prompt, { accountTag, stageId: stage.id });
      const note = (newest: NewestStep): void => {
        if (!stage.isEnded) stage.newest = newest;
      };
      for await (const message of runStage(stage.job, encodeText, stage.stop.signal, note)) {
        if (message.event.event === 'step') {
          const { ms } = message.event;
          metrics.step(facts.id, numTokens, ms);
          if (isEvaluated(stage.stepsDone, stage.job.options.cache))
            runner.msPerToken =
              runner.msPerToken === null ? ms / numTokens : 0.8 * runner.msPerToken + (0.2 * ms) / numTokens;
          stage.stepsDone += 1;
        }
        if (stage.isEnded) continue; // stopped during this very step: its readers are gone, the generator throws next
        push(stage, message);
        if (message.event.event !== 'done') continue;
        stage.hasResult = true;
        if (stage.job.options.late_preview) await sent(stage);
      }
      if (!stage.isEnded) end(stage, 'done');
    } catch (error) {
      // an abort has told its readers already; anything else is the model's fault and told here
      if (stage.isEnded) return;
      if (error instanceof NotFiniteError)
        push(stage, { event: failure('not_finite', error.message, false), tensors: {} });
      else
        push(stage, {
          event: failure(
            'model_failed',
            error instanceof ModelFailure ? error.message : 'the stage server failed',
            true,
          ),
          tensors: {},
        });
      end(stage, 'failed', error);
    }
  }

  // ---- ending ----

  /**
   * The last message is in: readers are let go, the result is kept or forgotten. `came` is what the last part of it
   * came to: the stage itself, or the late preview of one that is done.
   */
  function end(stage: RunningStage, came: Outcome, error?: unknown): void {
    const outcome = stage.hasResult && came !== 'cancelled' ? 'done' : came;
    stage.isEnded = true;
    stage.newest = null;
    stage.thumbnail = null;
    leaveLine(stage);
    clearTimeout(stage.orphanTimer);
    wake(stage);
    if (outcome === 'done') keep(stage);
    else stages.delete(stage.id);
    const { job, id, stepsDone, since } = stage;
    metrics.finished(job.model.facts.id, outcome);
    log({
      event: 'stage',
      id,
      model: job.model.facts.id,
      tokens: job.scale.length,
      steps: job.sigmas.length - 1,
      steps_done: stepsDone,
      ms: Math.round(performance.now() - since),
      outcome,
      ...(came !== outcome && { preview: came }),
      ...traceOf(job.options.traceparent),
      ...evidence(error),
    });
  }

  function stop(stage: RunningStage, outcome: keyof typeof STOPPED): void {
    stage.stop.abort();
    push(stage, { event: STOPPED[outcome], tensors: {} });
    end(stage, outcome);
  }

  function keep(stage: RunningStage): void {
    const { latents, imgIds } = stage.job;
    const bytes = stage.messages.reduce((sum, message) => sum + message.length, latents.byteLength + imgIds.byteLength);
    const timer = setTimeout(() => forget(stage.id), limits.keepMs);
    timer.unref();
    kept.set(stage.id, { bytes, timer });
    keptBytes += bytes;
    for (const id of kept.keys()) {
      if (keptBytes <= limits.keepBytes) break;
      forget(id);
    }
  }

  function forget(id: string): void {
    const entry = kept.get(id);
    clearTimeout(entry?.timer);
    keptBytes -= entry?.bytes ?? 0;
    kept.delete(id);
    stages.delete(id);
  }

  // ---- readers ----

  function join(stage: RunningStage, reader: Reader): void {
    stage.readers.add(reader);
    clearTimeout(stage.orphanTimer);
  }

  function leave(stage: RunningStage, reader: Reader): void {
    if (!stage.readers.delete(reader)) return;
    if (stage.readers.size === 0 && !stage.isEnded)
      stage.orphanTimer = setTimeout(() => stop(stage, 'orphaned'), limits.orphanMs);
  }

  /** A native engine decodes on this very thread: the result is to be on its way before that, but for slow readers. */
  async function sent(stage: RunningStage): Promise<void> {
    const all = Promise.all([...stage.readers].map((reader) => reader.sent()));
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, SEND_MS);
    await Promise.race([all, limit.promise]);
    clearTimeout(timer);
  }

  return {
    find: (id) => stages.get(id),

    start(id, digest, job) {
      if (stages.has(id)) throw new RangeError(`stage ${id} is there already`);
      const runner = runnerOf({ job });
      if (runner.running && runner.waiting.length >= limits.queue)
        return { ok: false, retryAfterMs: waitMs(runner, 1) };
      const stage: RunningStage = {
        id,
        digest,
        job,
        messages: [],
        stop: new AbortController(),
        readers: new Set(),
        isEnded: false,
        hasResult: false,
        stepsDone: 0,
        newest: null,
        thumbnail: null,
        orphanTimer: undefined,
        aliveTimer: undefined,
        since: performance.now(),
      };
      stages.set(id, stage);
      runner.waiting.push(stage);
      if (runner.running) {
        stage.aliveTimer = setInterval(() => tellPosition(runner, stage), limits.aliveMs);
        tellPosition(runner, stage);
      } else {
        void work(runner);
      }
      return { ok: true, stage };
    },

    follow(stage, answer) {
      let index = 0;
      let sent = Promise.resolve();
      const more = () => {
        for (; index < stage.messages.length && !answer.writableNeedDrain; index++)
          sent = new Promise((resolve) => answer.write(stage.messages[index], () => resolve()));
        if (!stage.isEnded || index < stage.messages.length) return;
        part();
        answer.end();
      };
      const reader: Reader = { more, sent: () => sent };
      const part = () => leave(stage, reader);
      join(stage, reader);
      answer.on('drain', more).on('close', part).on('error', part);
      if (answer.destroyed) part();
      else more();
    },

    thumbnail(stage) {
      const { newest, job } = stage;
      const { colours, facts } = job.model;
      if (!newest || !colours) return null;
      if (stage.thumbnail?.step === newest.step) return stage.thumbnail.made;
      const begin = performance.now();
      const made = makeThumbnail(job, colours, newest);
      if (!made) return null;
      stage.thumbnail = { step: newest.step, made };
      // the file is encoded on another thread
      metrics.thumbnail(facts.id, performance.now() - begin);
      return made;
    },

    cancel(id) {
      const stage = stages.get(id);
      if (stage?.isEnded) forget(id);
      else if (stage) stop(stage, 'cancelled');
      for (const { texts } of runners.values()) texts.forget(id);
      return stage !== undefined;
    },

    counts() {
      const all = [...runners.values()];
      return {
        waiting: all.reduce((sum, { waiting }) => sum + waiting.length, 0),
        running: all.filter(({ running }) => running).length,
        etaMs: Math.max(0, ...all.map((runner) => waitMs(runner, runner.waiting.length + 1))),
      };
    },

    async drain(ms) {
      // the last first, so nobody moves up for nothing
      for (const { waiting } of runners.values()) for (const stage of waiting.toReversed()) stop(stage, 'drained');
      const isIdle = () => [...runners.values()].every(({ running }) => !running);
      const giveUp = setTimeout(() => {
        for (const { running } of runners.values()) if (running && !running.isEnded) stop(running, 'drained');
      }, ms);
      while (!isIdle()) await becameIdle.promise;
      clearTimeout(giveUp);
    },
  };
}

/** How many evaluations a stage still has to make. */
const evaluationsLeft = ({ job, stepsDone }: Pick<RunningStage, 'job' | 'stepsDone'>): number =>
  evaluatedSteps(job.sigmas.length - 1, job.options.cache).filter((step) => step >= stepsDone).length;

/** The trace a stage belongs to, for the log, when it is what W3C says it is: https://www.w3.org/TR/trace-context/ */
function traceOf(traceparent: string): { trace_id?: string } {
  const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(traceparent)?.[1];
  return traceId === undefined ? {} : { trace_id: traceId };
}

/** What the log may say of a failure. A text encoder's complaint may quote the prompt, so only its kind is told. */
function evidence(error: unknown): { error?: string } {
  if (error === undefined) return {};
  if (!(error instanceof ModelFailure)) return { error: String(error) };
  const { part, cause } = error;
  const kind = cause instanceof Error ? cause.name : typeof cause;
  return {
    error: part === 'text' ? `${part}: ${kind}` : `${part}: ${kind}: ${cause instanceof Error ? cause.message : ''}`,
  };
}
