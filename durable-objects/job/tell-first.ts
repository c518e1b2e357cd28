/** The first job of a request, whose webhook tells of all of them, hears of a picture of another one. */
import type { JobRecord } from '../../src/job/job.ts';
import { jobObject } from '../../src/job/job-object.ts';
import { logLine } from '../../src/job/log.ts';
import type { JobCalls, Objects } from '../../src/job/rpc.ts';
import { within } from '../../src/stage/time-limit.ts';

/** Longest wait for its object. */
const FIRST_MS = 5_000;

/**
 * Tells the first job that this one is done, where that is to be told as it happens. Never rejects, and is not
 * repeated: the end of the request tells every picture.
 */
export async function tellFirst(
  { JOBS }: { readonly JOBS: Objects<Pick<JobCalls, 'pictureMade'>> },
  row: Pick<JobRecord, 'id' | 'room' | 'request'> | null,
): Promise<void> {
  const batch = row?.request.batch;
  const first = batch?.tellsPictures && batch.jobs[0];
  if (row?.room.name !== 'done' || !first || first === row.id) return;
  await within(FIRST_MS, 'the job', jobObject(JOBS, first).pictureMade()).catch((error) => {
    logLine('job_not_reached', { job_id: first, by: row.id, error: String(error) });
  });
}
