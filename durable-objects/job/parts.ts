/** What the parts of a job's object that walk its rooms share. */
import type { Receipt, StageUsage } from '../../src/billing/receipt.ts';
import type { FleetEnv } from '../../src/fleet/fleet.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { FailureReason } from '../../src/job/failures.ts';
import type { JobRecord, JobView } from '../../src/job/job.ts';
import type { End } from '../../src/job/record.ts';
import { roomName } from '../../src/job/story.ts';
import type { Alarm } from '../alarm.ts';
import type { Limits, LimitVariables } from '../limits.ts';
import type { OutboxEnv } from './outbox.ts';
import type { Progress } from './progress.ts';
import type { Rows } from './rows.ts';
import type { Servers } from './servers.ts';
import type { Slots, SlotsEnv } from './slots.ts';
import type { Thumbnails } from './thumbnails.ts';

/** What a deployment gives the object. */
export interface JobEnv extends LimitVariables, FleetEnv, SlotsEnv, OutboxEnv {}

/** How a job ends, and what is told of it. */
export interface Ending {
  readonly room: End['room'];
  readonly outcome?: Partial<Pick<JobRecord, 'image' | 'failure'>>;
  /** stages that were done; those stored where absent */
  readonly usage?: readonly StageUsage[];
  readonly event: (end: Pick<JobView, 'cost'> & { readonly receipt: Receipt }) => JobEvent;
}

export interface JobParts {
  readonly env: () => JobEnv;
  readonly rows: Rows;
  readonly alarm: Alarm;
  readonly servers: Servers;
  readonly slots: Slots;
  readonly progress: Progress;
  readonly thumbnails: Thumbnails;
  /** The deployment's limits. Throws an Error that names the variable where one is wrong: then jobs wait. */
  readonly limits: () => Limits;
  /** The stored job; one that cannot be read is ended first. */
  readonly row: () => JobRecord | null;
  /** Appends events at this moment. */
  readonly append: (...events: readonly JobEvent[]) => void;
  /** Something was stored: who watches hears of it. */
  readonly notify: () => void;
  /** Work that goes on behind the walk. */
  readonly background: (work: Promise<unknown>) => void;
  /** Stage servers are told to stop what was given up. */
  readonly tellServers: () => void;
  /** The last room, in the caller's transaction; once that is stored, `afterEnd`. */
  readonly finish: (row: JobRecord, end: Ending) => void;
  /** What comes of an end once it is stored. */
  readonly afterEnd: () => void;
  /** Ends the job as failed, in a transaction of its own. Does nothing where it has ended. */
  readonly fail: (
    row: JobRecord,
    reason: FailureReason,
    message: string,
    known?: { readonly attempts?: number; readonly usage?: readonly StageUsage[] },
  ) => void;
}

/** Thrown in a room whose job was cancelled, erased or advanced while its request was prepared. */
export class Superseded extends Error {
  override name = 'Superseded';
}

/**
 * When a job that goes on is woken again, in case nobody lives who walks it. Who is then walked already, is waited for:
 * the platform repeats an alarm whose handler was cut off.
 */
export const LEASE_MS = 10_000;

/** Whether the job still stands in the room of `row`, and no request went out since the one numbered `attempt`. */
export function standsAt(stored: JobParts['row'], row: JobRecord, attempt: number): boolean {
  const now = stored();
  return now !== null && roomName(now.room) === roomName(row.room) && now.attempt === attempt;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
