/** A finished image once more, small, as its job keeps it. Whoever keeps it asks before showing it again. */
import type { Context } from 'hono';
import { toHex } from '../account/hmac.ts';
import { fromBase64 } from '../job/base64.ts';
import type { Thumbnail } from '../job/rpc.ts';
import type { AppEnv } from './env.ts';
import { checkPreconditions } from './precondition.ts';
import { imageChanged } from './send-image.ts';

/** The small image of a job, as the conditions of the request have it. Throws a 412 Problem. */
export async function sendThumbnail(
  c: Context<AppEnv>,
  id: string,
  { format, b64_json, finishedAt }: Thumbnail,
): Promise<Response> {
  const bytes = fromBase64(b64_json);
  const etag = `"${toHex(await crypto.subtle.digest('SHA-256', bytes)).slice(0, 32)}"`;
  const modified = new Date(finishedAt);
  const facts = { etag, 'last-modified': modified.toUTCString(), 'cache-control': 'private, no-cache' };
  switch (checkPreconditions(c.req.raw.headers, { etag, modified })) {
    case 'proceed':
      return c.body(bytes, 200, {
        'content-type': `image/${format}`,
        'content-length': String(bytes.length),
        'content-disposition': `inline; filename="${id}.small.${format}"`,
        ...facts,
      });
    case 'not_modified':
      return c.body(null, 304, facts);
    case 'failed':
      throw imageChanged(etag);
  }
}
