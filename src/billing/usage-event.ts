/**
 * What the outside is told of every ended job: one CloudEvents 1.0 event, `id` = job id. Whoever takes it knows by `id`
 * and `source` whether it came before. Figures only, never content of the job. Pure. Source: https://cloudevents.io
 */
import { formatUsd, type MicroUsd } from './money.ts';

/** What is known of a job when it ends, wire form. Kept with its end, so that an erasure takes nothing from it. */
export interface EndedFacts {
  readonly model: string;
  readonly preset: string | null;
  readonly status: 'done' | 'failed' | 'cancelled';
  /** why it failed */
  readonly reason: string | null;
  readonly width: number;
  readonly height: number;
  /** those that were finished, and the one under way as far as it was heard of */
  readonly stages: readonly {
    readonly stage: number;
    readonly tokens: number;
    readonly steps: number;
    /** those of the steps that were evaluated; the others were forecast */
    readonly evaluations: number;
  }[];
  /** work that was heard of, and what of it has to be paid, TFLOPs */
  readonly tflops_done: number;
  readonly tflops_paid: number;
  /** null where nothing is charged, as `tariff` */
  readonly quote_usd: string | null;
  readonly tariff: string | null;
  /** milliseconds that stage servers computed for the finished stages */
  readonly compute_ms: number;
  /** Unix seconds */
  readonly created_at: number;
  /** milliseconds since 1970 */
  readonly finished_at_ms: number;
}

/** Whose job it was, and what its account was charged for it; null where nothing was held for it. */
export interface EndedOwner {
  readonly job: string;
  readonly account: string;
  readonly settled: { readonly captured: MicroUsd; readonly keyId: string; readonly user: string | null } | null;
}

/** The event in CloudEvents' structured mode. */
export interface UsageEvent {
  readonly specversion: '1.0';
  readonly id: string;
  readonly type: 'ralu.job.ended';
  /** the service's address, or `ralu` */
  readonly source: string;
  /** the account */
  readonly subject: string;
  /** when the job ended */
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: Omit<EndedFacts, 'finished_at_ms'> & {
    readonly account: string;
    /** id of the key, and the caller's own customer; null where nothing was held for the job */
    readonly key: string | null;
    readonly user: string | null;
    /** what was charged */
    readonly cost_usd: string | null;
    /** Unix seconds */
    readonly finished_at: number;
  };
}

/** What the event is sent as. */
export const USAGE_EVENT_TYPE = 'application/cloudevents+json';

/**
 * The event of an ended job, from the service at `publicUrl`. Where less was charged than the work comes to, nothing of
 * the work was paid beyond the charge: a hold that was let go pays none.
 */
export function usageEvent(
  { finished_at_ms, ...facts }: EndedFacts,
  { job, account, settled }: EndedOwner,
  publicUrl: string,
): UsageEvent {
  return {
    specversion: '1.0',
    id: job,
    type: 'ralu.job.ended',
    source: publicUrl || 'ralu',
    subject: account,
    time: new Date(finished_at_ms).toISOString(),
    datacontenttype: 'application/json',
    data: {
      account,
      key: settled?.keyId ?? null,
      user: settled?.user ?? null,
      ...facts,
      tflops_paid: settled && settled.captured > 0 ? facts.tflops_paid : 0,
      cost_usd: settled && formatUsd(settled.captured),
      finished_at: Math.floor(finished_at_ms / 1000),
    },
  };
}
