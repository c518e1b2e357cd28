/**
 * Where callers reach this service. A deployment says it in `PUBLIC_URL`; what a request says of its host is only the
 * caller's word. Pure.
 */
import { getPath } from 'hono/utils/url';
import { prefixOf } from '../job/links.ts';
import type { Env } from './env.ts';

/** Why a `PUBLIC_URL` is none, as a rule; null where it is one, or empty. */
export function refusePublicUrl(text: string): string | null {
  if (text === '') return null;
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) return 'must be an http or https address';
  if (url.username || url.password || url.search || url.hash)
    return 'must have no name, password, query or fragment: https://example.com or https://example.com/pictures';
  return null;
}

/**
 * Scheme, host and path prefix of every address that an answer names, without a slash at the end; the origin of the
 * request where the deployment does not say.
 */
export function publicBase({ PUBLIC_URL }: Pick<Env, 'PUBLIC_URL'>, requestUrl: string): string {
  if (!PUBLIC_URL) return new URL(requestUrl).origin;
  return new URL(PUBLIC_URL).origin + prefixOf(PUBLIC_URL);
}

/**
 * The path of a request as the routes have it: without the prefix of `PUBLIC_URL`, where whatever passes requests on
 * has left it there.
 */
export function routePath(request: Request, PUBLIC_URL: string | undefined): string {
  const path = getPath(request);
  const prefix = PUBLIC_URL && URL.canParse(PUBLIC_URL) ? prefixOf(PUBLIC_URL) : '';
  if (prefix === '' || (path !== prefix && !path.startsWith(`${prefix}/`))) return path;
  return path.slice(prefix.length) || '/';
}
