/** A job as our own surface shows it. */
import type { Context } from 'hono';
import type { ImageView, JobView } from '../job/job.ts';
import { type Links, placedAt, withLinks } from '../job/links.ts';
import type { AppEnv } from './env.ts';
import { publicBase } from './public-address.ts';

/** The job with fresh links, its paths as the caller of this request needs them. */
export async function showJob<
  J extends Pick<JobView, 'id' | 'urls' | 'output_format'> & { readonly image: ImageView | null },
>(c: Context<AppEnv>, job: J): Promise<J & { readonly links: Links }> {
  return placedAt(publicBase(c.env, c.req.url), await withLinks(c.env.SIGNING_SECRET, job));
}
