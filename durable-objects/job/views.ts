/** What of a job is shown, and to whom: every other account than its own finds nothing. Nothing here awaits. */
import type { JobRecord, JobView } from '../../src/job/job.ts';
import { logLines } from '../../src/job/log-lines.ts';
import type { JobWithLogs, Thumbnail } from '../../src/job/rpc.ts';
import { isLastRoom } from '../../src/job/story.ts';
import { viewJob } from '../../src/job/view.ts';
import type { Ends } from './ends.ts';
import { readLastEvent, readStory } from './event-tables.ts';
import type { Progress } from './progress.ts';
import type { Rows } from './rows.ts';

/** Where the owner is null, whoever's job it is. */
export interface Views {
  /** The stored job; null where it is not there for `owner`. */
  rowOf(owner: string | null): JobRecord | null;
  /** Whether it has ended; null as above. */
  stateFor(owner: string | null): 'running' | 'ended' | null;
  /** What its owner sees. One whose request or plan is not what it should be is ended first. */
  of(row: JobRecord): JobView;
  view(owner: string | null): JobView | null;
  viewWithLogs(owner: string | null): JobWithLogs | null;
  thumbnail(owner: string | null): Thumbnail | 'none' | null;
}

export function makeViews(rows: Rows, ends: Ends, progress: Progress): Views {
  const rowOf: Views['rowOf'] = (owner) => {
    const row = ends.row();
    return row && (owner === null || row.account === owner) ? row : null;
  };

  const of: Views['of'] = (row) => {
    try {
      return viewJob(row, progress.latest()?.event ?? readLastEvent(rows));
    } catch {
      return viewJob(ends.break(['request', 'plan']) as JobRecord, readLastEvent(rows));
    }
  };

  return {
    rowOf,
    of,
    stateFor(owner) {
      const row = rowOf(owner);
      return row && (isLastRoom(row.room) ? 'ended' : 'running');
    },
    view(owner) {
      const row = rowOf(owner);
      return row && of(row);
    },
    viewWithLogs(owner) {
      const row = rowOf(owner);
      return row && { job: of(row), logs: logLines(readStory(rows)) };
    },
    thumbnail(owner) {
      const row = rowOf(owner);
      if (!row) return null;
      const { image, finishedAt } = row;
      return image?.thumbnail && finishedAt !== null ? { ...image.thumbnail, finishedAt } : 'none';
    },
  };
}
