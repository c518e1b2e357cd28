/** A job with links that open its events and its image without a key, for a while. */
import { signLink } from '../account/link.ts';
import type { JobView } from './job.ts';

/** How long a link opens. */
const LINK_SECONDS = 3600;

export interface Links {
  readonly events: string;
  readonly image: string;
  /** Unix seconds */
  readonly expires_at: number;
}

export type LinkedJob = JobView & { readonly links: Links };

/** A token that opens Replicate's stream of a job. */
export const streamToken = (signingSecret: string, id: string, now = Date.now()): Promise<string> =>
  signLink(signingSecret, id, 'stream', Math.floor(now / 1000) + LINK_SECONDS);

/** The job with fresh links: paths, each with a token for just that thing. */
export async function withLinks(signingSecret: string, job: JobView, now = Date.now()): Promise<LinkedJob> {
  const until = Math.floor(now / 1000) + LINK_SECONDS;
  const link = async (opens: 'events' | 'image') =>
    `${job.urls[opens]}?token=${await signLink(signingSecret, job.id, opens, until)}`;
  return { ...job, links: { events: await link('events'), image: await link('image'), expires_at: until } };
}
