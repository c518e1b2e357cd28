/** What the outside is told of an ended job, from its record: figures, never content. Pure. */
import type { JobEnd } from '../account/account.ts';
import { chargeOf } from '../billing/charge.ts';
import { formatUsd } from '../billing/money.ts';
import type { Receipt, StageUsage } from '../billing/receipt.ts';
import type { EndedFacts } from '../billing/usage-event.ts';
import type { JobRecord } from './job.ts';
import { workHeard } from './record.ts';

/** How a job ended, beside the record it had before. */
export interface EndedJob {
  readonly end: JobEnd;
  readonly reason: string | null;
  readonly receipt: Receipt | null;
  readonly finishedAt: number;
  /** stages that were done, and the steps heard of the one under way */
  readonly usage: readonly StageUsage[];
  readonly steps: number;
}

/** The facts of a job that has ended. `record` is the job in the room it left. */
export function factsOf(record: JobRecord, { end, reason, receipt, finishedAt, usage, steps }: EndedJob): EndedFacts {
  const { plan, request, createdAt } = record;
  const { price } = plan;
  const heard = workHeard(record, usage, steps);
  return {
    model: plan.model.id,
    preset: request.schedule.preset,
    status: end.status,
    reason,
    width: request.width,
    height: request.height,
    stages: heard.map(({ stage, evaluations, isFinished }) => {
      const planned = plan.stages[stage - 1];
      return {
        stage,
        tokens: planned?.tokens ?? 0,
        steps: isFinished ? (planned?.steps ?? 0) : steps,
        evaluations,
      };
    }),
    tflops_done: price
      ? chargeOf(price, heard, end.status === 'done' ? 'whole' : 'heard').mflop / 1e6
      : (receipt?.tflops.total ?? 0),
    tflops_paid: (end.charge?.mflop ?? 0) / 1e6,
    quote_usd: price && formatUsd(price.quoted),
    tariff: price?.tariff ?? null,
    compute_ms: usage.reduce((sum, { computeMs }) => sum + computeMs, 0),
    created_at: Math.floor(createdAt / 1000),
    finished_at_ms: finishedAt,
  };
}
