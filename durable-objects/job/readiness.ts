/** Whether a stage of a job may go out: its account lets it begin, and there is a slot for it. */
import type { StageUsage } from '../../src/billing/receipt.ts';
import { describeFailure, type Fault, reasonOf } from '../../src/job/failures.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { logLine } from '../../src/job/log.ts';
import { needsOf } from '../../src/job/plan.ts';
import { whileWaiting } from '../../src/job/record.ts';
import { boundEngine, roomName } from '../../src/job/story.ts';
import { within } from '../../src/stage/time-limit.ts';
import { metSoFar, readAttempts } from './attempts.ts';
import { type JobParts, messageOf } from './parts.ts';
import type { Asked, Wanted } from './slots.ts';
import { readableUsage, updateRow } from './tables.ts';

const TERA = 1e12;
/** Longest wait for the account, and the pauses between two questions. */
const ACCOUNT_MS = 10_000;
const CONFIRM_PAUSE_MS = 500;
const LONGEST_CONFIRM_PAUSE_MS = 10_000;

export interface Readiness {
  /**
   * Null where stage `stage` may go out. Where not, when to look again; 0: the row says until when the job waits, or
   * how it has ended. The slot is asked for, unless it was before.
   */
  of(row: JobRecord, stage: number, askedBefore: Promise<Asked> | null): Promise<number | null>;
  /** A stage came to nothing by this fault: where its wait for a slot ends without one, that is why. */
  noteFault(stage: number, fault: Fault): void;
  /** What a stage asks of the dispatchers, after the stages of `usage`. */
  wantedFor(row: JobRecord, stage: number, usage: readonly StageUsage[]): Wanted;
  /** A job that comes again has to ask its account anew. */
  forget(): void;
}

type Parts = Pick<JobParts, 'env' | 'rows' | 'slots' | 'limits' | 'row' | 'append' | 'notify' | 'fail'>;

export function makeReadiness(parts: Parts): Readiness {
  const { rows, slots } = parts;
  /** its account has said that it may begin */
  let isConfirmed = false;
  let last: { readonly stage: number; readonly fault: Fault } | null = null;

  async function of(row: JobRecord, stage: number, askedBefore: Promise<Asked> | null): Promise<number | null> {
    const asked = askedBefore ?? slots.ask(wantedFor(row, stage, readableUsage(rows)));
    const [mayBegin, said] = await Promise.all([isConfirmed || confirm(row), asked]);
    const current = parts.row();
    // ended, or gone, or walked by another meanwhile
    if (!current || roomName(current.room) !== roomName(row.room)) return 0;
    if (!mayBegin) {
      slots.done({ kind: 'dropped' }, null);
      return 0;
    }
    return said.kind === 'slot' || slots.held ? null : wait(current, stage, said);
  }

  /** The job waits for a slot, or has waited too long: when it looks again. */
  function wait(row: JobRecord, stage: number, said: Exclude<Asked, { kind: 'slot' }>): number {
    const line = said.kind === 'line' ? said : null;
    const now = Date.now();
    const waits = whileWaiting(row, stage, line, { patience: parts.limits(), now });
    if (!waits) {
      const fault: Fault = last?.stage === stage ? last.fault : { reason: 'no_server' };
      parts.fail(row, reasonOf(fault), describeFailure(fault));
      return 0;
    }
    // nobody could take it, whoever was free: somebody has to look
    if (!line && row.busySince === null) logLine('alert', { job_id: row.id, what: 'no_server' });
    // however long it waits, nothing more is stored
    if (waits.changes || row.confirmedAt === null)
      rows.transact(() => {
        updateRow(rows, { ...waits.changes, confirmedAt: row.confirmedAt ?? now });
        if (waits.event) parts.append(waits.event);
      });
    parts.notify();
    return waits.lookAt;
  }

  /** What a stage asks of the dispatchers. */
  function wantedFor(row: JobRecord, stage: number, usage: readonly StageUsage[]): Wanted {
    const { plan, request } = row;
    const work = plan.stages.map(({ flops }) => flops / TERA);
    return {
      regions: row.regions,
      account: row.account,
      request: {
        job: row.id,
        needs: needsOf(plan),
        engine: boundEngine(request, usage),
        tflops: work[stage - 1] ?? 0,
        restTflops: work.slice(stage - 1).reduce((sum, one) => sum + one, 0),
        hasBegun: stage > 1,
        since: row.createdAt,
        last: readAttempts(rows).at(-1)?.backend ?? null,
        movingTflops: plan.flops.text / TERA,
        tried: metSoFar(rows, stage).tried,
      },
    };
  }

  /**
   * Asks the account whether the job may begin: what it may cost is held there, unless the account has let it go before
   * the job came. Until that is answered nothing is sent.
   */
  async function confirm(row: JobRecord): Promise<boolean> {
    if (row.confirmedAt !== null) return true;
    try {
      const account = parts.env().ACCOUNTS.getByName(row.account);
      const confirmed = await within(ACCOUNT_MS, 'the account', account.confirm(row.id));
      if (confirmed === 'held') isConfirmed = true;
      else parts.fail(row, 'not_confirmed', 'The job came too late: its account has let it go. Nothing was charged.');
      return confirmed === 'held';
    } catch (error) {
      logLine('account_not_reached', { job_id: row.id, error: messageOf(error) });
      const now = Date.now();
      // a clock that has stepped back begins the wait anew
      const busySince = Math.min(row.busySince ?? now, now);
      const waited = now - busySince;
      if (waited >= parts.limits().queueMs)
        parts.fail(row, 'not_confirmed', 'The account did not say that the job may begin. Nothing was charged.');
      else {
        const pause = Math.min(LONGEST_CONFIRM_PAUSE_MS, Math.max(CONFIRM_PAUSE_MS, waited));
        updateRow(rows, { busySince, notBefore: now + pause });
      }
      return false;
    }
  }

  return {
    of,
    noteFault(stage, fault) {
      last = { stage, fault };
    },
    wantedFor,
    forget() {
      isConfirmed = false;
      last = null;
    },
  };
}
