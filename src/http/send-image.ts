/** A finished image out of the bucket. Whoever keeps it asks before showing it again: it may have been erased. */
import type { Context } from 'hono';
import { imageKey } from '../job/image-key.ts';
import { bucketOf } from '../job/job-object.ts';
import type { ImageFormat } from '../stage/contract.ts';
import { within } from '../stage/time-limit.ts';
import { askedRange, type ByteRange } from './byte-range.ts';
import type { AppEnv } from './env.ts';
import { jobNotFound } from './job-id.ts';
import { checkPreconditions, isConditional } from './precondition.ts';
import { Problem } from './problem.ts';

/** Longest wait for the bucket to answer. */
export const BUCKET_MS = 30_000;

/**
 * The image of a job, or the part of it that is asked for, as the conditions of the request have it; it is saved as
 * `name`, by itself the job's. Throws a 404 Problem where it was erased, a 412 or a 416; TookTooLong where the bucket
 * is silent.
 */
export async function sendImage(
  c: Context<AppEnv>,
  { id, format, name = id }: { readonly id: string; readonly format: ImageFormat; readonly name?: string },
): Promise<Response> {
  const key = imageKey(id, format);
  const bucket = bucketOf(c.env, id);
  const { headers } = c.req.raw;
  const isHead = c.req.method === 'HEAD';
  // where the answer may have no body, none is asked for yet
  const asked = isHead || isConditional(headers) || headers.has('range') ? bucket.head(key) : bucket.get(key);
  const found = await within(BUCKET_MS, 'the bucket', asked);
  if (!found) throw jobNotFound(id);
  const { httpEtag: etag, uploaded, size } = found;
  const read = (range: ByteRange | 'all'): Promise<R2ObjectBody | null> =>
    within(BUCKET_MS, 'the bucket', bucket.get(key, range === 'all' ? {} : { range: lengthFrom(range) }));
  const facts = {
    etag,
    'last-modified': uploaded.toUTCString(),
    'cache-control': 'private, no-cache',
    'accept-ranges': 'bytes',
  };
  switch (checkPreconditions(headers, { etag, modified: uploaded })) {
    case 'proceed': {
      const about = {
        'content-type': `image/${format}`,
        'content-disposition': `inline; filename="${name}.${format}"`,
        ...facts,
      };
      if (isHead) return c.body(null, 200, { ...about, 'content-length': String(size) });
      const range = askedRange(headers, { etag, modified: uploaded }, size);
      if (range === 'none') throw outside(size);
      const image = 'body' in found ? (found as R2ObjectBody) : await read(range);
      if (!image) throw jobNotFound(id);
      if (range === 'all') return c.body(image.body, 200, { ...about, 'content-length': String(size) });
      return c.body(image.body, 206, {
        ...about,
        'content-length': String(range.end - range.start + 1),
        'content-range': `bytes ${range.start}-${range.end}/${size}`,
      });
    }
    case 'not_modified':
      return c.body(null, 304, facts);
    case 'failed':
      throw imageChanged(etag);
  }
}

/** The image is not the one that a condition of the request names. */
export const imageChanged = (etag: string): Problem =>
  new Problem({
    status: 412,
    code: 'precondition_failed',
    detail: `The image is not the one that the request asks for: its etag is ${etag}.`,
  });

const lengthFrom = ({ start, end }: ByteRange): R2Range => ({ offset: start, length: end - start + 1 });

const outside = (size: number): Problem =>
  new Problem({
    status: 416,
    code: 'range_not_satisfiable',
    detail: `The range lies outside of the image: it has ${size} bytes.`,
    headers: { 'content-range': `bytes */${size}` },
  });
