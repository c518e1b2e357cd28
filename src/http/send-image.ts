/** A finished image out of the bucket. Whoever keeps it asks before showing it again: it may have been erased. */
import type { Context } from 'hono';
import { imageKey } from '../job/image-key.ts';
import { bucketOf } from '../job/job-object.ts';
import type { ImageFormat } from '../stage/contract.ts';
import { within } from '../stage/time-limit.ts';
import type { AppEnv } from './env.ts';
import { jobNotFound } from './job-id.ts';
import { checkPreconditions, isConditional } from './precondition.ts';
import { Problem } from './problem.ts';

/** Longest wait for the bucket to answer. */
export const BUCKET_MS = 30_000;

/**
 * The image of a job, as the conditions of the request have it. Throws a 404 Problem where it was erased, or a 412;
 * TookTooLong where the bucket is silent.
 */
export async function sendImage(c: Context<AppEnv>, id: string, format: ImageFormat): Promise<Response> {
  const key = imageKey(id, format);
  const bucket = bucketOf(c.env, id);
  const { headers } = c.req.raw;
  const isHead = c.req.method === 'HEAD';
  // where the answer may have no body, none is asked for yet
  const asked = isHead || isConditional(headers) ? bucket.head(key) : bucket.get(key);
  const found = await within(BUCKET_MS, 'the bucket', asked);
  if (!found) throw jobNotFound(id);
  const { httpEtag: etag, uploaded, size } = found;
  const facts = {
    etag,
    'last-modified': uploaded.toUTCString(),
    'cache-control': 'private, no-cache',
  };
  switch (checkPreconditions(headers, { etag, modified: uploaded })) {
    case 'proceed': {
      const about = { 'content-type': `image/${format}`, 'content-length': String(size), ...facts };
      if (isHead) return c.body(null, 200, about);
      const image = 'body' in found ? (found as R2ObjectBody) : await within(BUCKET_MS, 'the bucket', bucket.get(key));
      if (!image) throw jobNotFound(id);
      return c.body(image.body, 200, about);
    }
    case 'not_modified':
      return c.body(null, 304, facts);
    case 'failed':
      throw new Problem({
        status: 412,
        code: 'precondition_failed',
        detail: `The image is not the one that the request asks for: its etag is ${etag}.`,
      });
  }
}
