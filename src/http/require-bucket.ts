/** Pictures of an account stay in its jurisdiction, or its jobs do not begin. */
import type { Jurisdiction } from '../account/place.ts';
import { type Buckets, bucketName } from '../job/job-object.ts';
import { Problem } from './problem.ts';

/** Throws a 503 Problem where the deployment has no bucket for pictures of the jurisdiction. */
export function requireBucket(buckets: Buckets, jurisdiction: Jurisdiction | null): void {
  const name = bucketName(jurisdiction);
  if (buckets[name]) return;
  throw new Problem({
    status: 503,
    code: 'not_configured',
    detail: `Pictures of accounts in the jurisdiction "${jurisdiction}" have to stay there, and this deployment has no bucket ${name}.`,
    headers: { 'x-should-retry': 'false' },
  });
}
