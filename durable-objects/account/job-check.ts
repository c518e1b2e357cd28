/** Whether the jobs of an account say the same of their money as its ledger does. Asks each job; changes nothing. */
import type { Difference } from '../../src/billing/difference.ts';
import { formatUsd } from '../../src/billing/money.ts';
import { jobObject } from '../../src/job/job-object.ts';
import type { JobCalls, Objects, Reckoning } from '../../src/job/rpc.ts';
import { within } from '../../src/stage/time-limit.ts';
import type { IndexedCharge } from './index-tables.ts';

/** Jobs that one page of a reconciliation asks, and how many at once. */
export const JOBS_A_PAGE = 50;
const AT_ONCE = 10;
const JOB_MS = 10_000;

/** Where a job, as its object says, and its account, as `charge` says, do not agree; null: they do. Pure. */
export function compareJob(job: IndexedCharge, told: Reckoning | null): Difference | null {
  const { id, status, held, captured } = job;
  const differs = (kind: Difference['kind'], expected: string, found: string): Difference => ({
    kind,
    subject: id,
    expected,
    found,
  });
  // one that is being erased says nothing any more, and its letters go on
  if (told === null || (told.end === null && told.letters.length === 0))
    // one whose object never came is let go by the alarm
    return status === 'open' && !job.isCreated ? null : differs('job_missing', `a job that is ${status}`, 'none');
  const isHeld = held !== null && captured === null;
  const { end, quoted, letters } = told;
  if (end === 'open')
    return status === 'open' && quoted !== null && !isHeld
      ? differs('job_without_hold', formatUsd(quoted), held === null ? 'no hold' : 'a hold that was resolved')
      : null;
  if (isHeld) {
    const letter = letters.includes('ended') ? 'its letter waits' : 'no letter waits';
    return differs('ended_with_open_hold', end === null ? 'erased' : end.status, `${formatUsd(held)} held; ${letter}`);
  }
  const charged = end?.charge ? Math.min(held ?? 0, end.charge.micro) : null;
  return charged !== null && held !== null && charged !== captured
    ? differs('charge_is_not_receipt', formatUsd(charged), formatUsd(captured ?? 0))
    : null;
}

/** What is wrong with these jobs. Never rejects: one that does not answer is named. */
export async function checkJobs(
  objects: Objects<Pick<JobCalls, 'reckoning'>>,
  jobs: readonly IndexedCharge[],
): Promise<readonly Difference[]> {
  const found: (Difference | null)[] = [];
  for (let i = 0; i < jobs.length; i += AT_ONCE) {
    const asked = jobs.slice(i, i + AT_ONCE).map(async (job): Promise<Difference | null> => {
      try {
        return compareJob(job, await within(JOB_MS, 'the job', jobObject(objects, job.id).reckoning()));
      } catch (error) {
        return { kind: 'not_reached', subject: job.id, expected: 'an answer', found: String(error) };
      }
    });
    found.push(...(await Promise.all(asked)));
  }
  return found.filter((difference) => difference !== null);
}
