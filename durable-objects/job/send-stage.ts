/**
 * One request of a stage: its attempt and its lease are stored before a byte goes out, what is heard of it is told, and
 * its clocks are kept.
 */
import { FEATURE_LOST, isOfOptions } from '../../src/job/failures.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { logLine } from '../../src/job/log.ts';
import { forget } from '../../src/job/outbox.ts';
import { timeLeft } from '../../src/job/record.ts';
import type { Ran, StageRequest } from '../../src/job/story.ts';
import type { StageOutcome } from '../../src/stage/client.ts';
import { beginAttempt, giveUpOthers, nameWorker, readAttempts } from './attempts.ts';
import { addLetter, removeForget } from './outbox-tables.ts';
import { type JobParts, LEASE_MS, Superseded, standsAt } from './parts.ts';
import type { AddressedRequest, CallLimits } from './servers.ts';
import type { HeldSlot, Wanted } from './slots.ts';
import { updateRow } from './tables.ts';

/** How often a slot is renewed while its stage runs. */
const RENEW_MS = 10_000;
/** Longest that a stage stands in its server's own line. */
const MAX_LINE_MS = 2 * 60_000;

/** A request with the slot it goes to. */
export interface Outgoing {
  readonly request: StageRequest;
  readonly slot: HeldSlot;
  readonly addressed: AddressedRequest;
  /** what the dispatcher is told while the stage runs */
  readonly wanted: () => Wanted;
  /** stores what the stage before made, in the transaction of this one's beginning; throws Superseded */
  readonly store: (() => void) | null;
}

/** A request on its way. */
interface Run {
  /** when it went out, and when the server last said that it waits in its line */
  readonly begun: number;
  computesSince: number;
  readonly controller: AbortController;
  readonly engineClass: string | null;
  readonly wanted: Wanted;
}

export interface StageSender {
  /**
   * Sends the request of the stage in which `row` stands and waits for its outcome. Throws Superseded where the job has
   * moved meanwhile: then nothing is stored or sent.
   */
  send(row: JobRecord, outgoing: Outgoing): Promise<Ran>;
  /** Ends the requests in flight. */
  abort(): void;
  /** time that the last stage took, without what it spent in its server's line */
  readonly computedMs: number;
  /** the server of the last stage has not what its list names: it took the stage without, or cannot take it at all */
  readonly isOutdated: boolean;
}

type Parts = Pick<
  JobParts,
  | 'rows'
  | 'alarm'
  | 'servers'
  | 'slots'
  | 'progress'
  | 'thumbnails'
  | 'limits'
  | 'row'
  | 'append'
  | 'notify'
  | 'tellServers'
  | 'fail'
>;

