/** A job with links that open its events and its image without a key, for a while. */
import { signLink } from '../account/link.ts';
import type { ImageView, JobView } from './job.ts';

/** How long a link opens. */
const LINK_SECONDS = 3600;

export interface Links {
  readonly events: string;
  readonly image: string;
  /** null: there is no small one, or none yet */
  readonly thumbnail: string | null;
  /** Unix seconds */
  readonly expires_at: number;
}

export type LinkedJob = JobView & { readonly links: Links };

/** A token that opens Replicate's stream of a job. */
export const streamToken = (signingSecret: string, id: string, now = Date.now()): Promise<string> =>
  signLink(signingSecret, id, 'stream', Math.floor(now / 1000) + LINK_SECONDS);

/**
 * The job with fresh links: paths, each with a token for just that thing. The picture's ends in its file name, which
 * chat programs and downloads tell its type by.
 */
export async function withLinks<J extends Pick<JobView, 'id' | 'urls' | 'output_format'>>(
  signingSecret: string,
  job: J,
  now = Date.now(),
): Promise<J & { readonly links: Links }> {
  const until = Math.floor(now / 1000) + LINK_SECONDS;
  const token = (opens: 'events' | 'image' | 'thumbnail'): Promise<string> =>
    signLink(signingSecret, job.id, opens, until);
  const events = `${job.urls.events}?token=${await token('events')}`;
  const image = `${job.urls.image}.${job.output_format}?token=${await token('image')}`;
  // a job's object of an earlier version tells no address of one
  const small = job.urls.thumbnail ?? null;
  const thumbnail = small && `${small}?token=${await token('thumbnail')}`;
  return { ...job, links: { events, image, thumbnail, expires_at: until } };
}

/** The path of a service's address: what stands before `/v1`, without a slash at the end; empty where nothing does. */
export const prefixOf = (base: string): string => new URL(base).pathname.replace(/\/+$/, '');

/** The job with its paths as callers of the service at `base` need them. */
export function placedAt<J extends Pick<LinkedJob, 'urls' | 'links'> & { readonly image: ImageView | null }>(
  base: string,
  job: J,
): J {
  const prefix = prefixOf(base);
  if (prefix === '') return job;
  const { urls, links, image } = job;
  return {
    ...job,
    urls: {
      get: prefix + urls.get,
      events: prefix + urls.events,
      image: prefix + urls.image,
      thumbnail: urls.thumbnail && prefix + urls.thumbnail,
      cancel: prefix + urls.cancel,
    },
    links: {
      ...links,
      events: prefix + links.events,
      image: prefix + links.image,
      thumbnail: links.thumbnail && prefix + links.thumbnail,
    },
    image: image && { ...image, url: prefix + image.url },
  };
}
