/** A job with links that open its events and its image without a key, for a while. */
import { signLink } from '../account/link.ts';
import type { JobView } from '../job/job.ts';
import type { Env } from './env.ts';

/** How long a link opens. */
export const LINK_SECONDS = 3600;

export type LinkedJob = JobView & { readonly links: { readonly events: string; readonly image: string; readonly expires_at: number } };

export async function withLinks(env: Env, job: JobView): Promise<LinkedJob> {
  const until = Math.floor(Date.now() / 1000) + LINK_SECONDS;
  const link = async (opens: 'events' | 'image') => `${job.urls[opens]}?token=${await signLink(env.SIGNING_SECRET, job.id, opens, until)}`;
  return { ...job, links: { events: await link('events'), image: await link('image'), expires_at: until } };
}
