/** What a webhook says, in the shape of the surface its job was started at. Pure. */
import { type LinkedJob, placedAt } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';
import type { Door } from '../job/webhook.ts';
import { viewCompletion } from './fal.ts';
import { viewPrediction } from './replicate.ts';

/** The body for a job that has ended. `now` is milliseconds. */
export function webhookBody(
  door: Door,
  job: LinkedJob,
  logs: readonly LogLine[],
  { origin, streamToken, now }: { readonly origin: string; readonly streamToken: string; readonly now: number },
): object {
  switch (door) {
    case 'jobs':
      return {
        type: `job.${job.status}`,
        timestamp: new Date(now).toISOString(),
        data: placedAt(origin, job),
      };
    case 'replicate':
      return viewPrediction(job, logs, { origin, streamToken });
    case 'fal':
      return viewCompletion(job, origin);
  }
}
