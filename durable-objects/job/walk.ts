/**
 * The walk of a job from room to room, until it ends or waits.
 *
 * What holds, whatever is killed: a stage request goes out only after its attempt and a lease alarm are stored; what
 * comes back is stored with the next room, its events and its usage in one transaction, and only if room and attempt
 * are still those of the request. Where the next stage has its slot at once, its beginning is stored in that same
 * transaction. So a late answer changes nothing, and a job cut off anywhere goes on from its last stored room.
 */
import { tracing } from 'cloudflare:workers';
import type { SlotOutcome } from '../../src/fleet/slots.ts';
import { type Fault, isReported, isWaiting, mayStillRun, slotOutcomeOf } from '../../src/job/failures.ts';
import type { Job, JobRecord } from '../../src/job/job.ts';
import { labelled } from '../../src/job/label.ts';
import { logLine } from '../../src/job/log.ts';
import { afterFault, imageOf, isOutOfPatience, pauseLeft, timeLeft } from '../../src/job/record.ts';
import {
  isLastRoom,
  type Ran,
  roomName,
  type StageRequest,
  type Step,
  type Tools,
  walkRoom,
} from '../../src/job/story.ts';
import { Unreadable, unreadableFailure } from '../../src/job/unreadable.ts';
import { within } from '../../src/stage/time-limit.ts';
import { faultAttempt, forgetWorker, isCutOff, metSoFar, readAttempts, settleAttempt } from './attempts.ts';
import { appendEvents } from './event-tables.ts';
import { makeLatePictures } from './late-pictures.ts';
import { type JobParts, messageOf, Superseded, standsAt } from './parts.ts';
import { dropPicture, putPicture } from './pictures.ts';
import { makeReadiness } from './readiness.ts';
import { makeStageSender } from './send-stage.ts';
import type { Asked, Wanted } from './slots.ts';
import { addUsage, readableUsage, readJob, updateRow, writeJob } from './tables.ts';

/** How long one walk goes on. With the longest time that a stage takes it stays under the platform's 15 minutes. */
const WALK_MS = 2 * 60_000;
/** How long what a stage made waits to be stored together with the beginning of the next one. */
const TOGETHER_MS = 50;

export interface Walk {
  /**
   * Walks until the job is over or waits. Throws what storage or configuration throws; every failure of a stage ends in
   * a row.
   */
  on(): Promise<'over' | 'waits'>;
  /** Ends the request in flight. */
  abort(): void;
  /** A job that comes again has to ask its account anew. */
  forget(): void;
}

/** A room that was walked, and is not stored yet. */
interface Made {
  /** as it stands once this is stored */
  readonly row: JobRecord;
  readonly job: Job;
  /** Stores it, in the caller's transaction; false where the job has moved meanwhile. */
  readonly store: () => boolean;
}

/** What a room is walked with: the row, its latents, and what the room before made where that is not stored yet. */
interface Standing {
  readonly row: JobRecord;
  /** without its latents once a stage has begun with them: they are stored, and the server has them */
  job: Job;
  before: Made | null;
  /** the slot of the stage, where it has been asked for already */
  readonly asked: Promise<Asked> | null;
}

type MadeStep = Extract<Step, { ok: true }> & { readonly times: JobRecord['roomTimes'] };

/** Thrown in a room that has no slot yet, and waits for none here. */
class NotReady extends Error {
  override name = 'NotReady';
}

