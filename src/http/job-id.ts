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
 * The id. One that was never ours names no object, so none is touched for it: a 404 Problem. One of the first form may
 * be anybody's invention: it is let through as long as such are taken at all, and as long as its sender has tries left.
 */
export async function jobId(c: Context<AppEnv>, id: string): Promise<string> {
  switch (await judgeJobId(secretsOf(c.env), id)) {
    case 'ours':
      return id;
    case 'old':
      if (!takesOldForms(c.env, Date.now())) throw jobNotFound(id);
      if (!c.get('hasOldJobId')) takeTry(c);
      c.set('hasOldJobId', true);
      return id;
    case 'none':
      throw jobNotFound(id);
  }
}
