/**
 * Links that show the picture of one job to whoever has them. A link says itself that it is ours, so an invented one
 * touches no object; whether it still opens, the job's object knows.
 *
 *   2noan0123…4567 . 0123456789abcdef . 0123456789abcdef0123456789abcdef
 *   │                │                  └ MAC: 16 bytes over both
 *   │                └ the share: 8 random bytes
 *   └ the id of the job without `job_`
 */
import { timingSafeEqual } from 'hono/utils/buffer';
import { allOf, hmacHex, type Secrets, toHex } from './hmac.ts';

const TOKEN = /^([0-9a-z]{32,64})\.([0-9a-f]{16})\.([0-9a-f]{32})$/;
const MAC_DIGITS = 32;

/** Whether a text has the form of a share's id. */
export const isShareId = (text: string): boolean => /^[0-9a-f]{16}$/.test(text);

/** A new id: nobody guesses one. */
export const newShareId = (): string => toHex(crypto.getRandomValues(new Uint8Array(8)).buffer);

const macOf = async (secret: string, job: string, share: string): Promise<string> =>
  (await hmacHex(secret, 'share', `${job}\0${share}`)).slice(0, MAC_DIGITS);

/** What stands in the address of a share, signed with the deployment's current secret. */
export const shareToken = async (secret: string, job: string, share: string): Promise<string> =>
  `${job.slice('job_'.length)}.${share}.${await macOf(secret, job, share)}`;

/** The job and the share of a token; null for one that was never ours. Touches nothing. */
export async function readShareToken(
  secrets: Secrets,
  token: string,
): Promise<{ readonly job: string; readonly share: string } | null> {
  const [, rest, share, mac] = TOKEN.exec(token) ?? [];
  if (!rest || !share || !mac) return null;
  const job = `job_${rest}`;
  for (const secret of allOf(secrets))
    if (await timingSafeEqual(mac, await macOf(secret, job, share))) return { job, share };
  return null;
}
