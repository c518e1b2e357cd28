/**
 * How a job ends, whatever ended it: one transaction takes its latents, says in its row how it ended, with a receipt of
 * the work that was reported, and puts into the outbox everything that others have to hear. A job that cannot be read
 * ends too.
 */
import type { JobEnd } from '../../src/account/account.ts';
import { factsOf } from '../../src/job/ended-facts.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { logLine } from '../../src/job/log.ts';
import { DROPPED_AT_BREAK, lettersAtEnd } from '../../src/job/outbox.ts';
import { chargeAtEnd, endOf, excessWork, receiptOf, timesAfter } from '../../src/job/record.ts';
import { isLastRoom, roomName } from '../../src/job/story.ts';
import { Unreadable } from '../../src/job/unreadable.ts';
import { costOf } from '../../src/job/view.ts';
import type { Alarm } from '../alarm.ts';
import { DEFAULT_TTL_MS, readTtl } from '../limits.ts';
import { readAttempts } from './attempts.ts';
import { appendEvents, heardSteps } from './event-tables.ts';
import { deleteLatents } from './latents.ts';
import { addLetter, lettersOf, removeLetters } from './outbox-tables.ts';
import { type JobEnv, type JobParts, LEASE_MS, messageOf } from './parts.ts';
import type { Rows } from './rows.ts';
import { breakRow, readableUsage, readRow, updateRow } from './tables.ts';

/** What an end needs of its job. */
export interface Ended {
  readonly env: () => JobEnv;
  readonly rows: Rows;
  readonly alarm: Alarm;
  /** id of the job, for the log */
  readonly job: string;
  /** what was heard of the stage and is not stored yet is stored */
  readonly flush: () => void;
  /** the request in flight is ended, who watches hears of it, and the slot is given back */
  readonly stop: (row: JobRecord | null) => void;
  /** what the end has to tell goes out */
  readonly deliver: () => void;
}

export interface Ends extends Pick<JobParts, 'row' | 'append' | 'finish' | 'afterEnd' | 'fail'> {
  /** Whether there is a job that has not ended. */
  isOpen(): boolean;
  /** Ends the job as cancelled, in a transaction of its own. Does nothing where it has ended. */
  cancel(row: JobRecord): void;
  /** Ends a job that cannot be read, whatever it was about: it stands there as failed, and others hear of its end. */
  break(parts: readonly string[]): JobRecord | null;
  /** The end that is to be told to the account, or was. */
  told(): JobEnd | 'open' | null;
}

export function makeEnds({ env, rows, alarm, job, flush, stop, deliver }: Ended): Ends {
  const append: Ends['append'] = (...events: readonly JobEvent[]) => appendEvents(rows, events, Date.now());

  /** How long an ended job is kept. A wrong limit keeps nobody from ending a job. */
  function ttlMs(): number {
    try {
      return readTtl(env());
    } catch (error) {
      logLine('bad_configuration', { job_id: job, error: messageOf(error) });
      return DEFAULT_TTL_MS;
    }
  }

  const finish: Ends['finish'] = (row, { room, outcome, event, usage = readableUsage(rows) }) => {
    const now = Date.now();
    const heard = heardSteps(rows);
    const steps = row.room.name === 'stage' ? (heard.counted.get(row.room.stage) ?? 0) : 0;
    const how = { room, reason: outcome?.failure?.reason ?? null };
    const charge = chargeAtEnd(row, how, usage, steps);
    const receipt = receiptOf(row, { usage, charge, end: how }, now);
    const expiresAt = now + ttlMs();
    deleteLatents(rows.sql);
    updateRow(rows, {
      ...outcome,
      receipt,
      room,
      roomSince: now,
      roomTimes: timesAfter(row, now),
      finishedAt: now,
      expiresAt,
    });
    const ended = { ...row, room, receipt };
    append(event({ receipt, cost: costOf(ended) }));
    const told = endOf(ended, room.name === 'failed' ? excessWork(row, heard.everyRun) : null) as JobEnd;
    const facts = factsOf(row, { end: told, reason: how.reason, receipt, finishedAt: now, usage, steps });
    for (const { letter, dueAt } of lettersAtEnd(row, { end: told, facts, expiresAt, now }, readAttempts(rows)))
      addLetter(rows, letter, dueAt);
    alarm.by(now + LEASE_MS);
    logLine('job_ended', {
      job_id: row.id,
      room: room.name,
      ms: now - row.createdAt,
      reason: outcome?.failure?.reason,
    });
  };

  function afterEnd(): void {
    stop(row());
    deliver();
  }

  function breakJob(parts: readonly string[]): JobRecord | null {
    const now = Date.now();
    const times = { now, expiresAt: now + ttlMs() };
    const broken = rows.transact(() => {
      const record = breakRow(rows, parts, times);
      if (!record?.failure) return record;
      append({ type: 'failed', data: { job_id: record.id, ...record.failure, cost: costOf(record) } });
      removeLetters(rows, DROPPED_AT_BREAK);
      const end = { status: 'failed', work: null, charge: null, excess: null } as const;
      const { reason } = record.failure;
      // one that had ended before is not told of twice
      const facts =
        record.finishedAt === now
          ? factsOf(record, { end, reason, receipt: null, finishedAt: now, usage: [], steps: 0 })
          : null;
      const isUntold = lettersOf(rows, 'ended').length > 0;
      const told = { end, facts, expiresAt: times.expiresAt, now };
      for (const { letter, dueAt } of lettersAtEnd(record, told, readAttempts(rows)))
        if (letter.kind !== 'ended' || !isUntold) addLetter(rows, letter, dueAt);
      alarm.by(now);
      return record;
    });
    logLine('alert', { job_id: job, what: 'unreadable', part: broken?.failure?.message ?? '' });
    stop(broken);
    return broken;
  }

  /** The stored job. One that cannot be read is ended first, by the name of what cannot be read. */
  function row(): JobRecord | null {
    try {
      return readRow(rows);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      return breakJob(error.parts);
    }
  }

  return {
    row,
    append,
    finish,
    afterEnd,
    break: breakJob,
    isOpen() {
      const stored = row();
      return stored !== null && !isLastRoom(stored.room);
    },
    cancel(stored) {
      if (isLastRoom(stored.room)) return;
      flush();
      const data = { job_id: stored.id, room: roomName(stored.room) };
      rows.transact(() =>
        finish(stored, {
          room: { name: 'cancelled' },
          event: ({ cost }) => ({ type: 'cancelled', data: { ...data, cost } }),
        }),
      );
      afterEnd();
    },
    fail(walked, reason, message, known = {}) {
      flush();
      const current = row();
      if (!current || isLastRoom(current.room)) return;
      const stage = walked.room.name === 'stage' ? walked.room.stage : null;
      const failure = { reason, message, stage, attempts: known.attempts ?? current.tries };
      rows.transact(() =>
        finish(current, {
          room: { name: 'failed' },
          outcome: { failure },
          ...(known.usage && { usage: known.usage }),
          event: ({ cost }) => ({ type: 'failed', data: { job_id: walked.id, ...failure, cost } }),
        }),
      );
      afterEnd();
    },
    told() {
      const stored = row();
      const [untold] = lettersOf(rows, 'ended');
      if (untold) return endIn(untold.payload);
      return stored && (endOf(stored, null) ?? 'open');
    },
  };
}

/** The end that a letter tells; one of an earlier version has no charge. */
const endIn = ({ status, work, charge = null, excess = null }: JobEnd): JobEnd => ({ status, work, charge, excess });
