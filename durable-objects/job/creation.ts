/** How a job begins to be: its row with the first two events, in one transaction. Nothing here awaits. */
import { viewQuotedCost } from '../../src/billing/charge.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { viewPlan } from '../../src/job/plan.ts';
import { newRecord } from '../../src/job/record.ts';
import type { NewJob } from '../../src/job/rpc.ts';
import { nextLetterAt } from './outbox-tables.ts';
import type { Rows } from './rows.ts';
import { insertRow, updateRow } from './tables.ts';

/**
 * Stores a new job; false, and nothing of it changed, where it is there or was erased and others have yet to hear of
 * that. `row` reads the job that is there.
 */
export function storeNew(
  rows: Rows,
  row: () => JobRecord | null,
  { id, account, regions = [''], enteredAt, request, plan, deadlineSeconds, webhook }: NewJob,
): boolean {
  const now = Date.now();
  return rows.transact(() => {
    const before = row();
    if (before) {
      // the request came again in part: it has other jobs now
      if (before.account === account && before.request.batch && request.batch)
        updateRow(rows, { request: { ...before.request, batch: request.batch } });
      return false;
    }
    // an erased job does not come again: what its first life cost is still to be told
    if (nextLetterAt(rows, now) !== null) return false;
    const deadlineAt = deadlineSeconds === null ? null : now + deadlineSeconds * 1000;
    const told = webhook && ({ ...webhook, tries: 0, state: 'waiting' } as const);
    const { model, seed, width, height } = request;
    const cost = plan.price && viewQuotedCost(plan.price);
    const events: JobEvent[] = [
      { type: 'queued', data: { job_id: id, stage: null, position: null, eta_ms: null } },
      { type: 'plan', data: { ...viewPlan(plan, request), model, seed, width, height, cost } },
    ];
    const record = newRecord({ id, account, regions, enteredAt, request, plan, deadlineAt, webhook: told }, now);
    insertRow(rows, record, events);
    return true;
  });
}