export function makeWalk(parts: JobParts): Walk {
  const { rows, slots, servers } = parts;
  const sender = makeStageSender(parts);
  const readiness = makeReadiness(parts);
  const pictures = makeLatePictures(parts);
  const { wantedFor } = readiness;
  /** a dispatcher gave the last slot */
  let isDispatched = false;
  /** where the slot of the next stage has been asked for already */
  let askedBefore: Promise<Asked> | null = null;

  async function on(): Promise<'over' | 'waits'> {
    const begin = Date.now();
    const mayGoOn = (now: number): boolean => now <= begin + WALK_MS && now >= begin;
    /** when it is looked again for a slot: whoever wakes the job looks at once */
    let lookAt = 0;
    for (;;) {
      const row = parts.row();
      if (!row || isLastRoom(row.room)) return 'over';
      const now = Date.now();
      const left = timeLeft(row, now);
      if (left === 0) {
        parts.fail(row, 'deadline_exceeded', 'The job was not done by its deadline.');
        continue;
      }
      // who has a slot has waited
      const pause = slots.held ? 0 : Math.max(pauseLeft(row, now), lookAt - now);
      // before the beginning: the clock has stepped back, so nobody knows how long it has been
      if (pause > 0 || !mayGoOn(now)) {
        parts.alarm.by(now + Math.min(pause, left));
        return 'waits';
      }
      const asked = askedBefore;
      askedBefore = null;
      const later = row.room.name === 'stage' ? await readiness.of(row, row.room.stage, asked) : null;
      if (later !== null) {
        lookAt = later;
        continue;
      }
      let at = stored(row);
      while (at !== null) at = await walk(at, mayGoOn);
    }
  }

  /** The job as it is stored; null where it cannot be walked, and has ended for that. */
  function stored(row: JobRecord): Standing | null {
    if (isCutOff(readAttempts(rows).at(-1)) && isOutOfPatience(row, parts.limits(), Date.now())) {
      const message = `The stage was cut off ${row.tries} times, the last time without any answer.`;
      parts.fail(row, 'interrupted', message);
      return null;
    }
    try {
      return { row, job: readJob(rows, row), before: null, asked: null };
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      logLine('alert', { job_id: row.id, what: 'unreadable', part: error.parts.join(', ') });
      parts.fail(row, 'unreadable', unreadableFailure(error.parts, null, row.tries).message);
      return null;
    }
  }

  /**
   * One room, and what it made stored if the job still stands where it stood. Returns where to go on at once, with what
   * this room made still to be stored; null where the row says how it goes on.
   */
  async function walk(at: Standing, mayGoOn: (now: number) => boolean): Promise<Standing | null> {
    const { row } = at;
    const name = roomName(row.room);
    const tools: Tools = { runStage: (request) => runStage(at, request), clock: () => performance.now() };
    const left = () => ({ room: name, ms: Date.now() - row.roomSince });
    let times = row.roomTimes;
    let asked: Promise<Asked> | null = null;
    let step: Step;
    try {
      step = await tracing.enterSpan(name, () => walkRoom(at.job, tools));
      if (row.room.name === 'stage') {
        asked = slots.done(...afterStage(row, step));
        if (step.ok && step.behind) pictures.expect(row.room.stage, step.behind);
      }
      times = [...times, left()];
      if (step.ok && step.job.room.name === 'select') {
        // it takes less time than storing the picture it reads
        const since = Date.now();
        const first = step;
        const second = await tracing.enterSpan('select', () => walkRoom(first.job, tools));
        step = second.ok ? { ...first, job: second.job, events: [...first.events, ...second.events] } : second;
        times = [...times, { room: 'select', ms: Date.now() - since }];
      }
    } catch (error) {
      if (!(error instanceof Superseded)) keep(at.before);
      if (error instanceof NotReady) {
        askedBefore = at.asked;
        return null;
      }
      // moved on meanwhile, or erased: nothing of it is there to be read any more
      if (error instanceof Superseded || !parts.row()) return null;
      // a fault of ours: the same job would meet it again, so it ends with a name instead of turning for ever
      logLine('room_threw', { job_id: row.id, room: name, error: messageOf(error) });
      parts.fail(row, 'internal_error', 'The job met an internal error.');
      return null;
    }
    if (!step.ok) {
      retryOrFail(row, step.failure);
      return null;
    }
    if (step.job.room.name === 'done') {
      await finish(row, { ...step, times });
      return null;
    }
    const made = madeOf(at, { ...step, times });
    if (made.job.room.name === 'stage' && mayGoOn(Date.now()))
      return { row: made.row, job: made.job, before: made, asked };
    keep(made);
    return null;
  }

  /** What a room made, to be stored. */
  function madeOf({ row, job: before }: Standing, { job, events, times }: MadeStep): Made {
    const sent = row.attempt + (row.room.name === 'stage' ? 1 : 0);
    const changes = {
      room: job.room,
      roomSince: Date.now(),
      roomTimes: times,
      tries: 0,
      notBefore: 0,
      busySince: null,
    };
    return {
      row: { ...(parts.row() ?? row), ...changes, selections: job.selections, attempt: sent },
      job,
      store() {
        if (!standsAt(parts.row, row, sent)) return false;
        storeLastStep();
        writeJob(rows, before, job);
        if (row.room.name === 'stage') settleAttempt(rows, 'stored');
        if (row.room.name === 'stage') pictures.store(row.room.stage);
        parts.append(...events);
        updateRow(rows, changes);
        return true;
      },
    };
  }

  /** The last step of a stage, in the transaction of what the stage made. */
  function storeLastStep(): void {
    const step = parts.progress.unstored();
    if (step) appendEvents(rows, [step.event], step.at);
    rows.onCommit(parts.progress.drop);
  }

  /** Stores what a room made, by itself. */
  function keep(made: Made | null): void {
    if (!made) return;
    rows.transact(made.store);
    parts.notify();
  }

  /** Servers other than the last one where the stage of a row came to nothing. */
  function elsewhere({ room }: JobRecord): readonly string[] {
    if (room.name !== 'stage') return [];
    const last = readAttempts(rows).at(-1)?.backend;
    return metSoFar(rows, room.stage).tried.filter((backend) => backend !== last);
  }

  /** What a stage that is over says of its server, and the stage that follows. */
  function afterStage(row: JobRecord, step: Step): [SlotOutcome, Wanted | null] {
    if (!step.ok) {
      const outcome = slotOutcomeOf(step.failure, elsewhere(row).length);
      return [outcome.kind === 'wrong' && sender.isOutdated ? { ...outcome, isOutdated: true } : outcome, null];
    }
    const { room, usage } = step.job;
    const next = room.name === 'stage' ? room.stage : room.name === 'select' ? 2 : null;
    return [
      { kind: 'done', ms: sender.computedMs, ...(sender.isOutdated && { isOutdated: true }) },
      next === null ? null : wantedFor(row, next, usage),
    ];
  }

  /** Sends a stage request to the server of the slot. Throws Superseded, and NotReady where there is no slot yet. */
  async function runStage(at: Standing, request: StageRequest): Promise<Ran> {
    const { row, before, asked } = at;
    const { stage } = request.stage;
    if (before && !slots.held) {
      await within(TOGETHER_MS, 'the slot', Promise.resolve(asked)).catch(() => undefined);
      if (!slots.held) throw new NotReady();
    }
    const slot = slots.held;
    const addressed = slot && (await servers.address(row, request, slot));
    if (!slot || !addressed) {
      keep(before);
      return { ok: false, failure: { reason: 'no_server' } };
    }
    isDispatched = slot.dispatcher !== null;
    const store =
      before &&
      (() => {
        if (!before.store()) throw new Superseded();
      });
    const wanted = () => wantedFor(row, stage, readableUsage(rows));
    const ran = sender.send(row, { request, slot, addressed, wanted, store });
    at.before = null;
    at.job = { ...at.job, tokens: null, rgb: null };
    return ran;
  }

  /** Stores the image, then the end: a row never points at an image that is not there. */
  async function finish(row: JobRecord, { job, events, image, thumbnail }: MadeStep): Promise<void> {
    const file = image && labelled(image, row.request, row.plan);
    if (file) {
      try {
        await Promise.all([putPicture(parts.env(), row, file), pictures.settle()]);
      } catch (error) {
        retryOrFail(row, { reason: 'storage_failed', detail: messageOf(error) }, job.usage);
        return;
      }
    }
    const isStored = rows.transact(() => {
      if (!standsAt(parts.row, row, row.attempt + 1)) return false;
      storeLastStep();
      addUsage(rows, job.usage);
      settleAttempt(rows, 'stored');
      parts.append(...events);
      const finished = imageOf(row, file?.length ?? 0);
      parts.finish(row, {
        room: { name: 'done' },
        outcome: { image: { ...finished, ...(thumbnail && { thumbnail }) } },
        event: ({ receipt, cost }) => ({ type: 'done', data: { job_id: row.id, image: finished, receipt, cost } }),
      });
      return true;
    });
    if (isStored) {
      parts.afterEnd();
      return;
    }
    // cancelled or erased while the image was on its way: it must not stay behind
    if (file) await dropPicture(parts.env(), row);
    parts.notify();
  }

  /** A stage without result: the job waits, tries again, or ends. */
  function retryOrFail(row: JobRecord, fault: Fault, usage = readableUsage(rows)): void {
    const isSent = fault.reason !== 'no_server';
    if (row.room.name !== 'stage' || !standsAt(parts.row, row, row.attempt + (isSent ? 1 : 0))) return;
    parts.progress.flush();
    const { stage } = row.room;
    readiness.noteFault(stage, fault);
    const at = readAttempts(rows).at(-1)?.backend ?? '';
    if (isSent) logLine('stage_failed', { job_id: row.id, backend: at, stage, attempt: row.tries + 1, ...fault });
    const { reported, faultsThere } = metSoFar(rows, stage);
    const others = elsewhere(row);
    const hasOther = servers.hasOther([...others, at], row.plan.model.id, row.regions);
    const met = { reported, faultsThere, elsewhere: others.length, hasOther, isDispatched };
    const verdict = afterFault(row, stage, fault, { patience: parts.limits(), met, now: Date.now() });
    // nobody is there, or the configuration is wrong: the job waits, and somebody has to look
    if (verdict.kind === 'delay' && fault.reason !== 'busy' && isWaiting(fault) && row.busySince === null)
      logLine('alert', { job_id: row.id, what: fault.reason });
    if (verdict.kind === 'end') {
      parts.fail(row, verdict.reason, verdict.message, { attempts: verdict.attempts, usage });
      return;
    }
    rows.transact(() => {
      // where only the bucket failed, the server has the result and is asked again
      if (isSent && fault.reason !== 'storage_failed') {
        faultAttempt(rows, { mayStillRun: mayStillRun(fault), isReported: isReported(fault) });
        if (!mayStillRun(fault)) forgetWorker(rows);
      }
      if (verdict.event) parts.append(verdict.event);
      updateRow(rows, verdict.changes);
    });
    parts.notify();
  }

  return {
    on,
    abort: sender.abort,
    forget() {
      askedBefore = null;
      pictures.forget();
      readiness.forget();
    },
  };
}
