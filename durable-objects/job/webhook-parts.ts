/** What the parts share that tell a caller's own server. */
import type { JobRecord } from '../../src/job/job.ts';
import type { JobWithLogs } from '../../src/job/rpc.ts';

/** A request as it stands, and where that is told. */
export interface Look {
  readonly record: JobRecord & { readonly webhook: NonNullable<JobRecord['webhook']> };
  /** those that are there */
  readonly jobs: readonly JobWithLogs[];
  /** all have ended, or never came */
  readonly isOver: boolean;
  readonly numPictures: number;
  readonly numLines: number;
}

export interface WebhookTeller {
  /** The request as it stands; null where it is not stored or names no webhook. Rejects where a job does not answer. */
  look(): Promise<Look | null>;
  /**
   * One call under this id: the status of the answer, null where there was none in time. `erased` where the job is gone
   * by then, and nobody was called. Rejects where the account does not answer.
   */
  call(look: Look, id: string, signal: AbortSignal): Promise<number | null | 'erased'>;
}
