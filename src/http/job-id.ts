/** Ids of jobs as they come from a path. */
import type { Context } from 'hono';
import { judgeJobId } from '../account/job-id.ts';
import type { AppEnv } from './env.ts';
import { secretsOf, takesOldForms, takeTry } from './gate.ts';
import { Problem } from './problem.ts';

const JOB_ID = /^job_[0-9a-z]{32,64}$/;

export const jobNotFound = (id: string): Problem =>
  new Problem({
    status: 404,
    code: 'job_not_found',
    detail: `There is no job ${JOB_ID.test(id) ? id : 'of that id'}; it may have expired.`,
  });

/**
 * The id, or null for one that was never ours: it names no object, so none is touched for it. One of the first form may
 * be anybody's invention: it is let through as long as such are taken at all, and as long as its sender has tries left.
 * Throws a 429 Problem where it has none.
 */
export async function knownJobId(c: Context<AppEnv>, id: string): Promise<string | null> {
  const verdict = await judgeJobId(secretsOf(c.env), id);
  if (verdict === 'ours') return id;
  if (verdict === 'none' || !takesOldForms(c.env, Date.now())) return null;
  if (!c.get('hasOldJobId')) takeTry(c);
  c.set('hasOldJobId', true);
  return id;
}

/** The id. Throws a 404 Problem for one that was never ours, and what `knownJobId` throws. */
export async function jobId(c: Context<AppEnv>, id: string): Promise<string> {
  const known = await knownJobId(c, id);
  if (known === null) throw jobNotFound(id);
  return known;
}
