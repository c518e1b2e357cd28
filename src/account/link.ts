/**
 * Links that open one thing of one job for a while: what a browser needs where it cannot send a key (EventSource,
 * `<img>`).
 */
import { timingSafeEqual } from 'hono/utils/buffer';
import { allOf, hmacHex, type Secrets, toHex, underivedHmac } from './hmac.ts';
import { isOldJobId } from './job-id.ts';

/**
 * `events` opens the events, `image` the picture, `thumbnail` the small one, `stream` Replicate's stream, which has
 * events and picture; none opens another.
 */
export type Opens = 'events' | 'image' | 'thumbnail' | 'stream';

const TOKEN = /^(\d{1,11})\.([0-9a-f]{64})$/;
const sign = (secret: string, job: string, opens: Opens, until: number): Promise<string> =>
  hmacHex(secret, 'link', `${opens}\0${job}\0${until}`);

/** As links were signed when ids of jobs had version 1: those are still out with people who hold one. */
const signOld = async (secret: string, job: string, opens: Opens, until: number): Promise<string> =>
  toHex(await underivedHmac(secret, `link:${opens}`, `${job}\0${until}`));

/** A token that opens `opens` of `job` until `until` (Unix seconds), for the query parameter `token`. */
export const signLink = async (secret: string, job: string, opens: Opens, until: number): Promise<string> =>
  `${until}.${await sign(secret, job, opens, until)}`;

/**
 * Whether `token` opens it at `now` (milliseconds): `expired` where it was valid once, `invalid` where it never was.
 */
export async function checkLink(
  secrets: Secrets,
  job: string,
  opens: Opens,
  token: string,
  now: number,
): Promise<'valid' | 'expired' | 'invalid'> {
  const [, until, mac] = TOKEN.exec(token) ?? [];
  if (!until || !mac) return 'invalid';
  for (const secret of allOf(secrets)) {
    const known = [await sign(secret, job, opens, Number(until))];
    if (isOldJobId(job)) known.push(await signOld(secret, job, opens, Number(until)));
    for (const one of known)
      if (await timingSafeEqual(mac, one)) return now < Number(until) * 1000 ? 'valid' : 'expired';
  }
  return 'invalid';
}
