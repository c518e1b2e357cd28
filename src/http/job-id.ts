/** Ids of jobs as they come from a path. */
import { Problem } from './problem.ts';

const JOB_ID = /^job_[0-9a-f]{32}$/;

export const jobNotFound = (id: string): Problem =>
  new Problem({
    status: 404,
    code: 'job_not_found',
    detail: `There is no job ${JOB_ID.test(id) ? id : 'of that id'}; it may have expired.`,
  });

/** The id. One that was never ours names no object, so none is touched for it: a 404 Problem. */
export function jobId(id: string): string {
  if (!JOB_ID.test(id)) throw jobNotFound(id);
  return id;
}