export function makeStageSender(parts: Parts): StageSender {
  const { rows, alarm, slots, progress, thumbnails } = parts;
  /** end the requests in flight: of the stage that runs, and of those whose picture is still to come */
  const inFlight = new Set<AbortController>();
  let computedMs = 0;
  let isOutdated = false;

  /** Stores where the request goes, in the caller's transaction; returns whether a server is to be told to stop. */
  function address(
    stage: number,
    number: number,
    backend: string,
    { stageId, isPlain }: Pick<AddressedRequest, 'stageId' | 'isPlain'>,
    now: number,
  ): boolean {
    const left = giveUpOthers(rows, { stage, backend, stageId });
    // under another name of the same server it is this very request
    const told = left.filter((sent) => sent.stageId !== stageId || !parts.servers.areOne(sent.backend, backend));
    for (const sent of told) addLetter(rows, forget(sent), now);
    for (const sent of readAttempts(rows))
      if (parts.servers.areOne(sent.backend, backend)) removeForget(rows, sent.backend, stageId);
    removeForget(rows, backend, stageId);
    beginAttempt(rows, { backend, stageId, stage, number, isPlain });
    return told.length > 0;
  }

  /** Stores that the request goes out; returns whether a server is to be told to stop. */
  function begin(row: JobRecord, { request, slot, addressed, store }: Outgoing, now: number): boolean {
    const { stage, tokens, steps } = request.stage;
    return rows.transact(() => {
      store?.();
      if (!standsAt(parts.row, row, row.attempt)) throw new Superseded();
      // told once, however often servers that take nothing are asked
      const isTold = row.tries === 0 && readAttempts(rows).some((attempt) => attempt.stage === stage);
      // the time in line is over once a stage goes out; one that was cut off has no result since then
      const busySince = row.tries > 0 ? (row.busySince ?? now) : null;
      const confirmedAt = row.confirmedAt ?? now;
      updateRow(rows, { attempt: row.attempt + 1, tries: row.tries + 1, notBefore: 0, busySince, confirmedAt });
      const isGivenUp = address(stage, row.attempt + 1, slot.backend, addressed, now);
      const stages = row.plan.stages.length;
      if (!isTold) parts.append({ type: 'stage', data: { stage, stages, tokens, steps, attempt: row.tries + 1 } });
      alarm.by(now + LEASE_MS);
      return isGivenUp;
    });
  }

  /** Stores that the request which is out goes once more, as the server may take it. Throws Superseded. */
  function beginAgain(row: JobRecord, stage: number, backend: string, addressed: AddressedRequest): void {
    const isGivenUp = rows.transact(() => {
      if (!standsAt(parts.row, row, row.attempt + 1)) throw new Superseded();
      return address(stage, row.attempt + 1, backend, addressed, Date.now());
    });
    if (isGivenUp) parts.tellServers();
  }

  /** What came of a request that even without the options which change no number could not be read. */
  function asLost({ plan }: JobRecord, outcome: StageOutcome): StageOutcome {
    if (outcome.ok || !isOfOptions(outcome.failure) || outcome.failure.reason !== 'refused') return outcome;
    // without options that the stage needs, its own are at fault
    if (plan.features.length === 0) return outcome;
    isOutdated = true;
    return { ok: false, failure: { ...outcome.failure, code: FEATURE_LOST } };
  }

  return {
    get computedMs() {
      return computedMs;
    },
    get isOutdated() {
      return isOutdated;
    },
    abort() {
      for (const controller of inFlight) controller.abort();
      inFlight.clear();
      thumbnails.end();
    },
    send(row, outgoing) {
      const { request, slot, addressed, wanted } = outgoing;
      const { stage } = request.stage;
      const { timeoutMs, silenceMs, queueMs } = parts.limits();
      const begun = Date.now();
      const isGivenUp = begin(row, outgoing, begun);
      parts.notify();
      if (isGivenUp) parts.tellServers();
      const controller = new AbortController();
      inFlight.add(controller);
      const run: Run = { begun, computesSince: begun, controller, engineClass: slot.engineClass, wanted: wanted() };
      const { backend } = slot;
      /** what is sent where the options are refused: nobody holds it once the server has taken them */
      let { plain } = addressed;
      isOutdated = false;
      const limits: CallLimits = {
        ...{ timeoutMs, silenceMs, lineMs: Math.min(MAX_LINE_MS, queueMs) },
        signal: controller.signal,
        onProgress: (event) => {
          plain = null;
          if (controller.signal.aborted) return;
          if (event.event === 'queued' && event.position > 0) run.computesSince = Date.now();
          progress.add(row.id, stage, event);
          // after the last one the picture itself is on its way
          if (event.event === 'step' && event.step < event.steps) thumbnails.stepDone(event.step);
        },
        onWorker: (worker) => {
          if (!controller.signal.aborted) nameWorker(rows, row.attempt + 1, worker);
        },
      };
      thumbnails.begin(stage, addressed.thumbnail);
      const sent = addressed.send(limits).then(async (outcome) => {
        const make = plain;
        plain = null;
        if (outcome.ok || !isOfOptions(outcome.failure)) return outcome;
        if (!make) return asLost(row, outcome);
        logLine('options_refused', { job_id: row.id, backend, stage, ...outcome.failure });
        const again = await make();
        beginAgain(row, stage, backend, again);
        thumbnails.begin(stage, again.thumbnail);
        const second = await again.send(limits);
        if (!second.ok) return asLost(row, second);
        isOutdated = true;
        return second;
      });
      // whoever waits for the outcome holds neither the request nor what was stored with it
      return follow(row, run, sent);
    },
  };

  async function follow(row: JobRecord, run: Run, sent: Promise<StageOutcome>): Promise<Ran> {
    const { begun, controller, engineClass } = run;
    let behind: Promise<unknown> | null = null;
    let isDone = false;
    const fail = (): void => parts.fail(row, 'deadline_exceeded', 'The job was not done by its deadline.');
    const deadline = row.deadlineAt === null ? null : setTimeout(fail, timeLeft(row, begun));
    const renewal = setInterval(() => void slots.renew(run.wanted), RENEW_MS);
    try {
      const outcome = await sent;
      isDone = outcome.ok;
      if (outcome.ok) ({ behind } = outcome.result);
      const end = Date.now();
      computedMs = end - run.computesSince;
      return outcome.ok ? { ...outcome, wallMs: end - begun, attempts: row.tries + 1, engineClass } : outcome;
    } finally {
      if (deadline !== null) clearTimeout(deadline);
      clearInterval(renewal);
      thumbnails.end();
      // the last step of a stage that is done is stored with what it made
      if (!isDone) progress.flush();
      void Promise.resolve(behind).then(() => inFlight.delete(controller));
    }
  }
}
