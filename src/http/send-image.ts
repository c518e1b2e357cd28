/** A finished image out of the bucket. It never changes, so whoever has it need not get it again. */
import type { Context } from 'hono';
import { imageKey } from '../job/image-key.ts';
import type { ImageFormat } from '../stage/contract.ts';
import type { AppEnv } from './env.ts';
import { jobNotFound } from './job-id.ts';
import { checkPreconditions, isConditional } from './precondition.ts';
import { Problem } from './problem.ts';

/** The image of a job, as the conditions of the request have it. Throws a 404 Problem where it was erased, or a 412. */
export async function sendImage(c: Context<AppEnv>, id: string, format: ImageFormat): Promise<Response> {
  const key = imageKey(id, format);
  const { headers } = c.req.raw;
  const isHead = c.req.method === 'HEAD';
  // where the answer may have no body, none is asked for yet
  const found = await (isHead || isConditional(headers) ? c.env.IMAGES.head(key) : c.env.IMAGES.get(key));
  if (!found) throw jobNotFound(id);
  const { httpEtag: etag, uploaded, size } = found;
  const facts = {
    etag,
    'last-modified': uploaded.toUTCString(),
    'cache-control': 'private, max-age=31536000, immutable',
  };
  switch (checkPreconditions(headers, { etag, modified: uploaded })) {
    case 'proceed': {
      const about = { 'content-type': `image/${format}`, 'content-length': String(size), ...facts };
      if (isHead) return c.body(null, 200, about);
      const image = 'body' in found ? (found as R2ObjectBody) : await c.env.IMAGES.get(key);
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
