/** What a webhook says, in the shape of the surface its job was started at. Pure. */
import { placedAt } from '../job/links.ts';
import type { Door } from '../job/webhook.ts';
import { viewEnded } from './bfl.ts';
import { viewCompletion } from './fal.ts';
import type { OneRequest } from './one-request.ts';
import { viewPrediction } from './replicate.ts';

/** The body for a request as it stands. `now` is milliseconds. */
export function webhookBody(
  door: Door,
  request: OneRequest,
  { origin, streamToken, now }: { readonly origin: string; readonly streamToken: string; readonly now: number },
): object {
  switch (door) {
    case 'jobs':
      return {
        type: `job.${request.first.status}`,
        timestamp: new Date(now).toISOString(),
        data: placedAt(origin, request.first),
      };
    case 'replicate':
      return viewPrediction(request, { origin, streamToken, showsEach: true });
    case 'fal':
      return viewCompletion(request, origin);
    case 'bfl':
      return viewEnded(request.first, origin, now);
  }
}
