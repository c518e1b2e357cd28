/** The result of a request, with its pictures as links or as data. */
import type { Context } from 'hono';
import { type FalResult, linkAt, type UrlOf, viewResult, whyNoResult } from '../../doors/fal.ts';
import type { OneRequest } from '../../doors/one-request.ts';
import type { AppEnv } from '../env.ts';
import { imageBase64 } from '../openai/image-bytes.ts';
import { Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { requestHeaders } from './start.ts';

/** The result. Throws the Problem of a request that has none, and what `imageBytes` throws. */
export async function resultOf(c: Context<AppEnv>, request: OneRequest): Promise<FalResult> {
  const result = viewResult(
    request,
    request.isInline ? await dataOf(c, request) : linkAt(publicBase(c.env, c.req.url)),
  );
  if (result) return result;
  throw new Problem({ ...whyNoResult(request), headers: requestHeaders(request) });
}

/** The pictures of a finished request as data URIs. */
async function dataOf(c: Context<AppEnv>, { status, jobs }: OneRequest): Promise<UrlOf> {
  const uris = new Map<string, string>();
  if (status === 'done')
    for (const { id, image } of jobs)
      if (image) uris.set(id, `data:image/${image.format};base64,${await imageBase64(c.env, id, image)}`);
  return ({ id }) => uris.get(id) ?? '';
}
